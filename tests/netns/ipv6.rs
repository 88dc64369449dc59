//! Where there is no IPv4, everything works as it does over IPv4.

use std::time::Duration;

use tombolo_tests::{
    netns::{Claim, Host, Lab},
    overlay::{Controller, Overlay, Pings, SOON, text, wait_for_mesh},
    process::{figure, wait_for},
};

use crate::relays::{now, part, wait_for_path, wait_for_relay};

/// From the cut to the next answer, carried by a third member.
const CARRIED: Duration = Duration::from_secs(3);
/// From all UDP cut to the next answer over TCP.
const BY_TCP: Duration = Duration::from_secs(5);

#[test]
fn without_ipv4_members_join_talk_directly_are_carried_by_others_and_reached_by_tcp() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let without_ipv4 = |name: &str| -> Host {
        let host = lab.host(name);
        host.namespace.run("ip -4 addr flush dev eth0");
        host
    };
    let controller = Controller::start_on_ipv6(without_ipv4("ctl"));
    let hosts = ["a", "b", "carrier"].map(without_ipv4);
    for host in &hosts {
        host.namespace.drop_relayed_by_controllers();
    }
    let overlay = Overlay::around(controller, lab, hosts.into(), "");
    wait_for_mesh(&overlay.nodes);
    let [a, b, carrier] = &overlay.nodes[..] else {
        panic!("three nodes");
    };
    let path = wait_for_path(a, b, "direct");
    assert!(text(&path, "/endpoint").starts_with('['), "{path}");
    let nat = wait_for("the kind of NAT", SOON, || {
        let status = a.json(&["status"]);
        (status["nat"]["ipv6"]["mapping"] == "none").then_some(status)
    });
    assert!(nat["nat"]["ipv4"].is_null(), "{nat}");
    for node in [a, b] {
        wait_for_relay(node, &carrier.id());
    }

    let log = overlay.lab.dir().join("pings.log");
    let pings = Pings::start(&a.host.namespace, b.v4(), &log);
    let next_answer = || {
        let cut = now();
        let answered = wait_for("an answer", BY_TCP * 5, || {
            pings.times().into_iter().find(|time| *time > cut + 0.1)
        });
        Duration::from_secs_f64(answered - cut)
    };
    next_answer();
    part(&a.host, &b.host);
    let took = next_answer();
    figure(
        "IPv6 alone: link cut to the next answer, carried by a third member",
        took,
        CARRIED,
    );
    let path = wait_for_path(a, b, "relay");
    assert_eq!(text(&path, "/via"), carrier.id());
    a.host.let_through();

    a.host.namespace.drop_udp();
    let took = next_answer();
    figure(
        "IPv6 alone: all UDP of a host cut, to the next answer over TCP",
        took,
        BY_TCP,
    );
    wait_for("a way by TCP", SOON, || {
        let peers = a.json(&["peers"]);
        let mut paths = peers.as_array()?.iter().map(|peer| &peer["path"]);
        paths.any(|path| path["carrier"] == "tcp").then_some(())
    });
}
