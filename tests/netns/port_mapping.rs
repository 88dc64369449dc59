//! Routers that are asked to let everybody in at a port.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tombolo_tests::{
    nat::{Nat, PortProtocol, Router},
    netns::{Claim, Lab},
    overlay::{Node, Overlay, SOON, answers, text, wait_for_ping},
    process::{Process, announce, figure, wait_for},
};

use crate::{
    nat::is_direct,
    relays::{wait_for_path, wait_for_relay},
};

/// From Debian's package miniupnpd-nftables.
const MINIUPNPD: &str = "/usr/sbin/miniupnpd";
/// The daemon takes no outer address that is reserved, as those of laboratories are.
const OUTER: &str = "20.0.0.1";
/// What a host without UDP needs to find a way by TCP.
const PROMISE_TCP: Duration = Duration::from_secs(5);

#[test]
fn a_router_that_maps_ports_is_asked_for_them_and_gets_them_back() {
    ports_are_mapped_and_given_back(PortProtocol::Pcp, Duration::from_secs(3));
}

#[test]
fn a_router_that_knows_upnp_alone_is_asked_for_ports_too_and_gets_them_back() {
    ports_are_mapped_and_given_back(PortProtocol::Upnp, Duration::from_secs(10));
}

fn ports_are_mapped_and_given_back(by: PortProtocol, promise: Duration) {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let Some((mapping, _mapper)) = router_that_maps(&lab, by) else {
        return;
    };
    let symmetric = lab.router("r2", 2, Nat::Symmetric);
    let route = format!("ip route add {OUTER}/32 dev eth0");
    symmetric.host.namespace.run(&route);
    let hosts = vec![
        lab.host_behind(&mapping, "mapped", 2),
        lab.host_behind(&symmetric, "sym", 2),
    ];
    let mut overlay = Overlay::on_hosts(lab, hosts, "");
    wait_for("ports of the router's", SOON, || {
        is_mapped(&overlay.nodes[0]).then_some(())
    });
    overlay.nodes[0].stop();
    let start = Instant::now();
    overlay.nodes[0].up();
    wait_for("ports of the router's", promise * 5, || {
        is_mapped(&overlay.nodes[0]).then_some(())
    });
    figure(
        &format!("start of a node to the ports of its router ({by:?})"),
        start.elapsed(),
        promise,
    );

    assert_eq!(router(&overlay.nodes[0]), "ok");
    assert_eq!(router(&overlay.nodes[1]), "warning");

    wait_for("a direct path to the mapped port", SOON, || {
        let _ = answers(&overlay.nodes[1].host.namespace, overlay.nodes[0].v4());
        is_direct(&overlay.nodes[1], &overlay.nodes[0]).then_some(())
    });
    let rules = || mapping.host.namespace.run("nft list ruleset");
    // One for UDP and one for TCP.
    let mapped = rules().matches("dnat ip to 10.1.0.2:9790").count();
    assert_eq!(mapped, 2, "{}", rules());

    overlay.nodes[0].stop();

    assert!(!rules().contains("dnat ip to 10.1.0.2"), "{}", rules());
}

#[test]
fn a_member_behind_a_router_that_maps_ports_is_reached_by_tcp_and_relays_for_others() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some((mapping, _mapper)) = router_that_maps(&lab, PortProtocol::Pcp) else {
        return;
    };
    let hosts = vec![
        lab.host_behind(&mapping, "mapped", 2),
        lab.host("a"),
        lab.host("b"),
    ];
    for host in &hosts[1..] {
        let route = format!("ip route add {OUTER}/32 dev eth0");
        host.namespace.run(&route);
        host.namespace.drop_relayed_by_controllers();
    }
    let mut overlay = Overlay::on_hosts(lab, hosts, "");
    for node in &mut overlay.nodes[1..] {
        node.stop();
        node.configure("relay = false\n");
        node.up();
    }
    let [mapped, a, b] = &overlay.nodes[..] else {
        panic!("three nodes");
    };
    wait_for("ports of the router's", SOON, || {
        is_mapped(mapped).then_some(())
    });
    for node in [a, b] {
        wait_for_ping(&node.host.namespace, mapped.v4());
        wait_for_relay(node, &mapped.id());
    }

    a.host.namespace.drop_udp();
    let start = Instant::now();
    let answered = wait_for_ping(&a.host.namespace, mapped.v4());
    figure(
        "all UDP of a host cut, to the next answer over TCP of a member behind a router",
        answered.duration_since(start),
        PROMISE_TCP,
    );
    let path = wait_for_path(a, mapped, "direct");
    assert_eq!(text(&path, "/carrier"), "tcp");
    assert_eq!(text(&path, "/endpoint"), format!("{OUTER}:9790"));

    wait_for_ping(&a.host.namespace, b.v4());
    let path = wait_for_path(a, b, "relay");
    assert_eq!(text(&path, "/via"), mapped.id());
}

/// Inner network 10.1.0.0/24. Without the program the test is skipped.
fn router_that_maps(lab: &Lab, by: PortProtocol) -> Option<(Router, Process)> {
    if !Path::new(MINIUPNPD).exists() {
        let complaint = "SKIPPED: port mapping needs miniupnpd-nftables. Run: make test";
        assert!(std::env::var_os("CI").is_none(), "{complaint}");
        announce(complaint);
        return None;
    }
    let router = lab.router("r1", 1, Nat::PortRestricted);
    let address = format!("ip addr add {OUTER}/32 dev eth0");
    router.host.namespace.run(&address);
    let mapper = Process::spawn(
        "miniupnpd",
        &mut router.maps_ports(MINIUPNPD, OUTER, by),
        &router.host.dir.join("miniupnpd.log"),
    );
    Some((router, mapper))
}

/// Whether both ports are.
fn is_mapped(node: &Node) -> bool {
    let status = node.json(&["status"]);
    let expected = format!("{OUTER}:9790");
    let is_at = |name: &str| status["nat"][name] == expected.as_str();
    is_at("mapped_port") && is_at("mapped_tcp_port")
}

/// What doctor thinks of the router.
fn router(node: &Node) -> String {
    let said = node.verb(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let mut findings = report["findings"].as_array().expect("findings").iter();
    let router = findings.find(|finding| finding["check"] == "router");
    text(router.expect("a finding"), "/health")
}
