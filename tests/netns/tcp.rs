//! Networks that let no UDP through.

mod load;

use std::time::{Duration, Instant};

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{
        Controller, Node, Overlay, Pings, SOON, repetitions, text, wait_for_mesh, wait_for_ping,
    },
    process::{figure, figures, wait_for},
};

use crate::relays::{now, part, two_and_a_carrier, wait_for_path, wait_for_relay};

/// From the start of a join to the controller's answer.
const PROMISE: Duration = Duration::from_secs(5);
/// From an administrator's change to the node.
const UPDATE: Duration = Duration::from_secs(2);
/// A silent controller that is the only one is given up after three seconds, over UDP as over TCP.
const SILENCE: Duration = Duration::from_millis(3500);
/// UDP is tried after 5, 15 and 35 seconds, and then every two minutes at most.
const BACK: Duration = Duration::from_secs(125);
/// While data flows, better ways are tried every ten seconds, and have to prove themselves for five.
const DIRECT: Duration = Duration::from_secs(20);
/// From a silent cut of the stream in use to the next packet by another relay.
const CUT: Duration = Duration::from_secs(3);
const CUT_MEDIAN: Duration = Duration::from_millis(1500);
/// A stream that has ended is sought after five seconds, then ever more rarely.
const SOUGHT: Duration = Duration::from_secs(10);

#[test]
fn where_udp_is_blocked_the_controller_is_reached_over_tcp_and_over_udp_when_it_passes_again() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let controller = Controller::start(lab.host("ctl"));
    let overlay = Overlay::around(controller, lab, Vec::new(), "");
    let (controller, network) = (&overlay.controller, &overlay.network);
    let mut node = Node::new(overlay.lab.host("a"));
    node.host.namespace.drop_udp();
    node.up_with(&["--log-level", "debug"]);
    let host = &node.host.namespace;

    let start = Instant::now();
    node.join(network, controller).ok();
    wait_for("an answer", PROMISE * 5, || {
        (node.standing(network).as_deref() == Some("pending")).then_some(())
    });
    figure(
        "join where UDP is blocked, to the controller's answer over TCP",
        start.elapsed(),
        PROMISE,
    );
    assert_eq!(carrier(&node, network).as_deref(), Some("tcp"));

    let start = Instant::now();
    controller.authorize(network, &node.id());
    node.wait_for_addresses("tmb0");
    figure(
        "authorised over TCP, to the addresses",
        start.elapsed(),
        UPDATE,
    );

    // A cut that nobody tells of.
    let start = Instant::now();
    host.shell(
        "nft add table inet cut
         nft add chain inet cut in '{ type filter hook input priority 0; }'
         nft add rule inet cut in iifname != lo tcp sport 9791 drop",
    );
    wait_for("the node to notice", SILENCE * 5, || {
        node.controller(network).is_none().then_some(())
    });
    figure(
        "TCP cut silently, to being noticed",
        start.elapsed(),
        SILENCE,
    );
    host.run("nft delete table inet cut");
    wait_for("TCP again", SOON * 3, || {
        (carrier(&node, network).as_deref() == Some("tcp")).then_some(())
    });

    host.let_udp_through();
    let start = Instant::now();
    wait_for("UDP again", BACK * 2, || {
        (carrier(&node, network).as_deref() == Some("udp")).then_some(())
    });
    figure(
        "UDP let through, to being used again",
        start.elapsed(),
        BACK,
    );
    assert_eq!(node.standing(network).as_deref(), Some("ok"));
}

