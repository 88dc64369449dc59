//! The link that makes the first user of the panel. There are no default credentials: whoever can read what the
//! controller prints, or its state directory, is the administrator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{controller::StartError, state_dir::StateDir, store::Store, token};

/// A day. A start without any user makes a new link.
const LIFETIME_SECONDS: u64 = 24 * 3600;

/// While there is no user, makes a link, which voids the one before, and writes it to the state directory.
pub(crate) async fn offer(
    state: &StateDir,
    store: &Store,
    http: SocketAddr,
    encrypted: bool,
) -> Result<Option<String>, StartError> {
    let minted = token::mint();
    if !store.put_setup_link(&minted.hash, LIFETIME_SECONDS).await? {
        state.remove_setup_link()?;
        return Ok(None);
    }
    let link = format!("{}setup?code={}", url(http, encrypted), minted.token);
    state.write_setup_link(&link)?;
    Ok(Some(link))
}

/// Where a browser on this host finds the panel.
pub(crate) fn url(http: SocketAddr, encrypted: bool) -> String {
    let scheme = if encrypted { "https" } else { "http" };
    let host: IpAddr = match http.ip() {
        address if !address.is_unspecified() => address,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("{scheme}://{}/", SocketAddr::new(host, http.port()))
}
