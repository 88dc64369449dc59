//! Every page in the browser: both languages, both themes, a phone, the keyboard alone, and what axe-core finds.

use serde_json::json;
use tombolo_proto::{
    api::{Page, Webhook},
    control::ToController,
    id::{NetworkId, NodeId},
    links::{Carried, Link, LinkReport, LinkWay},
};
use tombolo_tests::browser::{Browser, ENTER, SPACE};

use crate::{
    assert_named, axe::assert_accessible, browser, node::Node, receiver::Receiver, rig::Rig,
};

const PASSWORD: &str = "correct horse battery";
/// Members of the picture of links.
const MEMBERS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_page_is_accessible_in_both_languages_and_themes_and_on_a_phone() {
    let Some(browser) = browser() else {
        return;
    };
    let rig = Rig::start().await;
    set_up(&browser, &rig);
    let network = rig.home().await.id;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(rig.member(network).await);
    }
    for (node, name) in members
        .iter()
        .zip(["berlin", "tokyo", "nas", "office", "lima"])
    {
        rig.set_member(
            network,
            node,
            json!({"name": name, "relay": name == "nas", "tags": ["prod"]}),
        )
        .await;
    }
    let _: tombolo_proto::api::Route = rig
        .http
        .post(
            &format!("/networks/{network}/routes"),
            json!({"target": "172.28.233.0/24", "via": "nas"}),
        )
        .await
        .expect_status(201);
    let base = rig.controller.panel();
    // Who looks at the picture sees it change.
    browser.open(&format!("{base}networks/{network}/map"));
    browser.find("//*[starts-with(., 'Nobody has told')]");
    browser.find("//html[@data-watching]");
    tell_links(network, &mut members).await;
    browser.find(
        "//*[@data-part='map']//*[name()='svg']//*[name()='path'][contains(@class, 'relayed')]",
    );
    browser.find("//tbody[@data-part='links']//*[contains(., 'via nas')]");
    relays_are_switched(&browser, &format!("{base}networks/{network}"));
    let _: tombolo_proto::api::User = rig
        .http
        .post("/users", json!({"name": "bob", "password": PASSWORD, "role": "viewer", "networks": {network.to_string(): "operator"}}))
        .await
        .expect_status(201);
    // With rules, members whose software does not say that it enforces them are marked.
    let rules = json!({ "default": "allow", "rules": [{ "action": "deny", "protocol": "tcp", "ports": ["23"], "from": [], "to": [] }] });
    let path = format!("/networks/{network}/rules");
    let _: tombolo_proto::api::AccessRules = rig.http.put(&path, rules).await.expect_status(200);
    // One receiver that takes what it is told, and one that is not there.
    let receiver = Receiver::start();
    for (url, events) in [
        (receiver.url(), json!(["changed", "online"])),
        ("http://127.0.0.1:9/hook".to_owned(), json!([])),
    ] {
        let body = json!({ "url": url, "events": events, "network": network });
        let _: tombolo_proto::api::CreatedWebhook =
            rig.http.post("/webhooks", body).await.expect_status(201);
    }
    let smaller = json!({ "mtu": 1380 });
    let path = format!("/networks/{network}");
    let _: tombolo_proto::api::Network = rig.http.patch(&path, smaller).await.expect_status(200);
    let scoped = json!({ "name": "deploy", "scopes": [format!("write:{network}"), "read"] });
    let _: tombolo_proto::api::CreatedToken =
        rig.http.post("/tokens", scoped).await.expect_status(201);
    until_one_fails(&rig).await;
    browser.open(&format!("{base}webhooks"));
    browser.find("//td//*[text()='takes nothing since']");
    let webhook = messages_are_sent_again(&browser);
    browser.open(&format!("{base}system"));
    browser.find("//*[@data-part='backup']//*[text()='never']");
    browser.picture("system-without-backup");
    let backup = rig.state.path().join("backup").display().to_string();
    let (code, said) = rig.verb(&["backup", &backup]).await;
    assert_eq!(code, Some(0), "{said}");
    browser.open(&format!("{base}system"));
    browser.find("//*[@data-part='backup']//*[text()='within a week']");
    browser.open(&format!("{base}users"));
    browser.click("//a[text()='bob']");
    let user = browser.run("return location.pathname.slice(1)");
    let user = user.as_str().expect("a path").to_owned();

    let pages = [
        ("networks", String::new()),
        ("network", format!("networks/{network}")),
        (
            "member",
            format!("networks/{network}/members/{}", members[0].address),
        ),
        ("map", format!("networks/{network}/map")),
        ("users", "users".to_owned()),
        ("user", user),
        ("tokens", "tokens".to_owned()),
        ("webhooks", "webhooks".to_owned()),
        ("webhook", webhook),
        ("audit", "audit".to_owned()),
        ("system", "system".to_owned()),
        ("account", "account".to_owned()),
    ];
    for (language, theme, width) in [
        ("en", "light", 1280),
        ("zh", "dark", 390),
        ("zh", "light", 1280),
        ("en", "dark", 390),
    ] {
        browser.width(width);
        browser.open(&format!("{base}language/{language}"));
        browser.open(&format!("{base}theme/{theme}"));
        for (name, path) in &pages {
            browser.open(&format!("{base}{path}"));
            browser.find(&format!(
                "//html[@lang='{language}'][@data-theme='{theme}']"
            ));
            browser.picture(&format!("page-{name}-{language}-{theme}-{width}"));
            assert_fits(&browser, name);
            assert_named(&browser);
            assert_accessible(&browser, &format!("{name} {language} {theme} {width}"));
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_keyboard_alone_is_enough() {
    let Some(browser) = browser() else {
        return;
    };
    let rig = Rig::start().await;
    set_up(&browser, &rig);
    let focus_on = |id: &str| browser.tab_to(&format!("document.activeElement.id === '{id}'"));
    focus_on("name");
    browser.type_text("home");
    browser.tab_to("document.activeElement.textContent === 'Create network'");
    browser.press(SPACE);
    browser.find("//h1[text()='home']");
    let page = rig.http.get("/networks").await;
    let networks: Page<tombolo_proto::api::Network> = page.expect_status(200);
    let network = networks.items[0].id;
    let mut node = rig.node().await;
    node.join(network, None).await;
    node.expect_pending(network).await;
    browser.find(&format!("//tr[@id='member-{}']", node.address));

    let on_switch = "document.activeElement.ariaLabel === 'Authorized'";
    browser.tab_to(on_switch);
    browser.press(ENTER);
    node.expect_member(network).await;
    browser.find("//button[@aria-label='Authorized'][@aria-checked='true']");
    // The focus stays where it was.
    assert_eq!(browser.run(&format!("return {on_switch}")), true);
    focus_on("target");
    browser.type_text("172.28.233.1/24");
    browser.find("//output[contains(., '172.28.233.0/24')]");
    assert_accessible(&browser, "network while typing");
    focus_on("via");
    browser.type_text(&node.address.to_string());
    browser.press(ENTER);
    browser.find("//*[@data-part='routes']//code[text()='172.28.233.0/24']");

    // Out again, and taken back, and out.
    browser.tab_to(on_switch);
    browser.press(SPACE);
    node.expect_denied(network, "deauthorised").await;
    browser.find("//button[@aria-label='Authorized'][@aria-checked='false']");
    browser.tab_to("document.activeElement.textContent === 'Undo'");
    browser.press(ENTER);
    browser.find("//button[@aria-label='Authorized'][@aria-checked='true']");
    browser.tab_to(on_switch);
    browser.press(ENTER);
    browser.find("//button[@aria-label='Authorized'][@aria-checked='false']");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_step_sign_in_is_set_up_in_the_browser() {
    let Some(browser) = browser() else {
        return;
    };
    let rig = Rig::start().await;
    set_up(&browser, &rig);
    browser.open(&format!("{}account", rig.controller.panel()));
    browser.click("//button[text()='Set up']");
    let secret = browser.text("//*[@id='totp-secret']");
    browser.find("//*[@class='qr']//*[name()='svg']");
    browser.picture("two-step-setup");
    assert_accessible(&browser, "two-step setup");
    browser.fill("code", &code(&secret));
    browser.fill("confirm-current", PASSWORD);
    browser.click("//button[text()='Confirm']");
    let recovery = browser.text("//*[@id='secret']");
    assert_eq!(recovery.lines().count(), 8);
    browser.picture("two-step-codes");
    assert_accessible(&browser, "recovery codes");

    browser.click("//header//button");
    browser.find("//h1[text()='Sign in']");
    assert_accessible(&browser, "sign in");
    browser.fill("name", "alice");
    browser.fill("password", PASSWORD);
    browser.fill("code", recovery.lines().next().expect("a code"));
    browser.picture("two-step-sign-in");
    browser.click("//main//button[@type='submit']");
    browser.find("//h1[text()='Networks']");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn set_up(browser: &Browser, rig: &Rig) {
    browser.open(rig.controller.setup_link().expect("nobody is there yet"));
    for (field, text) in [
        ("name", "alice"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ] {
        browser.fill(field, text);
    }
    browser.click("//main//button[@type='submit']");
    browser.find("//h1[text()='Networks']");
}

/// The section of relays tells how many links go by each, and a switch there can be undone.
fn relays_are_switched(browser: &Browser, page: &str) {
    browser.open(page);
    let row = "//*[@data-part='relays']//tr[contains(., 'nas')]";
    browser.find(&format!(
        "{row}/td[@data-label='Links that use it'][text()='1']"
    ));
    browser.find("//*[@data-part='relays']//tr[contains(., 'Controller')]//*[text()='alive']");
    browser.find(&format!(
        "{row}/td[contains(., '7.3 MB')]/small[text()='for 2 members']"
    ));
    let switch = |is_on: bool| format!("{row}//button[@role='switch'][@aria-checked='{is_on}']");
    assert_eq!(browser.label(&browser.find(&switch(true))), "May relay");
    browser.click(&switch(true));
    browser.find(&switch(false));
    browser.click("//*[@id='notice']//button[text()='Undo']");
    browser.find("//*[@id='notice']//*[text()='nas may relay.']");
    browser.find(&switch(true));
}

/// The page of a webhook tells what came of the last messages, and sends them again. Returns where it is.
fn messages_are_sent_again(browser: &Browser) -> String {
    browser.click("//tr[contains(., 'takes nothing since')]//a[text()='Deliveries']");
    let rows = "//*[@data-part='deliveries']//tbody/tr";
    browser.find(&format!(
        "{rows}[contains(., 'a network changed')]//*[text()='not taken']"
    ));
    browser.click("//button[text()='Send a test']");
    browser.find("//*[@id='notice']//*[contains(., 'the message was not taken')]");
    browser.find(&format!("{rows}[1]/td[text()='Test']"));
    browser.click(&format!("{rows}[1]//button[text()='Send again']"));
    browser.find(&format!("{rows}[1][td[text()='Test']]/td[text()='2']"));
    // What was not taken is told with a status, which the browser notes in its log.
    let complaints = browser.complaints();
    let is_expected = |entry: &String| entry.contains("status of 409");
    assert!(complaints.iter().all(is_expected), "{complaints:?}");
    let path = browser.run("return location.pathname.slice(1)");
    path.as_str().expect("a path").to_owned()
}

/// Waits until one webhook has taken what it was told, and another one has not.
async fn until_one_fails(rig: &Rig) {
    let told = async {
        loop {
            let found: Page<Webhook> = rig.http.get("/webhooks").await.expect_status(200);
            let states = found.items.iter();
            let states: Vec<_> = states
                .map(|hook| (hook.delivered_at.is_some(), hook.failing_since.is_some()))
                .collect();
            if states.contains(&(true, false)) && states.contains(&(false, true)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(30);
    tokio::time::timeout(deadline, told)
        .await
        .expect("they are told");
}

/// All talk to all; the last two by way of the third.
async fn tell_links(network: NetworkId, members: &mut [Node]) {
    let nodes: Vec<NodeId> = members.iter().map(|node| node.address).collect();
    for (index, member) in members.iter_mut().enumerate() {
        let link = |other: usize| Link {
            peer: nodes[other],
            way: match index.abs_diff(other) {
                1 if index.min(other) == MEMBERS - 2 => LinkWay::Relayed(Some(nodes[2])),
                _ => LinkWay::Direct,
            },
            latency: Some(u32::try_from(900 + 7300 * index * other).expect("it fits")),
        };
        let report = LinkReport {
            links: (0..MEMBERS)
                .filter(|other| *other != index)
                .map(link)
                .collect(),
            sent: 1_250_000,
            received: 52_000,
        };
        if index == 2 {
            let carried = Carried {
                clients: 2,
                bytes: 7_340_000,
            };
            member
                .say(&ToController::Carries { network, carried })
                .await;
        }
        member.say(&ToController::Links { network, report }).await;
    }
}

#[track_caller]
fn assert_fits(browser: &Browser, page: &str) {
    let over = browser
        .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(
        over.as_i64().map(|over| over > 0),
        Some(false),
        "{page} is too wide"
    );
}

/// The code that an app shows now.
fn code(secret: &str) -> String {
    let bytes = data_encoding::BASE32_NOPAD
        .decode(secret.as_bytes())
        .expect("Base32");
    let secret = totp_rs::Secret::new_stack(bytes.try_into().expect("20 bytes"));
    let totp = totp_rs::Builder::new()
        .with_secret(secret)
        .build()
        .expect("a secret");
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970");
    totp.generate(now.as_secs()).to_string()
}
