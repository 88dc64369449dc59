//! Signing in at an identity provider where there are several replicas.

use serde_json::json;
use tombolo_controller::{Controller, config::Config};
use tombolo_tests::postgres::Postgres;

use crate::{cluster::config, provider::Provider, visitor::Visitor};

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_begun_at_one_replica_ends_at_another() {
    let (Some(postgres), Some(provider)) = (Postgres::shared(), Provider::start()) else {
        return;
    };
    // Browsers see both behind one name.
    let name = "http://panel.localhost";
    provider.serve(&[name]).await;
    let accounts = json!({ "b-17": { "preferred_username": "bob" } });
    provider.change(json!({ "accounts": accounts })).await;
    let url = postgres.database();
    let mut replicas = Vec::new();
    let states = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    std::fs::write(states[0].path().join("authority.key"), [31; 32]).expect("a file");
    for state in &states {
        let more = "create-users = true\n[[roles]]\nrole = 'viewer'\n";
        let config = Config {
            oidc: Some(provider.settings(more)),
            ..config(state, &url)
        };
        replicas.push(Controller::start(config).await.expect("it starts"));
    }
    let mut visitor = Visitor::new(replicas[0].http());
    let host = ("host".to_owned(), "panel.localhost".to_owned());
    visitor.headers.push(host);

    let left = visitor.get("/sign-in/oidc").await;
    let landed = provider.consent(left.header("location"), "b-17").await;
    visitor.move_to(replicas[1].http());
    let path = landed.strip_prefix(name).expect("the same name");
    visitor.get(path).await.expect(200, "Signed in");

    // The session counts at both.
    for replica in &replicas {
        visitor.move_to(replica.http());
        visitor.get("/").await.expect(200, "bob");
    }
}