#[test]
fn two_hosts_one_of_them_without_udp_talk_by_the_controllers_relay_over_tcp() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    // Members that relay take streams themselves, so here only the controller does.
    let mut overlay = Overlay::with_config(lab, &["a", "b"], "relay = false\n");
    wait_for_mesh(&overlay.nodes);
    let log = overlay.lab.dir().join("pings.log");
    {
        let [a, b] = &overlay.nodes[..] else {
            panic!("two nodes");
        };
        wait_for_path(a, b, "direct");
        for node in [a, b] {
            wait_for("a relay", SOON * 2, || (relays(node) > 0).then_some(()));
        }
        let pings = Pings::start(&a.host.namespace, b.v4(), &log);
        let after = answered_after(&pings, || a.host.namespace.drop_udp());
        figure(
            "all UDP of a host cut, to the next answer over TCP",
            after,
            PROMISE,
        );
        let path = wait_for_path(a, b, "relay");
        assert_eq!(text(&path, "/carrier"), "tcp");
        let why = a.json(&["why", &b.id()]);
        assert_eq!(why["relayed_because"], "udp_blocked", "{why}");
        let said = text(&why, "/conclusion");
        assert!(said.contains("a controller over TCP"), "{said}");
        assert!(said.contains("UDP is blocked"), "{said}");
        let candidates = why["candidates"].as_array().map_or(0, Vec::len);
        assert!(candidates > 1, "{why}");
    }

    starts_without_udp_and_goes_back(&mut overlay, "");
}

#[test]
fn without_controllers_a_member_relays_over_tcp_for_one_without_udp() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::with_config(lab, &["a", "b", "carrier"], "relay = false\n");
    overlay.nodes[2].stop();
    overlay.nodes[2].configure("");
    overlay.nodes[2].up();
    wait_for_mesh(&overlay.nodes);
    let log = overlay.lab.dir().join("pings.log");
    let carrier = overlay.nodes[2].id();
    for node in &overlay.nodes[..2] {
        wait_for_relay(node, &carrier);
    }
    overlay.controller.kill();
    {
        let [a, b, carrier] = &overlay.nodes[..] else {
            panic!("three nodes");
        };
        let pings = Pings::start(&a.host.namespace, b.v4(), &log);
        let after = answered_after(&pings, || a.host.namespace.drop_udp());
        figure(
            "all UDP of a host cut, to the next answer by a member over TCP, no controller",
            after,
            PROMISE,
        );
        wait_for_ping(&a.host.namespace, carrier.v4());
        let path = wait_for_path(a, carrier, "direct");
        assert_eq!(text(&path, "/carrier"), "tcp");
        assert!(
            text(&path, "/endpoint").contains(&carrier.host.v4.to_string())
                || text(&path, "/endpoint").contains(&carrier.host.v6.to_string())
        );
    }

    starts_without_udp_and_goes_back(&mut overlay, " by a member, no controller");
}

#[test]
fn a_stream_to_the_relay_in_use_is_cut_silently_and_another_relay_takes_over_by_tcp() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let hosts = ["a", "b", "c1", "c2"].map(|name| lab.host(name));
    for host in &hosts {
        host.namespace.drop_relayed_by_controllers();
    }
    part(&hosts[1], &hosts[0]);
    let overlay = Overlay::on_hosts(lab, hosts.into(), "");
    let [a, b, c1, c2] = &overlay.nodes[..] else {
        panic!("four nodes");
    };
    wait_for_ping(&a.host.namespace, b.v4());
    a.host.namespace.drop_udp();
    let pings = Pings::start(
        &a.host.namespace,
        b.v4(),
        &overlay.lab.dir().join("pings.log"),
    );
    let mut gaps = Vec::new();
    for _ in 0..repetitions(3, 20) {
        for carrier in [c1, c2] {
            for node in [a, b] {
                wait_for_relay(node, &carrier.id());
            }
            wait_for_ping(&a.host.namespace, carrier.v4());
            wait_for("both relays by TCP", SOON * 2, || {
                (text(&wait_for_path(a, carrier, "direct"), "/carrier") == "tcp").then_some(())
            });
        }
        let via = text(&wait_for_path(a, b, "relay"), "/via");
        let carrier = if via == c1.id() { c1 } else { c2 };
        gaps.push(answered_after(&pings, || part(&carrier.host, &a.host)));
        carrier.host.let_through();
    }
    let [median, worst] = figures(
        "stream to the relay in use cut to the next answer by another relay over TCP",
        gaps,
    );
    figure("median of those", median, CUT_MEDIAN);
    figure("worst of those", worst, CUT);
}

