//! `--metrics ADDR`: counters in the Prometheus text format (version 0.0.4) over plain HTTP, for a scraper on this host.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    local_api::{Request, client::ask},
    report::{NetworkStatus, PathKind, PeerReport, RelayedReport, StatusReport},
};

/// A scraper says what it wants in one packet.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts to serve. Numbers are asked of the daemon over its own socket at every scrape.
pub(crate) async fn serve(address: SocketAddr, socket: PathBuf) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("Failed to serve metrics on {address}: choose another address with --metrics")
    })?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(timeout(PATIENCE, answer(stream, socket.clone())));
                }
                Err(error) => {
                    tracing::debug!(%error, "Failed to accept a scraper");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(())
}

async fn answer(mut stream: TcpStream, socket: PathBuf) -> anyhow::Result<()> {
    let mut request = [0; 2048];
    let length = stream.read(&mut request).await?;
    let is_scrape = request
        .get(..length)
        .is_some_and(|head| head.starts_with(b"GET /metrics "));
    let response = if is_scrape {
        let body = tokio::task::spawn_blocking(move || collect(&socket)).await??;
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    } else {
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
    };
    stream.write_all(response.as_bytes()).await?;
    Ok(())
}

fn collect(socket: &std::path::Path) -> anyhow::Result<String> {
    let status = ask(socket, &Request::Status)?;
    let peers: Vec<PeerReport> = ask(socket, &Request::Peers)?;
    Ok(text(&status, &peers))
}

fn write_rules(text: &mut String, status: &StatusReport) {
    let ruled = || {
        let networks = status.networks.iter();
        networks.filter_map(|network| Some((network.id, network.rules.as_ref()?)))
    };
    family(
        text,
        "tombolo_access_rule_stopped_packets_total",
        "counter",
        "Packets that an access rule stopped, by its number",
    );
    for (id, rules) in ruled() {
        let numbered = (1..).zip(&rules.rules);
        let counts = numbered.map(|(number, rule): (u32, _)| (number.to_string(), rule.stopped));
        for (rule, count) in counts.chain([("default".to_owned(), rules.stopped_by_default)]) {
            let _ = writeln!(
                text,
                "tombolo_access_rule_stopped_packets_total{{network=\"{id}\",rule=\"{rule}\"}} {count}"
            );
        }
    }
    family(
        text,
        "tombolo_tracked_flows",
        "gauge",
        "Flows under way where there are access rules",
    );
    for (id, rules) in ruled() {
        let _ = writeln!(
            text,
            "tombolo_tracked_flows{{network=\"{id}\"}} {}",
            rules.flows
        );
    }
}

fn write_relayed(text: &mut String, relayed: &RelayedReport) {
    for (name, kind, help, value) in [
        (
            "tombolo_relay_clients",
            "gauge",
            "Members that this node relays for",
            relayed.clients,
        ),
        (
            "tombolo_relay_frames_total",
            "counter",
            "Frames relayed",
            relayed.frames,
        ),
        (
            "tombolo_relay_bytes_total",
            "counter",
            "Bytes relayed",
            relayed.bytes,
        ),
        (
            "tombolo_relay_over_budget_total",
            "counter",
            "Frames dropped because a member, or all together, sent more than they may",
            relayed.over_budget,
        ),
    ] {
        family(text, name, kind, help);
        let _ = writeln!(text, "{name} {value}");
    }
}

fn text(status: &StatusReport, peers: &[PeerReport]) -> String {
    let mut text = String::new();
    family(
        &mut text,
        "tombolo_network_up",
        "gauge",
        "1 while this node is a working member",
    );
    for network in &status.networks {
        let up = u8::from(matches!(
            network.status,
            NetworkStatus::Ok | NetworkStatus::OfflineOk
        ));
        let _ = writeln!(
            text,
            "tombolo_network_up{{network=\"{}\"}} {up}",
            network.id
        );
    }
    family(
        &mut text,
        "tombolo_controller_connected",
        "gauge",
        "1 while a controller is connected",
    );
    for network in &status.networks {
        let connected = u8::from(network.controller.is_some());
        let _ = writeln!(
            text,
            "tombolo_controller_connected{{network=\"{}\"}} {connected}",
            network.id
        );
    }
    write_rules(&mut text, status);
    write_relayed(&mut text, &status.relayed);
    family(
        &mut text,
        "tombolo_dropped_packets_total",
        "counter",
        "Packets dropped on behalf of no peer in particular",
    );
    for (reason, count) in &status.dropped {
        let _ = writeln!(
            text,
            "tombolo_dropped_packets_total{{reason=\"{reason}\"}} {count}"
        );
    }
    type Column = (&'static str, &'static str, fn(&PeerReport) -> u64);
    let columns: [Column; 5] = [
        ("tombolo_peer_connected", "gauge", |peer| {
            u64::from(peer.path.kind != PathKind::None)
        }),
        ("tombolo_peer_received_bytes_total", "counter", |peer| {
            peer.rx_bytes
        }),
        ("tombolo_peer_sent_bytes_total", "counter", |peer| {
            peer.tx_bytes
        }),
        ("tombolo_peer_received_packets_total", "counter", |peer| {
            peer.rx_packets
        }),
        ("tombolo_peer_sent_packets_total", "counter", |peer| {
            peer.tx_packets
        }),
    ];
    for (name, kind, value) in columns {
        family(&mut text, name, kind, "Per peer");
        for peer in peers {
            let _ = writeln!(
                text,
                "{name}{{network=\"{}\",peer=\"{}\"}} {}",
                peer.network,
                peer.node,
                value(peer)
            );
        }
    }
    family(
        &mut text,
        "tombolo_peer_dropped_packets_total",
        "counter",
        "Packets of a peer that were dropped",
    );
    for peer in peers {
        for (reason, count) in &peer.dropped {
            let _ = writeln!(
                text,
                "tombolo_peer_dropped_packets_total{{network=\"{}\",peer=\"{}\",reason=\"{reason}\"}} {count}",
                peer.network, peer.node
            );
        }
    }
    text
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
