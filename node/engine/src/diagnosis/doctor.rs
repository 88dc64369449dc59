//! What of a host is in order, and what is not. Facts that could not be had are `None`, and what needs them is not judged.

mod default_routes;
mod firewall;
mod host;
mod networks;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tombolo_proto::id::UnixSeconds;

use super::Finding;
pub use default_routes::{Exit, Ways};

/// A controller's word may be this much ahead of the clock: transit, and clocks that are kept by NTP.
const CLOCK_SLACK: u64 = 120;

/// Everything that is known of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether the daemon answers.
    pub daemon: bool,
    /// Why no TUN device can be made.
    pub tun: Option<String>,
    /// The clock now.
    pub wall: UnixSeconds,
    /// When the newest document that this node holds was signed.
    pub newest_document: Option<UnixSeconds>,
    /// Whether this node carries prefixes for others: IPv4, IPv6.
    pub carries: [bool; 2],
    /// `net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`.
    pub forwarding: [Option<bool>; 2],
    /// The larger of `rp_filter` of all interfaces and of each TUN device.
    pub rp_filter: Vec<(String, u32)>,
    /// What the firewall says, as `nft list ruleset` prints it.
    pub ruleset: Option<String>,
    /// UDP port of the data sockets.
    pub port: u16,
    /// Why the port cannot be had, if the daemon does not run.
    pub port_problem: Option<String>,
    /// Whether the daemon listens for streams of TCP on the same number; none if it is not to relay.
    pub takes_streams: Option<bool>,
    /// Interface and MTU of the default routes.
    pub uplinks: Vec<(String, u32)>,
    /// Where controllers, relays or members see this node.
    pub seen_at: Vec<SocketAddr>,
    /// Whether a translation hides this node, and nobody has said where it can be called.
    pub is_translated: bool,
    /// Whether a controller got through to the data port from where nobody had sent to: IPv4, IPv6; none if none tried.
    pub reached: [Option<bool>; 2],
    /// Where the router lets everybody in because it was asked to: UDP, TCP.
    pub mapped: [Option<SocketAddr>; 2],
    /// Peers with a session: direct, by relay.
    pub peers: [usize; 2],
    /// The joined networks.
    pub networks: Vec<Network>,
    /// What the daemon warns of.
    pub warnings: Vec<String>,
    /// Where state is kept, and how much space is left there.
    pub state_dir: String,
    /// Bytes left there.
    pub space: Option<u64>,
    /// Why it cannot be written.
    pub state_problem: Option<Obstacle>,
    /// Whether the processor has AES instructions.
    pub aes: Option<bool>,
    /// Default routes, of this host and of networks.
    pub ways: Ways,
}

/// Something that is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// What it is, in a sentence.
    pub said: String,
    /// The command that mends it; what else there is to know stands behind it, in parentheses.
    pub mend: String,
}

/// One joined network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name, or its id.
    pub name: String,
    /// This node in it.
    pub node: String,
    /// `ok`, `offline-ok` and so on.
    pub status: String,
    /// Interface.
    pub interface: String,
    /// The network's MTU, and that of the interface.
    pub mtu: [Option<u32>; 2],
    /// Whether a controller is connected.
    pub is_connected: bool,
    /// What keeps it from working.
    pub problem: Option<String>,
    /// Routes that are not installed, and why.
    pub clashes: Vec<Obstacle>,
    /// Signs that a signing key is in other hands.
    pub alarms: Vec<String>,
}

/// Looks at everything.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![daemon(facts), tun(facts), clock(facts)];
    findings.push(host::disk(facts));
    findings.extend(host::ports(facts));
    findings.extend(host::firewall(facts));
    findings.extend(host::forwarding(facts));
    findings.extend(host::rp_filter(facts));
    findings.push(host::underlay(facts));
    if facts.daemon {
        findings.extend(default_routes::default_routes(facts));
        findings.extend(networks::reachability(facts));
        findings.extend(facts.networks.iter().flat_map(networks::network));
        let warnings = facts.warnings.iter();
        findings.extend(warnings.map(|warning| {
            Finding::broken(
                "daemon",
                warning,
                "journalctl -u tombolo; systemctl restart tombolo",
            )
        }));
    }
    if facts.aes == Some(false) {
        findings.push(Finding::warning(
            "cpu",
            "the processor has no AES instructions: ChaCha20-Poly1305 is used, which takes more of it",
            "nothing, or another host where throughput matters",
        ));
    }
    findings
}

fn daemon(facts: &Facts) -> Finding {
    if facts.daemon {
        Finding::ok("daemon", "the daemon answers")
    } else {
        Finding::broken(
            "daemon",
            "the daemon does not answer",
            "systemctl start tombolo",
        )
    }
}

fn tun(facts: &Facts) -> Finding {
    match &facts.tun {
        None => Finding::ok("tun", "TUN devices can be made"),
        Some(problem) => Finding::broken("tun", problem, "modprobe tun"),
    }
}

fn clock(facts: &Facts) -> Finding {
    let Some(newest) = facts.newest_document else {
        return Finding::unknown("clock", "there is nothing signed to compare the clock with");
    };
    let behind = newest.0.saturating_sub(facts.wall.0);
    if behind > CLOCK_SLACK {
        return Finding::broken(
            "clock",
            format!(
                "the clock is at least {behind} s behind: a controller has signed something later than now"
            ),
            format!(
                "timedatectl set-ntp true (or at once: date -u -s @{})",
                newest.0
            ),
        );
    }
    Finding::ok("clock", "the clock is not behind that of the controllers")
}

#[cfg(test)]
mod tests;
