//! Signing in with accounts at a real identity provider.

use serde_json::json;
use tombolo_controller::{Controller, config::Config};
use tombolo_proto::api::{self, Page as List, Role, User};

use crate::{
    provider::Provider,
    rig::{Rig, a_config, a_state_dir},
    visitor::{PASSWORD, Page, Visitor},
};

const COOKIE: &str = "tombolo_sign_on";

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_with_their_account_and_is_known_again_by_another_name() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let rig = start(&provider, "").await;
    let _alice = Visitor::administrator(&rig).await;
    a_user(&rig, "bob", Role::Viewer).await;
    account(&provider, "b-17", "bob", &[]).await;

    let (mut bob, entered) = sign_on(&rig, &provider, "b-17").await;

    // The browser comes from another site: it takes the cookie along only from a page of ours.
    assert_eq!(entered.header("refresh"), "0; url=/", "{}", entered.body);
    let cookies: Vec<_> = entered.headers.get_all("set-cookie").iter().collect();
    let session = cookies[0].to_str().expect("a text");
    assert!(session.starts_with("tombolo_session=tombolo_"), "{session}");
    assert!(session.contains("HttpOnly; SameSite=Strict"), "{session}");
    assert!(!bob.cookies.contains_key(COOKIE), "{:?}", bob.cookies);
    bob.get("/").await.expect(200, "bob");
    bob.get("/account").await.expect(200, "Example ID");
    assert!(!bob.get("/account").await.body.contains("current-password"));
    assert_eq!(
        audited(&rig).await,
        [
            ("user.setup", "controller", "alice"),
            ("user.sign_in", "user", "alice"),
            ("user.create", "token", "bob"),
            ("user.identity", "controller", "bob"),
            ("user.sign_in", "user", "bob"),
        ]
        .map(|(action, actor, subject)| format!("{action} {actor} {subject}"))
    );

    // Signing out here says that the provider may still know them.
    let left = bob.submit("/", "/sign-out", &[]).await;
    assert_eq!(left.header("location"), "/sign-in?left=1");
    let page = bob.get("/sign-in?left=1").await;
    page.expect(
        200,
        &format!("{}/session/end?client_id=tombolo", provider.issuer),
    );
    assert!(!bob.get("/sign-in").await.body.contains("session/end"));

    // Another name there is still the same person here.
    account(&provider, "b-17", "robert", &[]).await;
    let (mut bob, _) = sign_on(&rig, &provider, "b-17").await;
    bob.get("/").await.expect(200, "bob");
    // There is no password that would let anybody in.
    let mut stranger = Visitor::new(rig.controller.http());
    for password in ["", PASSWORD] {
        let page = stranger.sign_in("bob", password).await;
        page.expect(401, "is wrong");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_says_decides_what_they_may_do() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let more = "create-users = true\nscopes = ['profile', 'groups']\n\
                [[roles]]\nvalue = 'staff'\nrole = 'viewer'\n[[roles]]\nvalue = 'ops'\nrole = 'admin'\n";
    let rig = start(&provider, more).await;
    account(&provider, "c-1", "carol", &["other"]).await;

    let (mut carol, refused) = sign_on(&rig, &provider, "c-1").await;

    refused.expect(403, "may do nothing here");
    assert_eq!(carol.get("/").await.header("location"), "/sign-in");
    let users: List<User> = rig.http.get("/users").await.expect_status(200);
    assert_eq!(users.items, Vec::new());

    for (groups, role) in [
        (["staff", "x"], Role::Viewer),
        (["ops", "staff"], Role::Admin),
        (["staff", "staff"], Role::Viewer),
    ] {
        account(&provider, "c-1", "carol", &groups).await;
        let (visitor, _) = sign_on(&rig, &provider, "c-1").await;
        carol = visitor;
        carol.get("/").await.expect(200, "carol");
        let users: List<User> = rig.http.get("/users").await.expect_status(200);
        let [user] = users.items.as_slice() else {
            panic!("{users:?}");
        };
        assert_eq!((user.name.as_str(), user.role), ("carol", role));
        assert!(!user.has_password);
    }
    let lines = audited(&rig).await.join("\n");
    assert_eq!(
        lines.matches("user.update controller carol").count(),
        3,
        "{lines}"
    );
    assert_eq!(
        lines.matches("user.sign_in user carol").count(),
        3,
        "{lines}"
    );

    // Put out of every group: refused, and out of what was open.
    account(&provider, "c-1", "carol", &[]).await;
    let (_, refused) = sign_on(&rig, &provider, "c-1").await;
    refused.expect(403, "may do nothing here");
    assert_eq!(carol.get("/").await.header("location"), "/sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_takes_nobody_over_by_giving_somebody_their_name() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let more = "create-users = true\n[[roles]]\nrole = 'viewer'\n";
    let rig = start(&provider, more).await;
    let _alice = Visitor::administrator(&rig).await;
    account(&provider, "m-1", "Alice", &[]).await;
    let (mut mallory, refused) = sign_on(&rig, &provider, "m-1").await;
    refused.expect(403, "is not yours to take");
    assert_eq!(mallory.get("/").await.header("location"), "/sign-in");

    account(&provider, "b-1", "bob", &[]).await;
    sign_on(&rig, &provider, "b-1")
        .await
        .1
        .expect(200, "Signed in");
    account(&provider, "b-2", "bob", &[]).await;
    let (_, refused) = sign_on(&rig, &provider, "b-2").await;
    refused.expect(403, "is not yours to take");

    for name in ["", "no name at all", "8056c2e21c000001"] {
        account(&provider, "x-1", name, &[]).await;
        let (_, refused) = sign_on(&rig, &provider, "x-1").await;
        refused.expect(403, "ask an administrator");
    }
    let users: List<User> = rig.http.get("/users").await.expect_status(200);
    assert_eq!(users.items.len(), 2, "{users:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_that_are_there_get_in_unless_it_is_said_otherwise() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let rig = start(&provider, "").await;
    account(&provider, "d-1", "dave", &[]).await;
    let (_, refused) = sign_on(&rig, &provider, "d-1").await;
    refused.expect(403, "there is no user dave here");

    // By the verb, and by the form of the panel.
    let (code, said) = rig
        .verb(&["user", "add", "dave", "--role", "viewer", "--no-password"])
        .await;
    assert_eq!(code, Some(0), "{said}");
    sign_on(&rig, &provider, "d-1")
        .await
        .1
        .expect(200, "Signed in");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_belong_to_no_attempt_of_this_browser_are_refused() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let rig = start(&provider, "").await;
    a_user(&rig, "bob", Role::Viewer).await;
    account(&provider, "b-17", "bob", &[]).await;
    let mut attacker = Visitor::new(rig.controller.http());
    let planted = back(&rig, &provider, &mut attacker, "b-17").await;
    let begun = "begin again, with cookies allowed";

    // Somebody who never began, somebody who began something else, and another state.
    let mut victim = Visitor::new(rig.controller.http());
    victim.get(&planted).await.expect(403, begun);
    victim.get("/sign-in/oidc").await;
    victim.get(&planted).await.expect(403, begun);
    for state in ["x".to_owned(), String::new(), "A".repeat(10_000)] {
        victim.get("/sign-in/oidc").await;
        let path = format!("/sign-in/oidc/callback?code=x&state={state}");
        victim.get(&path).await.expect(403, begun);
    }
    assert!(!victim.cookies.contains_key("tombolo_session"));
    assert!(!victim.cookies.contains_key(COOKIE), "{:?}", victim.cookies);

    // What the provider refuses, a person reads; what somebody made up, nobody shows.
    let url = victim
        .get("/sign-in/oidc")
        .await
        .header("location")
        .to_owned();
    let state = parameter(&url, "state");
    let denied = format!("/sign-in/oidc/callback?error=access_denied%3Cb%3E&state={state}");
    let mut one = victim.clone();
    one.get(&denied).await.expect(403, "(access_deniedb)");
    let elsewhere =
        format!("/sign-in/oidc/callback?code=x&state={state}&iss=https%3A%2F%2Fevil.example");
    victim
        .get(&elsewhere)
        .await
        .expect(502, "cannot be trusted");

    // A code counts once, also with everything that belongs to it.
    let mut bob = Visitor::new(rig.controller.http());
    let path = back(&rig, &provider, &mut bob, "b-17").await;
    let mut thief = bob.clone();
    bob.get(&path).await.expect(200, "Signed in");
    thief.get(&path).await.expect(403, "(invalid_grant)");
    // A code without its verifier is worth nothing: the attempt of another browser has another one.
    let mut other = Visitor::new(rig.controller.http());
    let stolen = back(&rig, &provider, &mut bob, "b-17").await;
    let url = other
        .get("/sign-in/oidc")
        .await
        .header("location")
        .to_owned();
    let mixed = stolen.replace(parameter(&stolen, "state"), parameter(&url, "state"));
    other.get(&mixed).await.expect(403, "(invalid_grant)");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_for_this_attempt_are_not_believed_and_new_keys_are() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let rig = start(&provider, "").await;
    a_user(&rig, "bob", Role::Viewer).await;
    account(&provider, "b-17", "bob", &[]).await;
    for forged in [
        json!({ "nonce": "another" }),
        json!({ "aud": "other" }),
        json!({ "aud": ["tombolo", "other"], "azp": "other" }),
        json!({ "iss": "https://evil.example" }),
        json!({ "exp": 1_000_000_000 }),
    ] {
        provider.change(json!({ "forge": forged })).await;
        let (mut bob, refused) = sign_on(&rig, &provider, "b-17").await;
        refused.expect(502, "cannot be trusted");
        assert_eq!(
            bob.get("/").await.header("location"),
            "/sign-in",
            "{forged}"
        );
    }

    // As a check of the check: a token that was signed again without being changed is good.
    provider.change(json!({ "forge": {} })).await;
    sign_on(&rig, &provider, "b-17")
        .await
        .1
        .expect(200, "Signed in");
    // A key that nobody has heard of is asked for.
    for key in ["second", "third"] {
        provider.change(json!({ "forge": null, "keys": key })).await;
        sign_on(&rig, &provider, "b-17")
            .await
            .1
            .expect(200, "Signed in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_provider_passwords_still_let_people_in() {
    let Some(mut provider) = Provider::start() else {
        return;
    };
    let rig = start(&provider, "").await;
    let _alice = Visitor::administrator(&rig).await;
    a_user(&rig, "bob", Role::Viewer).await;
    account(&provider, "b-17", "bob", &[]).await;
    let mut bob = Visitor::new(rig.controller.http());
    let path = back(&rig, &provider, &mut bob, "b-17").await;
    provider.stop();

    bob.get(&path)
        .await
        .expect(502, "Example ID does not answer");
    let rig = restarted(rig, &provider).await;
    let mut alice = Visitor::new(rig.controller.http());
    alice
        .get("/sign-in/oidc")
        .await
        .expect(502, "or sign in with a password");
    alice
        .get("/sign-in")
        .await
        .expect(200, "Sign in with Example ID");
    let done = alice.sign_in("alice", PASSWORD).await;
    assert_eq!((done.status, done.header("location")), (303, "/"));
    let mut chinese = Visitor::new(rig.controller.http());
    let wanted = ("accept-language".to_owned(), "zh-CN".to_owned());
    chinese.headers.push(wanted);
    chinese
        .get("/sign-in/oidc")
        .await
        .expect(502, "Example ID 没有响应");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_planted_is_not_what_signing_in_leads_to() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let rig = start(&provider, "").await;
    a_user(&rig, "bob", Role::Viewer).await;
    account(&provider, "b-17", "bob", &[]).await;
    let mut victim = Visitor::new(rig.controller.http());
    let planted = format!("tombolo_000000000000_{}", "A".repeat(43));
    let name = "tombolo_session".to_owned();
    victim.cookies.insert(name.clone(), planted.clone());

    let path = back(&rig, &provider, &mut victim, "b-17").await;
    victim.get(&path).await.expect(200, "Signed in");

    assert_ne!(victim.cookies.get(&name), Some(&planted));
    let mut attacker = Visitor::new(rig.controller.http());
    attacker.cookies.insert(name, planted);
    assert_eq!(attacker.get("/").await.header("location"), "/sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_up_answers_has_to_wait() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let rig = start(&provider, "").await;
    let mut visitor = Visitor::new(rig.controller.http());
    let mut statuses = Vec::new();
    for _ in 0..25 {
        let page = visitor.get("/sign-in/oidc/callback?code=x&state=y").await;
        statuses.push(page.status);
    }
    assert_eq!(statuses[..20], [403; 20]);
    assert_eq!(statuses[24], 429, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_told_at_the_start_and_nothing_is_offered_without_any() {
    let rig = Rig::start().await;
    let mut visitor = Visitor::administrator(&rig).await;
    for path in ["/sign-in/oidc", "/sign-in/oidc/callback?code=x"] {
        visitor.get(path).await.expect(404, "no single sign-on");
    }
    let body = json!({ "name": "bob", "role": "viewer" });
    let refused = rig.http.post("/users", body).await;
    assert_eq!(refused.status, 422, "{}", refused.body);

    let state = a_state_dir();
    for (section, complaint) in [
        ("issuer = 'http://id.example.org'", "use https"),
        ("issuer = 'x'", "is no URL"),
        (
            "issuer = 'https://x'\nclient-secret-file = '/nonexistent'",
            "client-secret-file",
        ),
        ("issuer = 'https://x'\nca = '/nonexistent'", "check ca"),
        (
            "issuer = 'https://x'\ncreate-users = true",
            "[[oidc.roles]]",
        ),
    ] {
        let section = format!("client-id = 'x'\n{section}");
        let config = Config {
            oidc: Some(toml::from_str(&section).expect("a section")),
            ..a_config(state.path())
        };
        let Err(error) = Controller::start(config).await else {
            panic!("it started with {section}");
        };
        let line = error.to_string();
        assert!(line.contains(complaint) && !line.contains('\n'), "{line}");
    }
}

async fn start(provider: &Provider, more: &str) -> Rig {
    let settings = provider.settings(more);
    let rig = Rig::start_with(|config| Config {
        oidc: Some(settings),
        ..config
    })
    .await;
    provider.serve(&[&base(&rig)]).await;
    rig
}

/// The same state, another process as far as anybody can tell: it knows nothing of the provider yet.
async fn restarted(rig: Rig, provider: &Provider) -> Rig {
    let settings = provider.settings("");
    rig.restart_with(|config| Config {
        oidc: Some(settings),
        ..config
    })
    .await
}

pub(crate) fn base(rig: &Rig) -> String {
    format!("http://{}", rig.controller.http())
}

/// Somebody who signs in with an account, if there is a user for it.
pub(crate) async fn a_user(rig: &Rig, name: &str, role: Role) {
    let body = json!({ "name": name, "role": role });
    let user: User = rig.http.post("/users", body).await.expect_status(201);
    assert!(!user.has_password);
}

pub(crate) async fn account(provider: &Provider, login: &str, name: &str, groups: &[&str]) {
    let claims = json!({ "preferred_username": name, "groups": groups });
    provider
        .change(json!({ "accounts": { login: claims } }))
        .await;
}

/// Goes to the provider and comes back; the path that it leads to.
async fn back(
    rig: &Rig,
    provider: &Provider,
    visitor: &mut Visitor,
    login: &'static str,
) -> String {
    let left = visitor.get("/sign-in/oidc").await;
    assert_eq!(left.status, 303, "{}", left.body);
    let url = left.header("location");
    for part in [
        "code_challenge_method=S256",
        "nonce=",
        "state=",
        "scope=openid+",
    ] {
        assert!(url.contains(part), "{url}");
    }
    let landed = provider.consent(url, login).await;
    let base = base(rig);
    let path = landed.strip_prefix(&base);
    path.unwrap_or_else(|| panic!("{landed}")).to_owned()
}

pub(crate) async fn sign_on(
    rig: &Rig,
    provider: &Provider,
    login: &'static str,
) -> (Visitor, Page) {
    let mut visitor = Visitor::new(rig.controller.http());
    let path = back(rig, provider, &mut visitor, login).await;
    let page = visitor.get(&path).await;
    (visitor, page)
}

pub(crate) fn parameter<'a>(url: &'a str, name: &str) -> &'a str {
    let (_, rest) = url.split_once(&format!("{name}=")).expect("the parameter");
    rest.split('&').next().expect("a value")
}

/// Action, kind of actor and subject of every line about users.
async fn audited(rig: &Rig) -> Vec<String> {
    let lines: List<api::AuditEntry> = rig.http.get("/audit?limit=1000").await.expect_status(200);
    let about_users = lines
        .items
        .iter()
        .filter(|line| line.action.starts_with("user."));
    about_users
        .map(|line| {
            let actor = line.actor.split(' ').next().expect("a kind");
            format!("{} {actor} {}", line.action, line.subject)
        })
        .collect()
}
