//! What of a host is in order, and what is not. Facts that could not be had are `None`, and what needs them is not judged.

use std::net::SocketAddr;

use tombolo_proto::{id::Mtu, id::UnixSeconds};

use super::Finding;

/// Free space below which documents may soon not be kept.
const LITTLE_SPACE: u64 = 64 << 20;
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
    /// Interface and MTU of the default routes.
    pub uplinks: Vec<(String, u32)>,
    /// Where controllers, relays or members see this node.
    pub seen_at: Vec<SocketAddr>,
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
    pub state_problem: Option<String>,
    /// Whether the processor has AES instructions.
    pub aes: Option<bool>,
}

/// One joined network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Id and name.
    pub name: String,
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
    pub clashes: Vec<String>,
    /// Signs that a signing key is in other hands.
    pub alarms: Vec<String>,
}

/// Looks at everything.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![daemon(facts), tun(facts), clock(facts)];
    findings.extend([disk(facts), port(facts), firewall(facts)]);
    findings.extend(forwarding(facts));
    findings.extend(rp_filter(facts));
    findings.push(underlay(facts));
    if facts.daemon {
        findings.push(reachability(facts));
        findings.extend(facts.networks.iter().flat_map(network));
        let warnings = facts.warnings.iter();
        findings.extend(
            warnings.map(|warning| Finding::broken("daemon", warning, "see the daemon's log")),
        );
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
            "timedatectl set-ntp true",
        );
    }
    Finding::ok("clock", "the clock is not behind that of the controllers")
}

fn disk(facts: &Facts) -> Finding {
    let dir = &facts.state_dir;
    if let Some(problem) = &facts.state_problem {
        return Finding::broken(
            "disk",
            format!("{dir} cannot be written: {problem}"),
            format!("ls -ld {dir}; df {dir}"),
        );
    }
    match facts.space {
        Some(left) if left < LITTLE_SPACE => Finding::broken(
            "disk",
            format!(
                "{} MiB are left for {dir}: news may not be kept",
                left >> 20
            ),
            format!("df -h {dir}"),
        ),
        Some(left) => Finding::ok("disk", format!("{} MiB are left for {dir}", left >> 20)),
        None => Finding::unknown("disk", format!("{dir} is not there yet")),
    }
}

fn port(facts: &Facts) -> Finding {
    let port = facts.port;
    match &facts.port_problem {
        Some(problem) => Finding::broken(
            "port",
            format!("UDP port {port}: {problem}"),
            format!("ss -lunp 'sport = :{port}'"),
        ),
        None if facts.daemon => Finding::ok("port", format!("the daemon has UDP port {port}")),
        None => Finding::ok("port", format!("UDP port {port} is free")),
    }
}

fn firewall(facts: &Facts) -> Finding {
    let Some(ruleset) = &facts.ruleset else {
        return Finding::unknown(
            "firewall",
            "nftables rules cannot be listed (is nft installed, and is this root?)",
        );
    };
    if closes(ruleset, facts.port) {
        return Finding::warning(
            "firewall",
            format!(
                "the firewall drops what comes in by default and has no rule for UDP port {}: only peers that this host calls first get through",
                facts.port
            ),
            format!(
                "iptables -I INPUT -p udp --dport {0} -j ACCEPT; ip6tables -I INPUT -p udp --dport {0} -j ACCEPT",
                facts.port
            ),
        );
    }
    Finding::ok(
        "firewall",
        format!("no firewall rule closes UDP port {}", facts.port),
    )
}

/// Whether an input chain drops by default and no rule anywhere names the port.
fn closes(ruleset: &str, port: u16) -> bool {
    let drops = ruleset
        .lines()
        .any(|line| line.contains("hook input") && line.contains("policy drop"));
    let port = port.to_string();
    let names_port = ruleset
        .lines()
        .filter(|line| line.contains("dport"))
        .any(|line| {
            line.split(|letter: char| !letter.is_ascii_digit())
                .any(|number| number == port)
        });
    drops && !names_port
}

