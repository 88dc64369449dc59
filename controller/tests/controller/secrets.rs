//! Secrets in the store, with and without a key that seals them.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde_json::json;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tombolo_controller::{Controller, config::Config};
use tombolo_proto::api::{CreatedWebhook, Webhook, WebhookTest};

use crate::{
    http::Http,
    receiver::Receiver,
    rig::{Rig, a_config},
};

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_webhooks_are_sealed_by_a_key_and_what_cannot_be_signed_waits_for_it() {
    let place = tempfile::tempdir().expect("a directory");
    let (old, new) = ("1f".repeat(32), "2E".repeat(32));
    let [old_file, both_file] = [("old", old.clone()), ("both", format!("{new}\n{old}\n"))]
        .map(|(name, text)| a_file(&place.path().join(name), &text));
    let mut receiver = Receiver::start();
    let rig = Rig::start().await;
    let hook = hook(&rig, &receiver).await;
    let clear = BASE64
        .decode(hook.secret.trim_start_matches("whsec_").as_bytes())
        .expect("Base64");
    assert_eq!(
        in_store(&rig, &hook.id).await,
        (String::new(), clear.clone())
    );

    // At the next start with a key it is sealed, and goes on as it was.
    let rig = rig
        .restart_with(|config| with_keys(config, &old_file))
        .await;
    let (first_key, sealed) = in_store(&rig, &hook.id).await;
    assert!(!first_key.is_empty() && !sealed.windows(4).any(|part| clear.starts_with(part)));
    try_out(&rig.http, &hook, &mut receiver).await;
    let backup = place.path().join("backup").display().to_string();
    let store = rig.store_url();
    let (code, said) = rig.verb(&["backup", &backup, "--store", &store]).await;
    assert_eq!(code, Some(0), "{said}");

    // Without the key nothing is lost, and others are told.
    let rig = rig.restart().await;
    let mut other_receiver = Receiver::start();
    let other = self::hook(&rig, &other_receiver).await;
    rig.home().await;
    let message = other_receiver.next().await;
    assert!(message.is_signed_with(&other.secret));
    let path = format!("/webhooks/{}", hook.id);
    let shown: Webhook = rig.http.get(&path).await.expect_status(200);
    println!(
        "figure: messages kept for a webhook that this replica cannot sign for: {}",
        shown.waiting
    );
    assert_eq!((shown.waiting, shown.failing_since), (1, None));
    let refused = rig.http.post(&format!("{path}/test"), json!({})).await;
    refused.expect_problem(409, "--secret-key-file");
    assert!(!receiver.has_more());

    // With a newer key beside it, the newer one seals both, and what waited is sent.
    let rig = rig
        .restart_with(|config| with_keys(config, &both_file))
        .await;
    assert!(receiver.next().await.is_signed_with(&hook.secret));
    let keys = [&hook, &other].map(|hook| hook.id.clone());
    let (newer, _) = in_store(&rig, &keys[0]).await;
    assert!(!newer.is_empty() && newer != first_key);
    assert_eq!(in_store(&rig, &keys[1]).await.0, newer);
    try_out(&rig.http, &other, &mut other_receiver).await;

    // A backup is sealed as the store was.
    let fresh = place.path().join("state");
    let state = fresh.display().to_string();
    let words = ["restore", &backup, "--state-dir", &state];
    let (code, said) = rig.verb(&words).await;
    assert_eq!(code, Some(0), "{said}");
    let token = std::fs::read_to_string(rig.state.path().join("admin.token")).expect("a token");
    let restored = Controller::start(with_keys(a_config(&fresh), &both_file))
        .await
        .expect("it starts");
    let http = Http::with_token(restored.http(), Some(token.trim()));
    try_out(&http, &hook, &mut receiver).await;
    restored.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_key_is_refused_at_the_start() {
    let place = tempfile::tempdir().expect("a directory");
    let wrong = a_file(&place.path().join("wrong"), "hunter2\n");
    let state = place.path().join("state");
    let refused = Controller::start(with_keys(a_config(&state), &wrong))
        .await
        .expect_err("that is no key");
    let line = refused.to_string();
    assert!(
        line.contains("line 1") && line.contains("openssl rand -hex 32"),
        "{line}"
    );
    assert!(!line.contains("hunter2"), "{line}");
}

async fn hook(rig: &Rig, receiver: &Receiver) -> CreatedWebhook {
    let body = json!({ "url": receiver.url(), "events": ["changed"] });
    rig.http.post("/webhooks", body).await.expect_status(201)
}

/// A test is taken, and signed with the secret that was told once.
async fn try_out(http: &Http, hook: &CreatedWebhook, receiver: &mut Receiver) {
    let path = format!("/webhooks/{}/test", hook.id);
    let sent: WebhookTest = http.post(&path, json!({})).await.expect_status(200);
    assert!(sent.delivered, "{sent:?}");
    assert!(receiver.next().await.is_signed_with(&hook.secret));
}

/// The key that a secret is sealed with, and what lies there.
async fn in_store(rig: &Rig, hook: &str) -> (String, Vec<u8>) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(&rig.store_url())
        .await
        .expect("a connection");
    let row = sqlx::query("SELECT sealed_by, secret FROM webhooks WHERE id = $1")
        .bind(hook.to_owned())
        .fetch_one(&mut connection)
        .await
        .expect("the webhook");
    let found = (row.get("sealed_by"), row.get("secret"));
    connection.close().await.expect("it closes");
    found
}

fn with_keys(config: Config, file: &Path) -> Config {
    Config {
        secret_key_file: Some(file.to_owned()),
        ..config
    }
}

fn a_file(path: &Path, text: &str) -> PathBuf {
    std::fs::write(path, text).expect("a file");
    path.to_owned()
}
