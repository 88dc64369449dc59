//! The store dies, hangs, or cannot be reached by one replica.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tombolo_tests::{
    cluster::Cluster,
    netns::{Claim, Lab},
    overlay::{Controller, SOON, repetitions},
    process::{announce, figure, wait_for},
};

use super::Traffic;

/// What is promised of a refusal, and of coming back.
const REFUSAL: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(5);

#[test]
fn without_the_store_reads_go_on_changes_are_refused_and_members_notice_nothing() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some(cluster) = Cluster::new(lab, 2, &["a", "b", "c"]) else {
        return;
    };
    let traffic = Traffic::start(&cluster.overlay);
    let homes = cluster.homes();

    for _ in 0..repetitions(1, 5) {
        cluster.store.pause();
        for replica in cluster.replicas() {
            figures_of_an_outage("store stopped", replica, &cluster.overlay.network);
        }
        cluster.store.resume();
        figure_of_the_return("store goes on", &cluster);

        cluster.store.kill();
        for replica in cluster.replicas() {
            figures_of_an_outage("store killed", replica, &cluster.overlay.network);
        }
        cluster.store.start_again();
        figure_of_the_return("store started again", &cluster);
    }

    assert_eq!(cluster.homes(), homes, "nobody had a reason to move");
    traffic.stop_without_loss();
}

#[test]
fn no_acknowledged_change_is_lost_and_none_is_half_there_when_the_store_is_killed() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some(cluster) = Cluster::new(lab, 2, &["a", "b"]) else {
        return;
    };
    let network = &cluster.overlay.network;
    let [a, b] = cluster.overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let via = b.id();
    let mut acknowledged = BTreeSet::new();

    for round in 0..repetitions(2, 10) {
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers = cluster.replicas().enumerate().map(|(number, replica)| {
                let (killed, via) = (&killed, &via);
                scope.spawn(move || {
                    let second = 2 * round + number;
                    let targets = (0..=255).map(|third| format!("10.{second}.{third}.0/24"));
                    write_until_killed(replica, network, via, targets, killed)
                })
            });
            let writers: Vec<_> = writers.collect();
            wait_for("changes to be made", SOON, || {
                let routes = a.host.namespace.run("ip route show dev tmb0");
                let made = routes.matches(&format!("10.{}.", 2 * round)).count();
                (made > 5).then_some(())
            });
            cluster.store.kill();
            killed.store(true, Ordering::Relaxed);
            for writer in writers {
                acknowledged.extend(writer.join().expect("the writer does not panic"));
            }
        });
        cluster.store.start_again();
        for replica in cluster.replicas() {
            replica.wait_until_ready();
        }

        let listed: Vec<BTreeSet<String>> = cluster
            .replicas()
            .map(|replica| targets(&replica.json(&["route", "ls", network])))
            .collect();
        assert_eq!(listed[0], listed[1], "all replicas know the same");
        let lost: Vec<_> = acknowledged.difference(&listed[0]).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        // What the store lists is what the members were told by signed documents, no more and no less.
        wait_for("the members to have what the store has", SOON, || {
            let routes = a.host.namespace.run("ip route show dev tmb0");
            let installed: BTreeSet<String> = routes
                .lines()
                .filter_map(|line| line.split(' ').next())
                .filter(|target| target.starts_with("10."))
                .map(str::to_owned)
                .collect();
            (installed == listed[0]).then_some(())
        });
    }
    announce(&format!(
        "figure: acknowledged changes lost 0 of {} (promise 0)",
        acknowledged.len()
    ));
    assert!(acknowledged.len() > 10);
}

/// Adds one route after the other; gives those that were acknowledged.
fn write_until_killed(
    replica: &Controller,
    network: &str,
    via: &str,
    targets: impl Iterator<Item = String>,
    killed: &AtomicBool,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for target in targets {
        let body = format!(r#"{{"target": "{target}", "via": "{via}"}}"#);
        let path = format!("/api/v1/networks/{network}/routes");
        let answer = replica.ask("POST", &path, Some(&body), None);
        match answer.status {
            201 => acknowledged.push(target),
            503 if killed.load(Ordering::Relaxed) => break,
            503 => {}
            other => panic!("{other}: {}", answer.body),
        }
    }
    acknowledged
}

/// A change is refused, a read is answered and marked, a wrong token is told from a right one.
fn figures_of_an_outage(what: &str, replica: &Controller, network: &str) {
    let path = format!("/api/v1/networks/{network}");
    let name = &replica.host.name;

    let start = Instant::now();
    let refused = replica.ask("PATCH", &path, Some(r#"{"mtu": 1380}"#), None);
    figure(
        &format!("{what}: a change refused by {name}"),
        start.elapsed(),
        REFUSAL,
    );
    assert_eq!(refused.status, 503, "{refused:?}");

    let start = Instant::now();
    let read = replica.ask("GET", &path, None, None);
    figure(
        &format!("{what}: a read answered as stale by {name}"),
        start.elapsed(),
        REFUSAL,
    );
    assert_eq!(read.status, 200, "{read:?}");
    assert!(read.stale.is_some());
    assert_eq!(read.body["mtu"], 1400);

    let wrong = format!("tombolo_0123456789ab_{}", "x".repeat(43));
    let unknown = replica.ask("PATCH", &path, Some(r#"{"mtu": 1380}"#), Some(&wrong));
    assert_eq!(unknown.status, 401, "{unknown:?}");
}

/// Changes are taken again, by every replica.
fn figure_of_the_return(what: &str, cluster: &Cluster) {
    let start = Instant::now();
    for replica in cluster.replicas() {
        let path = format!("/api/v1/networks/{}", cluster.overlay.network);
        wait_for("a change to be taken again", RECOVERY * 5, || {
            let answer = replica.ask("PATCH", &path, Some(r#"{"mtu": 1400}"#), None);
            (answer.status == 200 && answer.stale.is_none()).then_some(())
        });
    }
    figure(
        &format!("{what}: every replica takes changes again"),
        start.elapsed(),
        RECOVERY,
    );
}

fn targets(routes: &Value) -> BTreeSet<String> {
    let routes = routes.as_array().expect("a list").iter();
    routes
        .filter_map(|route| route["target"].as_str().map(str::to_owned))
        .collect()
}