fn forwarding(facts: &Facts) -> Vec<Finding> {
    let keys = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    let families = keys.iter().zip(facts.carries).zip(facts.forwarding);
    families
        .map(|((key, carries), is_on)| match is_on {
            Some(true) => Finding::ok("forwarding", format!("{key} is on")),
            Some(false) if carries => Finding::broken(
                "forwarding",
                format!("{key} is off, but this member carries prefixes for others"),
                format!("sysctl -w {key}=1"),
            ),
            Some(false) => Finding::ok("forwarding", format!("{key} is off, and nothing needs it")),
            None => Finding::unknown("forwarding", format!("{key} cannot be read")),
        })
        .collect()
}

fn rp_filter(facts: &Facts) -> Vec<Finding> {
    let finding = |(interface, value): &(String, u32)| {
        if *value == 1 {
            Finding::warning(
                "rp_filter",
                format!(
                    "{interface} drops packets whose way back is another interface: prefixes that two members carry suffer"
                ),
                format!("sysctl -w net.ipv4.conf.{interface}.rp_filter=2"),
            )
        } else {
            Finding::ok("rp_filter", format!("{interface} has rp_filter {value}"))
        }
    };
    facts.rp_filter.iter().map(finding).collect()
}

fn underlay(facts: &Facts) -> Finding {
    let Some((name, mtu)) = facts.uplinks.iter().min_by_key(|(_, mtu)| *mtu) else {
        return Finding::warning(
            "underlay",
            "there is no default route: only peers on connected networks are reached",
            "ip route",
        );
    };
    let smallest = u32::from(Mtu::MIN.0);
    if *mtu < smallest {
        return Finding::broken(
            "underlay",
            format!(
                "{name} takes packets of {mtu} bytes only: too few for IPv6, and for this overlay"
            ),
            format!("ip link set {name} mtu {smallest}"),
        );
    }
    Finding::ok("underlay", format!("{name} takes packets of {mtu} bytes"))
}

fn reachability(facts: &Facts) -> Finding {
    let [direct, relayed] = facts.peers;
    let sessions = format!("{direct} peers directly, {relayed} by a relay");
    if facts.seen_at.is_empty() && !facts.networks.is_empty() {
        return Finding::warning(
            "reachability",
            format!("nobody has told where this node is seen from outside; {sessions}"),
            format!(
                "let UDP out to port 9793 of the controllers, or node up --advertise HOST:{}",
                facts.port
            ),
        );
    }
    let seen: Vec<String> = facts.seen_at.iter().map(ToString::to_string).collect();
    Finding::ok(
        "reachability",
        format!("seen at {}; {sessions}", seen.join(", ")),
    )
}

fn network(network: &Network) -> Vec<Finding> {
    let name = &network.name;
    let mut findings = vec![match (network.status.as_str(), &network.problem) {
        ("ok", None) => Finding::ok("controller", format!("{name}: a controller is connected")),
        ("offline-ok", problem) => Finding::warning(
            "controller",
            format!("{name}: no controller answers{}", because(problem)),
            "node status; is UDP or TCP port 9791 open towards the controllers?",
        ),
        ("pending", _) => Finding::broken(
            "controller",
            format!("{name}: this node waits to be authorised"),
            "controller member authorize NETWORK NODE",
        ),
        (status, problem) => Finding::broken(
            "controller",
            format!("{name}: {status}{}", because(problem)),
            "node status",
        ),
    }];
    let clashes = network.clashes.iter();
    findings.extend(clashes.map(|clash| {
        Finding::warning(
            "clash",
            format!("{name}: {clash}"),
            "give one of the two networks another prefix",
        )
    }));
    let alarms = network.alarms.iter();
    findings.extend(alarms.map(|alarm| {
        Finding::broken(
            "alarm",
            format!("{name}: {alarm}"),
            "controller keyring revoke KEY",
        )
    }));
    if let [Some(wanted), Some(has)] = network.mtu {
        let interface = &network.interface;
        findings.push(if wanted == has {
            Finding::ok(
                "mtu",
                format!("{interface} has the network's MTU of {wanted}"),
            )
        } else {
            Finding::warning(
                "mtu",
                format!("{interface} has MTU {has}, the network {wanted}"),
                format!("ip link set {interface} mtu {wanted}"),
            )
        });
    }
    findings
}

