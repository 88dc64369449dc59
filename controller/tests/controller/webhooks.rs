//! Who is told of changes by HTTP.

use serde_json::json;
use tombolo_proto::api::{self, CreatedWebhook, Page, Webhook, WebhookDelivery, WebhookTest};

use crate::{receiver::Receiver, rig::Rig};

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_in_order_and_signed() {
    let rig = Rig::start().await;
    let mut receiver = Receiver::start();
    let hook = hook(
        &rig,
        json!({"url": receiver.url(), "events": ["changed", "deleted"]}),
    )
    .await;

    let network = rig.home().await;
    let _node = rig.member(network.id).await;
    rig.http
        .delete(&format!("/networks/{}", network.id))
        .await
        .expect_no_content();

    let mut told = Vec::new();
    for _ in 0..3 {
        let message = receiver.next().await;
        assert!(message.is_signed_with(&hook.secret));
        assert!(!message.is_signed_with("whsec_AAAA"));
        assert_eq!(message.headers["content-type"], "application/json");
        let body = message.json();
        assert_eq!(body["data"]["network"], json!(network.id));
        assert!(
            body["timestamp"]
                .as_str()
                .is_some_and(|at| at.ends_with('Z'))
        );
        told.push(body["type"].as_str().expect("a type").to_owned());
    }
    assert_eq!(
        told,
        ["network.changed", "network.changed", "network.deleted"]
    );
    let shown = until(&rig, &hook.id, |shown| shown.waiting == 0).await;
    assert!(shown.delivered_at.is_some());
    assert_eq!((shown.failing_since, shown.disabled_at), (None, None));
    assert!(!receiver.has_more());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_come_and_go_are_told_of() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut receiver = Receiver::start();
    hook(
        &rig,
        json!({"url": receiver.url(), "events": ["online"], "network": network.id}),
    )
    .await;

    let _node = rig.member(network.id).await;

    let message = receiver.next().await.json();
    assert_eq!(message["type"], "network.online");
    assert_eq!(message["data"]["network"], json!(network.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_is_sent_again_with_the_same_id_even_after_a_restart() {
    let rig = Rig::start().await;
    let mut receiver = Receiver::start();
    receiver.answer("500 Internal Server Error");
    let hook = hook(&rig, json!({"url": receiver.url(), "events": ["changed"]})).await;
    rig.home().await;
    let first = receiver.next().await;
    let failing = until(&rig, &hook.id, |shown| shown.failing_since.is_some()).await;
    assert!(
        failing
            .last_error
            .is_some_and(|error| error.contains("500"))
    );
    assert_eq!(failing.waiting, 1);

    let rig = rig.restart().await;

    let second = receiver.next().await;
    assert_eq!(second.headers["webhook-id"], first.headers["webhook-id"]);
    assert_eq!(second.body, first.body);
    let shown = until(&rig, &hook.id, |shown| shown.waiting == 0).await;
    assert_eq!((shown.failing_since, shown.last_error), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_for_good_is_told_nothing_more_until_it_is_turned_on() {
    let rig = Rig::start().await;
    let mut receiver = Receiver::start();
    receiver.answer("410 Gone");
    let hook = hook(&rig, json!({"url": receiver.url(), "events": ["changed"]})).await;
    rig.home().await;
    receiver.next().await;
    until(&rig, &hook.id, |shown| shown.disabled_at.is_some()).await;
    rig.network(json!({"name": "unheard"})).await;

    let path = format!("/webhooks/{}", hook.id);
    let on: Webhook = rig
        .http
        .patch(&path, json!({"enabled": true}))
        .await
        .expect_status(200);
    let work = rig.network(json!({"name": "work"})).await;

    assert_eq!((on.disabled_at, on.waiting), (None, 0));
    let message = receiver.next().await.json();
    assert_eq!(message["data"]["network"], json!(work.id));
    let given_up = rig.http.get("/audit?action=webhook.give_up").await;
    let log: Page<api::AuditEntry> = given_up.expect_status(200);
    assert_eq!(log.items[0].subject, hook.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirections_are_not_followed() {
    let rig = Rig::start().await;
    let (mut receiver, mut elsewhere) = (Receiver::start(), Receiver::start());
    let hook = hook(&rig, json!({"url": receiver.url(), "events": ["changed"]})).await;
    let redirection = format!("307 Temporary Redirect\r\nlocation: {}", elsewhere.url());
    receiver.answer(&redirection);

    let tested: WebhookTest = rig
        .http
        .post(&format!("/webhooks/{}/test", hook.id), json!({}))
        .await
        .expect_status(200);

    assert_eq!((tested.delivered, tested.status), (false, Some(307)));
    assert!(receiver.next().await.is_signed_with(&hook.secret));
    assert!(!elsewhere.has_more());
    let again: WebhookTest = rig
        .http
        .post(&format!("/webhooks/{}/test", hook.id), json!({}))
        .await
        .expect_status(200);
    assert_eq!((again.delivered, again.status), (true, Some(204)));
    assert_eq!(receiver.next().await.json()["type"], "test");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_listed_without_secrets_and_deleted_and_nonsense_is_refused() {
    let rig = Rig::start().await;
    let hook = hook(&rig, json!({"url": "https://example.org/hook"})).await;

    let list = rig.http.get("/webhooks").await;
    let page: Page<Webhook> = list.expect_status(200);
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].events, [""; 0]);
    assert!(!list.body.contains(hook.secret.trim_start_matches("whsec_")));
    let path = format!("/webhooks/{}", hook.id);
    rig.http.delete(&path).await.expect_no_content();
    rig.http
        .get(&path)
        .await
        .expect_problem(404, "no such webhook");
    for (body, complaint) in [
        (json!({"url": "ftp://example.org/"}), "http or https"),
        (json!({"url": "/hook"}), "http or https"),
        (
            json!({"url": "http://user:secret@example.org/"}),
            "without user",
        ),
        (
            json!({"url": format!("http://example.org/{}", "x".repeat(2048))}),
            "2048",
        ),
        (
            json!({"url": "http://example.org/", "events": ["birth"]}),
            "changed",
        ),
        (
            json!({"url": "http://example.org/", "secret": "x"}),
            "unknown field",
        ),
    ] {
        rig.http
            .post("/webhooks", body)
            .await
            .expect_problem(422, complaint);
    }
    for _ in 0..32 {
        self::hook(&rig, json!({"url": "http://127.0.0.1:1/"})).await;
    }
    rig.http
        .post("/webhooks", json!({"url": "http://127.0.0.1:1/"}))
        .await
        .expect_problem(409, "32 webhooks");
}

async fn hook(rig: &Rig, body: serde_json::Value) -> CreatedWebhook {
    rig.http.post("/webhooks", body).await.expect_status(201)
}

async fn until(rig: &Rig, id: &str, is_it: impl Fn(&Webhook) -> bool) -> Webhook {
    let path = format!("/webhooks/{id}");
    let wait = async {
        loop {
            let shown: Webhook = rig.http.get(&path).await.expect_status(200);
            if is_it(&shown) {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), wait)
        .await
        .expect("the webhook becomes so")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_attempts_are_kept_and_sent_again_when_asked() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut receiver = Receiver::start();
    let body = json!({ "url": receiver.url(), "events": ["changed"] });
    let made: CreatedWebhook = rig.http.post("/webhooks", body).await.expect_status(201);
    let at = format!("/webhooks/{}", made.id);
    let listed = || async {
        let path = format!("{at}/deliveries");
        let page: Page<WebhookDelivery> = rig.http.get(&path).await.expect_status(200);
        page.items
    };
    assert_eq!(listed().await, []);

    receiver.answer("503 Service Unavailable");
    let path = format!("/networks/{network}");
    let smaller = json!({ "mtu": 1300 });
    let _: api::Network = rig.http.patch(&path, smaller).await.expect_status(200);
    let first = receiver.next().await;
    let failed = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        loop {
            if let Some(attempt) = listed().await.into_iter().next() {
                return attempt;
            }
        }
    });
    let failed = failed.await.expect("the attempt is kept");
    assert_eq!(
        (failed.attempt, failed.delivered, failed.status),
        (1, false, Some(503))
    );
    assert_eq!(
        failed.event.as_ref().map(|event| event.network),
        Some(network)
    );
    assert_eq!(failed.error.as_deref(), Some("it answered 503"));
    assert_eq!(failed.message, first.headers["webhook-id"]);

    receiver.answer("204 No Content");
    let resend = format!("{at}/deliveries/{}/resend", failed.id);
    let sent: WebhookTest = rig.http.post(&resend, json!({})).await.expect_status(200);
    assert!(sent.delivered, "{sent:?}");
    let again = receiver.next().await;
    assert_eq!(again.headers["webhook-id"], failed.message);
    assert_eq!(again.json(), first.json());
    let last = listed().await.into_iter().next().expect("it is kept");
    // It may have been sent again by itself meanwhile.
    assert!(last.attempt >= 2 && last.delivered, "{last:?}");
    for missing in ["0", "nonsense"] {
        let path = format!("{at}/deliveries/{missing}/resend");
        rig.http
            .post(&path, json!({}))
            .await
            .expect_problem(404, "");
    }

    const KEPT: usize = 20;
    for _ in 0..=KEPT {
        let test = format!("{at}/test");
        let _: WebhookTest = rig.http.post(&test, json!({})).await.expect_status(200);
    }
    let kept = listed().await;
    println!(
        "figure: attempts that are kept of {}: {}",
        KEPT + 3,
        kept.len()
    );
    assert_eq!(kept.len(), KEPT);
}
