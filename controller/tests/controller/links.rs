//! What members tell of how they reach each other.

use std::time::{Duration, Instant};

use serde_json::json;
use tombolo_proto::{
    api::{LinkCarrier, LinkPath, Member, MemberLinks, NetworkRelays, NetworkSummary, Page},
    control::ToController,
    id::NetworkId,
    links::{Carried, Link, LinkReport, LinkWay, MAX_LINKS},
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

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_by_tcp_is_marked_until_a_report_comes_without_it() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let (mut one, two) = (rig.member(network).await, rig.member(network).await);
    let mut events = rig.controller.state().events();
    let link = Link {
        peer: two.address,
        way: LinkWay::Relayed(None),
        latency: None,
    };
    let report = LinkReport {
        links: vec![link],
        ..LinkReport::default()
    };

    for (carrier, by_tcp) in [(LinkCarrier::Tcp, 1), (LinkCarrier::Udp, 0)] {
        if by_tcp > 0 {
            let peers = vec![two.address];
            one.say(&ToController::ByTcp { network, peers }).await;
        }
        let report = report.clone();
        one.say(&ToController::Links { network, report }).await;
        while events.recv().await.expect("an event").kind != "links" {}

        let told: Page<MemberLinks> = rig.http.get(&path(network)).await.expect_status(200);
        let link = &told.items[0].links[0];
        assert_eq!((link.path, link.carrier), (LinkPath::Relay, carrier));
        let member: Member = rig
            .http
            .get(&member_path(network, &one))
            .await
            .expect_status(200);
        let counts = member.links.expect("it told them");
        assert_eq!((counts.relayed, counts.by_tcp), (1, by_tcp));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_shown_with_what_goes_by_them() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(rig.member(network).await);
    }
    let nodes: Vec<_> = members.iter().map(|member| member.address).collect();
    let is_none = json!({ "relay": false });
    rig.set_member(network, &members[3], is_none).await;
    let relays = format!("/networks/{network}/relays");

    let quiet: NetworkRelays = rig.http.get(&relays).await.expect_status(200);
    assert_eq!((quiet.members_allowed, quiet.controller_links), (3, 0));
    let [controller] = &quiet.controllers[..] else {
        panic!("there is one controller: {quiet:?}");
    };
    assert!(controller.this && controller.alive, "{controller:?}");
    assert_eq!((controller.clients, controller.bytes), (0, 0));

    // 0 and 1 meet at 2, as both say; 0 and 3 at a controller, as one says.
    let link = |peer: usize, via: Option<usize>| Link {
        peer: nodes[peer],
        way: LinkWay::Relayed(via.map(|via| nodes[via])),
        latency: None,
    };
    let reports = [
        vec![link(1, Some(2)), link(3, None)],
        vec![link(0, Some(2))],
        vec![],
    ];
    let carried = Carried {
        clients: 2,
        bytes: 54_321,
    };
    members[2]
        .say(&ToController::Carries { network, carried })
        .await;
    let mut events = rig.controller.state().events();
    for (member, links) in members.iter_mut().zip(reports) {
        let report = LinkReport {
            links,
            ..LinkReport::default()
        };
        member.say(&ToController::Links { network, report }).await;
    }
    let told = async {
        loop {
            while events.recv().await.expect("an event").kind != "links" {}
            let shown: NetworkRelays = rig.http.get(&relays).await.expect_status(200);
            let is_told = shown.members[0].bytes.is_some();
            if shown.controller_links == 1 && shown.members[0].links == 1 && is_told {
                return shown;
            }
        }
    };
    let shown = tokio::time::timeout(5 * PROMISE, told)
        .await
        .expect("both reports are shown");
    assert_eq!((shown.members.len(), shown.members[0].node), (3, nodes[2]));
    assert!(shown.members.iter().all(|member| member.online));
    // Those that tell nothing of it, as earlier versions do not, are shown as such.
    let told = |shown: &NetworkRelays| -> Vec<_> {
        let members = shown.members.iter();
        members
            .map(|member| member.clients.zip(member.bytes))
            .collect()
    };
    println!(
        "figure: what members are shown to carry: {:?}",
        told(&shown)
    );
    assert_eq!(told(&shown), [Some((2, 54_321)), None, None]);
    let others: Vec<_> = shown.others.iter().map(|member| member.node).collect();
    assert_eq!(others, [nodes[3]]);

    // What was told does not outlive a report without it.
    let report = LinkReport::default();
    members[2]
        .say(&ToController::Links { network, report })
        .await;
    let forgotten = async {
        loop {
            while events.recv().await.expect("an event").kind != "links" {}
            let shown: NetworkRelays = rig.http.get(&relays).await.expect_status(200);
            if told(&shown) == [None, None, None] {
                return;
            }
        }
    };
    tokio::time::timeout(5 * PROMISE, forgotten)
        .await
        .expect("the new report counts");

    // The same members, and the one that may not, by the list.
    for (relay, count) in [(true, 3), (false, 1)] {
        let path = format!("/networks/{network}/members?relay={relay}");
        let found: Page<Member> = rig.http.get(&path).await.expect_status(200);
        assert_eq!(found.items.len(), count);
        assert!(found.items.iter().all(|member| member.relay == relay));
    }
}

fn path(network: NetworkId) -> String {
    format!("/networks/{network}/links")
}
