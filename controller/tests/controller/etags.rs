//! `If-Match` where two administrators may change the same thing: whoever decided on an older state is refused.

use serde_json::{Value, json};
use tombolo_proto::api;

use crate::rig::Rig;

async fn path_of(rig: &Rig, list: &str, new: Value) -> String {
    let made: Value = rig.http.post(list, new).await.expect_status(201);
    format!("{list}/{}", made["id"].as_str().expect("an id"))
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_webhooks_change_only_as_they_were_seen() {
    let rig = Rig::start().await;
    let user = json!({"name": "bob", "password": "correct horse battery", "role": "viewer"});
    let webhook = json!({"url": "http://127.0.0.1:9/", "events": ["changed"]});
    let cases = [
        (
            path_of(&rig, "/users", user).await,
            json!({"role": "operator"}),
            json!({"role": "none"}),
        ),
        (
            path_of(&rig, "/webhooks", webhook).await,
            json!({"events": []}),
            json!({"enabled": false}),
        ),
    ];

    for (path, first, second) in cases {
        let tag = rig.http.get(&path).await.header("etag").to_owned();
        assert!(tag.starts_with('"'), "{path}: {tag:?}");
        let seen = [
            ("content-type", "application/json"),
            ("if-match", tag.as_str()),
        ];
        let body = |change: &Value| change.to_string().into_bytes();

        let changed = rig.http.send("PATCH", &path, &seen, body(&first)).await;
        let _: Value = changed.expect_status(200);
        let newer = changed.header("etag").to_owned();
        assert_ne!(newer, tag, "{path}");
        assert_eq!(rig.http.get(&path).await.header("etag"), newer, "{path}");
        let late = rig.http.send("PATCH", &path, &seen, body(&second)).await;
        late.expect_problem(412, "read it again");
        let late = rig.http.send("DELETE", &path, &seen, Vec::new()).await;
        late.expect_problem(412, "read it again");
        let seen = [("if-match", newer.as_str())];
        let gone = rig.http.send("DELETE", &path, &seen, Vec::new()).await;
        gone.expect_no_content();
    }
    let log: api::Page<api::AuditEntry> =
        rig.http.get("/audit?limit=1000").await.expect_status(200);
    let refused = ["user.update", "webhook.update"].map(|action| {
        log.items
            .iter()
            .filter(|line| line.action == action)
            .count()
    });
    assert_eq!(refused, [1, 1], "what is refused leaves no line");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_saw_the_same_state_one_wins() {
    let rig = Rig::start().await;
    let new = json!({"url": "http://127.0.0.1:9/"});
    let path = path_of(&rig, "/webhooks", new).await;
    let tag = rig.http.get(&path).await.header("etag").to_owned();

    let tries = (0..8).map(|number| {
        let (http, path, tag) = (rig.http.clone(), path.clone(), tag.clone());
        tokio::spawn(async move {
            let body = json!({"url": format!("http://127.0.0.1:9/{number}")}).to_string();
            let seen = [
                ("content-type", "application/json"),
                ("if-match", tag.as_str()),
            ];
            http.send("PATCH", &path, &seen, body.into_bytes())
                .await
                .status
        })
    });
    let tries: Vec<_> = tries.collect();
    let mut statuses = Vec::new();
    for one in tries {
        statuses.push(one.await.expect("it is answered"));
    }

    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}
