//! Underlays that take less than Ethernet, or more, or that swallow what is too large without a word.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::Value;
use tombolo_tests::{
    netns::{Claim, Host, Lab, Namespace},
    overlay::{Node, Overlay, SOON, repetitions, wait_for_ping},
    process::{Process, announce, figure, figures, wait_for},
};

use super::{iperf, iperf_server};

/// What a transfer may stand still for.
const STALL: Duration = Duration::from_secs(2);

#[test]
fn a_transfer_goes_on_after_a_hole_has_opened_under_it() {
    let mut stalls = Vec::new();
    for _ in 0..repetitions(2, 10) {
        let Some(stall) = stall_under_a_hole() else {
            return;
        };
        stalls.push(stall);
    }
    let what = "a TCP transfer stalls under a hole above 1,300 bytes for";
    let [median, worst] = figures(what, stalls);
    figure(&format!("{what}, median"), median, STALL);
    figure(&format!("{what}, worst"), worst, STALL);
}

/// How long a transfer stands still when from one moment on larger datagrams vanish; what went in them goes in parts then.
fn stall_under_a_hole() -> Option<Duration> {
    let lab = Lab::new(Claim::Alone)?;
    let hosts = vec![lab.host("a"), lab.host("b")];
    for host in &hosts {
        datagrams_leave_one_by_one(host);
        host.namespace
            .run("ip -6 address flush dev eth0 scope global");
    }
    let overlay = Overlay::on_hosts(lab, hosts, "");
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    wait_for_mtu(a, 1400);
    let server = iperf_server(&b.host.namespace, &overlay.lab.dir().join("iperf.log"));
    let log = overlay.lab.dir().join("transfer.log");
    let before = sent_bytes(a);
    let mut command = a.host.namespace.command("iperf3");
    command.args(["-J", "-t", "12", "-i", "0.1", "-c", &b.v4().to_string()]);
    let mut transfer = Process::spawn("iperf3", &mut command, &log);
    wait_for("data to flow", SOON, || {
        (sent_bytes(a) > before + 5_000_000).then_some(())
    });

    swallow(overlay.lab.underlay(), &["p-a", "p-b"], 1300);

    let status = transfer.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", transfer.log());
    let report: Value = serde_json::from_str(&transfer.log()).expect("iperf3 -J prints JSON");
    let received = report["end"]["sum_received"]["bytes"].as_u64();
    announce(&format!("figure: bytes moved in all {received:?}"));
    // 20 bytes of IPv4, 8 of UDP, 32 of the lane.
    wait_for_mtu_in(a, 1300 - 60 - 8..=1300 - 60);
    // And packets of full size, in both directions, with the mark that forbids to divide them.
    whole_packets_pass(a, b, 1400);
    whole_packets_pass(b, a, 1400);
    drop(server);
    Some(longest_stall(&report))
}

#[test]
fn an_ipv6_underlay_of_1280_carries_packets_of_full_size() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let hosts = vec![lab.host("a"), lab.host("b")];
    let [one, other] = hosts.as_slice() else {
        panic!("two hosts")
    };
    // Between the two there is IPv6 alone.
    one.cut_off(other.v4);
    for host in &hosts {
        host.namespace.run("ip link set eth0 mtu 1280");
    }
    // The controller is reached by IPv4 and sees nobody's IPv6 address: they say it themselves.
    let overlay = Overlay::on_hosts(lab, hosts, "");
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());

    // The first packets may have gone by a relay.
    wait_for("a direct path by IPv6", SOON, || {
        let endpoint = a.json(&["peers"])[0]["path"]["endpoint"].clone();
        endpoint.as_str()?.starts_with('[').then_some(())
    });
    // 40 bytes of IPv6, 8 of UDP, 32 of the lane.
    wait_for_mtu_in(a, 1200 - 8..=1200);

    for size in [1280, 1399, 1400] {
        whole_packets_pass(a, b, size);
        whole_packets_pass(b, a, size);
    }
    let server = iperf_server(&b.host.namespace, &overlay.lab.dir().join("iperf.log"));
    for extra in ["", "-R", "-u -b 50M -l 1372"] {
        let gbits = iperf(&a.host.namespace, &b.v4().to_string(), extra);
        announce(&format!(
            "figure: IPv6 underlay of 1280, iperf3 {extra} {gbits:.3} Gbit/s"
        ));
        assert!(gbits > 0.01, "data moves {extra}");
    }
    drop(server);
}

