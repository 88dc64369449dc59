//! A slow line that a transfer fills, where everything goes by TCP.

use std::time::Duration;

use serde_json::Value;
use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Overlay, Pings, SOON, wait_for_mesh},
    process::{Process, announce, figure, figures, wait_for},
};

use super::relays;
use crate::{mtu::iperf_server, relays::wait_for_path};

/// What the line takes, and how much of what comes faster the router before it keeps.
const LINE: &str = "tbf rate 20mbit burst 32kbit latency 50ms";
const LINE_BITS: f64 = 20e6;
/// Seconds that the transfer lasts, and pings before the queues are as full as they get.
const LASTS: u32 = 12;
const FILLING: usize = 80;
/// What others wait beside the transfer: 50 ms for the line's own queue, and for ours.
const WAITING: Duration = Duration::from_millis(100);

#[test]
fn others_wait_little_beside_a_transfer_that_fills_a_slow_line_by_tcp() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::with_config(lab, &["a", "b"], "relay = false\n");
    wait_for_mesh(&overlay.nodes);
    let [a, b] = &overlay.nodes[..] else {
        panic!("two nodes");
    };
    for node in [a, b] {
        wait_for("a relay", SOON * 2, || (relays(node) > 0).then_some(()));
    }
    for host in [&a.host, &b.host, &overlay.controller.host] {
        // It fills whatever there is to be filled, and every kernel has it; others may be kinder.
        let reno = "sysctl -qw net.ipv4.tcp_congestion_control=reno";
        host.namespace.run(reno);
    }
    let inside = &a.host.namespace;
    inside.drop_udp();
    let log = |name: &str| overlay.lab.dir().join(name);
    let pings = Pings::start(inside, b.v4(), &log("before"));
    wait_for("the relay over TCP", SOON * 2, || {
        (wait_for_path(a, b, "relay")["carrier"] == "tcp").then_some(())
    });
    drop(pings);
    let router = overlay.lab.underlay();
    let server = iperf_server(&b.host.namespace, &log("server"));

    let directions = [("out", "p-ctl", None), ("in", "p-a", Some("--reverse"))];
    for (direction, port, flag) in directions {
        router.run(&format!("tc qdisc add dev {port} root {LINE}"));
        let mut command = inside.command("iperf3");
        let (lasts, to) = (LASTS.to_string(), b.v4().to_string());
        command.args(["-J", "-t", &lasts]).args(flag);
        let mut transfer = Process::spawn("iperf3", command.args(["-c", &to]), &log(direction));
        let pings = Pings::start(inside, b.v4(), &log(&format!("{direction}.pings")));
        assert!(transfer.wait(SOON * 4).success(), "{}", transfer.log());

        let report: Value = serde_json::from_str(&transfer.log()).expect("iperf3 -J prints JSON");
        let received = report["end"]["sum_received"]["bits_per_second"].as_f64();
        let received = received.expect("a sum");
        let waited = pings.round_trips().split_off(FILLING);
        let what = format!("20 Mbit/s filled {direction} by TCP over TCP, round trip beside it");
        let [median, _] = figures(&what, waited);
        announce(&format!(
            "figure: the transfer {direction}: {:.1} Mbit/s",
            received / 1e6
        ));
        figure(&format!("{what}, median"), median, WAITING);
        assert!(received > LINE_BITS / 2.0, "{received}");
        router.run(&format!("tc qdisc del dev {port} root"));
    }
    drop(server);
}
