//! `node bench`

mod progress;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tombolo_proto::id::{NetworkId, NodeId};

use crate::{
    bench::{
        PATIENCE, PORT, Plan,
        initiator::{self, MeasureError, Measured, Transfer},
        round_trips::RoundTrips,
    },
    cli::{self, Family, Global},
    failure::{Failure, FailureKind},
    local_api::{Request, client::ask},
    output::{self, Table},
    report::{IdReport, PathKind, PathReport, PeerReport},
};
use progress::ProgressLine;

/// What `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct BenchReport {
    node: NodeId,
    name: String,
    network: NetworkId,
    address: IpAddr,
    flows: u8,
    /// How the member was reached at the end.
    path: PathReport,
    cipher: Option<String>,
    key_exchange: Option<String>,
    up: Transfer,
    down: Transfer,
    latency_ms: Latencies,
}

/// Round trips of a small TCP exchange over the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Latencies {
    idle: Option<RoundTrips>,
    up: Option<RoundTrips>,
    down: Option<RoundTrips>,
}

pub(super) fn run(global: &Global, arguments: &cli::Bench) -> anyhow::Result<()> {
    let plan = Plan::new(arguments.flows, arguments.seconds).expect("clap has checked the ranges");
    let peers = || ask::<Vec<PeerReport>>(&global.socket, &Request::Peers);
    let own: IdReport = ask(&global.socket, &Request::Id)?;
    let wanted = Wanted {
        text: &arguments.member,
        network: arguments.network,
        family: arguments.family,
    };
    let (peer, address) = wanted.among(&peers()?, own.node)?;
    let line = ProgressLine::new(plan);
    let measured = initiator::run(SocketAddr::new(address, PORT), plan, |progress| {
        line.show(progress);
    });
    line.clear();
    let measured = measured.map_err(|error| explain(&error, &peer, address))?;
    // Once more: before, there may have been no session, and so no path.
    let now = peers()?
        .into_iter()
        .find(|now| (now.node, now.network) == (peer.node, peer.network));
    print(
        global,
        &report(now.unwrap_or(peer), address, plan, measured),
    )
}

/// Which member is meant.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    text: &'a str,
    network: Option<NetworkId>,
    family: Option<Family>,
}

impl Wanted<'_> {
    /// The peer, and the address to reach it at.
    fn among(self, peers: &[PeerReport], own: NodeId) -> Result<(PeerReport, IpAddr), Failure> {
        let text = self.text;
        let usage = |message: String| Err(Failure::new(FailureKind::Usage, message));
        let (address, node) = (text.parse::<IpAddr>().ok(), text.parse::<NodeId>().ok());
        if node == Some(own) {
            return usage("that is this node: name another member, see `node peers`".to_owned());
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
                let message = format!("no member {text} is known here: see `node peers`");
                return Err(Failure::new(FailureKind::Failed, message));
            }
            [first, ..] if meant.iter().all(|peer| peer.node == first.node) => {
                return usage(format!(
                    "{text} is in several networks: say which with --network ID"
                ));
            }
            [..] => {
                return usage(format!(
                    "several members are called {text}: use a node address, see `node peers`"
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
}

/// One line that says what to do.
fn explain(error: &MeasureError, peer: &PeerReport, address: IpAddr) -> Failure {
    let name = if peer.name.is_empty() {
        peer.node.to_string()
    } else {
        peer.name.clone()
    };
    let (kind, message) = match error {
        MeasureError::NoAnswer(_) => (
            FailureKind::Unreachable,
            format!("no answer from {name} at {address}: is it up? See `node peers`"),
        ),
        MeasureError::NotOffered => (
            FailureKind::Unreachable,
            format!(
                "{name} takes no measurements: they are switched off there ([bench] respond = false), or its version is older"
            ),
        ),
        MeasureError::Busy => (
            FailureKind::Conflict,
            format!("{name} is busy with another measurement: try again in a minute"),
        ),
        MeasureError::OtherVersion => (
            FailureKind::Unreachable,
            format!("{name} measures in another way: bring both nodes to the same version"),
        ),
        MeasureError::Broken(error) if error.kind() == std::io::ErrorKind::WouldBlock => (
            FailureKind::Unreachable,
            format!(
                "nothing came from {name} for {} s: the measurement was broken off",
                PATIENCE.as_secs()
            ),
        ),
        MeasureError::Broken(error) => (
            FailureKind::Unreachable,
            format!("the connection to {name} broke: {error}"),
        ),
    };
    Failure::new(kind, message)
}

fn report(peer: PeerReport, address: IpAddr, plan: Plan, measured: Measured) -> BenchReport {
    BenchReport {
        node: peer.node,
        name: peer.name,
        network: peer.network,
        address,
        flows: plan.flows(),
        path: peer.path,
        cipher: peer.cipher,
        key_exchange: peer.key_exchange,
        up: measured.up,
        down: measured.down,
        latency_ms: Latencies {
            idle: measured.idle,
            up: measured.beside_up,
            down: measured.beside_down,
        },
    }
}

fn print(global: &Global, report: &BenchReport) -> anyhow::Result<()> {
    if global.json {
        return output::json(report);
    }
    output::text_block(&format!(
        "{} {} at {}: {}\n",
        report.node,
        report.name,
        report.address,
        way(report)
    ))?;
    let mut table = Table::new(["", "RATE", "MIN", "MEDIAN", "P99", "MAX"]);
    let latencies = &report.latency_ms;
    for (name, transfer, round_trips) in [
        ("idle", None, latencies.idle),
        ("up", Some(report.up), latencies.up),
        ("down", Some(report.down), latencies.down),
    ] {
        let rate = transfer.map(|transfer| rate(transfer.bits_per_second));
        let cell = |value: fn(&RoundTrips) -> f64| {
            let value = round_trips.as_ref().map(value);
            value
                .map(|value| format!("{value:.2} ms"))
                .unwrap_or_default()
        };
        table.row([
            name.to_owned(),
            rate.unwrap_or_default(),
            cell(|taken| taken.min),
            cell(|taken| taken.median),
            cell(|taken| taken.p99),
            cell(|taken| taken.max),
        ]);
    }
    table.print()
}

/// The path in words.
fn way(report: &BenchReport) -> String {
    let path = &report.path;
    let endpoint = path.endpoint.map(|endpoint| endpoint.to_string());
    let way = match path.kind {
        PathKind::Direct => format!("direct to {}", endpoint.unwrap_or_default()),
        PathKind::Relay => {
            let via = path.via.map(|via| via.to_string()).or(endpoint);
            format!("relayed by {}", via.unwrap_or_default())
        }
        PathKind::None => "the path is gone".to_owned(),
    };
    let mtu = path.mtu.map(|mtu| format!("MTU {mtu}"));
    let flows = format!("{} flow{}", report.flows, plural(report.flows));
    let parts = [Some(way), mtu, report.cipher.clone(), Some(flows)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

const fn plural(count: u8) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Bits per second with three digits.
fn rate(bits_per_second: f64) -> String {
    let units = [(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")];
    let (size, unit) = units
        .into_iter()
        .find(|(size, _)| bits_per_second >= *size)
        .unwrap_or((1.0, "bit/s"));
    let value = bits_per_second / size;
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

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
    fn rates_have_three_digits() {
        assert_eq!(rate(2.345e9), "2.35 Gbit/s");
        assert_eq!(rate(94.12e6), "94.1 Mbit/s");
        assert_eq!(rate(812_345.0), "812 kbit/s");
        assert_eq!(rate(0.0), "0.00 bit/s");
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

    fn a_peer(node: &str, name: &str, network: &str, host: u8) -> PeerReport {
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
