//! Webhooks of several replicas.

use serde_json::json;
use tombolo_proto::api::{CreatedWebhook, Page, Webhook};

use crate::{
    cluster::{Cluster, Replica},
    receiver::Receiver,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_wrote_another_one_tells_when_it_is_gone_and_nothing_is_told_twice() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    let mut receiver = Receiver::start();
    let hook: CreatedWebhook = cluster
        .first
        .http
        .post(
            "/webhooks",
            json!({"url": receiver.url(), "events": ["changed"]}),
        )
        .await
        .expect_status(201);
    let mut told = Vec::new();
    for (number, replica) in [&cluster.first, &second].iter().cycle().take(6).enumerate() {
        let body = json!({ "name": format!("n{number}") });
        let network: serde_json::Value = replica
            .http
            .post("/networks", body)
            .await
            .expect_status(201);
        told.push(network["id"].clone());
    }
    for id in &told {
        let message = receiver.next().await;
        assert!(message.is_signed_with(&hook.secret));
        assert_eq!(message.json()["data"]["network"], *id, "in order");
    }

    // What was taken last is answered before anything is answered otherwise.
    until_all_are_told(&second).await;

    // The first attempt fails, and whoever made it and wrote the change is gone before the next.
    receiver.answer("503 Service Unavailable");
    let network: serde_json::Value = cluster
        .first
        .http
        .post("/networks", json!({"name": "last"}))
        .await
        .expect_status(201);
    let first = receiver.next().await;
    cluster.first.controller.shutdown().await;

    let again = receiver.next().await;

    assert_eq!(again.json()["data"]["network"], network["id"]);
    assert_eq!(again.headers["webhook-id"], first.headers["webhook-id"]);
    until_all_are_told(&second).await;
    assert!(!receiver.has_more());
}

async fn until_all_are_told(replica: &Replica) {
    replica
        .until("/webhooks", |_, page| {
            let page: Result<Page<Webhook>, _> = serde_json::from_value(page.clone());
            page.is_ok_and(|page| page.items[0].waiting == 0)
        })
        .await;
}