#[test]
fn jumbo_frames_are_used_where_the_network_says_so_and_the_underlay_takes_them() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let hosts = vec![lab.host("a"), lab.host("b"), lab.host("c")];
    let underlay = lab.underlay();
    for host in &hosts[..2] {
        host.namespace.run("ip link set eth0 mtu 9000");
        underlay.run(&format!("ip link set p-{} mtu 9000", host.name));
    }
    underlay.run("ip link set br0 mtu 9000");
    let overlay = Overlay::on_hosts(lab, hosts, "");
    overlay
        .controller
        .verb(&["network", "set", &overlay.network, "--mtu", "8900"])
        .ok();
    let [a, b, c] = overlay.nodes.as_slice() else {
        panic!("three nodes")
    };
    for node in [a, b, c] {
        wait_for("the interface's MTU", SOON, || {
            let link = node.host.namespace.run("ip link show tmb0");
            link.contains("mtu 8900").then_some(())
        });
    }
    wait_for_ping(&a.host.namespace, b.v4());
    wait_for_ping(&a.host.namespace, c.v4());

    wait_for("full frames", SOON, || {
        (mtu_to(a, b) == Some(8900)).then_some(())
    });
    whole_packets_pass(a, b, 8900);
    // The third host has ordinary Ethernet: the same packets reach it in parts.
    wait_for("an ordinary path", SOON, || {
        mtu_to(a, c)
            .is_some_and(|mtu| (1400..=1440).contains(&mtu))
            .then_some(())
    });
    whole_packets_pass(a, c, 8900);
    whole_packets_pass(c, a, 8900);

    let server = iperf_server(&b.host.namespace, &overlay.lab.dir().join("iperf.log"));
    let gbits = iperf(&a.host.namespace, &b.v4().to_string(), "");
    announce(&format!("figure: jumbo frames, iperf3 {gbits:.2} Gbit/s"));
    assert!(gbits > 0.01, "data moves");
    drop(server);
}

/// A packet of `size` bytes that must not be divided inside the overlay, and its answer.
fn whole_packets_pass(from: &Node, to: &Node, size: usize) {
    for (headers, address) in [(28, to.v4().to_string()), (48, to.v6().to_string())] {
        wait_for("a packet of full size to be answered", SOON, || {
            let line = format!("ping -n -q -M do -c 1 -W 2 -s {} {address}", size - headers);
            (from.host.namespace.try_run(&line).code == 0).then_some(())
        });
    }
}

/// The kernel cuts trains of datagrams before they reach the wire, so that what lies on the way sees single ones.
fn datagrams_leave_one_by_one(host: &Host) {
    host.namespace.run("ip link set eth0 gso_max_segs 1");
}

/// From now on IP packets above `size` bytes vanish on these ports without a word.
fn swallow(underlay: &Namespace, ports: &[&str], size: u32) {
    let chains: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(number, port)| {
            format!(
                "chain in{number} {{ type filter hook ingress device {port} priority 0; meta length > {size} drop; }}"
            )
        })
        .collect();
    underlay.shell(&format!(
        "nft -f - <<'RULES'\ntable netdev hole {{\n{}\n}}\nRULES",
        chains.join("\n")
    ));
}

/// The longest run of intervals in which nothing was acknowledged enough to send more.
fn longest_stall(report: &Value) -> Duration {
    let intervals = report["intervals"].as_array().expect("intervals");
    let mut longest = 0.0_f64;
    let mut current = 0.0;
    for interval in intervals {
        let sum = &interval["sum"];
        if sum["bytes"].as_u64() == Some(0) {
            current += sum["seconds"].as_f64().unwrap_or_default();
            longest = longest.max(current);
        } else {
            current = 0.0;
        }
    }
    Duration::from_secs_f64(longest)
}

fn wait_for_mtu(node: &Node, mtu: u64) {
    wait_for("the path to be measured", SOON, || {
        (node.json(&["peers"])[0]["path"]["mtu"] == mtu).then_some(())
    });
}

/// A search ends at most 8 bytes below what passes.
fn wait_for_mtu_in(node: &Node, sizes: RangeInclusive<u64>) {
    wait_for("a narrow path to be measured", SOON, || {
        let mtu = node.json(&["peers"])[0]["path"]["mtu"].as_u64()?;
        sizes.contains(&mtu).then_some(())
    });
}

fn mtu_to(node: &Node, peer: &Node) -> Option<u64> {
    let peers = node.json(&["peers"]);
    let id = peer.id();
    let entry = peers
        .as_array()?
        .iter()
        .find(|entry| entry["node"] == id.as_str())?;
    entry["path"]["mtu"].as_u64()
}

fn sent_bytes(node: &Node) -> u64 {
    node.json(&["peers"])[0]["tx_bytes"].as_u64().unwrap_or(0)
}
