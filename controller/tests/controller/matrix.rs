//! Who may call what: every operation of the API document, with every kind of credential. An operation that is not in the
//! table fails the test.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::{Value, json};
use tombolo_proto::api::{self, Role};

use crate::rig::Rig;

/// What a caller has to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// No credential.
    Nothing,
    /// This role in any network, or everywhere.
    Anywhere(Role),
    /// This role in the network of the path.
    Within(Role),
    /// This role in every network.
    Everywhere(Role),
}

use Need::{Anywhere, Everywhere, Nothing, Within};

const TABLE: &[(&str, Need)] = &[
    ("list_networks", Anywhere(Role::Viewer)),
    ("create_network", Everywhere(Role::Admin)),
    ("show_network", Within(Role::Viewer)),
    ("update_network", Within(Role::Admin)),
    ("delete_network", Within(Role::Admin)),
    ("summarize_network", Within(Role::Viewer)),
    ("list_members", Within(Role::Viewer)),
    ("show_member", Within(Role::Viewer)),
    ("update_member", Within(Role::Operator)),
    ("delete_member", Within(Role::Operator)),
    ("allocate_subnet", Within(Role::Operator)),
    ("list_links", Within(Role::Viewer)),
    ("show_links", Within(Role::Viewer)),
    ("list_relays", Within(Role::Viewer)),
    ("list_routes", Within(Role::Viewer)),
    ("add_route", Within(Role::Operator)),
    ("show_route", Within(Role::Viewer)),
    ("update_route", Within(Role::Operator)),
    ("delete_route", Within(Role::Operator)),
    ("show_rules", Within(Role::Viewer)),
    ("replace_rules", Within(Role::Admin)),
    ("list_join_tokens", Within(Role::Viewer)),
    ("create_join_token", Within(Role::Operator)),
    ("delete_join_token", Within(Role::Operator)),
    ("list_tokens", Everywhere(Role::Admin)),
    ("create_token", Everywhere(Role::Admin)),
    ("delete_token", Everywhere(Role::Admin)),
    ("list_users", Everywhere(Role::Admin)),
    ("create_user", Everywhere(Role::Admin)),
    ("show_user", Everywhere(Role::Admin)),
    ("update_user", Everywhere(Role::Admin)),
    ("delete_user", Everywhere(Role::Admin)),
    ("show_keyring", Anywhere(Role::Viewer)),
    ("replace_keyring", Everywhere(Role::Admin)),
    ("draft_keyring", Everywhere(Role::Admin)),
    ("list_audit", Everywhere(Role::Admin)),
    ("show_audit_head", Everywhere(Role::Admin)),
    ("list_webhooks", Everywhere(Role::Admin)),
    ("create_webhook", Everywhere(Role::Admin)),
    ("show_webhook", Everywhere(Role::Admin)),
    ("update_webhook", Everywhere(Role::Admin)),
    ("delete_webhook", Everywhere(Role::Admin)),
    ("test_webhook", Everywhere(Role::Admin)),
    ("list_webhook_deliveries", Everywhere(Role::Admin)),
    ("resend_webhook_delivery", Everywhere(Role::Admin)),
    ("zerotier_status", Anywhere(Role::Viewer)),
    ("zerotier_controller", Anywhere(Role::Viewer)),
    ("zerotier_list_networks", Anywhere(Role::Viewer)),
    ("zerotier_create_network", Everywhere(Role::Admin)),
    ("zerotier_show_network", Within(Role::Viewer)),
    ("zerotier_update_network", Within(Role::Admin)),
    ("zerotier_delete_network", Within(Role::Admin)),
    ("zerotier_show_peer", Anywhere(Role::Viewer)),
    ("zerotier_list_members", Within(Role::Viewer)),
    ("zerotier_show_member", Within(Role::Viewer)),
    ("zerotier_update_member", Within(Role::Operator)),
    ("zerotier_delete_member", Within(Role::Operator)),
    ("show_status", Anywhere(Role::Viewer)),
    ("stream_events", Anywhere(Role::Viewer)),
    ("alive_health", Nothing),
    ("ready_health", Nothing),
    ("show_metrics", Anywhere(Role::Viewer)),
];

/// Networks that are not there: whoever may do something to one hears so, and nothing is done.
const HERE: &str = "8056c2e21c000001";
const ELSEWHERE: &str = "8056c2e21c000002";

