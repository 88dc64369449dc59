//! Which member somebody means: by node address, name, any of its addresses, or an address in a network behind it.

use std::{net::IpAddr, path::Path};

use tombolo_proto::id::{NetworkId, NodeId};

use crate::{
    cli::Family,
    failure::{Failure, FailureKind},
    local_api::{Request, client::ask},
    report::{IdReport, PathKind, PathReport, PeerReport, RouteReport},
};

/// What was typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) text: &'a str,
    pub(super) network: Option<NetworkId>,
    pub(super) family: Option<Family>,
}

impl Wanted<'_> {
    /// Asks the daemon who is meant. An address behind a member leads to that member.
    pub(super) fn find(self, socket: &Path) -> anyhow::Result<(PeerReport, IpAddr)> {
        let own: IdReport = ask(socket, &Request::Id)?;
        let peers: Vec<PeerReport> = ask(socket, &Request::Peers)?;
        let found = self.among(&peers, own.node);
        if found.is_err()
            && let Ok(address) = self.text.parse::<IpAddr>()
        {
            let routes: Vec<RouteReport> = ask(socket, &Request::Routes)?;
            if let Some(behind) = self.behind(address, &peers, &routes) {
                return Ok((behind.clone(), address));
            }
        }
        Ok(found?)
    }

    /// The peer, and the address to reach it at.
    pub(super) fn among(
        self,
        peers: &[PeerReport],
        own: NodeId,
    ) -> Result<(PeerReport, IpAddr), Failure> {
        let text = self.text;
        let usage = |message: String| Err(Failure::new(FailureKind::Usage, message));
        let (address, node) = (text.parse::<IpAddr>().ok(), text.parse::<NodeId>().ok());
        if node == Some(own) {
            return usage("that is this node: name another member, see `tombolo peers`".to_owned());
        }
        let is_meant = |peer: &&PeerReport| match (address, node) {
            (Some(address), _) => peer.addresses.contains(&address),
            (None, Some(node)) => peer.node == node || peer.name == text,
            (None, None) => peer.name == text,
        };
        let meant: Vec<&PeerReport> = peers
            .iter()
            .filter(|peer| self.network.is_none_or(|network| peer.network == network))
            .filter(is_meant)
            .collect();
        let peer = match meant.as_slice() {
            [peer] => *peer,
            [] => {
                let message = format!("no member {text} is known here: see `tombolo peers`");
                return Err(Failure::new(FailureKind::Failed, message));
            }
            [first, ..] if meant.iter().all(|peer| peer.node == first.node) => {
                return usage(format!(
                    "{text} is in several networks: say which with --network ID"
                ));
            }
            [..] => {
                return usage(format!(
                    "several members are called {text}: use a node address, see `tombolo peers`"
                ));
            }
        };
        let fits = |candidate: &IpAddr| match self.family {
            Some(Family::V4) => candidate.is_ipv4(),
            Some(Family::V6) => candidate.is_ipv6(),
            None => true,
        };
        let choice = match address {
            Some(address) => fits(&address).then_some(address),
            // IPv4 first if nothing is said: it has the lower overhead of the two, so it is what applications get.
            None => peer
                .addresses
                .iter()
                .copied()
                .filter(fits)
                .min_by_key(IpAddr::is_ipv6),
        };
        match choice {
            Some(address) => Ok((peer.clone(), address)),
            None => usage(format!("{text} has no address of that family")),
        }
    }

    /// The member that packets to `address` go to: the longest prefix decides, then the lowest metric.
    fn behind<'p>(
        self,
        address: IpAddr,
        peers: &'p [PeerReport],
        routes: &[RouteReport],
    ) -> Option<&'p PeerReport> {
        let route = routes
            .iter()
            .filter(|route| self.network.is_none_or(|network| route.network == network))
            .filter(|route| route.via.is_some() && route.prefix.contains(&address))
            .min_by_key(|route| {
                (
                    std::cmp::Reverse(route.prefix.prefix_len()),
                    route.metric,
                    route.via,
                )
            })?;
        peers
            .iter()
            .find(|peer| Some(peer.node) == route.via && peer.network == route.network)
    }
}