#[test]
fn a_stream_to_a_member_that_has_ended_is_opened_again_while_another_member_relays() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = two_and_a_carrier(lab);
    let [a, b, carrier] = &overlay.nodes[..] else {
        panic!("three nodes");
    };
    a.host.namespace.drop_udp();
    let log = overlay.lab.dir().join("pings.log");
    let pings = Pings::start(&a.host.namespace, b.v4(), &log);
    wait_for_stream(a, b);

    part(&b.host, &a.host);
    let path = wait_for_path(a, b, "relay");
    assert_eq!(text(&path, "/via"), carrier.id());
    // Its end is what is waited for: it might as well be mended before.
    wait_for("the stream to end", SOON * 2, || {
        let to_b = format!("( dst {} or dst [{}] )", b.host.v4, b.host.v6);
        let ss = format!("ss -Htn state established {to_b}");
        let open = a.host.namespace.run(&ss);
        open.is_empty().then_some(())
    });
    b.host.let_through();

    let start = Instant::now();
    wait_for_stream(a, b);
    figure(
        "stream to a member possible again after it ended, to being used instead of a relay",
        start.elapsed(),
        SOUGHT,
    );
    drop(pings);
}

/// The first node starts where UDP is blocked, and is let out in the end.
fn starts_without_udp_and_goes_back(overlay: &mut Overlay, by: &str) {
    let mut started = Vec::new();
    for _ in 0..repetitions(3, 20) {
        overlay.nodes[0].stop();
        let start = Instant::now();
        overlay.nodes[0].up();
        let answered = wait_for_ping(&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());
        started.push(answered.duration_since(start));
    }
    let [median, _] = figures(
        &format!("start where UDP is blocked, to the first answer over TCP{by}"),
        started,
    );
    figure("median of those", median, PROMISE);

    let [a, b, ..] = &overlay.nodes[..] else {
        panic!("two nodes");
    };
    a.host.namespace.let_udp_through();
    let start = Instant::now();
    let log = overlay.lab.dir().join("pings.log");
    let pings = Pings::start(&a.host.namespace, b.v4(), &log);
    wait_for_udp(a, b);
    figure(
        &format!("UDP let through, to the direct path{by}"),
        start.elapsed(),
        DIRECT,
    );
    drop(pings);
}

/// From something that happens to the next answer after it.
fn answered_after(pings: &Pings, happens: impl FnOnce()) -> Duration {
    wait_for("a first answer", SOON, || pings.times().first().copied());
    happens();
    let cut = now();
    let answered = wait_for("the next answer", PROMISE * 5, || {
        pings.times().into_iter().find(|time| *time > cut + 0.1)
    });
    Duration::from_secs_f64(answered - cut)
}

fn wait_for_stream(node: &Node, to: &Node) {
    wait_for("a stream", SOUGHT * 5, || {
        (text(&wait_for_path(node, to, "direct"), "/carrier") == "tcp").then_some(())
    });
}

fn wait_for_udp(node: &Node, to: &Node) {
    let to = to.id();
    wait_for("a direct path over UDP", DIRECT * 5, || {
        let peers = node.json(&["peers"]);
        let mut peers = peers.as_array()?.iter();
        let peer = peers.find(|peer| peer["node"] == to.as_str())?;
        (peer["path"]["kind"] == "direct" && peer["path"]["carrier"] == "udp").then_some(())
    });
}

/// Relays that a node keeps warm.
fn relays(node: &Node) -> usize {
    let status = node.json(&["status"]);
    let relays = status.pointer("/networks/0/relays");
    relays
        .and_then(|relays| relays.as_array())
        .map_or(0, Vec::len)
}

/// What the connection to the controller goes by.
fn carrier(node: &Node, network: &str) -> Option<String> {
    let status = node.network(network)?;
    status["carrier"].as_str().map(str::to_owned)
}
