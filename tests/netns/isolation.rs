//! Several networks on one host.

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Controller, Node, answers, wait_for_ping},
};

#[test]
fn two_networks_on_one_host_are_isolated_from_each_other() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let controller = Controller::start(lab.host("ctl"));
    let red = controller.create_network("red", "172.27.0.0/16");
    let blue = controller.create_network("blue", "172.26.0.0/16");
    let mut nodes: Vec<_> = ["both", "red", "blue"]
        .map(|name| Node::new(lab.host(name)))
        .into();
    for node in &mut nodes {
        node.up();
    }
    let [both, in_red, in_blue] = nodes.as_slice() else {
        panic!("three nodes")
    };
    for (node, network) in [
        (both, &red),
        (both, &blue),
        (in_red, &red),
        (in_blue, &blue),
    ] {
        node.join(network, &controller).ok();
        controller.authorize(network, &node.id());
        let interface = node.interface_of(network);
        node.wait_for_addresses(&interface);
    }

    let red_side = both.v4_on(&both.interface_of(&red));
    let blue_side = both.v4_on(&both.interface_of(&blue));
    wait_for_ping(&in_red.host.namespace, red_side);
    wait_for_ping(&in_blue.host.namespace, blue_side);
    wait_for_ping(&both.host.namespace, in_red.v4());
    wait_for_ping(&both.host.namespace, in_blue.v6());

    // Even with a route into its own interface, a member of red gets nowhere in blue.
    in_red
        .host
        .namespace
        .run("ip route add 172.26.0.0/16 dev tmb0");
    assert!(!answers(&in_red.host.namespace, blue_side));
    assert!(!answers(&in_red.host.namespace, in_blue.v4()));
    // Nor by asking the host that is in both to forward: its source belongs to no member of blue.
    in_red.host.namespace.run(&format!(
        "ip route replace 172.26.0.0/16 via {red_side} dev tmb0 onlink"
    ));
    assert!(!answers(&in_red.host.namespace, in_blue.v4()));
}
