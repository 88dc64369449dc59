//! Members behind one NAT: on one segment they meet inside, on two by the NAT if it turns their datagrams round.

use std::time::{Duration, Instant};

use tombolo_tests::{
    nat::{Nat, Router},
    netns::{Claim, Host, Lab},
    overlay::{Controller, Node, Overlay, SOON, answers, wait_for_ping},
    process::{figure, figures, wait_for},
};

use crate::relays::wait_for_path;

/// From the first packet to the first answer, and to a direct path.
const PROMISE: Duration = Duration::from_secs(2);

#[test]
fn behind_a_nat_that_hairpins_members_of_two_segments_meet_by_it_and_those_of_one_inside() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let (router, overlay) = behind_one_nat(lab, true);
    let outer = format!("{}:", router.host.v4);
    let [a, beside, across] = &overlay.nodes[..] else {
        panic!("three nodes");
    };
    let pairs = [(a, across), (beside, across)];

    let mut took = Vec::new();
    for (from, to) in pairs {
        let start = Instant::now();
        wait_for_direct(from, to, &[&outer]);
        took.push(start.elapsed());
        wait_for_direct(to, from, &[&outer]);
    }
    let [_, worst] = figures("first packet to a path by hairpin", took);
    assert!(worst < PROMISE * 5, "{worst:?}");

    meet_inside(a, beside);
}

#[test]
fn behind_a_nat_that_does_not_hairpin_members_of_two_segments_are_relayed_and_those_of_one_meet_inside()
 {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let (_router, overlay) = behind_one_nat(lab, false);
    let [a, beside, across] = &overlay.nodes[..] else {
        panic!("three nodes");
    };

    for from in [a, beside] {
        let start = Instant::now();
        let answered = wait_for_ping(&from.host.namespace, across.v4());
        figure(
            "first packet to the first answer, behind one NAT that does not hairpin",
            answered.duration_since(start),
            PROMISE,
        );
        wait_for_path(from, across, "relay");
    }
    wait_for("a reason why", SOON, || {
        let why = a.json(&["why", &across.id()]);
        (why["relayed_because"] == "unanswered").then_some(())
    });

    meet_inside(a, beside);
}

/// `a` and `beside` share a segment, `across` is in another one, which only the router connects to theirs. One NAT is
/// before all of them, and none maps by destination.
fn behind_one_nat(lab: Lab, hairpins: bool) -> (Router, Overlay) {
    let router = lab.router("r1", 1, Nat::PortRestricted);
    let segment = lab.segment(&router, 2);
    if hairpins {
        router.hairpins();
    }
    let hosts = [
        lab.host_behind(&router, "a", 2),
        lab.host_behind(&router, "beside", 3),
        lab.host_in(&router, &segment, "across", 2),
    ];
    let apart = hosts[0].namespace.try_run("ping -c 1 -W 1 10.2.0.2");
    assert_ne!(apart.code, 0, "the segments are apart: {apart:?}");
    let controller = Controller::start(lab.host("ctl"));
    let mut overlay = Overlay::around(controller, lab, Vec::new(), "");
    for (host, port) in hosts.into_iter().zip(9_801..) {
        let node = join(&overlay, host, port);
        overlay.nodes.push(node);
    }
    (router, overlay)
}

fn join(overlay: &Overlay, host: Host, port: u16) -> Node {
    let mut node = Node::new(host);
    node.up_with(&["--port", &port.to_string()]);
    node.join(&overlay.network, &overlay.controller).ok();
    overlay.controller.authorize(&overlay.network, &node.id());
    node.wait_for_addresses("tmb0");
    wait_for("the kind of NAT", SOON, || {
        let status = node.json(&["status"]);
        (status["nat"]["ipv4"]["mapping"] == "endpoint-independent").then_some(())
    });
    node
}

fn meet_inside(a: &Node, beside: &Node) {
    let start = Instant::now();
    wait_for_direct(a, beside, &["10.1.0.3:", "[fd00:1::3]:"]);
    figure("first packet to a path inside", start.elapsed(), PROMISE);
    wait_for_direct(beside, a, &["10.1.0.2:", "[fd00:1::2]:"]);
}

/// Pings until the path is direct, and leads to an endpoint that begins like one of these.
fn wait_for_direct(from: &Node, to: &Node, endpoints: &[&str]) {
    let id = to.id();
    let start = Instant::now();
    loop {
        let _ = answers(&from.host.namespace, to.v4());
        let peers = from.json(&["peers"]);
        let mut peers = peers.as_array().into_iter().flatten();
        let path = peers
            .find(|peer| peer["node"] == id)
            .map(|peer| &peer["path"]);
        let is_there = path.is_some_and(|path| {
            let at = path["endpoint"].as_str().unwrap_or_default();
            path["kind"] == "direct" && endpoints.iter().any(|endpoint| at.starts_with(endpoint))
        });
        if is_there {
            return;
        }
        let why = || from.verb(&["why", &id]).stdout;
        assert!(start.elapsed() < SOON * 2, "{endpoints:?}: {}", why());
    }
}
