//! What members tell of how they reach each other.

use std::time::{Duration, Instant};

use serde_json::json;
use tombolo_proto::{
    api::{LinkPath, Member, MemberLinks, NetworkSummary, Page},
    control::ToController,
    id::NetworkId,
    links::{Link, LinkReport, LinkWay, MAX_LINKS},
};

use crate::rig::{Rig, member_path};

/// From the report to the page that shows it.
const PROMISE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn what_members_tell_of_their_links_is_shown() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let other = rig
        .network(json!({"name": "work", "v4": "172.29.0.0/16"}))
        .await
        .id;
    let (mut one, two) = (rig.member(network).await, rig.member(network).await);
    let (mut stranger, relay) = (rig.node().await, two.address);
    let mut events = rig.controller.state().events();
    let started = Instant::now();

    let link = |latency| Link {
        peer: two.address,
        way: LinkWay::Direct,
        latency,
    };
    let relayed = Link {
        way: LinkWay::Relayed(Some(relay)),
        ..link(None)
    };
    let mut links = vec![link(Some(1500)), relayed, link(Some(500)), link(Some(900))];
    links.resize(MAX_LINKS + 1, link(None));
    let report = LinkReport {
        links,
        sent: 1000,
        received: u64::MAX,
    };
    let said = |network| ToController::Links {
        network,
        report: report.clone(),
    };
    stranger.say(&said(network)).await;
    one.say(&said(other)).await;
    one.say(&said(network)).await;
    while events.recv().await.expect("an event").kind != "links" {}
    println!(
        "figure: from a report of links to its being shown: {:?} (promise {PROMISE:?})",
        started.elapsed()
    );
    assert!(started.elapsed() < 5 * PROMISE);

    let told: Page<MemberLinks> = rig.http.get(&path(network)).await.expect_status(200);
    let [told] = &told.items[..] else {
        panic!("one member told something: {told:?}");
    };
    assert_eq!((told.node, told.links.len()), (one.address, MAX_LINKS));
    let path_of = |index: usize| (told.links[index].path, told.links[index].via);
    assert_eq!(path_of(0), (LinkPath::Direct, None));
    assert_eq!(path_of(1), (LinkPath::Relay, Some(relay)));
    let after = format!("{}?after={}", path(network), told.node);
    let none: Page<MemberLinks> = rig.http.get(&after).await.expect_status(200);
    assert_eq!(none.items, []);
    let none: Page<MemberLinks> = rig.http.get(&path(other)).await.expect_status(200);
    assert_eq!(none.items, []);

    let member: Member = rig
        .http
        .get(&member_path(network, &one))
        .await
        .expect_status(200);
    let counts = member.links.expect("it told them");
    assert_eq!((counts.direct, counts.relayed), (MAX_LINKS as u64 - 1, 1));
    assert_eq!(counts.latency_us, Some(900));
    let member: Member = rig
        .http
        .get(&member_path(network, &two))
        .await
        .expect_status(200);
    assert_eq!(member.links, None);
    let summary: NetworkSummary = rig
        .http
        .get(&format!("/networks/{network}/summary"))
        .await
        .expect_status(200);
    // No member moves more than this, whatever it says.
    assert_eq!((summary.sent, summary.received), (1000, 1 << 40));
}

fn path(network: NetworkId) -> String {
    format!("/networks/{network}/links")
}
