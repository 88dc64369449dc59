//! What was done in the panel is taken back by the button beside the message that tells of it.

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use tombolo_proto::{
    api::{AccessRules, Member, Network, Page as List},
    config::RouteMode,
    id::NetworkId,
};

use crate::{
    rig::{Rig, member_path},
    visitor::{Page, Visitor},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_as_it_was() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let node = rig.member(network).await;
    let at = format!("/networks/{network}");
    let wish =
        json!({"target": "172.28.233.0/24", "via": node.address, "mode": "failover", "metric": 7});
    let path = format!("{at}/routes");
    let route: tombolo_proto::api::Route = rig.http.post(&path, wish).await.expect_status(201);
    let mut alice = Visitor::administrator(&rig).await;

    let remove = format!("{at}/routes/{}/remove", route.id);
    let page = alice.act(&at, &remove, &[]).await;
    assert!(routes(&rig, network).await.is_empty());
    press(&mut alice, &page).await;

    let [again] = &routes(&rig, network).await[..] else {
        panic!("the route is back");
    };
    assert_eq!((again.target, again.via), (route.target, node.address));
    assert_eq!((again.mode, again.metric), (RouteMode::Failover, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_where_it_was() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let at = format!("/networks/{network}");
    let mut alice = Visitor::administrator(&rig).await;
    let written = ["deny tcp 23 from any to any", "allow udp from any to any"];
    for (number, rule) in ["1", "2"].into_iter().zip(written) {
        let fields = [("at", number), ("rule", rule)];
        alice.act(&at, &format!("{at}/rules"), &fields).await;
    }
    let path = format!("{at}/rules");
    let before: AccessRules = rig.http.get(&path).await.expect_status(200);
    assert_eq!(before.rules.len(), 2);

    let remove = format!("{at}/rules/1/remove");
    let page = alice.act(&at, &remove, &[("rule", written[0])]).await;
    let without: AccessRules = rig.http.get(&path).await.expect_status(200);
    assert_eq!(without.rules, before.rules[1..]);
    press(&mut alice, &page).await;

    let after: AccessRules = rig.http.get(&path).await.expect_status(200);
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_members_those_are_put_out_again_that_were_let_in() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let member = rig.member(network).await;
    let mut waiting = rig.node().await;
    waiting.join(network, None).await;
    waiting.expect_pending(network).await;
    let at = format!("/networks/{network}");
    let mut alice = Visitor::administrator(&rig).await;
    let nodes = [&member, &waiting].map(|node| node.address.to_string());
    let fields = [
        ("node", nodes[0].as_str()),
        ("node", nodes[1].as_str()),
        ("authorized", "true"),
    ];

    let page = alice.act(&at, &format!("{at}/members"), &fields).await;
    waiting.expect_member(network).await;
    press(&mut alice, &page).await;

    waiting.expect_denied(network, "deauthorised").await;
    for (node, expected) in [(&member, true), (&waiting, false)] {
        let path = member_path(network, node);
        let shown: Member = rig.http.get(&path).await.expect_status(200);
        assert_eq!(shown.authorized, expected, "{}", node.address);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_names_something_else_makes_no_button() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut alice = Visitor::administrator(&rig).await;
    let button = |network: &str| {
        let undo = json!({"Relay": {"network": network, "node": "89e92ceee5", "relay": true}});
        let cookie = json!({"text": "told", "undo": undo}).to_string();
        BASE64URL_NOPAD.encode(cookie.as_bytes())
    };
    for (cookie, is_shown) in [
        (button(&network.to_string()), true),
        (button("../users/0123"), false),
        ("nonsense".to_owned(), false),
    ] {
        alice.cookies.insert("tombolo_notice".to_owned(), cookie);
        let page = alice.get("/").await;
        assert_eq!(page.body.contains(">Undo<"), is_shown, "{}", page.body);
    }
}

async fn routes(rig: &Rig, network: NetworkId) -> Vec<tombolo_proto::api::Route> {
    let path = format!("/networks/{network}/routes");
    let found: List<tombolo_proto::api::Route> = rig.http.get(&path).await.expect_status(200);
    let network: Network = rig
        .http
        .get(&format!("/networks/{network}"))
        .await
        .expect_status(200);
    assert_eq!(network.routes, found.items);
    found.items
}

/// Sends the form of the button that takes back what the page tells of.
async fn press(visitor: &mut Visitor, page: &Page) {
    let (_, rest) = page.body.split_once("id=\"notice\"").expect("a message");
    let (notice, _) = rest.split_once("<main").expect("the page goes on");
    assert!(notice.contains(">Undo<"), "{notice}");
    let value = |text: &str, mark: &str| {
        let (_, rest) = text.split_once(mark).expect("it is there");
        rest.split('"').next().expect("an end").to_owned()
    };
    let fields: Vec<(String, String)> = notice
        .split("<input ")
        .skip(1)
        .map(|input| (value(input, "name=\""), value(input, "value=\"")))
        .collect();
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let done = visitor.post(&value(notice, "action=\""), &fields).await;
    assert_eq!(done.status, 303, "{}", done.body);
}
