//! Members that cannot reach each other, and those that carry their packets.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tombolo_tests::{
    netns::{Claim, Host, Lab},
    overlay::{Node, Overlay, Pings, SOON, repetitions, text, wait_for_mesh, wait_for_ping},
    process::{announce, figure, figures, wait_for},
    wan::Quality,
};

/// From the cut to the next packet that arrives.
const PROMISE: Duration = Duration::from_secs(3);
/// How soon a member has found relays.
const WARM: Duration = Duration::from_secs(60);
/// How soon another is kept in the place of a member that must not relay any more.
const FORBIDDEN: Duration = Duration::from_secs(2);
/// How soon a member has told what it carries: it does so every half minute.
const TOLD: Duration = Duration::from_secs(33);

#[test]
fn when_the_link_between_two_hosts_is_cut_a_third_carries_their_packets() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = two_and_a_carrier(lab);
    let [a, b, carrier] = &overlay.nodes[..] else {
        panic!("three nodes");
    };
    let log = overlay.lab.dir().join("pings.log");
    let pings = Pings::start(&a.host.namespace, b.v4(), &log);

    let mut gaps = Vec::new();
    for _ in 0..repetitions(3, 20) {
        wait_for_udp(a, b);
        wait_for_udp(b, a);
        let cut = now();
        part(&a.host, &b.host);
        let answered = wait_for("an answer by the carrier", PROMISE * 5, || {
            pings.times().into_iter().find(|time| *time > cut + 0.1)
        });
        gaps.push(Duration::from_secs_f64(answered - cut));
        let path = wait_for_path(a, b, "relay");
        assert_eq!(text(&path, "/via"), carrier.id());
        let why = a.json(&["why", &b.id()]);
        assert_eq!(why["relayed_because"], "unanswered", "{why}");
        a.host.let_through();
    }
    wait_for_path(a, b, "direct");
    drop(pings);
    judge(
        "link cut to the next answer, carried by a third member",
        gaps,
    );
    is_told_of_to_the_controller(&overlay, &carrier.id());
}

/// The API shows what a member carried for two others, as it tells.
fn is_told_of_to_the_controller(overlay: &Overlay, carrier: &str) {
    let path = format!("/api/v1/networks/{}/relays", overlay.network);
    let start = Instant::now();
    let [bytes, clients] = wait_for("the carrier to tell what it carried", TOLD * 5, || {
        let shown = overlay.controller.ask("GET", &path, None, None).body;
        let mut members = shown["members"].as_array()?.iter();
        let member = members.find(|member| member["node"] == carrier)?;
        let told = ["bytes", "clients"].map(|figure| member[figure].as_u64().unwrap_or(0));
        (told[0] > 0).then_some(told)
    });
    announce(&format!(
        "figure: the API shows {bytes} bytes carried by a member for {clients} others"
    ));
    figure(
        "carried by a member to shown by the API",
        start.elapsed(),
        TOLD,
    );
    assert_eq!(clients, 2);
}

#[test]
fn when_the_relay_that_carries_dies_another_takes_over() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let hosts = ["a", "b", "c1", "c2"].map(|name| lab.host(name));
    for host in &hosts {
        host.namespace.drop_relayed_by_controllers();
    }
    part(&hosts[0], &hosts[1]);
    let mut overlay = Overlay::on_hosts(lab, hosts.into(), "");
    let log = overlay.lab.dir().join("pings.log");
    let (inside, to) = (&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());
    wait_for_ping(inside, to);
    let pings = Pings::start(inside, to, &log);

    let mut gaps = Vec::new();
    for _ in 0..repetitions(2, 20) {
        let [a, b, c1, c2] = &overlay.nodes[..] else {
            panic!("four nodes");
        };
        for node in [a, b] {
            for carrier in [c1, c2] {
                wait_for_relay(node, &carrier.id());
            }
        }
        let via = text(&wait_for_path(a, b, "relay"), "/via").to_owned();
        let position = if via == c1.id() { 2 } else { 3 };
        let carrier = overlay.nodes.get_mut(position).expect("four nodes");
        let cut = now();
        carrier.kill();
        let answered = wait_for("an answer by the other one", PROMISE * 5, || {
            pings.times().into_iter().find(|time| *time > cut + 0.1)
        });
        gaps.push(Duration::from_secs_f64(answered - cut));
        carrier.up();
    }
    drop(pings);
    judge(
        "death of the relay in use to the next answer by another",
        gaps,
    );
}

