//! Ways to a peer break, move and come back, and what is under way goes on: real daemons, pinged all the time.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::Signal;
use tombolo_tests::{
    nat::Nat,
    netns::{Claim, Lab, Lan},
    overlay::{Node, Overlay, Pings, SOON, repetitions, wait_for_ping},
    process::{announce, figure, figures, wait_for},
    wan::{Quality, Wan},
};

use crate::relays::part;

/// Between two pings.
const BEAT: Duration = Duration::from_millis(20);
/// What was under way when a line was cut still arrives.
const IN_FLIGHT: Duration = Duration::from_millis(60);
const CUT_MEDIAN: Duration = Duration::from_millis(1500);
const CUT_WORST: Duration = Duration::from_secs(3);
const REBOUND: Duration = Duration::from_secs(1);
const MOVED: Duration = Duration::from_secs(2);
const ROUTER: Duration = Duration::from_secs(3);

#[test]
fn traffic_leaves_a_cut_way_for_the_standby_and_comes_back() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let pair = Pair::on_two_ways(lab);
    let pings = pair.pings("cuts");
    let mut gaps = Vec::new();
    let mut returns = Vec::new();
    for _ in 0..repetitions(2, 50) {
        pair.wait_for_way("10.77.0.", Duration::from_secs(60));
        let cut = now();
        pair.lan.cut(true);
        gaps.push(first_answer_after(&pings, cut));
        let mended = Instant::now();
        pair.lan.cut(false);
        pair.wait_for_way("10.77.0.", Duration::from_secs(60));
        returns.push(mended.elapsed());
    }
    let [median, worst] = figures("cut of the way in use to traffic on the standby", gaps);
    figure("median of those", median, CUT_MEDIAN);
    figure("worst of those", worst, CUT_WORST);
    let [median, _] = figures("mended way to traffic on it again", returns);
    figure("median of those", median, Duration::from_secs(20));
}

#[test]
fn losing_and_reordering_lines_lose_nothing_but_what_they_lose() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let pair = Pair::on_two_ways(lab);
    pair.wait_for_way("10.77.0.", Duration::from_secs(60));
    // Three pings in a row get lost now and then; there is to be no better way to leave for.
    let [a, b] = &pair.nodes;
    part(&a.host, &b.host);
    a.host.namespace.drop_relayed_by_controllers();
    pair.lan.set(Quality {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(5),
        loss: 0.1,
        reordering: 0.1,
        duplication: 0.05,
        corruption: 0.05,
        ..Quality::PERFECT
    });

    let said = a
        .host
        .namespace
        .try_run(&format!(
            "ping -n -q -c {} -i 0.005 -W 2 {}",
            repetitions(1000, 10_000),
            b.v4()
        ))
        .stdout;

    let line = |word: &str| said.lines().find(|line| line.contains(word));
    announce(&format!(
        "figure: 10 % loss, 10 % reordered, 5 % doubled, 5 % corrupt: {}; {}",
        line("packet loss").unwrap_or_default(),
        line("rtt").unwrap_or_default()
    ));
    let percent = said.split("% packet loss").next().expect("a first part");
    let lost: f64 = percent
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("how many were lost");
    // Two crossings: 1 - (0.9 * 0.95)^2 = 27 %.
    let ways = pair.nodes.each_ref().map(|node| node.json(&["peers"]));
    assert!((5.0..40.0).contains(&lost), "{said}{ways:?}");
    assert!(!said.contains("duplicates"), "a packet came twice: {said}");
    let is_changed = said.contains("corrupted") || said.contains("wrong data");
    assert!(!is_changed, "a packet came changed: {said}");
}

#[test]
fn a_new_address_of_the_nat_is_followed() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::new(lab, &["public"]);
    let lab = &overlay.lab;
    let router = lab.router("r", 1, Nat::PortRestricted);
    let mut node = Node::new(lab.host_behind(&router, "inside", 2));
    join(&overlay, &mut node, &[]);
    wait_for_ping(&node.host.namespace, overlay.nodes[0].v4());
    let pings = start_pings(&node, &overlay.nodes[0], overlay.lab.dir().join("rebind"));
    wait_for_answers(&pings);

    let mut gaps = Vec::new();
    for number in 0..repetitions(3, 20) {
        let rebound = now();
        // Masquerading forgets what it translated to an address that is gone.
        router.host.namespace.shell(&format!(
            "ip -4 addr flush dev eth0
             ip addr add 203.0.113.{}/24 dev eth0
             ip route add default via 203.0.113.1",
            220 + number
        ));
        gaps.push(first_answer_after(&pings, rebound));
    }

    let [median, worst] = figures("new address of the NAT to traffic again", gaps);
    figure("median of those", median, REBOUND);
    figure("worst of those", worst, REBOUND);
}

#[test]
fn a_host_that_gets_another_address_is_followed() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    let pings = start_pings(a, b, overlay.lab.dir().join("roam"));
    wait_for_answers(&pings);

    let moved = now();
    b.host.move_to_another_address();
    let gap = first_answer_after(&pings, moved);

    figure("another address of the host to traffic again", gap, MOVED);
}

#[test]
fn a_daemon_that_was_asleep_goes_on_where_it_was() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    let pings = start_pings(a, b, overlay.lab.dir().join("asleep"));
    wait_for_answers(&pings);

    rustix::process::kill_process(b.pid(), Signal::STOP).expect("the daemon runs");
    let asleep = Instant::now();
    let length = Duration::from_secs(repetitions(8, 200) as u64);
    wait_for("the nap to end", length * 2, || {
        (asleep.elapsed() >= length).then_some(())
    });
    let woken = now();
    rustix::process::kill_process(b.pid(), Signal::CONT).expect("the daemon runs");
    let gap = first_answer_after(&pings, woken);

    figure("waking up to traffic again", gap, MOVED);
}

