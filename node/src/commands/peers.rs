//! `node peers`

use super::list;
use crate::{
    cli::Global,
    local_api::{Request, client::ask},
    output::{self, Table},
    report::{PathKind, PeerReport},
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
        "RECEIVED",
        "SENT",
        "CIPHER",
    ]);
    for peer in &peers {
        table.row([
            peer.node.to_string(),
            peer.name.clone(),
            list(&peer.addresses),
            path(peer),
            peer.latency_ms
                .map(|latency| format!("{latency:.1} ms"))
                .unwrap_or_default(),
            bytes(peer.rx_bytes),
            bytes(peer.tx_bytes),
            peer.cipher.clone().unwrap_or_default(),
        ]);
    }
    table.print()
}

fn path(peer: &PeerReport) -> String {
    let endpoint = peer
        .path
        .endpoint
        .map(|endpoint| endpoint.to_string())
        .unwrap_or_default();
    match peer.path.kind {
        PathKind::Direct => endpoint,
        PathKind::Relay => format!(
            "relay {}",
            peer.path.via.map(|via| via.to_string()).unwrap_or(endpoint)
        ),
        PathKind::None => String::new(),
    }
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
    fn byte_counts_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }
}
