//! Requests with an idempotency key, on several replicas.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tombolo_proto::api::{self, Page};

use crate::cluster::{Cluster, Replica};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_reaches_two_replicas_is_carried_out_once() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;

    for round in 0..10 {
        let body = json!({"name": format!("n{round}")});
        let key = format!("key-{round}");
        let posts = [&cluster.first, &second, &cluster.first, &second]
            .map(|replica| post(replica, &key, &body));
        let answers = join_all(posts).await;
        let again = post(&second, &key, &body).await;

        let made: Vec<_> = answers
            .iter()
            .filter(|(status, _)| *status == 201)
            .collect();
        assert!(!made.is_empty(), "{answers:?}");
        assert!(
            answers
                .iter()
                .all(|(status, _)| [201, 409].contains(status)),
            "{answers:?}"
        );
        assert!(made.iter().all(|(_, body)| *body == again.1), "{answers:?}");
        assert_eq!(again.0, 201);
    }
    let page: Page<api::Network> = second.http.get("/networks").await.expect_status(200);
    assert_eq!(page.items.len(), 10);

    // Whoever carried it out is gone.
    let token = json!({"name": "script", "scopes": ["read"]});
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "token"),
    ];
    let send = async |replica: &Replica| {
        let body = token.to_string().into_bytes();
        replica.http.send("POST", "/tokens", &headers, body).await
    };
    let first: api::CreatedToken = send(&cluster.first).await.expect_status(201);
    cluster.first.controller.shutdown().await;
    let again: api::CreatedToken = send(&second).await.expect_status(201);
    assert_eq!(again, first);
}

async fn post(replica: &Replica, key: &str, body: &Value) -> (u16, String) {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    let body = body.to_string().into_bytes();
    let answer = replica.http.send("POST", "/networks", &headers, body).await;
    (answer.status, answer.body)
}
