//! Users, API tokens and two-step sign-in, by forms.

use std::time::{SystemTime, UNIX_EPOCH};

use tombolo_proto::api::{Page as List, Role, Token, User, Webhook};
use totp_rs::{Builder, Secret};

use crate::{
    http::Http,
    receiver::Receiver,
    rig::Rig,
    visitor::{PASSWORD, Page, Visitor},
};

#[tokio::test(flavor = "multi_thread")]
async fn users_are_made_given_roles_and_removed() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut alice = Visitor::administrator(&rig).await;
    let fields = [("name", "bob"), ("password", PASSWORD), ("role", "none")];
    let page = alice.act("/users", "/users", &fields).await;
    page.expect(200, "bob can sign in now.");
    alice.get("/users").await.expect(200, ">bob</a>");
    let mut bob = Visitor::signed_in(rig.controller.http(), "bob").await;
    bob.get("/")
        .await
        .expect(200, "No network is shared with you");
    let found: List<User> = rig.http.get("/users").await.expect_status(200);
    let user = found.items.iter().find(|user| user.name == "bob");
    let at = format!("/users/{}", user.expect("bob is there").id);

    let role = format!("role-{network}");
    let fields = [("role", "none"), (role.as_str(), "operator")];
    alice.act(&at, &at, &fields).await.expect(200, "Saved.");
    bob.get("/")
        .await
        .expect(200, "class=\"card\" href=\"/networks/");
    // Only administrators see who there is.
    for path in ["/users", "/tokens", at.as_str()] {
        assert_eq!(bob.get(path).await.status, 403, "{path}");
    }
    let fields = [("role", "viewer"), (role.as_str(), "none")];
    alice.act(&at, &at, &fields).await.expect(200, "Saved.");
    let user: User = rig.http.get(&at).await.expect_status(200);
    assert_eq!((user.role, user.networks.len()), (Role::Viewer, 0));

    let reset = format!("{at}/password");
    let poor = alice.submit(&at, &reset, &[("password", "short")]).await;
    poor.expect(422, "10 to 256 characters");
    let fields = [("password", "another long word")];
    alice
        .act(&at, &reset, &fields)
        .await
        .expect(200, "bob has a new password.");
    assert_eq!(bob.get("/").await.header("location"), "/sign-in");
    let remove = format!("{at}/remove");
    alice
        .act(&at, &remove, &[])
        .await
        .expect(200, "bob was removed.");
    let refused = bob.sign_in("bob", "another long word").await;
    assert_eq!(refused.status, 401);
    let own: List<User> = rig.http.get("/users").await.expect_status(200);
    let own = format!("/users/{}", own.items[0].id);
    let refused = alice.submit(&own, &format!("{own}/remove"), &[]).await;
    refused.expect(409, "This is you");
    let refused = alice.submit(&own, &own, &[("role", "viewer")]).await;
    refused.expect(409, "the last user who may do everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_token_is_shown_once_and_works_until_it_is_revoked() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;

    let fields = [("name", "backup"), ("scope", "read"), ("days", "30")];
    let created = alice.submit("/tokens", "/tokens", &fields).await;

    created.expect(201, "shown only now");
    let (_, rest) = created.body.split_once("id=\"secret\">").expect("a secret");
    let secret = rest.split('<').next().expect("an end");
    let program = Http::with_token(rig.controller.http(), Some(secret));
    assert_eq!(program.get("/networks").await.status, 200);
    let tokens: List<Token> = rig.http.get("/tokens").await.expect_status(200);
    let token = tokens.items.iter().find(|token| token.name == "backup");
    let token = token.expect("it is listed");
    assert_eq!(token.scopes, ["read"]);
    assert!(token.expires_at.is_some());
    let shown = alice.get("/tokens").await;
    assert!(shown.body.contains(&token.id) && !shown.body.contains(secret));
    let many = alice
        .submit(
            "/tokens",
            "/tokens",
            &[("name", "x"), ("scope", "read"), ("days", "many")],
        )
        .await;
    many.expect(422, "has to be a number");

    let remove = format!("/tokens/{}/remove", token.id);
    let page = alice.act("/tokens", &remove, &[]).await;
    page.expect(200, "works no more");
    assert_eq!(program.get("/networks").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_of_ones_own_ends_the_other_sessions_only() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let mut elsewhere = Visitor::signed_in(rig.controller.http(), "alice").await;
    let change = |current: &'static str, again: &'static str| {
        vec![
            ("current", current),
            ("password", "a brand new one"),
            ("again", again),
        ]
    };
    let path = "/account/password";
    for (fields, status, text) in [
        (change(PASSWORD, "another"), 422, "differ"),
        (
            change("wrong password", "a brand new one"),
            403,
            "current password is wrong",
        ),
    ] {
        alice
            .submit("/account", path, &fields)
            .await
            .expect(status, text);
    }

    let fields = change(PASSWORD, "a brand new one");
    alice
        .act("/account", path, &fields)
        .await
        .expect(200, "your other sessions have ended");

    assert_eq!(alice.get("/").await.status, 200);
    assert_eq!(elsewhere.get("/").await.header("location"), "/sign-in");
    assert_eq!(elsewhere.sign_in("alice", PASSWORD).await.status, 401);
    assert_eq!(
        elsewhere.sign_in("alice", "a brand new one").await.status,
        303
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_step_sign_in_takes_each_code_once() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let begun = alice.submit("/account", "/account/two-step", &[]).await;
    begun.expect(200, "Scan this");
    let secret = text(&begun, "id=\"totp-secret\">");
    let confirm = "/account/two-step/confirm";
    // Of one moment, however long the rest takes.
    let (used, next) = (code(&secret, 0), code(&secret, 30));
    let fields = |code: &str, current: &str| {
        [
            ("secret", secret.clone()),
            ("code", code.to_owned()),
            ("current", current.to_owned()),
        ]
    };
    for (fields, status, told) in [
        (fields("000000", PASSWORD), 422, "The code is wrong"),
        (
            fields(&used, "wrong password"),
            403,
            "current password is wrong",
        ),
    ] {
        post(&mut alice, confirm, &fields)
            .await
            .expect(status, told);
    }

    let done = post(&mut alice, confirm, &fields(&used, PASSWORD)).await;

    done.expect(201, "Keep these recovery codes");
    let recovery: Vec<String> = text(&done, "id=\"secret\">")
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(recovery.len(), 8);
    alice
        .get("/account")
        .await
        .expect(200, "8 recovery codes are left.");
    let mut phone = Visitor::new(rig.controller.http());
    for (code, status) in [
        ("", 401),
        // The one that switched it on was used by that.
        (used.as_str(), 401),
        (next.as_str(), 303),
        (next.as_str(), 401),
        (recovery[0].as_str(), 303),
        (recovery[0].as_str(), 401),
        (&recovery[1].to_lowercase(), 303),
    ] {
        let answer = sign_in(&mut phone, PASSWORD, code).await;
        assert_eq!(answer.status, status, "{code:?}: {}", answer.body);
    }
    // A right code says nothing about a wrong password.
    assert_eq!(
        sign_in(&mut phone, "wrong password", &recovery[2])
            .await
            .status,
        401
    );

    // The codes outlive a change of the password.
    let fields = [
        ("current", PASSWORD),
        ("password", "a brand new one"),
        ("again", "a brand new one"),
    ];
    alice
        .act("/account", "/account/password", &fields)
        .await
        .expect(200, "is changed");
    assert_eq!(sign_in(&mut phone, "a brand new one", "").await.status, 401);
    assert_eq!(
        sign_in(&mut phone, "a brand new one", &recovery[3])
            .await
            .status,
        303
    );
    let fields = [("current", "a brand new one")];
    alice
        .act("/account", "/account/two-step/off", &fields)
        .await
        .expect(200, "is off");
    assert_eq!(sign_in(&mut phone, "a brand new one", "").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_cannot_be_guessed_from_many_addresses() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let begun = alice.submit("/account", "/account/two-step", &[]).await;
    let secret = text(&begun, "id=\"totp-secret\">");
    let fields = [
        ("secret", secret.clone()),
        ("code", code(&secret, 0)),
        ("current", PASSWORD.to_owned()),
    ];
    post(&mut alice, "/account/two-step/confirm", &fields)
        .await
        .expect(201, "recovery codes");

    let mut last = 0;
    for number in 0..25 {
        let mut thief = Visitor::new(rig.controller.http());
        thief.headers = vec![("x-forwarded-for".to_owned(), format!("192.0.2.{number}"))];
        last = sign_in(&mut thief, PASSWORD, "000000").await.status;
    }

    assert_eq!(last, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_in_chinese() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let node = rig.member(network).await.address.to_string();
    let mut alice = Visitor::administrator(&rig).await;
    alice.headers = vec![("accept-language".to_owned(), "zh-CN".to_owned())];
    let at = format!("/networks/{network}");

    for (target, via, status, told) in [
        (
            "172.27.4.0/24",
            node.as_str(),
            409,
            "路由 172.27.4.0/24 与地址池 172.27.0.0/16 重叠",
        ),
        ("10.9.0.0/24", "nobody", 404, "没有这个成员"),
        ("10.9.0.0/99", "nobody", 422, "不是有效的网段"),
    ] {
        let fields = [("target", target), ("via", via)];
        let page = alice.submit(&at, &format!("{at}/routes"), &fields).await;
        page.expect(status, told);
    }
}

pub(crate) async fn post(visitor: &mut Visitor, path: &str, fields: &[(&str, String)]) -> Page {
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    visitor.submit("/account", path, &fields).await
}

pub(crate) async fn sign_in(visitor: &mut Visitor, password: &str, code: &str) -> Page {
    visitor.cookies.clear();
    let csrf = visitor.get("/sign-in").await.csrf().to_owned();
    let fields = [
        ("csrf", csrf.as_str()),
        ("name", "alice"),
        ("password", password),
        ("code", code),
    ];
    visitor.post("/sign-in", &fields).await
}

/// The code that an app shows so many seconds from now.
pub(crate) fn code(secret: &str, later: u64) -> String {
    let bytes = data_encoding::BASE32_NOPAD
        .decode(secret.as_bytes())
        .expect("Base32");
    let secret = Secret::new_stack(bytes.try_into().expect("20 bytes"));
    let totp = Builder::new()
        .with_secret(secret)
        .build()
        .expect("a secret");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    totp.generate(now.as_secs() + later).to_string()
}

/// What follows a mark in a page, up to the next tag.
pub(crate) fn text(page: &Page, mark: &str) -> String {
    let (_, rest) = page.body.split_once(mark).expect("it is on the page");
    rest.split('<').next().expect("an end").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_made_tested_turned_off_and_removed_by_forms() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut alice = Visitor::administrator(&rig).await;
    let mut receiver = Receiver::start();
    let url = receiver.url();
    alice.get("/webhooks").await.expect(200, "There are none.");
    let poor = [("url", "ftp://example.org"), ("event", "changed")];
    let page = alice.submit("/webhooks", "/webhooks", &poor).await;
    page.expect(422, "value=\"ftp://example.org\"");

    let id = network.to_string();
    let fields = [
        ("url", url.as_str()),
        ("event", "changed"),
        ("event", "deleted"),
        ("network", id.as_str()),
    ];
    let made = alice.submit("/webhooks", "/webhooks", &fields).await;
    made.expect(201, "whsec_");
    let found: List<Webhook> = rig.http.get("/webhooks").await.expect_status(200);
    let [hook] = found.items.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!((hook.events.len(), hook.network), (2, Some(network)));
    let page = alice.get("/webhooks").await;
    page.expect(200, "nothing told yet");
    assert!(!page.body.contains("whsec_"), "shown only once");

    let at = format!("/webhooks/{}", hook.id);
    let test = format!("{at}/test");
    let page = alice.act("/webhooks", &test, &[]).await;
    page.expect(200, "The message was taken.");
    assert_eq!(receiver.next().await.json()["type"], "test");
    receiver.answer("500 Internal Server Error");
    let page = alice.submit("/webhooks", &test, &[]).await;
    page.expect(409, "it answered 500");

    let switch = format!("{at}/enabled");
    let page = alice
        .act("/webhooks", &switch, &[("enabled", "false")])
        .await;
    page.expect(200, "off since");
    let page = alice
        .act("/webhooks", &switch, &[("enabled", "true")])
        .await;
    page.expect(200, ">Turn off<");
    let page = alice.act("/webhooks", &format!("{at}/remove"), &[]).await;
    page.expect(200, "There are none.");
    let gone = alice.submit("/webhooks", &test, &[]).await;
    assert_eq!(gone.status, 404);

    // Only administrators see where messages go.
    let body = serde_json::json!({ "name": "bob", "password": PASSWORD, "role": "operator" });
    let _: User = rig.http.post("/users", body).await.expect_status(201);
    let mut bob = Visitor::signed_in(rig.controller.http(), "bob").await;
    assert_eq!(bob.get("/webhooks").await.status, 403);
    assert!(!bob.get("/").await.body.contains("/webhooks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_network_is_made_by_the_form_and_shown_by_its_name() {
    let rig = Rig::start().await;
    let network = rig.home().await.id.to_string();
    let mut alice = Visitor::administrator(&rig).await;
    let write = format!("write:{network}");
    for (name, scopes, shown) in [
        ("deploy", vec![write.as_str(), "read"], "write · home"),
        ("watch", vec!["read"], ">read<"),
    ] {
        let scopes = scopes.into_iter().map(|scope| ("scope", scope));
        let fields: Vec<_> = scopes.chain([("name", name)]).collect();
        let made = alice.submit("/tokens", "/tokens", &fields).await;
        made.expect(201, shown);
    }
    let none = alice
        .submit("/tokens", "/tokens", &[("name", "idle")])
        .await;
    assert_eq!(none.status, 422, "a token that may do nothing");

    let found: List<Token> = rig.http.get("/tokens").await.expect_status(200);
    let of = |name| found.items.iter().find(|token| token.name == name);
    let scopes = |name| of(name).expect("it is there").scopes.clone();
    assert_eq!(scopes("deploy"), ["read".to_owned(), write]);
    assert_eq!(scopes("watch"), ["read"]);
}
