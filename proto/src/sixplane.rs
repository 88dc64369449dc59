//! IPv6 without allocation: every member's addresses follow from the network id and its node address, bit for bit as
//! ZeroTier lays them out.
//!
//! - RFC 4193 mode: `fd | network id (64) | 9993 | node (40)`: prefix /88 for the network, one address per member.
//! - 6PLANE: `fc | hi32(network id) xor lo32(network id) | node (40) | 48 host bits`: /40 for the network, /80 per
//!   member, the node itself is `::1` and owns only that address; the rest belongs to the containers behind it.
//!
//! 32 folded bits are not unique: two networks in about 77,000 share a /40. A node that is in both sees a clash.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use crate::id::{NetworkId, NodeId};

/// The /88 that all RFC 4193 addresses of a network share.
#[must_use]
pub fn rfc4193_network(network: NetworkId) -> Ipv6Net {
    net(
        0xfd << 120 | u128::from(network.get()) << 56 | 0x9993 << 40,
        88,
    )
}

/// A member's one RFC 4193 address.
#[must_use]
pub fn rfc4193_address(network: NetworkId, node: NodeId) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(rfc4193_network(network).network()) | u128::from(node.get()))
}

/// The /40 that all 6PLANE prefixes of a network share.
#[must_use]
pub fn network(network: NetworkId) -> Ipv6Net {
    let folded = (network.get() >> 32) ^ (network.get() & 0xffff_ffff);
    net(0xfc << 120 | u128::from(folded) << 88, 40)
}

/// A member's /80.
#[must_use]
pub fn member(of: NetworkId, node: NodeId) -> Ipv6Net {
    net(
        u128::from(network(of).network()) | u128::from(node.get()) << 48,
        80,
    )
}

/// The node's own address in its /80.
#[must_use]
pub fn node_address(of: NetworkId, node: NodeId) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(member(of, node).network()) | 1)
}

/// The /96 of container network `number` (1 to 65535; 0 is the node's own and refused).
#[must_use]
pub fn container_network(of: NetworkId, node: NodeId, number: u16) -> Option<Ipv6Net> {
    if number == 0 {
        return None;
    }
    Some(net(
        u128::from(member(of, node).network()) | u128::from(number) << 32,
        96,
    ))
}

/// Which member of network `of` an address belongs to: the reverse of every layout above.
#[must_use]
pub fn owner(of: NetworkId, address: Ipv6Addr) -> Option<NodeId> {
    let bits = u128::from(address);
    if network(of).contains(&address) {
        return NodeId::new((bits >> 48) as u64 & 0xff_ffff_ffff);
    }
    if rfc4193_network(of).contains(&address) {
        return NodeId::new(bits as u64 & 0xff_ffff_ffff);
    }
    None
}

fn net(bits: u128, length: u8) -> Ipv6Net {
    Ipv6Net::new(Ipv6Addr::from(bits), length).expect("a length within 128")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(network: &str, node: &str) -> (NetworkId, NodeId) {
        (
            network.parse().expect("a network id"),
            node.parse().expect("a node address"),
        )
    }

    #[test]
    fn the_four_published_vectors_hold() {
        let (network_a, node_a) = ids("8056c2e21c000001", "89e92ceee5");
        let (network_b, node_b) = ids("17d709436c2c5367", "d3b0a1c2f4");

        assert_eq!(
            rfc4193_address(network_a, node_a).to_string(),
            "fd80:56c2:e21c:0:199:9389:e92c:eee5"
        );
        assert_eq!(
            node_address(network_a, node_a).to_string(),
            "fc9c:56c2:e389:e92c:eee5::1"
        );
        assert_eq!(
            rfc4193_address(network_b, node_b).to_string(),
            "fd17:d709:436c:2c53:6799:93d3:b0a1:c2f4"
        );
        assert_eq!(
            node_address(network_b, node_b).to_string(),
            "fc7b:fb5a:24d3:b0a1:c2f4::1"
        );
    }

    #[test]
    fn container_networks_lie_in_the_members_prefix_and_number_zero_is_the_nodes() {
        let (network, node) = ids("8056c2e21c000001", "89e92ceee5");

        let first = container_network(network, node, 1).expect("number 1 is a container network");

        assert_eq!(first.to_string(), "fc9c:56c2:e389:e92c:eee5:1::/96");
        assert!(member(network, node).contains(&first));
        assert_eq!(container_network(network, node, 0), None);
    }

    #[test]
    fn every_address_leads_back_to_its_owner() {
        let (network, node) = ids("17d709436c2c5367", "d3b0a1c2f4");
        let container = container_network(network, node, 7)
            .expect("a container network")
            .network();

        for address in [
            rfc4193_address(network, node),
            node_address(network, node),
            container,
        ] {
            assert_eq!(owner(network, address), Some(node));
        }
        assert_eq!(owner(network, Ipv6Addr::LOCALHOST), None);
    }
}
