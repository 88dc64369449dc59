//! What of the host itself is in order: disk, ports, firewall, forwarding, the link.

use tombolo_proto::id::Mtu;

use super::{
    Facts,
    firewall::{self, Protocol},
};
use crate::diagnosis::Finding;

/// Free space below which documents may soon not be kept.
const LITTLE_SPACE: u64 = 64 << 20;

pub(super) fn disk(facts: &Facts) -> Finding {
    let dir = &facts.state_dir;
    if let Some(problem) = &facts.state_problem {
        return Finding::broken(
            "disk",
            format!("{dir} cannot be written: {}", problem.said),
            problem.mend.clone(),
        );
    }
    match facts.space {
        Some(left) if left < LITTLE_SPACE => Finding::broken(
            "disk",
            format!(
                "{} MiB are left for {dir}: news may not be kept",
                left >> 20
            ),
            format!("du -xh \"$(stat -c %m {dir})\" | sort -h | tail (shows what to remove)"),
        ),
        Some(left) => Finding::ok("disk", format!("{} MiB are left for {dir}", left >> 20)),
        None => Finding::unknown("disk", format!("{dir} is not there yet")),
    }
}

pub(super) fn ports(facts: &Facts) -> Vec<Finding> {
    let port = facts.port;
    let udp = match &facts.port_problem {
        Some(problem) => Finding::broken(
            "port",
            format!("UDP port {port}: {problem}"),
            format!(
                "tombolo up --port {} (or stop the program that has it: ss -lunp 'sport = :{port}')",
                port.wrapping_add(1)
            ),
        ),
        None if facts.daemon => Finding::ok("port", format!("the daemon has UDP port {port}")),
        None => Finding::ok("port", format!("UDP port {port} is free")),
    };
    let tcp = facts.takes_streams.map(|takes_streams| {
        if takes_streams {
            return Finding::ok("port", format!("the daemon has TCP port {port}"));
        }
        Finding::warning(
            "port",
            format!(
                "another program has TCP port {port}: members whose network lets no UDP through cannot be carried"
            ),
            format!(
                "systemctl restart tombolo (after the program that has it: ss -ltnp 'sport = :{port}')"
            ),
        )
    });
    [udp].into_iter().chain(tcp).collect()
}

/// What the firewall does to what comes in unasked: over UDP from peers, over TCP from those to which no UDP passes.
pub(super) fn firewall(facts: &Facts) -> Vec<Finding> {
    let Some(ruleset) = &facts.ruleset else {
        return vec![Finding::unknown(
            "firewall",
            "nftables rules cannot be listed (is nft installed, and is this root?)",
        )];
    };
    let port = facts.port;
    let judge = |protocol: Protocol, suffer: &str| {
        let name = protocol.name();
        let closed = firewall::closed(ruleset, protocol, port);
        if closed.is_empty() {
            return Finding::ok(
                "firewall",
                format!("no firewall rule closes {name} port {port}"),
            );
        }
        let mends: Vec<String> = closed
            .iter()
            .map(|chain| chain.open(protocol, port))
            .collect();
        Finding::warning(
            "firewall",
            format!("the firewall lets nobody in at {name} port {port}: {suffer}"),
            mends.join("; "),
        )
    };
    let udp = judge(
        Protocol::Udp,
        "only peers that this host calls first get through",
    );
    let tcp = (facts.takes_streams == Some(true)).then(|| {
        judge(
            Protocol::Tcp,
            "members whose network lets no UDP through cannot be carried",
        )
    });
    [udp].into_iter().chain(tcp).collect()
}

pub(super) fn forwarding(facts: &Facts) -> Vec<Finding> {
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

pub(super) fn rp_filter(facts: &Facts) -> Vec<Finding> {
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

pub(super) fn underlay(facts: &Facts) -> Finding {
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
