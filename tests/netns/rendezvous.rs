//! Nodes behind NATs that let in nothing but answers find each other.

use std::time::{Duration, Instant};

use tombolo_tests::{
    cluster::Cluster,
    nat::{Nat, Router},
    netns::{Claim, Lab},
    overlay::{Controller, Node, Overlay, SOON, repetitions, text, wait_for_ping},
    process::{figure, median, wait_for},
};

/// What a start from the cache may take without any NAT.
const PROMISE: Duration = Duration::from_secs(2);
/// Without a controller, a node learns from peers where it is seen, and then asks a second time.
const PROMISE_WITHOUT: Duration = Duration::from_secs(4);

#[test]
fn nodes_behind_two_nats_that_are_connected_to_two_replicas_meet() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some(cluster) = Cluster::new(lab, 2, &[]) else {
        return;
    };
    let overlay = &cluster.overlay;
    let homes = [&overlay.controller, &cluster.others[0]];
    let mut pair = Pair::new(overlay, homes);
    let homes = pair.nodes.each_ref().map(|node| cluster.home(node));
    assert_eq!(homes, [Some(0), Some(1)]);

    // With two, the other mostly notices by itself that the session is gone, before it is called. That it is called is shown
    // in the tests of controllers.
    let _ = pair.meet("on two replicas", PROMISE);
}

#[test]
fn nodes_behind_two_nats_that_are_connected_to_one_controller_meet() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    // It answers STUN at a port of its own, and says so.
    let host = lab.host("ctl");
    let config = host.dir.join("controller.toml");
    std::fs::write(config, "relay = \"[::]:9893\"\n").expect("the lab's directory is writable");
    let overlay = Overlay::around(Controller::start(host), lab, Vec::new(), "");
    let mut pair = Pair::new(&overlay, [&overlay.controller; 2]);

    let called = pair.meet("on one controller", PROMISE);

    assert!(called, "they met by another way every time");
}

#[test]
fn without_a_controller_a_common_peer_lets_them_meet() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["public"]);
    let mut pair = Pair::new(&overlay, [&overlay.controller; 2]);
    for node in &pair.nodes {
        wait_for_ping(&node.host.namespace, overlay.nodes[0].v4());
    }
    wait_for_ping(&pair.nodes[0].host.namespace, pair.nodes[1].v4());

    overlay.controller.kill();

    let called = pair.meet("with the controller dead", PROMISE_WITHOUT);

    assert!(called, "they met by another way every time");
}

#[test]
fn nodes_behind_one_nat_find_each_other_on_their_own_network() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let router = lab.router("r", 1, Nat::PortRestricted);
    let hosts = vec![
        lab.host_behind(&router, "a", 2),
        lab.host_behind(&router, "b", 3),
    ];
    let overlay = Overlay::on_hosts(lab, hosts, "");
    let [a, b] = &overlay.nodes[..] else {
        panic!("two nodes");
    };

    wait_for_ping(&a.host.namespace, b.v4());

    let inner = [b.host.v4.to_string(), b.host.v6.to_string()];
    wait_for("a path inside", SOON, || {
        let peers = a.json(&["peers"]);
        let endpoint = text(&peers, "/0/path/endpoint");
        inner
            .iter()
            .any(|address| endpoint.contains(address.as_str()))
            .then_some(())
    });
}

/// Two members, each behind a port-restricted NAT of its own.
///
/// Fields are dropped in order: daemons first.
struct Pair {
    nodes: [Node; 2],
    _routers: [Router; 2],
}

impl Pair {
    /// Each connects to one of these controllers.
    fn new(overlay: &Overlay, controllers: [&Controller; 2]) -> Self {
        let lab = &overlay.lab;
        let routers = [1, 2].map(|number| {
            let name = format!("r{number}");
            let router = lab.router(&name, number, Nat::PortRestricted);
            router.host.namespace.drop_relayed_by_controllers();
            router
        });
        let nodes = [0, 1].map(|index| {
            let name = format!("n{index}");
            let mut node = Node::new(lab.host_behind(&routers[index], &name, 2));
            node.up_with(&["--log-level", "debug"]);
            node.join(&overlay.network, controllers[index]).ok();
            overlay.controller.authorize(&overlay.network, &node.id());
            node.wait_for_addresses("tmb0");
            node
        });
        Self {
            nodes,
            _routers: routers,
        }
    }

    /// Both know of each other since they are members. Then one comes back at other ports: the other's NAT lets nothing in
    /// from there, and the other has no reason to send unless it is told. Gives whether the other was called at least once:
    /// now and then it notices by itself that the session is gone.
    fn meet(&mut self, how: &str, promise: Duration) -> bool {
        let [first, second] = &mut self.nodes;
        wait_for_ping(&first.host.namespace, second.v4());
        let before = calls(second);
        let mut figures = Vec::new();
        for number in 0..repetitions(3, 10) {
            first.kill();

            let start = Instant::now();
            first.up_with(&["--port", &(9_800 + number).to_string()]);
            let answered = wait_for_ping(&first.host.namespace, second.v4());

            figures.push(answered.duration_since(start));
        }
        figure(
            &format!("start to first answer through two port-restricted NATs, {how}"),
            median(figures),
            promise,
        );
        calls(second) > before
    }
}

/// How often a node was told to call.
fn calls(node: &Node) -> usize {
    node.log().matches("A peer asks to be called").count()
}
