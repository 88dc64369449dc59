//! The store goes away, and comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tombolo_proto::{api, id::Version};
use tombolo_tests::{postgres::Postgres, process::figure};

use crate::cluster::Cluster;

/// What is promised of a refusal, and of coming back.
const REFUSAL: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_reads_are_stale_and_writes_are_refused_in_time() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let cluster = Cluster::on(Arc::new(postgres)).await;
    let replica = &cluster.first;
    let network = replica.home().await;
    let path = format!("/networks/{}", network.id);
    let mut node = replica.node().await;
    node.join(network.id, None).await;
    node.expect_pending(network.id).await;
    let member = format!("{path}/members/{}", node.address);
    replica
        .http
        .patch(&member, serde_json::json!({"authorized": true}))
        .await
        .expect_status::<api::Member>(200);
    node.expect_member(network.id).await;
    let known = node.sync(network.id, Version::default()).await;
    let fresh = replica.http.get(&path).await;
    assert_eq!(fresh.header("tombolo-stale-seconds"), "");
    // The replica has looked at the store once more since: tokens and documents are in its memory.
    replica
        .until("/status", |_, status| {
            status["store_unreachable_seconds"].is_null()
        })
        .await;

    cluster.postgres.kill();

    let asked = Instant::now();
    replica
        .http
        .patch(&member, serde_json::json!({"name": "other"}))
        .await
        .expect_problem(503, "changes are refused");
    figure(
        "a change refused without the store",
        asked.elapsed(),
        REFUSAL,
    );
    let stale = replica.http.get(&path).await;
    let read: api::Network = stale.expect_status(200);
    assert_eq!(read.name, "home");
    assert!(!stale.header("tombolo-stale-seconds").is_empty());
    let page: api::Page<api::Member> = replica
        .http
        .get(&format!("{path}/members"))
        .await
        .expect_status(200);
    assert!(page.items[0].authorized);
    let status: Value = replica.http.get("/status").await.expect_status(200);
    assert!(status["store_unreachable_seconds"].is_u64(), "{status}");
    replica
        .http
        .get("//readyz")
        .await
        .expect_problem(503, "store");
    crate::http::Http::with_token(
        replica.controller.http(),
        Some(&format!("tombolo_0123456789ab_{}", "x".repeat(43))),
    )
    .patch(&member, serde_json::json!({"name": "other"}))
    .await
    .expect_problem(401, "valid API token");
    // The connected node stays, and one that comes back gets the last signed documents.
    let again = node.sync(network.id, Version::default()).await;
    assert_eq!(again.certs, known.certs);
    let mut back = replica.node_with(node.seed.clone()).await;
    back.join(network.id, None).await;
    back.expect_member(network.id).await;
    let served = back.sync(network.id, Version::default()).await;
    assert_eq!(served.certs, known.certs);

    cluster.postgres.start_again();

    let returned = Instant::now();
    replica.until_ready().await;
    figure(
        "serving again after the store came back",
        returned.elapsed(),
        RECOVERY,
    );
    replica
        .http
        .patch(&member, serde_json::json!({"name": "other"}))
        .await
        .expect_status::<api::Member>(200);
    let pushed = back.directory(network.id).await;
    assert_eq!(pushed.cert(back.identity()).name, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_store_is_killed_in_the_middle_of_writes() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let cluster = Cluster::on(Arc::new(postgres)).await;
    let second = cluster.admitted().await;
    let killed = Arc::new(AtomicBool::new(false));
    let writers = (0..6).map(|writer| {
        let http = [&cluster.first.http, &second.http][writer % 2].clone();
        let killed = Arc::clone(&killed);
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..500 {
                let name = format!("net-{writer}-{number}");
                let answer = http
                    .post("/networks", serde_json::json!({"name": name}))
                    .await;
                match answer.status {
                    201 => acknowledged.push(name),
                    503 => {
                        if killed.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    other => panic!("{other}: {}", answer.body),
                }
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    cluster
        .first
        .until("/networks?limit=1000", |_, page| {
            page["items"]
                .as_array()
                .is_some_and(|items| items.len() > 20)
        })
        .await;

    cluster.postgres.kill();
    killed.store(true, Ordering::Relaxed);

    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("the writer ends"));
    }
    cluster.postgres.start_again();
    for replica in [&cluster.first, &second] {
        replica.until_ready().await;
        let page: api::Page<api::Network> = replica
            .http
            .get("/networks?limit=1000")
            .await
            .expect_status(200);
        for name in &acknowledged {
            assert!(
                page.items.iter().any(|network| network.name == *name),
                "{name} was acknowledged, and is lost"
            );
        }
    }
    assert!(acknowledged.len() >= 20);
}