#[test]
fn a_second_router_takes_over_a_prefix_and_gives_it_back() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["first", "second", "user"]);
    let lan = overlay.lab.lan("office");
    let _machine = overlay.lab.machine_on(&lan, "machine", "10.50.0.9/24");
    for (node, number) in overlay.nodes.iter().zip([1, 2]) {
        let address = format!("10.50.0.{number}/24");
        lan.connect(&node.host.namespace, "eth1", &address);
    }
    for (node, metric) in overlay.nodes.iter().take(2).zip(["100", "200"]) {
        let via = node.id();
        let route = ["route", "add", &overlay.network, "10.50.0.0/24"];
        let how = ["--via", &via, "--failover", "--metric", metric];
        let _ = overlay.controller.verb(&[&route[..], &how].concat()).ok();
    }
    let target = [10, 50, 0, 9];
    wait_for_ping(&overlay.nodes[2].host.namespace, target);
    let log = overlay.lab.dir().join("routers");
    let pings = Pings::start_every(BEAT, &overlay.nodes[2].host.namespace, target, &log);
    wait_for_answers(&pings);

    let mut over = Vec::new();
    for _ in 0..repetitions(1, 10) {
        let lost = now();
        overlay.nodes[0].kill();
        over.push(first_answer_after(&pings, lost));
        assert_eq!(passes(&overlay.nodes[0]), 0, "the first is dead");

        let start = Instant::now();
        overlay.nodes[0].up();
        let first = &overlay.nodes[0];
        wait_for(
            "packets by the first again",
            Duration::from_secs(60),
            || (passes(first) > 0).then_some(()),
        );
        figure(
            "start of the first router to packets by it again",
            start.elapsed(),
            Duration::from_secs(15),
        );
    }
    let [median, _] = figures("death of a router to packets by the other", over);
    figure("median of those", median, ROUTER);
}

/// How many packets a router sends into the office in the time of a few pings.
fn passes(router: &Node) -> u64 {
    let sent = || -> u64 {
        let statistics = "/sys/class/net/eth1/statistics/tx_packets";
        let said = router.host.namespace.run(&format!("cat {statistics}"));
        said.trim().parse().expect("a number")
    };
    let before = sent();
    let start = Instant::now();
    wait_for("a few pings", SOON, || {
        (start.elapsed() >= BEAT * 20).then_some(())
    });
    // Neighbours are asked for now and then.
    (sent() - before).saturating_sub(3)
}

/// Two members on the underlay, and on a LAN of their own that passes by an emulated line.
///
/// Fields are dropped in order: daemons first.
struct Pair {
    nodes: [Node; 2],
    lan: Wan,
    _switch: Lan,
    overlay: Overlay,
}

impl Pair {
    fn on_two_ways(lab: Lab) -> Self {
        let overlay = Overlay::on_hosts(lab, Vec::new(), "");
        let switch = overlay.lab.lan("own");
        let hosts = ["a", "b"].map(|name| overlay.lab.host(name));
        switch.connect(&hosts[0].namespace, "eth1", "10.77.0.1/24");
        let lan = switch.connect_by_wan(&hosts[1].namespace, "eth1", "10.77.0.2/24", 1);
        let mut number = 0;
        let nodes = hosts.map(|host| {
            number += 1;
            let mut node = Node::new(host);
            let place = format!("10.77.0.{number}:9790");
            join(&overlay, &mut node, &["--advertise", &place]);
            node
        });
        wait_for_ping(&nodes[0].host.namespace, nodes[1].v4());
        Self {
            nodes,
            lan,
            _switch: switch,
            overlay,
        }
    }

    fn pings(&self, name: &str) -> Pings {
        let [a, b] = &self.nodes;
        let pings = start_pings(a, b, self.overlay.lab.dir().join(name));
        wait_for_answers(&pings);
        pings
    }

    /// Until both reach each other by an endpoint that begins so.
    fn wait_for_way(&self, start: &str, deadline: Duration) {
        for node in &self.nodes {
            wait_for("the better way", deadline, || {
                let peers = node.json(&["peers"]);
                // None by a relay.
                let endpoint = peers.pointer("/0/path/endpoint")?.as_str()?;
                endpoint.starts_with(start).then_some(())
            });
        }
    }
}

fn join(overlay: &Overlay, node: &mut Node, flags: &[&str]) {
    node.up_with(flags);
    node.join(&overlay.network, &overlay.controller).ok();
    overlay.controller.authorize(&overlay.network, &node.id());
    node.wait_for_addresses("tmb0");
}

fn start_pings(from: &Node, to: &Node, log: PathBuf) -> Pings {
    Pings::start_every(BEAT, &from.host.namespace, to.v4(), &log)
}

fn wait_for_answers(pings: &Pings) {
    wait_for("answers", SOON, || (pings.answers() >= 10).then_some(()));
}

/// Seconds since the epoch, as ping prints them.
fn now() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs_f64()
}

/// How long after a moment the first answer came to what was not under way then.
fn first_answer_after(pings: &Pings, moment: f64) -> Duration {
    let under_way = moment + IN_FLIGHT.as_secs_f64();
    let answered = wait_for("an answer", Duration::from_secs(30), || {
        pings.times().into_iter().find(|time| *time > under_way)
    });
    Duration::from_secs_f64(answered - moment)
}
