//! `node bench` between two real daemons.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use serde_json::Value;
use tombolo_tests::{
    netns::{Claim, Lab, Namespace},
    overlay::{Node, Overlay, SOON, wait_for_ping},
    process::{Process, Said, announce, figure, wait_for},
};

#[test]
fn bench_measures_both_directions_in_both_families() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };

    for (family, address) in [("4", b.v4().to_string()), ("6", b.v6().to_string())] {
        let line = ["bench", &b.id(), "--seconds", "1", "--family", family];
        let measured = wait_for("a first measurement", SOON, || {
            // The member's certificate may still be under way.
            let said = a.verb(&[&line[..], &["--json"]].concat());
            (said.code == 0).then_some(said.stdout)
        });
        let measured: Value = serde_json::from_str(&measured).expect("JSON");

        assert_eq!(measured["address"], Value::from(address));
        assert_eq!(measured["node"], Value::from(b.id()));
        assert_eq!(measured["network"], Value::from(overlay.network.clone()));
        assert_eq!(measured["path"]["kind"], "direct");
        let endpoint = measured["path"]["endpoint"].as_str().unwrap_or_default();
        let (v4, v6) = (b.host.v4, b.host.v6);
        assert!([format!("{v4}:9790"), format!("[{v6}]:9790")].contains(&endpoint.to_owned()));
        assert_eq!(measured["path"]["mtu"], 1400);
        assert!(measured["cipher"].is_string(), "{measured}");
        for direction in ["up", "down"] {
            let bits = measured[direction]["bits_per_second"].as_f64();
            let gbits = bits.expect("a rate") / 1e9;
            announce(&format!(
                "figure: node bench, IPv{family} {direction} {gbits:.2} Gbit/s"
            ));
            assert!(gbits > 0.01, "data moves: {measured}");
        }
        for phase in ["idle", "up", "down"] {
            let taken = &measured["latency_ms"][phase];
            let value = |name: &str| taken[name].as_f64().expect("round trips were taken");
            assert!(value("min") > 0.0 && value("samples") >= 1.0, "{measured}");
            assert!(value("min") <= value("median") && value("median") <= value("p99"));
        }
    }

    let text = a
        .verb(&[
            "bench",
            &b.v4().to_string(),
            "--seconds",
            "1",
            "--flows",
            "4",
        ])
        .ok();
    for word in ["direct", "MTU 1400", "4 flows", "idle", "up", "down", "P99"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
}

#[test]
fn only_members_can_measure_and_only_over_the_overlay() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    wait_for("the responder", SOON, || {
        answers(&a.host.namespace, b.v4()).then_some(())
    });

    // Over the underlay nobody answers, also not somebody who knows a way to the overlay address.
    assert!(!answers(&a.host.namespace, b.host.v4));
    let outside = &overlay.controller.host;
    outside
        .namespace
        .run(&format!("ip route add {}/32 via {}", b.v4(), b.host.v4));
    assert!(!answers(&outside.namespace, b.v4()));

    a.verb(&["bench", "nobody"])
        .refused(1, &["nobody", "peers"]);
    a.verb(&["bench", &a.id()]).refused(2, &["this node"]);
}

#[test]
fn a_member_that_is_busy_or_has_it_switched_off_says_so() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    let log = overlay.lab.dir().join("bench.log");
    let [a, b] = overlay.nodes.as_mut_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    let first = a_long_measurement(a, b, &log);

    a.verb(&["bench", &b.id()]).refused(4, &["busy"]);

    // Whoever breaks off leaves nothing behind that keeps the next one out.
    drop(first);
    wait_for("the next measurement", SOON, || {
        let said = a.verb(&["bench", &b.id(), "--seconds", "1"]);
        (said.code == 0).then_some(())
    });

    b.stop();
    b.configure("[bench]\nrespond = false\n");
    b.up();
    wait_for_ping(&a.host.namespace, b.v4());
    a.verb(&["bench", &b.id()]).refused(3, &["switched off"]);
}

#[test]
fn a_member_that_vanishes_ends_the_measurement_in_bounded_time() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    let log = overlay.lab.dir().join("bench.log");
    let [a, b] = overlay.nodes.as_mut_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    let mut measurement = a_long_measurement(a, b, &log);

    b.kill();
    let killed = Instant::now();
    let status = measurement.wait(SOON * 2);

    figure(
        "node bench notices that the member has vanished after",
        killed.elapsed(),
        Duration::from_secs(6),
    );
    assert_eq!(status.code(), Some(3), "{}", measurement.log());
    assert_eq!(
        measurement.log().lines().count(),
        1,
        "{}",
        measurement.log()
    );
}

/// Starts one and waits until it moves data.
fn a_long_measurement(a: &Node, b: &Node, log: &std::path::Path) -> Process {
    let mut command = a.command(&["bench", &b.id(), "--seconds", "60"]);
    let process = Process::spawn("node bench", &mut command, log);
    let before = sent_bytes(a);
    wait_for("data to move", SOON, || {
        (sent_bytes(a) > before + 1_000_000).then_some(())
    });
    process
}

fn sent_bytes(node: &Node) -> u64 {
    node.json(&["peers"])[0]["tx_bytes"].as_u64().unwrap_or(0)
}

/// Whether somebody takes a connection to the responder's port.
/// Whether somebody there speaks of measurements: a version that there is not is refused in so many words.
fn answers(from: &Namespace, to: impl Into<IpAddr>) -> bool {
    let to = to.into();
    let hello = r#"{"measure":{"protocol":0,"flows":1,"seconds":1}}"#;
    let script = format!(
        "exec 3<>/dev/tcp/{to}/9790 && echo '{hello}' >&3 && head -n 1 <&3 | grep --text '^{{'"
    );
    let mut command = from.command("timeout");
    Said::by(command.args(["2", "bash", "-c", &script])).code == 0
}
