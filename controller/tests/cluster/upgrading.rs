//! Two versions of the controller on one store: a newer one has expanded the tables.

use sqlx::{AnyConnection, Connection as _, Executor as _};
use tombolo_controller::Controller;
use tombolo_proto::{api, id::Version};

use crate::{
    cluster::{Cluster, Replica, config},
    http::Http,
};

/// Every table that a controller reads.
const TABLES: [&str; 14] = [
    "authority",
    "replicas",
    "networks",
    "members",
    "member_addresses",
    "requests",
    "routes",
    "documents",
    "announcements",
    "clashes",
    "presence",
    "join_tokens",
    "api_tokens",
    "audit",
];

#[tokio::test(flavor = "multi_thread")]
async fn replicas_go_on_and_start_on_tables_that_a_newer_one_expanded() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    // Every kind of statement has run before on these connections.
    for replica in [&cluster.first, &second] {
        everything_works(replica, "before").await;
    }

    expand(&cluster.url).await;

    for replica in [&cluster.first, &second] {
        everything_works(replica, "after").await;
    }
    let third = cluster.admitted().await;
    everything_works(&third, "third").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_starts_on_a_file_that_a_newer_one_expanded_but_not_on_a_contracted_one() {
    let state = tempfile::tempdir().expect("a directory");
    std::fs::write(state.path().join("authority.key"), [31; 32]).expect("a file");
    let url = format!("sqlite:{}", state.path().join("store.sqlite").display());
    let start = async || Controller::start(config(&state, &url)).await;
    start().await.expect("it starts").shutdown().await;

    expand(&url).await;

    let controller = start().await.expect("it starts on more than it knows");
    let token = std::fs::read_to_string(state.path().join("admin.token")).expect("a token");
    let http = Http::with_token(controller.http(), Some(token.trim()));
    let _: api::Network = http
        .post("/networks", serde_json::json!({"name": "home"}))
        .await
        .expect_status(201);
    controller.shutdown().await;

    run(&url, &migration(9002, "contract what was expanded")).await;

    let refused = start().await.expect_err("it does not know what is left");
    let line = refused.to_string();
    assert!(
        line.contains("newer controller") && line.contains("update this one"),
        "{line}"
    );
}

/// What a release that only adds things does to a store.
async fn expand(url: &str) {
    for table in TABLES {
        let column = "ADD COLUMN newer_fact BIGINT NOT NULL DEFAULT 7";
        run(url, &format!("ALTER TABLE {table} {column}")).await;
    }
    run(url, "CREATE TABLE newer_things (id BIGINT PRIMARY KEY)").await;
    run(url, &migration(9001, "expand by newer things")).await;
}

fn migration(version: i64, description: &str) -> String {
    format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT {version}, '{description}', success, checksum, 1 FROM _sqlx_migrations WHERE version = 1"
    )
}

async fn run(url: &str, statement: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await.expect("a connection");
    connection
        .execute(sqlx::AssertSqlSafe(statement))
        .await
        .expect("the statement is right");
    connection.close().await.expect("it closes");
}

/// Writes and reads of everything that a store holds.
async fn everything_works(replica: &Replica, name: &str) {
    let name = format!("{name}-{}", replica.controller.http().port());
    let network: api::Network = replica
        .http
        .post(
            "/networks",
            serde_json::json!({"name": name, "v4": "172.27.0.0/16"}),
        )
        .await
        .expect_status(201);
    let path = format!("/networks/{}", network.id);
    let token: api::CreatedToken = replica
        .http
        .post(&format!("{path}/join-tokens"), serde_json::json!({}))
        .await
        .expect_status(201);
    let mut waiting = replica.node().await;
    waiting.join(network.id, None).await;
    waiting.expect_pending(network.id).await;
    let mut node = replica.node().await;
    node.join(network.id, Some(&token.token)).await;
    node.expect_member(network.id).await;
    let directory = node.sync(network.id, Version::default()).await;
    assert_eq!(directory.certs.len(), 1);
    node.say(&tombolo_proto::control::ToController::Announce {
        network: network.id,
        announcement: node.announcement(network.id, 5),
    })
    .await;
    let _: api::Route = replica
        .http
        .post(
            &format!("{path}/routes"),
            serde_json::json!({"target": "10.9.0.0/24", "via": node.address}),
        )
        .await
        .expect_status(201);
    for list in [
        &format!("{path}/members"),
        &format!("{path}/join-tokens"),
        &format!("{path}/routes"),
        "/tokens",
        "/audit",
        "/keyring",
    ] {
        let answer = replica.http.get(list).await;
        assert_eq!(answer.status, 200, "{list}: {}", answer.body);
    }
    let pushed = node.directory(network.id).await;
    assert_eq!(pushed.cert(node.identity()).routes.len(), 1);
}
