//! `node status`

use std::fmt::Write as _;

use super::list;
use crate::{
    cli::Global,
    local_api::{Request, client::ask},
    output,
    report::{NetworkReport, StatusReport},
};

/// Stopped flows that are shown of each network; JSON has more.
const SHOWN_STOPPED: usize = 3;

pub(super) fn run(global: &Global) -> anyhow::Result<()> {
    let status: StatusReport = ask(&global.socket, &Request::Status)?;
    if global.json {
        return output::json(&status);
    }
    output::text_block(&text(&status))
}

fn text(status: &StatusReport) -> String {
    let mut text = format!(
        "{} {}, version {}, UDP port {}",
        output::bold("node"),
        status.node,
        status.version,
        status.port
    );
    if !status.endpoints.is_empty() {
        let _ = write!(text, ", seen at {}", list(&status.endpoints));
    }
    text.push('\n');
    for (family, nat) in [("IPv4", &status.nat.ipv4), ("IPv6", &status.nat.ipv6)] {
        if let Some(nat) = nat {
            let _ = writeln!(
                text,
                "  NAT ({family}): mapping {}, filtering {}",
                nat.mapping, nat.filtering
            );
        }
    }
    let mapped = [
        ("UDP", status.nat.mapped_port),
        ("TCP", status.nat.mapped_tcp_port),
    ];
    for (protocol, mapped) in mapped {
        if let Some(mapped) = mapped {
            let _ = writeln!(text, "  {protocol} port mapped by the router: {mapped}");
        }
    }
    let forwarding = &status.forwarding;
    let _ = writeln!(
        text,
        "  forwarding: {} queue(s), AES {}, UDP GSO {}, UDP GRO {}",
        forwarding.queues,
        on(forwarding.cpu_aes),
        on(forwarding.udp_gso),
        on(forwarding.udp_gro)
    );
    if let Some(listening) = &status.names {
        let on = if listening.is_empty() {
            "nowhere yet".to_owned()
        } else {
            format!("on {}", list(listening))
        };
        let _ = writeln!(text, "  names: answered {on}");
    }
    for warning in &status.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    if status.networks.is_empty() {
        text.push_str("No network joined: `tombolo join <network-id | tombolo://…>`\n");
    }
    for network in &status.networks {
        write_network(&mut text, network);
    }
    text
}

fn write_network(text: &mut String, network: &NetworkReport) {
    let name = network.name.as_deref().unwrap_or("?");
    let _ = writeln!(
        text,
        "{} {} ({name}): {}",
        output::bold("network"),
        network.id,
        network.status.as_str()
    );
    let _ = write!(text, "  interface {}", network.interface);
    if let Some(mtu) = network.mtu {
        let _ = write!(text, ", MTU {mtu}");
    }
    if !network.offload.is_empty() {
        let _ = write!(text, ", offload {}", network.offload.join(" "));
    }
    text.push('\n');
    if !network.addresses.is_empty() {
        let _ = writeln!(text, "  addresses {}", list(&network.addresses));
    }
    if let Some(prefix) = network.prefix {
        let _ = writeln!(text, "  prefix for containers {prefix}");
    }
    let _ = writeln!(
        text,
        "  controller {}{}",
        network.controller.as_deref().unwrap_or("not connected"),
        match network.carrier.as_deref() {
            Some("tcp") => " by TCP: UDP to it does not pass",
            Some(_) | None => "",
        }
    );
    if let Some(rules) = &network.rules {
        let _ = writeln!(
            text,
            "  access rules: {}, default {}; {} packet(s) stopped, {} flow(s) under way",
            rules.rules.len(),
            rules.default,
            rules.all_stopped(),
            rules.flows
        );
        for stopped in rules.stopped.iter().take(SHOWN_STOPPED) {
            let _ = writeln!(text, "    {}", stopped.sentence());
        }
    }
    if let Some(problem) = &network.problem {
        let _ = writeln!(text, "  problem: {problem}");
    }
    for alarm in &network.alarms {
        let _ = writeln!(text, "  alarm: {alarm}");
    }
    for clash in &network.clashes {
        let _ = writeln!(text, "  clash: {clash}");
    }
    for kept in &network.not_taken {
        let _ = writeln!(
            text,
            "  not taken: {}, because {} is off here: {}",
            list(&kept.prefixes),
            kept.setting,
            kept.mend
        );
    }
}

const fn on(is_on: bool) -> &'static str {
    if is_on { "yes" } else { "no" }
}
