//! The pages as a browser without scripts sees them.

use std::{path::Path, time::Instant};

use serde_json::json;
use tombolo_controller::Controller;
use tombolo_proto::{
    api,
    control::{RouteAction, ToController, ToNode},
    id::NetworkId,
};

use crate::{
    http::Http,
    rig::{Rig, Store, a_config},
    visitor::{PASSWORD, Page, Visitor},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_made_joined_routed_and_deleted_by_forms_alone() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    alice.get("/").await.expect(200, "tombolo join tombolo://");

    let page = alice
        .act(
            "/",
            "/networks",
            &[("name", "home"), ("v4", "172.27.0.0/16")],
        )
        .await;

    page.expect(200, "Network home was created.");
    let networks: api::Page<api::Network> = rig.http.get("/networks").await.expect_status(200);
    let network = &networks.items[0];
    page.expect(200, &network.join_link);
    let at = format!("/networks/{}", network.id);
    let mut node = rig.node().await;
    node.join(network.id, None).await;
    node.expect_pending(network.id).await;
    let member = format!("{at}/members/{}", node.address);
    alice.get(&at).await.expect(200, "1 waiting");
    alice
        .act(
            &at,
            &format!("{member}/authorized"),
            &[("authorized", "true")],
        )
        .await
        .expect(200, "is authorized.");
    node.expect_member(network.id).await;
    alice.get(&at).await.expect(200, "1 of 1 members online");

    let fields = [
        ("name", "nas"),
        ("addresses", "172.27.0.9"),
        ("tags", "home, nas"),
    ];
    alice
        .act(&member, &member, &fields)
        .await
        .expect(200, "Saved.");
    alice.get(&at).await.expect(200, "172.27.0.9");
    let routes = format!("{at}/routes");
    let fields = [("target", "172.28.233.1/24"), ("via", "nas")];
    alice.act(&at, &routes, &fields).await.expect(
        200,
        "Route 172.28.233.0/24 was added: 172.28.233.1/24 had host bits",
    );
    let overlap = alice
        .submit(&at, &routes, &[("target", "172.27.4.0/24"), ("via", "nas")])
        .await;
    overlap.expect(409, "overlaps the pool");
    let created = alice
        .submit(
            &at,
            &format!("{at}/join-tokens"),
            &[("uses", "2"), ("hours", "1")],
        )
        .await;
    created.expect(201, "shown only now");
    let mut second = rig.node().await;
    second.join(network.id, Some(secret(&created))).await;
    second.expect_member(network.id).await;
    let fields = [
        ("name", "work"),
        ("v4_pools", "172.27.0.1-172.27.0.99"),
        ("subnet_pools", ""),
        ("6plane", "on"),
        ("mtu", "many"),
    ];
    let settings = format!("{at}/settings");
    alice
        .submit(&at, &settings, &fields)
        .await
        .expect(422, "has to be a number");

    let fields = [("target", "0.0.0.0/0"), ("via", "nas")];
    alice
        .act(&at, &routes, &fields)
        .await
        .expect(200, "default route, for nodes with allow-default=on");
    // Everything lies in it, and yet every range is free.
    let page = alice.get(&at).await;
    page.expect(200, "10.191.0.0/16");
    assert!(!page.body.contains("routed to nas"), "{}", page.body);

    alice
        .act(&at, &format!("{at}/remove"), &[])
        .await
        .expect(200, "Network home was deleted.");
    let log: api::Page<api::AuditEntry> =
        rig.http.get("/audit?limit=1000").await.expect_status(200);
    let by_alice = |action: &str| {
        let mut entries = log.items.iter();
        entries.any(|entry| entry.action == action && entry.actor == "user alice")
    };
    for action in [
        "network.create",
        "member.authorize",
        "route.add",
        "join_token.create",
        "network.delete",
    ] {
        assert!(by_alice(action), "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_members_ask_for_are_approved_and_removed() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut alice = Visitor::administrator(&rig).await;
    let mut node = rig.member(network.id).await;
    node.say(&ToController::Route {
        network: network.id,
        request: 1,
        prefix: "192.168.7.0/24".parse().expect("a prefix"),
        action: RouteAction::Publish { metric: 0 },
    })
    .await;
    node.wait(|message| matches!(message, ToNode::RouteAnswer { .. }).then_some(()))
        .await;
    let routes: api::Page<api::Route> = rig
        .http
        .get(&format!("/networks/{}/routes", network.id))
        .await
        .expect_status(200);
    let at = format!("/networks/{}", network.id);
    let route = format!("{at}/routes/{}", routes.items[0].id);
    alice.get(&at).await.expect(200, "Waiting for approval");

    alice
        .act(&at, &format!("{route}/approve"), &[])
        .await
        .expect(200, "Route 192.168.7.0/24 is active.");
    alice
        .act(&at, &format!("{route}/remove"), &[])
        .await
        .expect(200, "The route was removed.");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_decided_on_at_once_and_found_by_a_filter() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut alice = Visitor::administrator(&rig).await;
    let at = format!("/networks/{}", network.id);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let mut node = rig.node().await;
        node.join(network.id, None).await;
        node.expect_pending(network.id).await;
        nodes.push(node);
    }
    let [one, two, three] = [0, 1, 2].map(|index: usize| nodes[index].address.to_string());
    let members = format!("{at}/members");

    let fields = [
        ("authorized", "true"),
        ("node", one.as_str()),
        ("node", two.as_str()),
    ];
    alice
        .act(&at, &members, &fields)
        .await
        .expect(200, "Authorized: 2.");

    let shown = |page: &Page, node: &str| page.body.contains(&format!("member-{node}"));
    for (query, expected) in [
        ("show=waiting", [false, false, true]),
        ("show=authorized", [true, true, false]),
        ("show=denied", [false, false, false]),
        (&format!("q={}", one.to_uppercase()), [true, false, false]),
        (&format!("q=host-{three}"), [false, false, true]),
        ("q=nothing+like+it", [false, false, false]),
    ] {
        let page = alice.get(&format!("{at}?{query}")).await;
        let seen = [&one, &two, &three].map(|node| shown(&page, node));
        assert_eq!(seen, expected, "{query}");
    }
    let none = alice.submit(&at, &members, &[("authorized", "true")]).await;
    none.expect(422, "tick the members first");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_it_is_for_and_no_more() {
    let rig = Rig::start().await;
    let [home, work] = [
        rig.home().await,
        rig.network(json!({"name": "work", "v4": "172.29.0.0/16"}))
            .await,
    ];
    let node = rig.member(home.id).await;
    Visitor::administrator(&rig).await;
    for (name, role, there) in [
        ("viewer", "viewer", None),
        ("operator", "operator", None),
        ("admin", "admin", None),
        ("local-viewer", "none", Some("viewer")),
        ("local-operator", "none", Some("operator")),
        ("local-admin", "none", Some("admin")),
        ("nobody", "none", None),
    ] {
        let networks = match there {
            Some(there) => json!({home.id.to_string(): there}),
            None => json!({}),
        };
        let body = json!({"name": name, "password": PASSWORD, "role": role, "networks": networks});
        let _: api::User = rig.http.post("/users", body).await.expect_status(201);
    }
    let at = format!("/networks/{}", home.id);
    let local = node.address.to_string();
    let member = format!("{at}/members/{local}");
    let elsewhere = format!("/networks/{}", work.id);
    // What is asked, and who may, in the order of the users below. Whoever may not is told so with 403.
    let reads = [
        (at.clone(), [1, 1, 1, 1, 1, 1, 0]),
        (member.clone(), [1, 1, 1, 1, 1, 1, 0]),
        (elsewhere.clone(), [1, 1, 1, 0, 0, 0, 0]),
        ("/live".to_owned(), [1, 1, 1, 1, 1, 1, 0]),
    ];
    let writes = [
        (
            format!("{member}/authorized"),
            vec![("authorized", "true")],
            [0, 1, 1, 0, 1, 1, 0],
        ),
        (member.clone(), vec![("name", "nas")], [0, 1, 1, 0, 1, 1, 0]),
        (
            format!("{at}/members"),
            vec![("authorized", "true"), ("node", local.as_str())],
            [0, 1, 1, 0, 1, 1, 0],
        ),
        (
            format!("{at}/routes"),
            vec![("target", "10.9.0.0/24"), ("via", "nas")],
            [0, 1, 1, 0, 1, 1, 0],
        ),
        (
            format!("{at}/join-tokens"),
            vec![("uses", "1"), ("hours", "1")],
            [0, 1, 1, 0, 1, 1, 0],
        ),
        (
            format!("{at}/settings"),
            vec![
                ("mtu", "1400"),
                ("v4_pools", "172.27.0.1-172.27.255.254"),
                ("6plane", "on"),
            ],
            [0, 0, 1, 0, 0, 1, 0],
        ),
        (
            "/networks".to_owned(),
            vec![("name", "more")],
            [0, 0, 1, 0, 0, 0, 0],
        ),
        (
            format!("{elsewhere}/join-tokens"),
            vec![("uses", "1"), ("hours", "1")],
            [0, 1, 1, 0, 0, 0, 0],
        ),
        (
            format!("{elsewhere}/settings"),
            vec![("mtu", "1400"), ("v4_pools", "172.29.0.1-172.29.255.254")],
            [0, 0, 1, 0, 0, 0, 0],
        ),
    ];
    let users = [
        "viewer",
        "operator",
        "admin",
        "local-viewer",
        "local-operator",
        "local-admin",
        "nobody",
    ];
    for (index, user) in users.into_iter().enumerate() {
        let mut visitor = Visitor::signed_in(rig.controller.http(), user).await;
        for (path, may) in &reads {
            // The stream never ends: its head is enough.
            let status = if path == "/live" {
                visitor.status(path).await
            } else {
                visitor.get(path).await.status
            };
            let expected = if may[index] == 1 { 200 } else { 403 };
            assert_eq!(status, expected, "{user} reads {path}");
        }
        for (path, fields, may) in &writes {
            let done = visitor.submit("/", path, fields).await;
            let refused = done.status == 403;
            assert_eq!(
                refused,
                may[index] == 0,
                "{user} writes {path}: {} {}",
                done.status,
                done.body
            );
        }
        let cards = visitor
            .get("/")
            .await
            .body
            .matches("class=\"card\" href=\"/networks/")
            .count();
        assert_eq!(cards > 1, may_see_all(user), "{user}");
    }
    // Nobody without a session gets anywhere.
    let mut stranger = Visitor::new(rig.controller.http());
    for (path, _) in &reads {
        let away = stranger.get(path).await;
        assert_eq!(
            (away.status, away.header("location")),
            (303, "/sign-in"),
            "{path}"
        );
    }
    for (path, fields, _) in &writes {
        let away = stranger.post(path, fields).await;
        assert_eq!(
            (away.status, away.header("location")),
            (303, "/sign-in"),
            "{path}"
        );
    }
}

fn may_see_all(user: &str) -> bool {
    !user.starts_with("local-") && user != "nobody"
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_no_credential_for_the_api_and_tokens_none_for_the_panel() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;

    let api = alice.get("/api/v1/networks").await;

    assert_eq!(api.status, 401);
    let panel = Http::admin(rig.controller.http(), rig.state.path());
    panel.get("//").await;
    let page = panel.get("//").await;
    assert!(page.body.contains("action=\"/sign-in\""), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_named_is_shown_and_not_run() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut alice = Visitor::administrator(&rig).await;
    let at = format!("/networks/{}", network.id);
    let script = "<script>alert(1)</script>";
    for path in [
        format!("{at}?q=%3Cscript%3Ealert(1)%3C/script%3E"),
        "/networks/%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned(),
        format!("{at}/members/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        "/setup?code=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
    ] {
        let page = alice.get(&path).await;
        assert!(!page.body.contains(script), "{path}: {}", page.body);
    }
    let fields = [("target", script), ("via", script)];
    let refused = alice.submit(&at, &format!("{at}/routes"), &fields).await;
    assert!(
        refused.status == 422 && !refused.body.contains(script),
        "{}",
        refused.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_large_network_comes_at_once() {
    const MEMBERS: u32 = 10_000;
    if crate::STORE == Store::Postgres {
        // The rows below are written past the controller, into its file.
        return;
    }
    let rig = Rig::start().await;
    let network = rig
        .network(json!({"name": "large", "v4": "10.64.0.0/10"}))
        .await;
    let mut alice = Visitor::administrator(&rig).await;
    let Rig {
        controller, state, ..
    } = rig;
    controller.shutdown().await;
    fill(&state.path().join("store.sqlite"), network.id, MEMBERS).await;
    let controller = Controller::start(a_config(state.path()))
        .await
        .expect("it starts");
    alice.move_to(controller.http());
    let at = format!("/networks/{}", network.id);
    alice.get(&at).await;

    let started = Instant::now();
    let page = alice.get(&at).await;
    let took = started.elapsed();

    page.expect(200, &format!("of {MEMBERS} members online"));
    assert_eq!(page.body.matches("<tr id=\"member-").count(), 50);
    println!("figure: first page of a network with {MEMBERS} members: {took:?} (promise 200 ms)");
    assert!(took.as_secs() < 1, "{took:?}");
    controller.shutdown().await;
}

/// Writes members into a store that no controller holds.
async fn fill(store: &Path, network: NetworkId, members: u32) {
    use sqlx::Connection as _;
    let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite:{}", store.display()))
        .await
        .expect("a store");
    for statement in [
        "INSERT INTO members SELECT $1, randomblob(32), printf('%010x', 4294967296 + value), 'host-' || value, 'host-' || value,
             randomblob(32), 0, 'authorized', '[]', 0, 1, unixepoch(), unixepoch() + 7000000
         FROM (WITH RECURSIVE count(value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM count WHERE value < $2) SELECT value FROM count)",
        "INSERT INTO member_addresses SELECT network, printf('10.64.%d.%d', rowid / 250, rowid % 250 + 1), identity
         FROM members WHERE network = $1 AND $2 > 0",
        "INSERT INTO presence (identity, software, last_seen) SELECT identity, 'test 1.0', unixepoch() FROM members WHERE network = $1 AND $2 > 0",
    ] {
        sqlx::query(statement)
            .bind(network.to_string())
            .bind(members)
            .execute(&mut connection)
            .await
            .expect("rows");
    }
    connection.close().await.expect("written");
}

fn secret(page: &Page) -> &str {
    let (_, link) = page.body.split_once("id=\"secret\">").expect("a secret");
    let link = link.split('<').next().expect("an end");
    link.rsplit('/').next().expect("a token")
}
