//! The web API as an administrator uses it.

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};
use tombolo_proto::api::{self, Page};

use crate::{
    http::Http,
    rig::{Rig, member_path},
};

#[tokio::test(flavor = "multi_thread")]
async fn creating_a_network_sets_pool_on_link_route_and_6plane() {
    let rig = Rig::start().await;

    let answer = rig
        .http
        .post("/networks", json!({"name": "home", "v4": "172.27.3.4/16"}))
        .await;
    let network: Value = answer.expect_status(201);

    assert_eq!(
        network["v4_pools"],
        json!([{"start": "172.27.0.1", "end": "172.27.255.254"}])
    );
    assert_eq!(network["on_link"], json!(["172.27.0.0/16"]));
    assert_eq!(network["v6_modes"], json!(["6plane"]));
    assert_eq!(network["subnet_pools"], json!(["10.240.0.0/12"]));
    assert_eq!(network["member_routes"], json!("approve"));
    assert_eq!(network["mtu"], json!(1400));
    assert_eq!(network["private"], json!(true));
    assert_eq!(network["routes"], json!([]));
    let id = network["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("/api/v1/networks/{id}"));
    let link = network["join_link"].as_str().expect("a link");
    assert!(link.starts_with(&format!("tombolo://{id}.")));
    assert!(link.parse::<tombolo_proto::link::JoinLink>().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_can_be_changed_and_deleted() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let path = format!("/networks/{}", network.id);

    let changed: api::Network = rig
        .http
        .patch(
            &path,
            json!({"name": "work", "mtu": 1300, "v6_modes": ["6plane", "rfc4193"], "member_routes": "auto",
                   "v4_pools": [{"start": "172.27.1.0", "end": "172.27.1.255"}]}),
        )
        .await
        .expect_status(200);

    assert_eq!((changed.name.as_str(), changed.mtu), ("work", 1300));
    assert_eq!(changed.v6_modes.len(), 2);
    assert_eq!(changed.on_link, network.on_link, "the range lies within");
    assert_eq!(changed.revision, network.revision + 1);
    rig.http.delete(&path).await.expect_no_content();
    rig.http
        .get(&path)
        .await
        .expect_problem(404, "no such network");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_address_is_given_and_a_taken_one_is_refused() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let first = rig.member(network.id).await;
    let second = rig.member(network.id).await;

    let moved = rig
        .set_member(
            network.id,
            &first,
            json!({"addresses": ["172.27.0.5"], "name": "web", "tags": ["db"]}),
        )
        .await;

    assert!(
        moved
            .addresses
            .contains(&"172.27.0.5".parse().expect("an address"))
    );
    assert_eq!(moved.addresses.len(), 2, "the 6PLANE address stays");
    assert_eq!(
        (moved.name.as_str(), &moved.tags[..]),
        ("web", &["db".to_owned()][..])
    );
    let path = member_path(network.id, &second);
    rig.http
        .patch(&path, json!({"addresses": ["172.27.0.5"]}))
        .await
        .expect_problem(409, "belongs to web");
    rig.http
        .patch(&path, json!({"addresses": ["172.27.255.255"]}))
        .await
        .expect_problem(422, "broadcast");
    rig.http
        .patch(&path, json!({"addresses": ["fd00::1"]}))
        .await
        .expect_problem(422, "v6_modes");
    rig.http
        .patch(&path, json!({"name": "WEB"}))
        .await
        .expect_problem(409, "another member");
    let unchanged = rig
        .set_member(network.id, &first, json!({"addresses": moved.addresses}))
        .await;
    assert_eq!(unchanged.addresses, moved.addresses);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_node_is_listed_and_takes_no_address() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.node().await;
    node.join(network.id, None).await;
    node.expect_pending(network.id).await;
    let path = member_path(network.id, &node);

    let waiting: api::Member = rig.http.get(&path).await.expect_status(200);

    assert!(!waiting.authorized);
    assert!(waiting.addresses.is_empty());
    assert!(waiting.online);
    rig.http
        .patch(&path, json!({"tags": ["x"]}))
        .await
        .expect_problem(409, "authorise it first");
    rig.http
        .post(
            &format!("/networks/{}/routes", network.id),
            json!({"target": "172.28.0.0/24", "via": node.address}),
        )
        .await
        .expect_problem(409, "authorise it first");
    rig.http.delete(&path).await.expect_no_content();
    node.expect_denied(network.id, "deleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_bits_of_a_route_are_cut_off_and_the_answer_says_so() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let node = rig.member(network.id).await;
    let member: api::Member = rig
        .http
        .get(&member_path(network.id, &node))
        .await
        .expect_status(200);
    let routes = format!("/networks/{}/routes", network.id);

    let route: api::Route = rig
        .http
        .post(
            &routes,
            json!({"target": "172.28.233.1/24", "via": member.addresses[0]}),
        )
        .await
        .expect_status(201);

    assert_eq!(route.target.to_string(), "172.28.233.0/24");
    assert_eq!(route.via, node.address);
    assert_eq!(
        route.normalized_from.map(|net| net.to_string()).as_deref(),
        Some("172.28.233.1/24")
    );
    let one = format!("{routes}/{}", route.id);
    let shown: api::Route = rig.http.get(&one).await.expect_status(200);
    assert_eq!(shown.normalized_from, None);
    let changed: api::Route = rig
        .http
        .patch(&one, json!({"mode": "failover", "metric": 7}))
        .await
        .expect_status(200);
    assert_eq!(changed.metric, 7);
    rig.http.delete(&one).await.expect_no_content();
    rig.http
        .get(&one)
        .await
        .expect_problem(404, "no such route");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_subnet_comes_from_the_pools_and_is_routed() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let node = rig.member(network.id).await;
    let subnets = format!("{}/subnets", member_path(network.id, &node));

    let mut targets = Vec::new();
    for _ in 0..2 {
        let route: api::Route = rig
            .http
            .post(&subnets, json!({"size": 24, "name": "app"}))
            .await
            .expect_status(201);
        targets.push(route.target.to_string());
    }

    assert_eq!(targets, ["10.240.0.0/24", "10.240.1.0/24"]);
    rig.http
        .post(&subnets, json!({"size": 8, "name": "app"}))
        .await
        .expect_problem(422, "/16 to /29");
}

#[tokio::test(flavor = "multi_thread")]
async fn if_match_protects_against_changes_somebody_else_made() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let path = format!("/networks/{}", network.id);
    let tag = rig.http.get(&path).await.header("etag").to_owned();
    let json = [
        ("content-type", "application/json"),
        ("if-match", tag.as_str()),
    ];
    let body = |mtu: u16| json!({"mtu": mtu}).to_string().into_bytes();

    let first = rig.http.send("PATCH", &path, &json, body(1300)).await;
    let second = rig.http.send("PATCH", &path, &json, body(1290)).await;

    let changed: api::Network = first.expect_status(200);
    assert_eq!(changed.mtu, 1300);
    assert_ne!(first.header("etag"), tag);
    second.expect_problem(412, "read it again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_etag_of_a_member_ignores_what_its_node_reports() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let node = rig.member(network.id).await;
    let path = member_path(network.id, &node);
    let before = rig.http.get(&path).await.header("etag").to_owned();
    let again = rig.node_with(node.seed.clone()).await;

    let after = rig.http.get(&path).await.header("etag").to_owned();

    assert_eq!(before, after);
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_token_reads_and_a_deleted_one_does_nothing() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let created: api::CreatedToken = rig
        .http
        .post("/tokens", json!({"name": "grafana", "scopes": ["read"]}))
        .await
        .expect_status(201);
    let reader = Http::with_token(rig.controller.http(), Some(&created.token));

    let seen: Page<api::Network> = reader.get("/networks").await.expect_status(200);
    let refused = reader
        .patch(&format!("/networks/{}", network.id), json!({"mtu": 1300}))
        .await;

    assert_eq!(seen.items.len(), 1);
    refused.expect_problem(403, "higher role");
    reader
        .get("/tokens")
        .await
        .expect_problem(403, "higher role");
    rig.http
        .delete(&format!("/tokens/{}", created.id))
        .await
        .expect_no_content();
    reader
        .get("/networks")
        .await
        .expect_problem(401, "API token");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_stands_in_the_audit_log() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let node = rig.member(network.id).await;

    let log: Page<api::AuditEntry> = rig.http.get("/audit").await.expect_status(200);

    let actions: Vec<&str> = log
        .items
        .iter()
        .map(|entry| entry.action.as_str())
        .collect();
    assert_eq!(
        actions,
        [
            "token.create",
            "network.create",
            "member.join",
            "member.authorize"
        ]
    );
    let authorised = &log.items[3];
    assert!(authorised.actor.starts_with("token "));
    assert_eq!(authorised.subject, node.address.to_string());
    assert_eq!(authorised.network, Some(network.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_paths_need_no_token_and_say_what_they_should() {
    let rig = Rig::start().await;
    let anybody = Http::with_token(rig.controller.http(), None);

    for path in ["//healthz", "//readyz"] {
        let answer = anybody.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    }
    let page = anybody.get("//").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.body.contains("action=\"/sign-in\""));
    let document: Value = anybody.get("/openapi.json").await.expect_status(200);
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|v| v.starts_with("3.1"))
    );
    let paths = document["paths"].as_object().expect("paths");
    for path in [
        "/api/v1/networks/{id}",
        "/api/v1/networks/{id}/members/{node}",
        "/api/v1/networks/{id}/routes/{route}",
        "/api/v1/networks/{id}/join-tokens",
        "/api/v1/events",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_the_api_document_have_names_of_their_own() {
    let rig = Rig::start().await;
    let document: Value = rig.http.get("/openapi.json").await.expect_status(200);

    let mut names: Vec<&str> = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .flat_map(|path| path.as_object().expect("methods").values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();

    assert_eq!(names.len(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_metrics_tell_of_the_controller() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let _node = rig.member(network.id).await;

    let status: api::Status = rig.http.get("/status").await.expect_status(200);
    let metrics = rig.http.get("//metrics").await;

    assert_eq!(status.networks, 1);
    assert_eq!(status.connected_nodes, 1);
    assert_eq!(status.authority, network.id.authority());
    assert!(metrics.body.contains("\ntombolo_connected_nodes 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_changes_as_they_happen() {
    let rig = Rig::start().await;
    let token = std::fs::read_to_string(rig.state.path().join("admin.token")).expect("a token");
    let url = format!("http://{}/api/v1/events", rig.controller.http());
    let (started, ready) = tokio::sync::oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || {
        let response = ureq::get(url)
            .header("authorization", format!("Bearer {}", token.trim()))
            .call()
            .expect("a stream");
        started.send(()).expect("the test waits");
        BufReader::new(response.into_body().into_reader())
            .lines()
            .map(|line| line.expect("a line"))
            .find(|line| line.starts_with("data:"))
            .expect("an event")
    });
    ready.await.expect("the stream is open");

    let network = rig.home().await;

    let event = reading.await.expect("the reader runs");
    let event: api::Event = serde_json::from_str(event.trim_start_matches("data:")).expect("JSON");
    assert_eq!(
        (event.network, event.kind.as_str()),
        (network.id, "changed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_can_be_read_as_a_page_that_takes_nothing_from_elsewhere() {
    let rig = Rig::start().await;
    let anybody = Http::with_token(rig.controller.http(), None);
    let document: Value = anybody.get("/openapi.json").await.expect_status(200);

    let page = anybody.get("//api").await;

    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    assert!(!page.body.contains("<script"), "whole without scripts");
    assert!(!page.body.contains("style="), "the policy would drop it");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for operation in item.as_object().expect("methods").values() {
            let name = operation["operationId"].as_str().expect("a name");
            assert!(page.body.contains(&format!("id=\"{name}\"")), "{name}");
        }
        assert!(page.body.contains(path.as_str()), "{path}");
    }
    let links = page.body.split("href=\"").skip(1);
    for link in links {
        let target = link.split('"').next().unwrap_or_default();
        let Some(anchor) = target.strip_prefix('#') else {
            assert!(
                target.starts_with('/') && !target.starts_with("//"),
                "{target}"
            );
            assert_eq!(
                anybody.get(&format!("/{target}")).await.status,
                200,
                "{target}"
            );
            continue;
        };
        assert!(page.body.contains(&format!("id=\"{anchor}\"")), "{anchor}");
    }
}
