//! How this node is reached, and how it stands in its networks.

use super::{
    Facts, Network,
    firewall::{self, Protocol},
};
use crate::diagnosis::Finding;

pub(super) fn reachability(facts: &Facts) -> Vec<Finding> {
    let [direct, relayed] = facts.peers;
    let sessions = format!("{direct} peers directly, {relayed} by a relay");
    if facts.seen_at.is_empty() && !facts.networks.is_empty() {
        return vec![Finding::warning(
            "reachability",
            format!("nobody has told where this node is seen from outside; {sessions}"),
            format!(
                "tombolo up --advertise HOST:{} (or let UDP out to port 9793 of the controllers)",
                facts.port
            ),
        )];
    }
    let seen: Vec<String> = facts.seen_at.iter().map(ToString::to_string).collect();
    let seen = Finding::ok(
        "reachability",
        format!("seen at {}; {sessions}", seen.join(", ")),
    );
    [seen]
        .into_iter()
        .chain(outside(facts))
        .chain(router(facts))
        .collect()
}

/// Whether strangers get in at the data port, as a controller has tried.
fn outside(facts: &Facts) -> Vec<Finding> {
    let port = facts.port;
    let is_behind_router = facts.is_translated && facts.mapped[0].is_none();
    let judge = |(reached, family): (Option<bool>, &str)| match reached? {
        // The controller has been sent to, and a NAT may let in every port of such hosts (RFC 4787 section 5).
        true if is_behind_router && family == "IPv4" => Some(Finding::unknown(
            "reachability",
            format!(
                "UDP port {port} is reachable from outside over {family} for the controller that tried; whether for hosts that this one has not sent to cannot be seen from there"
            ),
        )),
        true => Some(Finding::ok(
            "reachability",
            format!("UDP port {port} is reachable from outside over {family}"),
        )),
        // What is to be done about a router is said of it.
        false if is_behind_router && family == "IPv4" => None,
        false => Some(Finding::warning(
            "reachability",
            format!(
                "UDP port {port} is not reachable from outside over {family}: only peers that this host calls first get through"
            ),
            mend_outside(facts),
        )),
    };
    let families = facts.reached.into_iter().zip(["IPv4", "IPv6"]);
    families.filter_map(judge).collect()
}

/// What opens the port: here, or else in front of this host, where no command of this host's reaches.
fn mend_outside(facts: &Facts) -> String {
    let port = facts.port;
    let ruleset = facts.ruleset.as_deref().unwrap_or_default();
    let closed = firewall::closed(ruleset, Protocol::Udp, port);
    if closed.is_empty() {
        return format!(
            "open UDP port {port} to this host in the firewall in front of it, your provider's or your router's (no rule of this host closes it)"
        );
    }
    let mends: Vec<String> = closed
        .iter()
        .map(|chain| chain.open(Protocol::Udp, port))
        .collect();
    mends.join("; ")
}

/// Whether a router in front of this host lets anybody in.
fn router(facts: &Facts) -> Option<Finding> {
    if !facts.is_translated || facts.seen_at.is_empty() {
        return None;
    }
    let port = facts.port;
    let [udp, tcp] = facts.mapped;
    let is_tcp_missing = facts.takes_streams == Some(true) && tcp.is_none();
    let missing: Vec<&str> = [("UDP", udp.is_none()), ("TCP", is_tcp_missing)]
        .into_iter()
        .filter_map(|(name, is_missing)| is_missing.then_some(name))
        .collect();
    if missing.is_empty() {
        let open: Vec<String> = [("UDP", udp), ("TCP", tcp)]
            .into_iter()
            .filter_map(|(name, at)| Some(format!("{name} {}", at?)))
            .collect();
        let open = open.join(", ");
        return Some(Finding::ok(
            "router",
            format!("the router lets everybody in at {open}"),
        ));
    }
    let missing = missing.join(" and ");
    Some(Finding::warning(
        "router",
        format!(
            "the router in front of this host opens no port for {missing}: peers are reached by calling each other or by a relay, and nobody is carried"
        ),
        format!(
            "tombolo up --advertise HOST:{port} (after forwarding {missing} port {port} of the router to this host; or switch on PCP, NAT-PMP or UPnP there)"
        ),
    ))
}

pub(super) fn network(network: &Network) -> Vec<Finding> {
    let name = &network.name;
    let mut findings = vec![match (network.status.as_str(), &network.problem) {
        ("ok", None) => Finding::ok("controller", format!("{name}: a controller is connected")),
        ("offline-ok", problem) => Finding::warning(
            "controller",
            format!("{name}: no controller answers{}", because(problem)),
            "systemctl start tombolo-controller (on its host; UDP and TCP port 9791 have to be open there)",
        ),
        ("pending", _) => Finding::broken(
            "controller",
            format!("{name}: this node waits to be authorised"),
            format!(
                "tombolo-controller member authorize {} {}",
                network.id, network.node
            ),
        ),
        (status, problem) => Finding::broken(
            "controller",
            format!("{name}: {status}{}", because(problem)),
            format!(
                "tombolo-controller member authorize {0} {1} (or here: tombolo leave {0})",
                network.id, network.node
            ),
        ),
    }];
    let clashes = network.clashes.iter();
    findings.extend(clashes.map(|clash| {
        Finding::warning(
            "clash",
            format!("{name}: {}", clash.said),
            clash.mend.clone(),
        )
    }));
    let alarms = network.alarms.iter();
    findings.extend(alarms.map(|alarm| {
        Finding::broken(
            "alarm",
            format!("{name}: {alarm}"),
            "tombolo-controller keyring revoke KEY",
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
