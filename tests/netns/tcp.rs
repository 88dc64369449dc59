//! Networks that let no UDP through.

use std::time::{Duration, Instant};

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Controller, Node, Overlay, SOON},
    process::{figure, wait_for},
};

/// From the start of a join to the controller's answer.
const PROMISE: Duration = Duration::from_secs(5);
/// From an administrator's change to the node.
const UPDATE: Duration = Duration::from_secs(2);
/// A silent controller that is the only one is given up after three seconds, over UDP as over TCP.
const SILENCE: Duration = Duration::from_millis(3500);
/// UDP is tried after 5, 15 and 35 seconds, and then every two minutes at most.
const BACK: Duration = Duration::from_secs(125);

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

/// What the connection to the controller goes by.
fn carrier(node: &Node, network: &str) -> Option<String> {
    let status = node.network(network)?;
    status["carrier"].as_str().map(str::to_owned)
}