/// A path in words.
pub(super) fn way(path: &PathReport) -> String {
    let endpoint = path.endpoint.map(|endpoint| endpoint.to_string());
    match path.kind {
        PathKind::Direct => format!("direct to {}", endpoint.unwrap_or_default()),
        PathKind::Relay => {
            let via = path.via.map(|via| via.to_string()).or(endpoint);
            format!("relayed by {}", via.unwrap_or_default())
        }
        PathKind::None => "the path is gone".to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::RouteState;

    const RED: &str = "8056c2e21c000001";
    const BLUE: &str = "8056c2e21c000002";

    #[test]
    fn a_member_is_named_by_node_address_name_or_any_of_its_addresses() {
        let peers = [
            a_peer("89e92ceee5", "srv2", RED, 5),
            a_peer("d3b0a1c2f4", "nas", RED, 6),
        ];
        for text in ["89e92ceee5", "srv2", "172.27.0.5", "fd00::5"] {
            let (peer, _) = wanted(text).among(&peers, own()).expect("it is there");
            assert_eq!(peer.name, "srv2", "{text}");
        }
    }

    #[test]
    fn the_family_is_the_one_asked_for_or_that_of_the_address() {
        let peers = [a_peer("89e92ceee5", "srv2", RED, 5)];
        for (text, family, expected) in [
            ("srv2", None, "172.27.0.5"),
            ("srv2", Some(Family::V4), "172.27.0.5"),
            ("srv2", Some(Family::V6), "fd00::5"),
            ("fd00::5", None, "fd00::5"),
        ] {
            let wanted = Wanted {
                family,
                ..wanted(text)
            };
            let (_, address) = wanted.among(&peers, own()).expect("it is there");
            assert_eq!(address.to_string(), expected, "{text} {family:?}");
        }
    }

    #[test]
    fn what_is_unclear_is_refused_in_words() {
        let peers = [
            a_peer("89e92ceee5", "srv2", RED, 5),
            a_peer("89e92ceee5", "srv2", BLUE, 5),
            a_peer("d3b0a1c2f4", "nas", RED, 6),
            a_peer("d3b0a1c2f5", "nas", RED, 7),
        ];
        for (text, kind, said) in [
            ("srv3", FailureKind::Failed, "no member srv3"),
            ("srv2", FailureKind::Usage, "--network"),
            ("nas", FailureKind::Usage, "several members"),
            ("0102030405", FailureKind::Usage, "this node"),
        ] {
            let failure = wanted(text).among(&peers, own()).expect_err("unclear");
            assert_eq!(failure.kind, kind, "{failure}");
            assert!(failure.message.contains(said), "{failure}");
        }
        let in_blue = Wanted {
            network: BLUE.parse().ok(),
            ..wanted("srv2")
        };
        assert!(in_blue.among(&peers, own()).is_ok());
        let wrong = Wanted {
            family: Some(Family::V6),
            ..wanted("172.27.0.6")
        };
        assert!(wrong.among(&peers, own()).is_err());
    }

    #[test]
    fn an_address_behind_a_member_is_that_members() {
        let peers = [
            a_peer("89e92ceee5", "srv2", RED, 5),
            a_peer("d3b0a1c2f4", "nas", RED, 6),
        ];
        let route = |prefix: &str, via: &str| RouteReport {
            prefix: prefix.parse().expect("a prefix"),
            network: RED.parse().expect("a network id"),
            via: via.parse().ok(),
            via_name: None,
            metric: 0,
            state: RouteState::Installed,
            interface: None,
            reason: None,
        };
        let routes = [
            route("172.28.0.0/16", "89e92ceee5"),
            route("172.28.1.0/24", "d3b0a1c2f4"),
        ];
        for (address, name) in [
            ("172.28.1.7", Some("nas")),
            ("172.28.2.7", Some("srv2")),
            ("10.0.0.1", None),
        ] {
            let address = address.parse().expect("an address");
            let found = wanted("x").behind(address, &peers, &routes);
            assert_eq!(found.map(|peer| peer.name.as_str()), name);
        }
    }

    fn wanted(text: &str) -> Wanted<'_> {
        Wanted {
            text,
            network: None,
            family: None,
        }
    }

    fn own() -> NodeId {
        "0102030405".parse().expect("a node address")
    }

    pub(in crate::commands) fn a_peer(
        node: &str,
        name: &str,
        network: &str,
        host: u8,
    ) -> PeerReport {
        let addresses = [format!("fd00::{host}"), format!("172.27.0.{host}")];
        PeerReport {
            node: node.parse().expect("a node address"),
            name: name.to_owned(),
            network: network.parse().expect("a network id"),
            addresses: addresses
                .map(|address| address.parse().expect("an address"))
                .into(),
            path: PathReport {
                kind: PathKind::None,
                endpoint: None,
                via: None,
                mtu: None,
                carrier: None,
            },
            standby: Vec::new(),
            latency_ms: None,
            last_handshake: None,
            cipher: None,
            key_exchange: None,
            rx_bytes: 0,
            tx_bytes: 0,
            rx_packets: 0,
            tx_packets: 0,
            dropped: BTreeMap::new(),
        }
    }
}
