//! Connections by TCP between nodes and controllers, and between nodes. Whose key it is that the other side proves has to be
//! looked at by whoever connects.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tombolo_proto::key::IdentityKey;
use tombolo_stream::{key_of, tcp};

use crate::io::underlay;

/// Connects over TCP; gives the key that the other side has proved. The system asks for a sign of life, and gives up after
/// silence, as long as told.
pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    (sign_of_life, silence): (Duration, Duration),
) -> anyhow::Result<(TlsStream<TcpStream>, IdentityKey)> {
    let stream = underlay::connect_tcp(address).await?;
    tcp::prepare(&stream, sign_of_life, silence)?;
    // Nobody looks at names: keys are what is known of each other.
    let name = ServerName::try_from("controller").context("A name that is none")?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await?;
    let (_, session) = stream.get_ref();
    let peer = key_of(session.peer_certificates()).context("The other side has no Ed25519 key")?;
    Ok((stream, peer))
}
