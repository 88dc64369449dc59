//! New keys in the middle of traffic.

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Overlay, Pings, repetitions, wait_for_ping},
    process::{announce, wait_for},
};

/// Short enough to see several rekeys; the shipped figure is 120.
const CONFIG: &str = "[session]\nrekey_after_seconds = 4\n";

#[test]
fn a_rekey_loses_nothing() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::with_config(lab, &["a", "b"], CONFIG);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    let there = Pings::start(
        &a.host.namespace,
        b.v4(),
        &overlay.lab.dir().join("there.log"),
    );
    let back = Pings::start(
        &b.host.namespace,
        a.v6(),
        &overlay.lab.dir().join("back.log"),
    );

    let wanted = repetitions(3, 10);
    let mut rekeys = 0;
    let mut age = handshake_age(a);
    wait_for(
        "rekeys",
        std::time::Duration::from_secs(20 * wanted as u64),
        || {
            let younger = handshake_age(a);
            rekeys += usize::from(younger < age);
            age = younger;
            (rekeys >= wanted).then_some(())
        },
    );
    let until = there.answers() + 40;
    wait_for("pings after the last", tombolo_tests::overlay::SOON, || {
        (there.answers() >= until).then_some(())
    });

    for pings in [there, back] {
        let (sent, received) = pings.stop();
        announce(&format!(
            "figure: pings lost over {rekeys} rekeys: {} of {sent} (promise 0)",
            sent - received
        ));
        assert_eq!(sent, received, "not one ping may be lost");
    }
}

/// Seconds since the last handshake with the only peer.
fn handshake_age(node: &tombolo_tests::overlay::Node) -> f64 {
    let peers = node.json(&["peers"]);
    peers[0]["last_handshake"]
        .as_f64()
        .unwrap_or_else(|| panic!("no handshake yet: {peers}"))
}
