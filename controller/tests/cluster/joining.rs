//! Replicas come: from an empty directory and the URL of the store.

use tombolo_controller::Controller;
use tombolo_proto::{
    api,
    control::{Standing, ToController},
    id::Version,
};
use tombolo_tests::postgres::Postgres;

use crate::cluster::{Cluster, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_waits_for_admission_says_so_and_then_serves_without_a_restart() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let network = cluster.first.home().await;

    let second = cluster.another().await;

    let answer = second.http.get("//readyz").await;
    let problem = answer.expect_problem(503, "keyring add");
    assert!(problem.detail.contains(&second.key().to_string()));
    // It reads, it does not sign.
    let seen: api::Network = second
        .http
        .get(&format!("/networks/{}", network.id))
        .await
        .expect_status(200);
    assert_eq!(seen.name, "home");
    second
        .http
        .post("/networks", serde_json::json!({"name": "other"}))
        .await
        .expect_problem(503, "not in the keyring");
    assert!(!second.state.path().join("admin.token").exists());
    assert!(!second.state.path().join("authority.key").exists());

    let (code, said) = cluster
        .first
        .verb(&cluster, &["keyring", "add", "--all-pending"])
        .await;

    assert_eq!(code, 0, "{said}");
    second.until_ready().await;
    let mut node = second.node().await;
    let endpoints = [&cluster.first, &second].map(|replica| replica.controller.control());
    for endpoint in endpoints {
        assert!(
            node.keyring
                .endpoints
                .iter()
                .any(|known| known.to_string() == endpoint.to_string()),
            "nodes learn every replica from the keyring"
        );
    }
    node.join(network.id, None).await;
    node.expect_pending(network.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_start_at_once_on_an_empty_store_make_one_authority() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let url = postgres.database();
    let states = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));

    let (one, two) = tokio::join!(
        Controller::start(config(&states[0], &url)),
        Controller::start(config(&states[1], &url)),
    );

    let (one, two) = (one.expect("it starts"), two.expect("it starts"));
    assert_eq!(
        u8::from(one.is_admitted()) + u8::from(two.is_admitted()),
        1,
        "one made the authority, the other waits"
    );
    let count = |name: &str| {
        states
            .iter()
            .filter(|state| state.path().join(name).exists())
            .count()
    };
    assert_eq!(count("authority.key"), 1);
    assert_eq!(count("authority.key.candidate"), 0);
    assert_eq!(count("admin.token"), 1);
    assert_eq!(count("replica.key"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_one_replica_reaches_the_nodes_of_the_other() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    let network = cluster.first.home().await;
    let mut here = cluster.first.node().await;
    let mut there = second.node().await;

    // A token made on one works on the other.
    let token: api::CreatedToken = cluster
        .first
        .http
        .post(
            &format!("/networks/{}/join-tokens", network.id),
            serde_json::json!({"uses": 2}),
        )
        .await
        .expect_status(201);
    here.join(network.id, Some(&token.token)).await;
    here.expect_member(network.id).await;
    here.sync(network.id, Version::default()).await;
    there.join(network.id, Some(&token.token)).await;
    there.expect_member(network.id).await;
    let directory = there.sync(network.id, Version::default()).await;
    assert_eq!(directory.certs.len(), 2);

    // The certificate of the other's node is pushed here.
    let pushed = here.directory(network.id).await;
    assert_eq!(pushed.cert(there.identity()).identity, there.identity());
    // So are announcements.
    let announcement = there.announcement(network.id, 1);
    there
        .say(&ToController::Announce {
            network: network.id,
            announcement,
        })
        .await;
    assert_eq!(here.endpoints(network.id).await, there.identity());
    // And each replica tells who is connected to the other.
    let member: api::Member = cluster
        .first
        .http
        .get(&format!(
            "/networks/{}/members/{}",
            network.id, there.address
        ))
        .await
        .expect_status(200);
    assert!(member.online);

    // A node that is put out by one replica hears it from the other.
    cluster
        .first
        .http
        .patch(
            &format!("/networks/{}/members/{}", network.id, there.address),
            serde_json::json!({"authorized": false}),
        )
        .await
        .expect_status::<api::Member>(200);
    // It may have been told once more that it is a member.
    while there.standing(network.id).await == Standing::Member {}
    // A network that is deleted by one replica is gone for the nodes of the other.
    second
        .http
        .delete(&format!("/networks/{}", network.id))
        .await
        .expect_no_content();
    while here.standing(network.id).await != Standing::NotFound {}
}
