//! Requests with an idempotency key.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tombolo_proto::api::{self, Page};

use crate::{
    http::{Answer, Http},
    rig::{Rig, member_path},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_answered_again_and_not_carried_out_again() {
    let rig = Rig::start().await;
    let home = rig.home().await;
    let node = rig.member(home.id).await;
    let path = format!("/networks/{}", home.id);
    let member = member_path(home.id, &node);

    for (number, (to, body)) in [
        ("/networks".to_owned(), json!({"name": "work"})),
        (format!("{path}/join-tokens"), json!({"uses": 3})),
        (
            format!("{path}/routes"),
            json!({"target": "172.28.1.0/24", "via": node.address}),
        ),
        (format!("{member}/subnets"), json!({"size": 24})),
        (
            "/tokens".to_owned(),
            json!({"name": "script", "scopes": ["read"]}),
        ),
        (
            "/users".to_owned(),
            json!({"name": "anna", "password": "correct horse battery"}),
        ),
        // Changes nothing, and so keeps its answer afterwards.
        ("/keyring/draft".to_owned(), json!({"admit_pending": true})),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{number}");
        let first = post(&rig.http, &to, &key, &body).await;
        let lines = lines(&rig).await;

        let second = post(&rig.http, &to, &key, &body).await;

        assert!((200..300).contains(&first.status), "{to}: {}", first.body);
        assert_eq!(
            (second.status, &second.body),
            (first.status, &first.body),
            "{to}"
        );
        for header in ["location", "etag", "content-type"] {
            assert_eq!(second.header(header), first.header(header), "{to}");
        }
        assert_eq!(first.header("idempotency-replayed"), "", "{to}");
        assert_eq!(second.header("idempotency-replayed"), "true", "{to}");
        assert_eq!(self::lines(&rig).await, lines, "{to}: nothing was done");
        post(&rig.http, &to, &key, &json!({"name": "different"}))
            .await
            .expect_problem(422, "another request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_carried_out() {
    let rig = Rig::start().await;
    let body = json!({"name": "home"});

    let answers = join_all((0..10).map(|_| post(&rig.http, "/networks", "the-key", &body))).await;

    let made: Vec<&Answer> = answers.iter().filter(|a| a.status == 201).collect();
    assert!(!made.is_empty());
    assert!(made.iter().all(|answer| answer.body == made[0].body));
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.expect_problem(409, "being carried out");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let networks: Page<api::Network> = rig.http.get("/networks").await.expect_status(200);
    assert_eq!(networks.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_may_be_repeated_with_its_key() {
    let rig = Rig::start().await;
    rig.home().await;
    let body = json!({"name": "home"});
    post(&rig.http, "/networks", "key", &body)
        .await
        .expect_problem(409, "choose another");
    let networks: Page<api::Network> = rig.http.get("/networks").await.expect_status(200);
    rig.http
        .delete(&format!("/networks/{}", networks.items[0].id))
        .await
        .expect_no_content();

    let again = post(&rig.http, "/networks", "key", &body).await;

    let _: api::Network = again.expect_status(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_belong_to_who_sent_them_and_nonsense_is_no_key() {
    let rig = Rig::start().await;
    let other: api::CreatedToken = rig
        .http
        .post("/tokens", json!({"name": "other", "scopes": ["admin"]}))
        .await
        .expect_status(201);
    let other = Http::with_token(rig.controller.http(), Some(&other.token));

    let mine = post(&rig.http, "/networks", "key", &json!({"name": "one"})).await;
    let theirs = post(&other, "/networks", "key", &json!({"name": "two"})).await;

    assert_eq!((mine.status, theirs.status), (201, 201));
    assert_ne!(mine.body, theirs.body);
    for key in ["", "a b", &"x".repeat(256)] {
        post(&rig.http, "/networks", key, &json!({"name": "three"}))
            .await
            .expect_problem(400, "Idempotency-Key");
    }
    // It is checked before, as ever.
    let stranger = Http::with_token(rig.controller.http(), None);
    post(&stranger, "/networks", "key", &json!({"name": "one"}))
        .await
        .expect_problem(401, "token");
}

async fn post(http: &Http, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    http.send("POST", path, &headers, body.to_string().into_bytes())
        .await
}

async fn lines(rig: &Rig) -> u64 {
    let head: api::AuditHead = rig.http.get("/audit/head").await.expect_status(200);
    head.id
}
