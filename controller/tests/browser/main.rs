//! The panel in a real browser: a member is let in by a click, and everything changes while one looks.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one kind of message and passes over every other"
)]
#![allow(
    dead_code,
    reason = "nodes and HTTP are those of the tests of the controller, and do more than is needed here"
)]

mod axe;
#[path = "../controller/http.rs"]
mod http;
#[path = "../controller/node.rs"]
mod node;
mod pages;
#[path = "../controller/provider.rs"]
mod provider;
#[path = "../controller/receiver.rs"]
mod receiver;
#[path = "../controller/rig.rs"]
mod rig;
mod sign_on;

use std::{path::Path, time::Instant};

use rig::Rig;
use tombolo_tests::browser::Browser;

/// Where the controllers of this program keep what they know.
const STORE: rig::Store = rig::Store::Sqlite;
/// From the click to the node being told.
const PROMISE_SECONDS: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_administrator_makes_a_network_and_lets_a_server_in_with_a_click() {
    let Some(browser) = browser() else {
        return;
    };
    let rig = Rig::start().await;
    browser.open(rig.controller.setup_link().expect("nobody is there yet"));
    assert_eq!(browser.label(&browser.tab()), "Skip to content");
    for (field, text) in [
        ("name", "alice"),
        ("password", "correct horse battery"),
        ("again", "correct horse battery"),
    ] {
        browser.fill(field, text);
    }
    browser.picture("setup");
    browser.click("//main//button[@type='submit']");
    browser.find("//h2[text()='No networks yet']");
    browser.picture("empty");

    browser.fill("name", "home");
    browser.click("//button[text()='Create network']");
    browser.find("//h1[text()='home']");
    browser.find("//*[@id='notice']//*[text()='Network home was created.']");
    assert_named(&browser);
    let page = rig.http.get("/networks").await;
    let networks: tombolo_proto::api::Page<tombolo_proto::api::Network> = page.expect_status(200);
    let network = networks.items[0].id;
    browser.find("//html[@data-watching]");
    browser.run("window.sameness = 'kept'");

    // A server asks to join, and appears.
    let mut node = rig.node().await;
    let row = format!("//tr[@id='member-{}']", node.address);
    node.join(network, None).await;
    node.expect_pending(network).await;
    browser.find(&row);
    browser.picture("waiting");
    let switch = format!("{row}//button[@role='switch']");
    assert_eq!(browser.label(&browser.find(&switch)), "Authorized");

    // A click lets it in.
    let clicked = Instant::now();
    browser.click(&switch);
    node.expect_member(network).await;
    let took = clicked.elapsed();
    println!(
        "figure: from the click to the member being told: {took:?} (promise {PROMISE_SECONDS} s)"
    );
    assert!(took.as_secs() < 5 * PROMISE_SECONDS, "{took:?}");
    browser.find(&format!("{switch}[@aria-checked='true']"));
    browser.find(&format!("{row}//span[text()='Online']"));
    browser.find("//span[text()='1 of 1 members online']");

    // It goes, and comes back.
    let seed = node.seed.clone();
    node.connection.close(0u32.into(), b"");
    drop(node);
    browser.find(&format!("{row}//span[text()='Offline']"));
    let mut node = rig.node_with(seed).await;
    node.join(network, None).await;
    node.expect_member(network).await;
    browser.find(&format!("{row}//span[text()='Online']"));

    // A route with host bits, and one that cannot be.
    for (target, told) in [
        ("172.28.233.1/24", "had host bits"),
        ("172.27.9.0/24", "overlaps the pool"),
    ] {
        browser.fill("target", target);
        browser.fill("via", &node.address.to_string());
        browser.click("//button[text()='Add route']");
        browser.find(&format!("//*[@id='notice']//*[contains(., '{told}')]"));
    }
    browser.find("//*[@data-part='routes']//code[text()='172.28.233.0/24']");
    // Not one of the pages was loaded again.
    assert_eq!(browser.run("return window.sameness"), "kept");
    browser.click("//button[text()='Create token']");
    browser.find("//*[@id='secret'][contains(., 'tombolo join tombolo://')]");
    browser.click("//summary[text()='Show QR code']");
    assert_named(&browser);
    // Refusals are told with their own status, which the browser notes in its log.
    let complaints = browser.complaints();
    assert!(
        complaints
            .iter()
            .all(|entry| entry.contains("status of 409")),
        "{complaints:?}"
    );

    for (language, theme, width) in [
        ("en", "light", 1280),
        ("en", "dark", 390),
        ("zh", "dark", 1280),
        ("zh", "light", 390),
    ] {
        browser.theme(theme);
        browser.width(width);
        if browser.run("return document.documentElement.lang") != language {
            browser.click("//header//a[@hreflang]");
            browser.find(&format!("//html[@lang='{language}']"));
        }
        for (page, path) in [
            ("network", format!("networks/{network}")),
            (
                "member",
                format!("networks/{network}/members/{}", node.address),
            ),
            ("networks", String::new()),
        ] {
            browser.open(&format!("{}{path}", rig.controller.panel()));
            browser.picture(&format!("{page}-{language}-{theme}-{width}"));
            let over = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(
                browser.run(over).as_i64().map(|over| over > 0),
                Some(false),
                "{page} {width}"
            );
            assert_named(&browser);
        }
    }
    assert_eq!(
        browser.run("return document.querySelector('h1').textContent"),
        "网络"
    );

    // A click puts it out.
    browser.open(&format!("{}networks/{network}", rig.controller.panel()));
    browser.find("//html[@data-watching]");
    browser.click(&switch);
    node.expect_denied(network, "deauthorised").await;
    browser.find(&format!("{switch}[@aria-checked='false']"));
    browser.click("//header//button");
    browser.find("//h1[text()='登录']");
    browser.picture("sign-in");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Pictures of the pages go to the target directory, to be looked at.
fn browser() -> Option<Browser> {
    Browser::start(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("panel"))
}

/// Everything that can be operated has a name, for those who do not see it.
#[track_caller]
fn assert_named(browser: &Browser) {
    const OPERATED: &str = ":is(input:not([type=hidden], [hidden]), select, textarea, button, a, summary)\
        :not(details:not([open]) > :not(summary) *)";
    for element in browser.all(OPERATED) {
        let label = browser.label(&element);
        assert!(!label.is_empty(), "{}", browser.markup(&element));
    }
}
