//! Users, sessions, and everything that keeps others out of them.

use serde_json::json;
use tombolo_controller::{Controller, config::Config};
use tombolo_proto::api::{self, Role};

use crate::{
    rig::{Rig, a_config},
    visitor::{PASSWORD, Visitor},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_setup_link_makes_one_administrator_and_works_once() {
    let rig = Rig::start().await;
    let link = rig.controller.setup_link().expect("a link").to_owned();
    let path = link.split_once("/setup").expect("a path").1.to_owned();
    let written = std::fs::read_to_string(rig.state.path().join("setup.link"));
    assert_eq!(written.expect("a file").trim(), link);

    let mut alice = Visitor::administrator(&rig).await;

    alice.get("/").await.expect(200, "alice");
    let mut late = Visitor::new(rig.controller.http());
    late.get(&format!("/setup{path}"))
        .await
        .expect(410, "was used");
    late.get("/setup?code=tombolo_1_2")
        .await
        .expect(410, "was used");
    late.get("/setup").await.expect(410, "was used");
    let users: api::Page<api::User> = rig.http.get("/users").await.expect_status(200);
    let [user] = users.items.as_slice() else {
        panic!("{users:?}");
    };
    assert_eq!((user.name.as_str(), user.role), ("alice", Role::Admin));
    let rig = rig.restart().await;
    assert_eq!(rig.controller.setup_link(), None);
    assert!(!rig.state.path().join("setup.link").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_setup_link_voids_the_one_before() {
    let rig = Rig::start().await;
    let old = rig.controller.setup_link().expect("a link").to_owned();
    let rig = rig.restart().await;
    assert_ne!(rig.controller.setup_link(), Some(old.as_str()));

    let path = old.split_once("/setup").expect("a path").1;
    let mut visitor = Visitor::new(rig.controller.http());
    visitor
        .get(&format!("/setup{path}"))
        .await
        .expect(410, "was used");
    Visitor::administrator(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lasts_over_a_restart_until_it_is_ended() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let rig = rig.restart().await;
    let mut again = Visitor::new(rig.controller.http());
    again.cookies.clone_from(&alice.cookies);
    again.get("/").await.expect(200, "alice");

    let done = again.submit("/", "/sign-out", &[]).await;

    assert_eq!((done.status, done.header("location")), (303, "/sign-in"));
    assert!(again.cookies.is_empty(), "{:?}", again.cookies);
    // Somebody who kept the cookie is out as well.
    again.cookies = std::mem::take(&mut alice.cookies);
    let away = again.get("/").await;
    assert_eq!((away.status, away.header("location")), (303, "/sign-in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_for_this_host_and_not_for_scripts() {
    let rig = Rig::start().await;
    let mut visitor = Visitor::administrator(&rig).await;
    for (name, proxy) in [("tombolo_session", false), ("__Host-tombolo_session", true)] {
        visitor.cookies.clear();
        visitor.headers.clear();
        if proxy {
            let https = ("x-forwarded-proto".to_owned(), "https".to_owned());
            visitor.headers.push(https);
        }
        let done = visitor.sign_in("alice", PASSWORD).await;
        let cookie = done
            .headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find(|value| value.starts_with(&format!("{name}=")))
            .expect("a session");
        for attribute in ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=604800"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert_eq!(cookie.contains("Secure"), proxy, "{cookie}");
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_put_into_a_browser_is_not_taken_over() {
    let rig = Rig::start().await;
    Visitor::administrator(&rig).await;
    let mut victim = Visitor::new(rig.controller.http());
    let planted = format!("tombolo_000000000000_{}", "A".repeat(43));
    victim
        .cookies
        .insert("tombolo_session".to_owned(), planted.clone());

    let done = victim.sign_in("alice", PASSWORD).await;

    assert_eq!(done.status, 303);
    assert_ne!(victim.cookies.get("tombolo_session"), Some(&planted));
    let mut attacker = Visitor::new(rig.controller.http());
    attacker
        .cookies
        .insert("tombolo_session".to_owned(), planted);
    assert_eq!(attacker.get("/").await.header("location"), "/sign-in");
    // The public part of a session with another secret is nothing either.
    let session = victim.cookies.get("tombolo_session").expect("a session");
    let forged = format!("{}{}", &session[..session.len() - 43], "A".repeat(43));
    attacker
        .cookies
        .insert("tombolo_session".to_owned(), forged);
    assert_eq!(attacker.get("/").await.header("location"), "/sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_others_are_refused() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let csrf = alice.get("/").await.csrf().to_owned();
    for (fields, header) in [
        (vec![], None),
        (vec![("csrf", "guessed")], None),
        (
            vec![("csrf", csrf.as_str())],
            Some(("origin", "https://evil.example")),
        ),
        (vec![("csrf", csrf.as_str())], Some(("origin", "null"))),
        (
            vec![("csrf", csrf.as_str())],
            Some(("sec-fetch-site", "cross-site")),
        ),
        (
            vec![("csrf", csrf.as_str())],
            Some(("sec-fetch-site", "same-site")),
        ),
    ] {
        alice.headers = header
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        alice
            .post("/sign-out", &fields)
            .await
            .expect(403, "load the page again");
    }
    alice.headers.clear();
    // Signing somebody in as somebody else is refused in the same way.
    let mut stranger = Visitor::new(rig.controller.http());
    let form = stranger.get("/sign-in").await;
    stranger.cookies.clear();
    let fields = [
        ("csrf", form.csrf()),
        ("name", "alice"),
        ("password", PASSWORD),
    ];
    stranger
        .post("/sign-in", &fields)
        .await
        .expect(403, "load the page again");
    alice.get("/").await.expect(200, "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_has_to_wait_and_says_nothing_about_who_is_there() {
    let rig = Rig::start().await;
    Visitor::administrator(&rig).await;
    let mut guesser = Visitor::new(rig.controller.http());
    let address = ("x-forwarded-for".to_owned(), "192.0.2.7".to_owned());
    guesser.headers.push(address);

    let wrong = guesser.sign_in("alice", "wrong password").await;
    let nobody = guesser.sign_in("mallory", "wrong password").await;

    wrong.expect(401, "Name, password or one-time code is wrong");
    nobody.expect(401, "Name, password or one-time code is wrong");
    for _ in 2..20 {
        guesser.sign_in("alice", "wrong password").await;
    }
    let right = guesser.sign_in("alice", PASSWORD).await;
    right.expect(429, "too many wrong credentials");
    Visitor::signed_in(rig.controller.http(), "alice").await;
    // Tokens of the API are guessed no faster.
    let bearer = ("authorization".to_owned(), "Bearer nonsense".to_owned());
    guesser.headers.push(bearer);
    guesser
        .get("/api/v1/networks")
        .await
        .expect(429, "too-many-attempts");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_names_of_this_host_are_answered() {
    let rig = Rig::start().await;
    let mut visitor = Visitor::new(rig.controller.http());
    for (host, status) in [
        ("evil.example", 421),
        ("evil.example:9792", 421),
        ("localhost:9792", 200),
        ("192.0.2.1", 200),
    ] {
        visitor.headers = vec![("host".to_owned(), host.to_owned())];
        assert_eq!(visitor.get("/sign-in").await.status, status, "{host}");
    }
    let Rig {
        controller, state, ..
    } = rig;
    controller.shutdown().await;
    let config = Config {
        http_hosts: vec!["panel.example".to_owned()],
        ..a_config(state.path())
    };
    let controller = Controller::start(config).await.expect("it starts");
    let mut visitor = Visitor::new(controller.http());
    visitor.headers = vec![("host".to_owned(), "panel.example".to_owned())];
    assert_eq!(visitor.get("/sign-in").await.status, 200);
    controller.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_form_is_refused_and_the_next_one_taken() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let long = "x".repeat(300 * 1024);

    let refused = alice.submit("/", "/sign-out", &[("more", &long)]).await;

    assert_eq!(refused.status, 413);
    alice.get("/").await.expect(200, "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_strict_about_where_anything_comes_from() {
    let rig = Rig::start().await;
    let mut visitor = Visitor::new(rig.controller.http());

    let page = visitor.get("/sign-in").await;

    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(!page.body.contains("<style") && !page.body.contains(" style="));
    assert!(!page.body.contains("onclick") && !page.body.contains("src=\"http"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_follows_the_browser_and_the_choice() {
    let rig = Rig::start().await;
    let mut visitor = Visitor::new(rig.controller.http());
    visitor.headers = vec![("accept-language".to_owned(), "zh-CN,zh;q=0.9".to_owned())];
    visitor
        .get("/sign-in")
        .await
        .expect(200, "<html lang=\"zh\"");

    let chosen = visitor.get("/language/en?back=/sign-in").await;

    assert_eq!(
        (chosen.status, chosen.header("location")),
        (303, "/sign-in")
    );
    visitor
        .get("/sign-in")
        .await
        .expect(200, "<html lang=\"en\"");
    let away = visitor.get("/language/zh?back=https://evil.example/").await;
    assert_eq!(away.header("location"), "/");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_managed_by_administrators() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    Visitor::administrator(&rig).await;
    let body = json!({"name": "Bob", "password": PASSWORD, "networks": {network.id.to_string(): "operator"}});

    let bob: api::User = rig
        .http
        .post("/users", body.clone())
        .await
        .expect_status(201);

    assert_eq!(bob.role, Role::None);
    assert_eq!(bob.networks.get(&network.id), Some(&Role::Operator));
    rig.http
        .post("/users", body)
        .await
        .expect_problem(409, "belongs to another user");
    for (body, status, complaint) in [
        (json!({"name": "x y", "password": PASSWORD}), 422, "name"),
        (
            json!({"name": "eve", "password": "short"}),
            422,
            "10 to 256",
        ),
        (
            json!({"name": "eve", "password": PASSWORD, "role": "god"}),
            422,
            "god",
        ),
        (json!({"name": "eve"}), 422, "password"),
    ] {
        rig.http
            .post("/users", body)
            .await
            .expect_problem(status, complaint);
    }
    let path = format!("/users/{}", bob.id);
    let mut session = Visitor::signed_in(rig.controller.http(), "BOB").await;
    session.get("/").await.expect(200, "Bob");
    let after: api::User = rig
        .http
        .patch(
            &path,
            json!({"role": "viewer", "networks": {}, "password": "another password"}),
        )
        .await
        .expect_status(200);
    assert_eq!((after.role, after.networks.len()), (Role::Viewer, 0));
    assert_eq!(session.get("/").await.header("location"), "/sign-in");
    rig.http.delete(&path).await.expect_no_content();
    rig.http
        .get(&path)
        .await
        .expect_problem(404, "no such user");
    let log: api::Page<api::AuditEntry> = rig.http.get("/audit").await.expect_status(200);
    for action in ["user.setup", "user.create", "user.update", "user.delete"] {
        assert!(
            log.items.iter().any(|entry| entry.action == action),
            "{action}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays() {
    let rig = Rig::start().await;
    Visitor::administrator(&rig).await;
    let users: api::Page<api::User> = rig.http.get("/users").await.expect_status(200);
    let path = format!("/users/{}", users.items[0].id);

    rig.http
        .delete(&path)
        .await
        .expect_problem(409, "last user");
    rig.http
        .patch(&path, json!({"role": "viewer"}))
        .await
        .expect_problem(409, "last user");
    let other = json!({"name": "carol", "password": PASSWORD, "role": "admin"});
    let _: api::User = rig.http.post("/users", other).await.expect_status(201);
    rig.http.delete(&path).await.expect_no_content();
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_network_takes_the_roles_in_it_along() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let body =
        json!({"name": "bob", "password": PASSWORD, "networks": {network.id.to_string(): "admin"}});
    let bob: api::User = rig.http.post("/users", body).await.expect_status(201);

    rig.http
        .delete(&format!("/networks/{}", network.id))
        .await
        .expect_no_content();

    let bob: api::User = rig
        .http
        .get(&format!("/users/{}", bob.id))
        .await
        .expect_status(200);
    assert!(bob.networks.is_empty());
}
