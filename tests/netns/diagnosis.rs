//! The verbs that explain, against what they explain.

use std::time::Duration;

use serde_json::Value;
use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Node, Overlay, SOON},
    process::wait_for,
};

#[test]
fn ping_asks_through_the_session_and_counts_what_is_lost() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_mut_slice() else {
        panic!("two nodes")
    };
    wait_for_knowledge(a, b);

    // Nobody has spoken to it yet: the first question makes the session.
    let answer = a.json(&["ping", &b.id(), "-c", "3", "-i", "0.05"]);

    assert_eq!(answer["sent"], 3);
    assert_eq!(answer["received"], 3, "{answer}");
    assert_eq!(answer["path"]["kind"], "direct");
    assert!(
        answer["latency_ms"]["min"]
            .as_f64()
            .is_some_and(|min| min > 0.0)
    );
    assert!(answer["cipher"].is_string());
    let text = a.verb(&["ping", &b.v6().to_string(), "-c", "1"]).ok();
    for word in ["direct to ", "ms", "1 of 1 answered", "0% lost"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    let underlay = [b.host.v4.to_string(), b.host.v6.to_string()];
    assert!(underlay.iter().any(|it| text.contains(it)), "{text}");

    let id = b.id();
    b.kill();
    let lost = a.verb(&["ping", &id, "-c", "2", "-i", "0.05", "-W", "0.3", "--json"]);
    assert_eq!(lost.code, 1, "{lost:?}");
    let lost: Value = serde_json::from_str(&lost.stdout).expect("JSON also when all is lost");
    assert_eq!(
        (&lost["received"], &lost["loss_percent"]),
        (&Value::from(0), &Value::from(100.0))
    );
    a.verb(&["ping", "nobody"]).refused(1, &["nobody", "peers"]);
    a.verb(&["ping", &id, "-c", "0"])
        .refused(2, &["0 is not in"]);
}

#[test]
fn why_tells_the_obstacle_that_is_there() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b", "c"]);
    let [a, b, c] = overlay.nodes.as_mut_slice() else {
        panic!("three nodes")
    };
    wait_for_knowledge(a, b);
    wait_for_knowledge(a, c);

    let reached = a.json(&["why", &b.id()]);
    assert_eq!(reached["reachable"], true, "{reached}");
    assert!(
        said(&reached, "path").contains(&b.host.v4.to_string())
            || said(&reached, "path").contains(&b.host.v6.to_string()),
        "{reached}"
    );
    for check in ["standing", "member", "session", "path", "mtu", "drops"] {
        assert!(!said(&reached, check).is_empty(), "{check}: {reached}");
    }

    // An address behind it, through the route that leads there.
    overlay
        .controller
        .add_route(&overlay.network, "172.28.9.0/24", &b.id());
    let behind = wait_for("the route", SOON, || {
        let behind: Value =
            serde_json::from_str(&a.verb(&["why", "172.28.9.7", "--json"]).stdout).ok()?;
        (behind["node"] == b.id().as_str()).then_some(behind)
    });
    assert!(said(&behind, "route").contains("172.28.9.0/24"), "{behind}");

    let id = c.id();
    c.kill();
    let silent = wait_for(
        "the session to be given up",
        Duration::from_secs(60),
        || {
            let report = a.verb(&["why", &id, "--json"]);
            let silent: Value = serde_json::from_str(&report.stdout).ok()?;
            (report.code == 1 && silent["reachable"] == false).then_some(silent)
        },
    );
    assert!(
        said(&silent, "session").contains("does not answer"),
        "{silent}"
    );
    assert!(
        said(&silent, "path").contains(&c.host.v4.to_string())
            || said(&silent, "path").contains(&c.host.v6.to_string()),
        "{silent}"
    );

    overlay.controller.deauthorize(&overlay.network, &b.id());
    let removed = wait_for("the removal", SOON, || {
        let removed: Value =
            serde_json::from_str(&a.verb(&["why", &b.id(), "--json"]).stdout).ok()?;
        (removed["reachable"] == false).then_some(removed)
    });
    assert!(said(&removed, "member").contains("removed"), "{removed}");
    a.verb(&["why", "nobody"]).refused(1, &["nobody"]);
}

fn said(report: &Value, check: &str) -> String {
    let steps = report["steps"].as_array().expect("steps");
    steps
        .iter()
        .find(|step| step["check"] == check)
        .and_then(|step| step["said"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// Until one has the other's certificate.
fn wait_for_knowledge(node: &Node, other: &Node) {
    wait_for("the certificate", SOON, || {
        node.knows(&other.id()).then_some(())
    });
}
