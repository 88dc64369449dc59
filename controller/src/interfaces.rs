//! Where a controller can be reached, if nobody says so: the addresses of its own interfaces. Right on servers with a
//! public address, useless behind NAT, where `--advertise` is needed.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::{address::AddressAttribute, link::LinkAttribute};
use tombolo_proto::link::HostPort;

/// Addresses that nodes try, at most.
const MAX: usize = 8;
/// Interfaces whose addresses mean nothing elsewhere: containers, their bridges, overlays.
const LOCAL_ONLY: [&str; 9] = [
    "docker", "br-", "veth", "virbr", "cni", "lxc", "tmb", "wg", "zt",
];

/// Control addresses for a controller that listens on `listening`.
pub(crate) async fn endpoints(listening: SocketAddr) -> Vec<HostPort> {
    let ip = listening.ip().to_canonical();
    let addresses = if ip.is_unspecified() {
        let v4_only = listening.is_ipv4();
        let mut found = match interface_addresses().await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot list the addresses of this host: use --advertise");
                Vec::new()
            }
        };
        found.retain(|address| !v4_only || address.is_ipv4());
        // IPv4 first: it is the family that every node has.
        found.sort_by_key(|address| (address.is_ipv6(), *address));
        found.dedup();
        found.truncate(MAX);
        if found.is_empty() {
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
        } else {
            found
        }
    } else {
        vec![ip]
    };
    addresses
        .iter()
        .filter_map(|address| format!("{address}:{}", listening.port()).parse().ok())
        .collect()
}

async fn interface_addresses() -> Result<Vec<IpAddr>, rtnetlink::Error> {
    let (connection, handle, _) = rtnetlink::new_connection()
        .map_err(|error| rtnetlink::Error::NamespaceError(error.to_string()))?;
    let worker = tokio::spawn(connection);
    let mut names = HashMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await? {
        for attribute in link.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                names.insert(link.header.index, name);
            }
        }
    }
    let mut found = Vec::new();
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        let local_only = names
            .get(&message.header.index)
            .is_some_and(|name| LOCAL_ONLY.iter().any(|prefix| name.starts_with(prefix)));
        if local_only {
            continue;
        }
        let mut own = None;
        let mut any = None;
        for attribute in message.attributes {
            if let AddressAttribute::Local(address) = attribute {
                own = Some(address);
            } else if let AddressAttribute::Address(address) = attribute {
                any = Some(address);
            }
        }
        // On a point-to-point link `Local` is this end and `Address` the other.
        found.extend(own.or(any).filter(|address| is_reachable(*address)));
    }
    worker.abort();
    Ok(found)
}

fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}
