//! The panel in a real browser, with real servers behind it: what is clicked is what packets do.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tombolo_tests::{
    browser::{Browser, ENTER},
    netns::{Claim, Lab},
    overlay::{Controller, Node, SOON, answers, wait_for_ping},
    process::{figure, wait_for},
};

/// From a click to what it does at every member.
const PROMISE: Duration = Duration::from_secs(2);
const PASSWORD: &str = "correct horse battery";

#[test]
fn servers_are_added_given_a_route_and_put_out_by_clicks_and_by_the_keyboard_alone() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let controller = Controller::start(lab.host("ctl"));
    let nodes = ["berlin", "nas"].map(|name| {
        let mut node = Node::new(lab.host(name));
        node.up();
        node
    });
    let [berlin, nas] = &nodes;
    let ids = [berlin.id(), nas.id()];
    let (v4, v6) = ("172.28.233.0/24", "fc00:1::/96");
    let bridge = lab.bridge(
        &berlin.host,
        "br1",
        v4.parse().expect("a subnet"),
        v6.parse().expect("a prefix"),
    );
    let container = lab.container(&berlin.host, &bridge, 2);

    // The browser is on the controller's host, which alone reaches the panel.
    controller.host.namespace.within(|| {
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panel");
        let Some(browser) = Browser::start(&pictures) else {
            return;
        };
        let link = fs::read_to_string(controller.state_dir().join("setup.link"));
        browser.open(link.expect("nobody is there yet").trim());
        for (field, text) in [
            ("name", "alice"),
            ("password", PASSWORD),
            ("again", PASSWORD),
        ] {
            tab_to(&browser, field);
            browser.type_text(text);
        }
        browser.press(ENTER);
        browser.find("//h1[text()='Networks']");
        tab_to(&browser, "name");
        browser.type_text("home");
        browser.press(ENTER);
        browser.find("//h1[text()='home']");
        let path = browser.run("return location.pathname");
        let network = path.as_str().and_then(|path| path.rsplit('/').next());
        let network = network.expect("an id").to_owned();
        browser.find("//html[@data-watching]");
        browser.run("window.sameness = 'kept'");

        // Servers ask to join and appear. One is let in with a click, the other by the keyboard.
        for (node, id) in nodes.iter().zip(&ids) {
            node.join(&network, &controller).ok();
            browser.find(&format!("//tr[@id='member-{id}']"));
        }
        let row = |id: &str| format!("//tr[@id='member-{id}']");
        let switch = |id: &str| format!("{}//button[@role='switch']", row(id));
        let clicked = Instant::now();
        browser.click(&switch(&ids[0]));
        let addressed = berlin.wait_for_addresses("tmb0");
        figure(
            "from the click to the addresses of the server",
            addressed.saturating_duration_since(clicked),
            PROMISE,
        );
        browser.find(&format!("{}//span[text()='Online']", row(&ids[0])));
        browser.tab_to(&format!(
            "document.activeElement.getAttribute('role') === 'switch'
             && document.activeElement.closest('tr').id === 'member-{}'",
            ids[1]
        ));
        browser.press(ENTER);
        nas.wait_for_addresses("tmb0");
        browser.find("//span[text()='2 of 2 members online']");
        let address = berlin.v4();
        wait_for_ping(&nas.host.namespace, address);
        wait_for_ping(&berlin.host.namespace, nas.v6());

        // A route to containers, by the keyboard.
        assert!(!answers(&nas.host.namespace, container.v4), "no route yet");
        tab_to(&browser, "target");
        browser.type_text("172.28.233.1/24");
        tab_to(&browser, "via");
        browser.type_text(&ids[0]);
        browser.press(ENTER);
        let pressed = Instant::now();
        let pinged = wait_for_ping(&nas.host.namespace, container.v4);
        figure(
            "from the key to the first ping by the new route",
            pinged.saturating_duration_since(pressed),
            PROMISE,
        );
        browser.find(&format!("//*[@data-part='routes']//code[text()='{v4}']"));
        browser.picture("real-network");

        // Put out with a click: neither the server nor what is behind it answers any more.
        let clicked = Instant::now();
        browser.click(&switch(&ids[0]));
        let ends = [container.v4, address];
        let silent = wait_for("the pings to stop", SOON, || {
            let asked = Instant::now();
            ends.iter()
                .all(|end| !answers(&nas.host.namespace, *end))
                .then_some(asked)
        });
        figure(
            "from the click to the first ping without an answer",
            silent.saturating_duration_since(clicked),
            PROMISE,
        );
        browser.find(&format!("{}[@aria-checked='false']", switch(&ids[0])));
        // All of this on one page, and nothing in the browser's log.
        assert_eq!(browser.run("return window.sameness"), "kept");
        assert_eq!(browser.complaints(), Vec::<String>::new());
    });
}

/// Moves the focus to a field, by the keyboard.
#[track_caller]
fn tab_to(browser: &Browser, field: &str) {
    browser.tab_to(&format!("document.activeElement.id === '{field}'"));
    // What is there is selected and typed over, as if by Ctrl-A.
    browser.run("document.activeElement.select()");
}