fn because(problem: &Option<String>) -> String {
    problem
        .as_ref()
        .map(|problem| format!(": {problem}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Health, worst};

    #[test]
    fn a_host_in_order_has_no_bad_findings() {
        let findings = examine(&in_order());

        let bad: Vec<&Finding> = findings
            .iter()
            .filter(|finding| finding.health != Health::Ok)
            .collect();
        assert!(bad.is_empty(), "{bad:?}");
    }

    #[test]
    fn every_fault_is_found_and_has_something_that_mends_it() {
        let faults: [(&str, Health, Fault); 14] = [
            ("daemon", Health::Broken, |facts| facts.daemon = false),
            ("daemon", Health::Broken, |facts| {
                facts.warnings = vec!["a thread ended".to_owned()]
            }),
            ("tun", Health::Broken, |facts| {
                facts.tun = Some("no driver".to_owned())
            }),
            ("clock", Health::Broken, |facts| {
                facts.newest_document = Some(UnixSeconds(20_000))
            }),
            ("disk", Health::Broken, |facts| facts.space = Some(1 << 20)),
            ("port", Health::Broken, |facts| {
                facts.port_problem = Some("in use".to_owned())
            }),
            ("firewall", Health::Warning, |facts| {
                facts.ruleset = Some(A_CLOSED_FIREWALL.to_owned())
            }),
            ("forwarding", Health::Broken, |facts| {
                facts.carries = [true, false];
                facts.forwarding = [Some(false), Some(false)];
            }),
            ("rp_filter", Health::Warning, |facts| {
                facts.rp_filter = vec![("tmb0".to_owned(), 1)]
            }),
            ("underlay", Health::Broken, |facts| {
                facts.uplinks = vec![("ppp0".to_owned(), 576)]
            }),
            ("reachability", Health::Warning, |facts| {
                facts.seen_at.clear()
            }),
            ("controller", Health::Broken, |facts| {
                facts.networks[0].status = "pending".to_owned()
            }),
            ("clash", Health::Warning, |facts| {
                facts.networks[0].clashes = vec!["eth1 has it".to_owned()]
            }),
            ("mtu", Health::Warning, |facts| {
                facts.networks[0].mtu = [Some(1400), Some(1500)]
            }),
        ];
        for (check, health, fault) in faults {
            let mut facts = in_order();
            fault(&mut facts);

            let findings = examine(&facts);

            let found = worst(&findings).expect("findings");
            assert_eq!(
                (found.check.as_str(), found.health),
                (check, health),
                "{findings:?}"
            );
            assert!(found.mend.is_some(), "{found:?}");
        }
    }

    #[test]
    fn a_firewall_that_names_the_port_or_lets_everything_in_is_open() {
        let named = A_CLOSED_FIREWALL.replace("dport 22", "dport { 22, 9790 }");
        assert!(!closes(&named, 9790));
        assert!(!closes(&A_CLOSED_FIREWALL.replace("drop", "accept"), 9790));
        assert!(closes(A_CLOSED_FIREWALL, 9790));
        assert!(closes(&A_CLOSED_FIREWALL.replace("22", "19790"), 9790));
    }

    type Fault = fn(&mut Facts);

    const A_CLOSED_FIREWALL: &str = "table inet filter {\n chain input {\n  type filter hook input priority filter; policy drop;\n  tcp dport 22 accept\n }\n}\n";

    fn in_order() -> Facts {
        Facts {
            daemon: true,
            wall: UnixSeconds(10_000),
            newest_document: Some(UnixSeconds(10_060)),
            forwarding: [Some(true), Some(false)],
            rp_filter: vec![("tmb0".to_owned(), 2)],
            ruleset: Some(String::new()),
            port: 9790,
            uplinks: vec![("eth0".to_owned(), 1500)],
            seen_at: vec!["203.0.113.1:9790".parse().expect("an endpoint")],
            peers: [3, 0],
            networks: vec![Network {
                name: "home".to_owned(),
                status: "ok".to_owned(),
                interface: "tmb0".to_owned(),
                mtu: [Some(1400), Some(1400)],
                is_connected: true,
                ..Network::default()
            }],
            state_dir: "/var/lib/tombolo/node".to_owned(),
            space: Some(1 << 33),
            aes: Some(true),
            ..Facts::default()
        }
    }
}
