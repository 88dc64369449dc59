//! A member that is no longer one is out, whether it likes it or not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Overlay, Pings, SOON, wait_for_ping},
    process::{figure, wait_for},
};

#[test]
fn a_deauthorised_member_that_hears_nothing_and_goes_on_sending_is_cut_off_by_the_others() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b", "c"]);
    let [a, b, c] = overlay.nodes.as_slice() else {
        panic!("three nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    wait_for_ping(&c.host.namespace, a.v4());
    wait_for_ping(&c.host.namespace, b.v4());
    let id = c.id();
    // The member loses its controller before it is thrown out: nobody can tell it to stop.
    let controller = overlay.controller.host.v4;
    c.host.cut_off(controller);
    let log = |name: &str| overlay.lab.dir().join(name);
    let to_a = Pings::start(&c.host.namespace, a.v4(), &log("c-to-a.log"));
    let to_b = Pings::start(&c.host.namespace, b.v4(), &log("c-to-b.log"));
    wait_for("pings to flow", SOON, || {
        (to_a.answers() > 5 && to_b.answers() > 5).then_some(())
    });
    let dropped_before =
        [a, b].map(|node| dropped(&node.json(&["status"]), &node.json(&["peers"])));

    let start = now();
    overlay.controller.deauthorize(&overlay.network, &id);

    let last = wait_for("both to stop answering", SOON, || {
        let last = [&to_a, &to_b]
            .into_iter()
            .flat_map(Pings::times)
            .fold(start, f64::max);
        // Twenty pings without an answer.
        (now() - last > 1.0).then_some(last)
    });
    figure(
        "deauthorise to cut off by the others",
        Duration::from_secs_f64(last - start),
        Duration::from_secs(2),
    );
    for (node, before) in [a, b].into_iter().zip(dropped_before) {
        wait_for("dropped packets to be counted", SOON, || {
            let after = dropped(&node.json(&["status"]), &node.json(&["peers"]));
            (after > before).then_some(())
        });
    }
    wait_for_ping(&a.host.namespace, b.v4());
    assert_ne!(
        c.standing(&overlay.network).as_deref(),
        Some("denied"),
        "it was told, so this shows nothing"
    );
}

#[test]
fn authorising_again_gives_the_same_addresses_back() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let before = b.kernel_addresses("tmb0");
    wait_for_ping(&a.host.namespace, b.v4());
    let address = b.v4();

    overlay.controller.deauthorize(&overlay.network, &b.id());
    wait_for("the addresses to go", SOON, || {
        b.kernel_addresses("tmb0").is_empty().then_some(())
    });
    overlay.controller.authorize(&overlay.network, &b.id());
    b.wait_for_addresses("tmb0");

    assert_eq!(b.kernel_addresses("tmb0"), before);
    wait_for_ping(&a.host.namespace, address);
}

/// All drop counters a node reports, of peers or of nobody.
fn dropped(status: &serde_json::Value, peers: &serde_json::Value) -> u64 {
    let of = |value: &serde_json::Value| -> u64 {
        value["dropped"]
            .as_object()
            .into_iter()
            .flat_map(|counters| counters.values())
            .filter_map(serde_json::Value::as_u64)
            .sum()
    };
    of(status) + peers.as_array().into_iter().flatten().map(of).sum::<u64>()
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64()
}
