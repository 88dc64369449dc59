//! Join and authorise: what a user waits for.

use std::time::{Duration, Instant};

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Controller, Node, Overlay, SOON, repetitions, wait_for_ping},
    process::{figure, median, wait_for},
};

#[test]
fn addresses_come_within_a_second_of_authorising_and_pings_within_another() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["first"]);
    let mut to_addresses = Vec::new();
    let mut to_ping = Vec::new();

    for number in 0..repetitions(3, 10) {
        let mut node = Node::new(overlay.lab.host(&format!("n{number}")));
        node.up();
        node.join(&overlay.network, &overlay.controller).ok();
        let id = node.id();

        let start = Instant::now();
        overlay.controller.authorize(&overlay.network, &id);
        let addressed = node.wait_for_addresses("tmb0");
        let pinged = wait_for_ping(&node.host.namespace, overlay.nodes[0].v4());

        to_addresses.push(addressed.duration_since(start));
        to_ping.push(pinged.duration_since(addressed));
        overlay.nodes.push(node);
    }

    figure(
        "authorise to addresses",
        median(to_addresses),
        Duration::from_secs(1),
    );
    figure(
        "addresses to first ping",
        median(to_ping),
        Duration::from_secs(1),
    );
}

#[test]
fn a_join_is_pending_until_authorised_and_then_ok() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let controller = Controller::start(lab.host("ctl"));
    let network = controller.create_network("home", "172.27.0.0/16");
    let mut node = Node::new(lab.host("a"));
    node.up();

    node.join(&network, &controller).ok();

    assert_eq!(node.standing(&network).as_deref(), Some("pending"));
    assert!(
        node.kernel_addresses("tmb0").is_empty(),
        "no address before authorisation"
    );

    controller.authorize(&network, &node.id());

    wait_for("status ok", SOON, || {
        (node.standing(&network).as_deref() == Some("ok")).then_some(())
    });
}

#[test]
fn join_with_a_token_needs_no_click_and_the_token_works_once() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let controller = Controller::start(lab.host("ctl"));
    let network = controller.create_network("home", "172.27.0.0/16");
    let created = controller.json(&["join-token", "create", &network]);
    let token = tombolo_tests::overlay::text(&created, "/token");
    let (mut first, mut second) = (Node::new(lab.host("a")), Node::new(lab.host("b")));
    first.up();
    second.up();
    let join = |node: &Node, wait: &str| {
        let address = controller.control_address();
        node.verb(&[
            "join",
            &network,
            "--controller",
            &address,
            "--token",
            &token,
            "--wait",
            wait,
        ])
    };

    let said = join(&first, "15").ok();

    assert!(
        said.contains("172.27."),
        "--wait prints the addresses: {said}"
    );
    assert_eq!(join(&second, "2").code, 5, "a used token authorises nobody");
}

#[test]
fn waiting_for_an_authorisation_that_does_not_come_ends_with_5() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let controller = Controller::start(lab.host("ctl"));
    let network = controller.create_network("home", "172.27.0.0/16");
    let mut node = Node::new(lab.host("a"));
    node.up();

    let address = controller.control_address();
    let said = node.verb(&["join", &network, "--controller", &address, "--wait", "5"]);

    assert_eq!(said.code, 5, "{said:?}");
}

#[test]
fn a_second_ipv6_layout_reaches_the_members_live() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let of_layout = |node: &Node| {
        let addresses = node.kernel_addresses("tmb0");
        addresses
            .into_iter()
            .find(|address| address.to_string().starts_with("fd"))
    };
    assert_eq!(of_layout(b), None, "6PLANE alone at first");

    let set = [
        "network",
        "set",
        &overlay.network,
        "--v6-modes",
        "6plane,rfc4193",
    ];
    overlay.controller.verb(&set).ok();

    let address = wait_for("the RFC 4193 address", SOON, || of_layout(b));
    wait_for_ping(&a.host.namespace, address);
    wait_for_ping(&a.host.namespace, b.v4());
}
