//! `node peers`

use std::time::Duration;

use tombolo_engine::diagnosis::ago;

use super::list;
use crate::{
    cli::Global,
    local_api::{Request, client::ask},
    output::{self, Table},
    report::{PathKind, PathReport, PeerReport},
};

pub(super) fn run(global: &Global) -> anyhow::Result<()> {
    let peers: Vec<PeerReport> = ask(&global.socket, &Request::Peers)?;
    if global.json {
        return output::json(&peers);
    }
    let mut table = Table::new([
        "NODE",
        "NAME",
        "ADDRESSES",
        "PATH",
        "LATENCY",
        "MTU",
        "HANDSHAKE",
        "RECEIVED",
        "SENT",
        "CIPHER",
        "STANDBY",
    ]);
    for peer in &peers {
        table.row([
            peer.node.to_string(),
            peer.name.clone(),
            list(&peer.addresses),
            path(&peer.path),
            peer.latency_ms
                .map(|latency| format!("{latency:.1} ms"))
                .unwrap_or_default(),
            peer.path.mtu.map(|mtu| mtu.to_string()).unwrap_or_default(),
            peer.last_handshake.map(age).unwrap_or_default(),
            bytes(peer.rx_bytes),
            bytes(peer.tx_bytes),
            peer.cipher.clone().unwrap_or_default(),
            list(&peer.standby.iter().map(path).collect::<Vec<_>>()),
        ]);
    }
    table.print()
}

fn path(path: &PathReport) -> String {
    let endpoint = path
        .endpoint
        .map(|endpoint| endpoint.to_string())
        .unwrap_or_default();
    let by_tcp = match path.carrier.as_deref() {
        Some("tcp") => " by TCP",
        Some(_) | None => "",
    };
    match path.kind {
        PathKind::Direct => format!("{endpoint}{by_tcp}"),
        PathKind::Relay => format!(
            "relay {}{by_tcp}",
            path.via.map(|via| via.to_string()).unwrap_or(endpoint)
        ),
        PathKind::None => String::new(),
    }
}

/// How long ago; nothing for what is no time.
fn age(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| String::new(), ago)
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0);
    format!("{value:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        assert_eq!(age(0.4), "0 s ago");
        assert_eq!(age(119.9), "119 s ago");
        assert_eq!(age(121.0), "2 min ago");
        assert_eq!(age(7200.0), "2 h ago");
        assert_eq!(age(300_000.0), "3 days ago");
        assert_eq!(age(-1.0), "");
    }

    #[test]
    fn byte_counts_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }
}
