//! Many at once, on two replicas.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tombolo_proto::{
    address::{self, Cost},
    api,
    control::{Standing, ToController},
    key::Seed,
};

use crate::{
    cluster::{Cluster, DEADLINE, Replica, count},
    node::Node,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_one_use_token_lets_exactly_one_in_on_two_replicas() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    let network = cluster.first.home().await;
    let token: api::CreatedToken = cluster
        .first
        .http
        .post(
            &format!("/networks/{}/join-tokens", network.id),
            serde_json::json!({}),
        )
        .await
        .expect_status(201);
    let seeds = seeds(count(20, 50)).await;

    let nodes = connect(&[&cluster.first, &second], &seeds).await;

    let joins = nodes.into_iter().map(|mut node| {
        let token = &token.token;
        async move {
            loop {
                node.join(network.id, Some(token)).await;
                let standing = node.standing(network.id).await;
                // Who is told to come back, because the store has not answered for a second, comes back.
                if standing != Standing::Busy {
                    return standing;
                }
            }
        }
    });
    let standings = tokio::time::timeout(DEADLINE, join_all(joins)).await;
    let standings = standings.expect("everybody is answered");

    let members = standings
        .iter()
        .filter(|standing| **standing == Standing::Member)
        .count();
    assert_eq!(members, 1, "{standings:?}");
    assert!(
        standings
            .iter()
            .all(|standing| matches!(standing, Standing::Member | Standing::Denied { .. })),
        "{standings:?}"
    );
    // Both wrote at the same time, and the audit log is one chain.
    let (code, said) = second.verb(&cluster, &["audit", "verify"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_authorisations_on_two_replicas_give_no_address_twice() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    let network = cluster.first.home().await;
    let path = format!("/networks/{}", network.id);
    let members = count(40, 500);
    let token: api::CreatedToken = cluster
        .first
        .http
        .post(
            &format!("{path}/join-tokens"),
            serde_json::json!({ "uses": members }),
        )
        .await
        .expect_status(201);
    let seeds = seeds(members).await;

    // Twenty at the same moment, again and again.
    let replicas: [&Replica; 2] = [&cluster.first, &second];
    let mut acknowledged = Vec::new();
    for batch in seeds.chunks(20) {
        let joins = connect(&replicas, batch).await.into_iter().map(|mut node| {
            let token = &token.token;
            async move {
                node.join(network.id, Some(token)).await;
                assert_eq!(node.standing(network.id).await, Standing::Member);
                node.address
            }
        });
        acknowledged.extend(join_all(joins).await);
    }

    let mut listed: Vec<api::Member> = Vec::new();
    let mut after = String::new();
    loop {
        let page: api::Page<api::Member> = second
            .http
            .get(&format!("{path}/members?limit=1000{after}"))
            .await
            .expect_status(200);
        listed.extend(page.items);
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    for node in &acknowledged {
        assert!(
            listed
                .iter()
                .any(|member| member.node == *node && member.authorized),
            "{node} was let in, and is not there"
        );
    }
    let addresses: BTreeSet<_> = listed.iter().flat_map(|member| &member.addresses).collect();
    let given: usize = listed.iter().map(|member| member.addresses.len()).sum();
    assert_eq!(addresses.len(), given, "no address twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_subnets_are_distinct_and_a_lost_update_is_refused() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    let network = cluster.first.home().await;
    let path = format!("/networks/{}", network.id);
    let mut node = cluster.first.node().await;
    node.join(network.id, None).await;
    node.expect_pending(network.id).await;
    let member = format!("{path}/members/{}", node.address);
    let before = cluster
        .first
        .http
        .patch(&member, serde_json::json!({"authorized": true}))
        .await;
    let tag = before.header("etag").to_owned();

    let wishes = (0..count(10, 50)).map(|number| {
        let http = [&cluster.first.http, &second.http][number % 2];
        let path = format!("{member}/subnets");
        async move {
            let route: api::Route = http
                .post(&path, serde_json::json!({"size": 24}))
                .await
                .expect_status(201);
            route.target
        }
    });
    let targets = join_all(wishes).await;
    let distinct: BTreeSet<_> = targets.iter().collect();
    assert_eq!(distinct.len(), targets.len());

    // Both administrators read the same state; the slower one is told.
    let read = second.http.get(&member).await;
    let (header, body) = ("if-match", br#"{"name":"mine"}"#.to_vec());
    let stale = [(header, tag.as_str()), ("content-type", "application/json")];
    let fresh = [
        (header, read.header("etag")),
        ("content-type", "application/json"),
    ];
    cluster
        .first
        .http
        .send("PATCH", &member, &stale, body.clone())
        .await
        .expect_problem(412, "changed since you read it");
    let one = cluster
        .first
        .http
        .send("PATCH", &member, &fresh, br#"{"name":"one"}"#.to_vec());
    let two = second
        .http
        .send("PATCH", &member, &fresh, br#"{"name":"two"}"#.to_vec());
    let (one, two) = tokio::join!(one, two);
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412], "{} {}", one.body, two.body);
}

/// Nodes that are connected to the replicas in turn, one after the other: the race begins later.
async fn connect(replicas: &[&Replica], seeds: &[Seed]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (replica, seed) in replicas.iter().cycle().zip(seeds) {
        let mut node = replica.node_with(seed.clone()).await;
        // A node that says nothing for a minute is sent away, and many take longer to come.
        node.say(&ToController::Unsupported { variant: u32::MAX })
            .await;
        nodes.push(node);
    }
    nodes
}

/// Seeds of nodes; looking for their addresses is work.
async fn seeds(count: usize) -> Vec<Seed> {
    tokio::task::spawn_blocking(move || {
        (0..count)
            .map(|_| address::mine(Cost::Node, rand::random).0)
            .collect()
    })
    .await
    .expect("the thread ends")
}
