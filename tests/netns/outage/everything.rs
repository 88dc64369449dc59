//! All controllers and their store are dead.

use std::time::{Duration, Instant};

use tombolo_tests::{
    cluster::Cluster,
    netns::{Claim, Lab},
    overlay::{Node, SOON, wait_for_mesh, wait_for_ping},
    process::{figure, wait_for},
};

use super::Traffic;

const PROMISE: Duration = Duration::from_secs(5);
const ROUTE: &str = "10.9.0.0/24";

#[test]
fn members_talk_reboot_move_and_catch_up_without_any_controller() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some(mut cluster) = Cluster::new(lab, 2, &["a", "b", "c", "absent"]) else {
        return;
    };
    wait_for_mesh(&cluster.overlay.nodes);
    wait_for("endpoints to be on disk", SOON, || {
        let nodes = &cluster.overlay.nodes;
        let remembers = |node: &Node| {
            let mut others = nodes
                .iter()
                .filter(|other| other.host.name != node.host.name);
            others.all(|other| node.remembers(&other.host))
        };
        nodes.iter().all(remembers).then_some(())
    });
    let mut absent = cluster.overlay.nodes.pop().expect("four nodes");
    absent.kill();
    changes_while_absent(&mut cluster);
    let traffic = Traffic::start(&cluster.overlay);

    cluster.store.kill();
    for number in 0..2 {
        cluster.replica(number).kill();
    }
    let network = cluster.overlay.network.clone();
    for node in &cluster.overlay.nodes {
        wait_for("the members to notice", SOON, || {
            (node.standing(&network).as_deref() == Some("offline-ok")).then_some(())
        });
    }
    traffic.goes_on();
    traffic.stop_without_loss();

    let nodes = &mut cluster.overlay.nodes;
    for node in nodes.iter_mut() {
        node.kill();
    }
    nodes[2].host.move_to_another_address();
    let start = Instant::now();
    for node in nodes.iter_mut() {
        node.up();
    }
    wait_for_mesh(nodes);
    figure(
        "reboot of all without controllers, one at a new address, to all pairs pinging",
        start.elapsed(),
        PROMISE,
    );

    let start = Instant::now();
    absent.up();
    wait_for("the changes that it missed", SOON * 2, || {
        let knows = nodes.iter().all(|node| absent.knows(&node.id()));
        (knows && has_route(&absent)).then_some(())
    });
    for node in nodes.iter() {
        wait_for_ping(&absent.host.namespace, node.v4());
    }
    figure(
        "start of an absent member without controllers to all that it missed, and pings to all",
        start.elapsed(),
        PROMISE,
    );
}

/// A member joins and a route is added.
fn changes_while_absent(cluster: &mut Cluster) {
    let overlay = &mut cluster.overlay;
    let mut fresh = Node::new(overlay.lab.host("fresh"));
    fresh.up();
    fresh.join(&overlay.network, &overlay.controller).ok();
    overlay.controller.authorize(&overlay.network, &fresh.id());
    fresh.wait_for_addresses("tmb0");
    overlay.nodes.push(fresh);
    let via = overlay.nodes[0].id();
    let _ = overlay.controller.add_route(&overlay.network, ROUTE, &via);
    for node in &overlay.nodes[1..] {
        wait_for("the route", SOON, || has_route(node).then_some(()));
    }
}

fn has_route(node: &Node) -> bool {
    let routes = node.host.namespace.try_run("ip route show dev tmb0");
    routes.stdout.contains(ROUTE)
}
