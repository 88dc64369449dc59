//! `node bench`

mod progress;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tombolo_proto::id::{NetworkId, NodeId};

use super::member::{self, Wanted};
use crate::{
    bench::{
        PATIENCE, PORT, Plan,
        initiator::{self, MeasureError, Measured, Transfer},
        round_trips::RoundTrips,
    },
    cli::{self, Global},
    failure::{Failure, FailureKind},
    local_api::{Request, client::ask},
    output::{self, Table},
    report::{PathReport, PeerReport},
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
    let wanted = Wanted {
        text: &arguments.member,
        network: arguments.network,
        family: arguments.family,
    };
    let (peer, address) = wanted.find(&global.socket)?;
    let line = ProgressLine::new(plan);
    let measured = initiator::run(SocketAddr::new(address, PORT), plan, |progress| {
        line.show(progress);
    });
    line.clear();
    let measured = measured.map_err(|error| explain(&error, &peer, address))?;
    // Once more: before, there may have been no session, and so no path.
    let peers: Vec<PeerReport> = ask(&global.socket, &Request::Peers)?;
    let now = peers
        .into_iter()
        .find(|now| (now.node, now.network) == (peer.node, peer.network));
    print(
        global,
        &report(now.unwrap_or(peer), address, plan, measured),
    )
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
            format!("no answer from {name} at {address}: is it up? See `tombolo peers`"),
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
    let mtu = report.path.mtu.map(|mtu| format!("MTU {mtu}"));
    let flows = format!("{} flow{}", report.flows, plural(report.flows));
    let way = member::way(&report.path);
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
    use super::*;

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rate(2.345e9), "2.35 Gbit/s");
        assert_eq!(rate(94.12e6), "94.1 Mbit/s");
        assert_eq!(rate(812_345.0), "812 kbit/s");
        assert_eq!(rate(0.0), "0.00 bit/s");
    }
}