#[test]
fn where_there_is_no_third_member_the_controller_carries() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    wait_for_mesh(&overlay.nodes);
    let [a, b] = &overlay.nodes[..] else {
        panic!("two nodes");
    };
    for node in [a, b] {
        wait_for("the controller to relay", WARM, || {
            names_of_relays(node)
                .contains(&"controller".to_owned())
                .then_some(())
        });
    }
    let log = overlay.lab.dir().join("pings.log");
    let pings = Pings::start(&a.host.namespace, b.v4(), &log);

    let mut gaps = Vec::new();
    for _ in 0..repetitions(3, 20) {
        wait_for_udp(a, b);
        wait_for_udp(b, a);
        let cut = now();
        part(&a.host, &b.host);
        let answered = wait_for("an answer by the controller", PROMISE * 5, || {
            pings.times().into_iter().find(|time| *time > cut + 0.1)
        });
        gaps.push(Duration::from_secs_f64(answered - cut));
        let path = wait_for_path(a, b, "relay");
        assert_eq!(path["via"], Value::Null);
        a.host.let_through();
    }
    drop(pings);
    judge(
        "link cut to the next answer, carried by the controller",
        gaps,
    );
}

#[test]
fn two_who_have_never_met_do_so_by_a_relay_and_large_packets_pass() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let hosts = ["a", "b", "carrier"].map(|name| lab.host(name));
    part(&hosts[0], &hosts[1]);
    let overlay = Overlay::on_hosts(lab, hosts.into(), "");
    let [a, b, carrier] = &overlay.nodes[..] else {
        panic!("three nodes");
    };
    for node in [a, b] {
        wait_for_relay(node, &carrier.id());
    }

    let start = Instant::now();
    let answered = wait_for_ping(&a.host.namespace, b.v4());
    figure(
        "first packet to first answer between two that only a relay joins",
        answered.duration_since(start),
        PROMISE,
    );

    wait_for_path(a, b, "relay");
    // As large as the network allows: 1,400 bytes, with headers.
    let whole = format!("ping -c 3 -i 0.2 -W 2 -M do -s 1372 {}", b.v4());
    assert!(
        a.host
            .namespace
            .try_run(&whole)
            .ok()
            .contains(" 0% packet loss")
    );
}

#[test]
fn a_member_that_must_not_relay_does_not() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let hosts = ["a", "b", "unwilling", "barred"].map(|name| lab.host(name));
    for host in &hosts {
        host.namespace.drop_relayed_by_controllers();
    }
    // Whoever may relay and is willing is the farthest.
    let wan = lab.put_behind_wan(&hosts[1], 1);
    wan.set(Quality::far(Duration::from_millis(10)));
    let mut overlay = Overlay::on_hosts(lab, hosts.into(), "");
    wait_for_mesh(&overlay.nodes);
    let [a, b, unwilling, barred] = &mut overlay.nodes[..] else {
        panic!("four nodes");
    };
    let keeps = |node: &Node, others: &[&Node]| {
        let mut ids: Vec<String> = others.iter().map(|other| other.id()).collect();
        let mut relays = relays_of(node);
        ids.sort_unstable();
        relays.sort_unstable();
        (relays == ids).then_some(())
    };
    wait_for("the nearest two", WARM, || keeps(a, &[unwilling, barred]));

    let start = Instant::now();
    let forbid = [
        "member",
        "set",
        &overlay.network,
        &barred.id(),
        "--relay",
        "false",
    ];
    overlay.controller.verb(&forbid).ok();
    wait_for(
        "another in the place of the barred one",
        FORBIDDEN * 5,
        || keeps(a, &[unwilling, b]),
    );
    figure(
        "member forbidden to relay to another in its place",
        start.elapsed(),
        FORBIDDEN,
    );
    unwilling.stop();
    unwilling.up_with(&["--no-relay"]);
    wait_for_ping(&a.host.namespace, unwilling.v4());
    b.stop();
    wait_for("nobody to relay", WARM, || keeps(a, &[]));
    b.up();
    wait_for_ping(&a.host.namespace, b.v4());

    // Whoever said farewell is asked again ten seconds later: the one that is unwilling first.
    let relays = wait_for("somebody to relay", WARM, || {
        Some(relays_of(a)).filter(|relays| !relays.is_empty())
    });
    assert_eq!(relays, [b.id()]);
}