/// Roles everywhere, and in the network of the path.
const SCOPES: &[(&str, Role, Role)] = &[
    ("read", Role::Viewer, Role::Viewer),
    ("write", Role::Operator, Role::Operator),
    ("admin", Role::Admin, Role::Admin),
    ("read:8056c2e21c000001", Role::None, Role::Viewer),
    ("write:8056c2e21c000001", Role::None, Role::Operator),
    ("admin:8056c2e21c000001", Role::None, Role::Admin),
    ("admin:8056c2e21c000002", Role::None, Role::None),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_what_it_should() {
    let rig = Rig::start().await;
    let operations = operations(&rig).await;
    let table: BTreeMap<&str, Need> = TABLE.iter().copied().collect();
    let known: Vec<&str> = operations.iter().map(|(name, ..)| name.as_str()).collect();
    for name in &known {
        assert!(
            table.contains_key(name),
            "who may call {name}? say so in this table"
        );
    }
    for name in table.keys() {
        assert!(known.contains(name), "{name} is not in the API document");
    }
    let mut credentials = vec![("nothing", None, None)];
    for (scope, everywhere, within) in SCOPES {
        let token: api::CreatedToken = rig
            .http
            .post(
                "/tokens",
                json!({"name": scope.replace(':', "-"), "scopes": [scope]}),
            )
            .await
            .expect_status(201);
        credentials.push((scope, Some(token.token), Some((*everywhere, *within))));
    }

    let address = rig.controller.http();
    let mut asked = 0;
    for (name, method, path) in &operations {
        for (scope, token, roles) in &credentials {
            let is_elsewhere = *scope == "admin:8056c2e21c000002";
            let allowed = match (table[name.as_str()], roles) {
                (Nothing, _) => true,
                (_, None) => false,
                (Within(role), Some((_, within))) => *within >= role,
                (Everywhere(role), Some((everywhere, _))) => *everywhere >= role,
                (Anywhere(role), Some((_, within))) => is_elsewhere || *within >= role,
            };
            let status = status_of(address, method, path, token.clone()).await;
            let (is_denied, wanted) = match (allowed, token) {
                (true, _) => (!matches!(status, 401 | 403), "an answer"),
                (false, None) => (status == 401, "401"),
                (false, Some(_)) => (status == 403, "403"),
            };
            assert!(
                is_denied,
                "{name} ({method} {path}) with {scope}: {status} instead of {wanted}"
            );
            assert!(status < 500, "{name} with {scope}: {status}");
            asked += 1;
        }
    }
    assert_eq!(asked, TABLE.len() * (SCOPES.len() + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_network_sees_and_changes_that_one_only() {
    let rig = Rig::start().await;
    let home = rig.home().await;
    let work = rig.network(json!({"name": "work"})).await;
    let token: api::CreatedToken = rig
        .http
        .post(
            "/tokens",
            json!({"name": "home-only", "scopes": [format!("admin:{}", home.id)]}),
        )
        .await
        .expect_status(201);
    let http = crate::http::Http::with_token(rig.controller.http(), Some(&token.token));

    let seen: api::Page<api::Network> = http.get("/networks").await.expect_status(200);
    let changed: api::Network = http
        .patch(&format!("/networks/{}", home.id), json!({"mtu": 1300}))
        .await
        .expect_status(200);

    let ids: Vec<_> = seen.items.iter().map(|network| network.id).collect();
    assert_eq!((ids, changed.mtu), (vec![home.id], 1300));
    http.patch(&format!("/networks/{}", work.id), json!({"mtu": 1300}))
        .await
        .expect_problem(403, "may not");
    http.post("/tokens", json!({"name": "more", "scopes": ["admin"]}))
        .await
        .expect_problem(403, "may not");
    let line = rig.http.get("/audit?action=network.update").await;
    let log: api::Page<api::AuditEntry> = line.expect_status(200);
    assert_eq!(log.items[0].actor, format!("token {}", token.id));
    // Whoever looks at the tokens sees what they are for and that they are used.
    let tokens: api::Page<api::Token> = rig.http.get("/tokens").await.expect_status(200);
    let shown = tokens.items.iter().find(|shown| shown.id == token.id);
    let shown = shown.expect("the token is listed");
    assert_eq!(shown.scopes, [format!("admin:{}", home.id)]);
    assert!(shown.last_used_at.is_some_and(|at| at >= shown.created_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_that_make_no_sense_are_refused() {
    let rig = Rig::start().await;
    let many = vec!["read"; 65];

    for scopes in [
        json!([]),
        json!(["everything"]),
        json!(["read:home"]),
        json!(["read", "admin:"]),
        json!(many),
    ] {
        rig.http
            .post("/tokens", json!({"name": "x", "scopes": scopes}))
            .await
            .expect_problem(422, "scope");
    }
    rig.http
        .post(
            "/tokens",
            json!({"name": "x", "scopes": ["read"], "expires_in": u64::MAX}),
        )
        .await
        .expect_problem(422, "expires_in");
}

/// Names, methods and paths, with parameters filled in.
async fn operations(rig: &Rig) -> Vec<(String, String, String)> {
    let document: Value = rig.http.get("/openapi.json").await.expect_status(200);
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("methods") {
            let name = operation["operationId"].as_str().expect("a name");
            let mut filled = path.replace("{id}", HERE);
            for (parameter, value) in [
                ("{nwid}", HERE),
                ("{node}", "89e92ceee5"),
                ("{route}", "00000001"),
                ("{token_id}", "000000000000"),
                ("{user}", "000000000000"),
                ("{webhook}", "000000000000"),
                ("{delivery}", "1"),
            ] {
                filled = filled.replace(parameter, value);
            }
            assert!(
                !filled.contains('{'),
                "{filled}: give this parameter a value"
            );
            assert_ne!(HERE, ELSEWHERE);
            operations.push((name.to_owned(), method.to_uppercase(), filled));
        }
    }
    operations
}

/// The status alone: the stream of events has no end.
async fn status_of(address: SocketAddr, method: &str, path: &str, token: Option<String>) -> u16 {
    let body = if matches!(method, "POST" | "PUT" | "PATCH") {
        "{}"
    } else {
        ""
    };
    // Tools for ZeroTier controllers show it in a header of their own.
    let credential = token.map(|token| {
        if path.starts_with("/controller") || path.starts_with("/peer/") || path == "/status" {
            format!("x-zt1-auth: {token}\r\n")
        } else {
            format!("authorization: Bearer {token}\r\n")
        }
    });
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        credential.unwrap_or_default(),
        body.len(),
    );
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("an answer");
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        status.unwrap_or_else(|| panic!("{line:?} is no status"))
    })
    .await
    .expect("the client runs")
}
