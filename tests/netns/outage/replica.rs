//! One replica of several fails.

use std::time::{Duration, Instant};

use tombolo_tests::{
    cluster::Cluster,
    netns::{Claim, Lab},
    overlay::{Node, SOON, answers, repetitions, wait_for_mesh, wait_for_ping},
    process::{announce, figure, wait_for},
};

use super::Traffic;

const PROMISE: Duration = Duration::from_secs(3);

#[test]
fn nodes_of_a_killed_or_unplugged_replica_go_to_another_and_not_one_ping_is_lost() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some(mut cluster) = Cluster::new(lab, 2, &["a", "b", "c"]) else {
        return;
    };
    let traffic = Traffic::start(&cluster.overlay);

    let mut killed = Vec::new();
    for round in 1..=repetitions(2, 10) {
        let home = cluster.home(&cluster.overlay.nodes[0]).expect("a home");
        let start = Instant::now();
        cluster.replica(home).kill();
        killed.push(time_to_leave(&cluster, home, start));
        a_change_arrives(&mut cluster, 1 - home, round);
        cluster.replica(home).serve();
        cluster.replica(home).wait_until_ready();
    }
    figure(
        "kill -9 of a replica to all of its nodes at another, worst",
        killed.into_iter().max().expect("at least one"),
        PROMISE,
    );

    let mut unplugged = Vec::new();
    for round in 1..=repetitions(1, 10) {
        let home = cluster.home(&cluster.overlay.nodes[0]).expect("a home");
        let start = Instant::now();
        cable(&mut cluster, home, false);
        unplugged.push(time_to_leave(&cluster, home, start));
        a_change_arrives(&mut cluster, 1 - home, 100 + round);
        cable(&mut cluster, home, true);
        cluster.replica(home).wait_until_ready();
    }
    figure(
        "cable of a replica pulled to all of its nodes at another, worst",
        unplugged.into_iter().max().expect("at least one"),
        PROMISE,
    );

    traffic.stop_without_loss();
}

#[test]
fn a_node_without_its_cable_is_back_when_it_is_plugged_in_again() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some(cluster) = Cluster::new(lab, 2, &["a", "b"]) else {
        return;
    };
    let [a, b] = cluster.overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_mesh(&cluster.overlay.nodes);

    announce(&format!(
        "figure: idle control connection, sent per node and hour {} kB",
        control_traffic_per_hour(a) / 1000
    ));

    a.host.namespace.run("ip link set eth0 down");
    let network = &cluster.overlay.network;
    wait_for("the node to notice", SOON * 2, || {
        (a.standing(network).as_deref() == Some("offline-ok")).then_some(())
    });
    assert_eq!(b.standing(network).as_deref(), Some("ok"));
    let v6 = a.v6();
    let route = cluster
        .overlay
        .controller
        .add_route(network, "10.9.0.0/24", &b.id());
    a.host.namespace.run("ip link set eth0 up");

    let start = Instant::now();
    wait_for_ping(&b.host.namespace, a.v4());
    figure(
        "cable of a node plugged in again to its first answer",
        start.elapsed(),
        Duration::from_secs(5),
    );
    assert_eq!(a.v6(), v6);
    wait_for("the change of the meantime", SOON * 4, || {
        let routes = a.host.namespace.run("ip route show dev tmb0");
        routes.contains("10.9.0.0/24").then_some(())
    });
    figure(
        "cable of a node plugged in again to the change that it missed",
        start.elapsed(),
        Duration::from_secs(10),
    );
    cluster.overlay.controller.remove_route(network, &route);
}

#[test]
fn nodes_of_a_replica_that_cannot_reach_the_store_hear_of_changes_and_removals_through_another() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some(mut cluster) = Cluster::new(lab, 2, &["a", "b", "removed"]) else {
        return;
    };
    let removed = cluster.overlay.nodes.pop().expect("three nodes");
    let traffic = Traffic::start(&cluster.overlay);
    let home = cluster.wait_for_home(&removed, |_| true);
    wait_for_ping(&removed.host.namespace, cluster.overlay.nodes[1].v4());
    let network = cluster.overlay.network.clone();

    // Members of one replica, a removal at the other.
    for replica in [0, 1] {
        removed.host.cut_off(cluster.replica(replica).host.v4);
    }
    let target = cluster.overlay.nodes[1].v4();
    let start = Instant::now();
    cluster
        .replica(1 - home)
        .deauthorize(&network, &removed.id());
    wait_for("the removed member to get no answer", SOON, || {
        (!answers(&removed.host.namespace, target)).then_some(())
    });
    figure(
        "deauthorise at one replica to cut off by the members of another (with a ping's patience of 1 s)",
        start.elapsed(),
        Duration::from_secs(3),
    );

    let store = cluster.store.host().expect("it is in the lab").v4;
    cluster.replica(home).host.cut_off(store);
    let start = Instant::now();
    a_change_arrives(&mut cluster, 1 - home, 50);
    figure(
        "a replica out of the store's reach: change at another replica to its members",
        start.elapsed(),
        Duration::from_secs(10),
    );
    cluster.replica(home).host.let_through();
    cluster.replica(home).wait_until_ready();
    traffic.stop_without_loss();
}

/// Bytes that an idle node sends to controllers, IP headers included.
fn control_traffic_per_hour(node: &Node) -> u64 {
    const WATCHED: Duration = Duration::from_secs(5);
    let inside = &node.host.namespace;
    inside.shell(
        "nft add table inet watch
         nft add chain inet watch out '{ type filter hook output priority 0; }'
         nft add rule inet watch out udp dport 9791 counter",
    );
    let start = Instant::now();
    wait_for("the time to pass", WATCHED * 2, || {
        (start.elapsed() >= WATCHED).then_some(())
    });
    let counted = inside.run("nft list table inet watch");
    inside.run("nft delete table inet watch");
    let mut words = counted
        .split_whitespace()
        .skip_while(|word| *word != "bytes");
    let bytes: u64 = words
        .nth(1)
        .and_then(|bytes| bytes.parse().ok())
        .expect("a counter");
    bytes * 3600 / WATCHED.as_secs()
}

/// Waits until no node is connected to a replica; gives how long that took.
fn time_to_leave(cluster: &Cluster, replica: usize, since: Instant) -> Duration {
    for node in &cluster.overlay.nodes {
        cluster.wait_for_home(node, |home| home != replica);
    }
    since.elapsed()
}

/// Adds a route through a replica, and waits until all other nodes have it.
fn a_change_arrives(cluster: &mut Cluster, replica: usize, number: usize) {
    let network = cluster.overlay.network.clone();
    let via = cluster.overlay.nodes[0].id();
    let target = format!("10.8.{number}.0/24");
    let _ = cluster.replica(replica).add_route(&network, &target, &via);
    for node in &cluster.overlay.nodes[1..] {
        wait_for("the route at the members", SOON, || {
            let routes = node.host.namespace.run("ip route show dev tmb0");
            routes.contains(&target).then_some(())
        });
    }
}

fn cable(cluster: &mut Cluster, replica: usize, is_in: bool) {
    let host = match replica {
        0 => &cluster.overlay.controller.host,
        other => &cluster.others[other - 1].host,
    };
    cluster.overlay.lab.cable(host, is_in);
}
