//! Going away without a trace.

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Node, Overlay, SOON, wait_for_ping},
    process::wait_for,
};

#[test]
fn leave_removes_everything_and_the_network_forgets_the_member() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let (_bridge, _container) = overlay.containers_behind(b, 1);
    wait_for_ping(&a.host.namespace, b.v4());
    let gone = b.v4();

    b.verb(&["leave", &overlay.network]).ok();

    wait_for("a host without traces", SOON, || {
        traces(b).is_empty().then_some(())
    });
    assert_eq!(b.standing(&overlay.network), None);
    wait_for("the others to drop the peer", SOON, || {
        let peers = a.json(&["peers"]);
        peers.as_array().is_some_and(Vec::is_empty).then_some(())
    });
    assert!(!tombolo_tests::overlay::answers(&a.host.namespace, gone));
}

#[test]
fn sigterm_ends_the_daemon_cleanly_and_leaves_no_trace() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    wait_for_ping(&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());

    overlay.nodes[1].stop();

    assert_eq!(traces(&overlay.nodes[1]), "");
    overlay.nodes[1].up();
    overlay.nodes[1].wait_for_addresses("tmb0");
    wait_for_ping(&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());
}

#[test]
fn after_leaving_a_node_may_join_again() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    b.verb(&["leave", &overlay.network]).ok();

    b.join(&overlay.network, &overlay.controller).ok();
    overlay.controller.authorize(&overlay.network, &b.id());
    b.wait_for_addresses("tmb0");

    wait_for_ping(&a.host.namespace, b.v4());
}

/// What Tombolo could have left on a host: interfaces, routes with a protocol that is not the kernel's or the lab's,
/// packet filter rules.
fn traces(node: &Node) -> String {
    node.host.namespace.shell(
        "ip -br link | grep -E '^tmb' || true
         { ip route show table all; ip -6 route show table all; } | grep -E 'tmb|unreachable .*(172\\.|fc)' || true
         nft list ruleset",
    )
}
