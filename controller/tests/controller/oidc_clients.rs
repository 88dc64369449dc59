//! Clients of an identity provider without a secret, and signatures of another kind.

use serde_json::json;
use tombolo_controller::config::Config;
use tombolo_proto::api::Role;

use crate::{
    oidc::{a_user, account, base, parameter, sign_on},
    provider::Provider,
    rig::Rig,
    visitor::Visitor,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_secret_believes_tokens_signed_with_rsa_and_forged_ones_never() {
    let Some(provider) = Provider::start() else {
        return;
    };
    provider
        .change(json!({ "algorithm": "RS256", "keys": "rsa" }))
        .await;
    let settings = provider.settings_without_secret();
    let rig = Rig::start_with(|config| Config {
        oidc: Some(settings),
        ..config
    })
    .await;
    provider.serve(&[&base(&rig)]).await;
    a_user(&rig, "bob", Role::Viewer).await;
    account(&provider, "b-17", "bob", &[]).await;

    let mut left = Visitor::new(rig.controller.http());
    let url = left
        .get("/sign-in/oidc")
        .await
        .header("location")
        .to_owned();
    assert_eq!(parameter(&url, "client_id"), "public-tombolo");
    let (mut bob, _) = sign_on(&rig, &provider, "b-17").await;
    bob.get("/").await.expect(200, "bob");

    provider
        .change(json!({ "forge": { "aud": "another" } }))
        .await;
    let (_, refused) = sign_on(&rig, &provider, "b-17").await;
    assert_eq!(refused.status, 502, "{}", refused.body);
}