/// A, B and a third member, which both have found to be a relay; no controller relays.
pub(crate) fn two_and_a_carrier(lab: Lab) -> Overlay {
    let hosts = ["a", "b", "carrier"].map(|name| lab.host(name));
    for host in &hosts {
        host.namespace.drop_relayed_by_controllers();
    }
    let overlay = Overlay::on_hosts(lab, hosts.into(), "");
    wait_for_mesh(&overlay.nodes);
    for node in &overlay.nodes[..2] {
        wait_for_relay(node, &overlay.nodes[2].id());
    }
    overlay
}

/// The middle one and the worst are told, and judged.
#[track_caller]
fn judge(what: &str, gaps: Vec<Duration>) {
    let [median, worst] = figures(what, gaps);
    figure(&format!("{what}, median"), median, PROMISE);
    figure(&format!("{what}, worst"), worst, PROMISE);
}

/// Nothing passes between two hosts any more.
pub(crate) fn part(one: &Host, other: &Host) {
    one.namespace.shell(&format!(
        "nft add table inet cut
         nft add chain inet cut in '{{ type filter hook input priority 0; }}'
         nft add chain inet cut out '{{ type filter hook output priority 0; }}'
         nft add rule inet cut in ip saddr {v4} drop
         nft add rule inet cut out ip daddr {v4} drop
         nft add rule inet cut in ip6 saddr {v6} drop
         nft add rule inet cut out ip6 daddr {v6} drop",
        v4 = other.v4,
        v6 = other.v6,
    ));
}

pub(crate) fn wait_for_relay(node: &Node, relay: &str) {
    wait_for("a relay", WARM, || {
        relays_of(node).iter().any(|id| id == relay).then_some(())
    });
}

fn relays_of(node: &Node) -> Vec<String> {
    relays_by(node, "node")
}

fn names_of_relays(node: &Node) -> Vec<String> {
    relays_by(node, "name")
}

fn relays_by(node: &Node, field: &str) -> Vec<String> {
    let status = node.json(&["status"]);
    let relays = status
        .pointer("/networks/0/relays")
        .and_then(Value::as_array);
    relays
        .into_iter()
        .flatten()
        .filter_map(|relay| Some(relay.get(field)?.as_str()?.to_owned()))
        .collect()
}

pub(crate) fn wait_for_path(node: &Node, to: &Node, kind: &str) -> Value {
    let to = to.id();
    wait_for(&format!("a path that is {kind}"), SOON * 2, || {
        let peers = node.json(&["peers"]);
        let peer = peers
            .as_array()?
            .iter()
            .find(|peer| peer["node"].as_str() == Some(to.as_str()))?;
        (peer["path"]["kind"].as_str() == Some(kind)).then(|| peer["path"].clone())
    })
}

/// Not on a stream, which is taken while UDP is on trial.
fn wait_for_udp(node: &Node, to: &Node) {
    wait_for("a direct path over UDP", SOON * 2, || {
        (wait_for_path(node, to, "direct")["carrier"] == "udp").then_some(())
    });
}

pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
