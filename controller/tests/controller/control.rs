//! The control channel, seen from a node.

use std::time::{Duration, Instant};

use serde_json::json;
use tombolo_proto::{
    api::{self, Page},
    control::{RouteAction, RouteOutcome, Standing, SubnetOutcome, ToController, ToNode},
    id::{Revision, UnixSeconds, Version},
    sixplane,
};

use crate::rig::{Rig, member_path};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_waits_is_authorised_and_gets_its_certificate_within_a_second() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.node().await;

    node.join(network.id, None).await;
    node.expect_pending(network.id).await;
    let begin = Instant::now();
    let member = rig.authorize(network.id, &node).await;
    node.expect_member(network.id).await;
    let directory = node.sync(network.id, Version::default()).await;

    assert!(begin.elapsed() < Duration::from_secs(1));
    let cert = directory.cert(node.identity());
    let v6 = sixplane::node_address(network.id, node.address);
    assert!(cert.addresses.contains(&v6.into()));
    assert!(member.addresses.iter().all(|a| cert.addresses.contains(a)));
    assert_eq!(
        cert.prefix,
        Some(sixplane::member(network.id, node.address))
    );
    assert_eq!(cert.transport, node.seed.transport(network.id, 0).public());
    assert_eq!(cert.version.revision, Revision(2));
    assert_eq!(
        directory.network.expect("the network's document").name,
        "home"
    );
    assert_eq!(directory.upto, Version::first_epoch(2));
    assert!(member.online);
    assert_eq!(member.version.as_deref(), Some("test 1.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_node_hears_its_standing_and_nothing_of_the_network() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let _member = rig.member(network.id).await;
    let mut stranger = rig.node().await;

    stranger.join(network.id, None).await;
    stranger.expect_pending(network.id).await;
    let have = Version::default();
    let sync = ToController::Sync {
        network: network.id,
        have,
    };
    stranger.say(&sync).await;

    assert_eq!(
        stranger.next().await,
        ToNode::Status {
            network: network.id,
            standing: Standing::Pending
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn members_hear_of_new_members_and_of_removed_ones() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut first = rig.member(network.id).await;
    first.sync(network.id, Version::default()).await;

    let mut second = rig.member(network.id).await;
    let added = first.directory(network.id).await;
    let serial = added.cert(second.identity()).version.revision;
    rig.set_member(network.id, &second, json!({"authorized": false}))
        .await;
    let removed = first.directory(network.id).await;

    assert_eq!(added.certs.len(), 1);
    let revocation = removed.revocations.first().expect("a revocation");
    assert_eq!(revocation.identity, second.identity());
    assert_eq!(revocation.serial_floor, serial);
    second.expect_denied(network.id, "deauthorised").await;

    let again = rig.authorize(network.id, &second).await;
    second.expect_member(network.id).await;
    let back = first.directory(network.id).await;
    let cert = back.cert(second.identity());
    assert!(cert.version.revision > serial);
    assert!(again.addresses.iter().all(|a| cert.addresses.contains(a)));
    assert_eq!(added.cert(second.identity()).addresses, cert.addresses);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_is_told_only_what_was_announced_since_it_was_there() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut other = rig.member(network.id).await;
    other.announce(network.id, 1).await;
    let mut node = rig.member(network.id).await;
    node.sync(network.id, Version::default()).await;
    let (told, moment) = node.all_endpoints(network.id).await;
    // It was announced a moment before or after the node asked.
    if told.is_empty() {
        assert_eq!(node.endpoints(network.id).await, other.identity());
    }
    assert!(moment > UnixSeconds(1_700_000_000));

    let mut back = rig.node_with(node.seed.clone()).await;
    back.join(network.id, None).await;
    back.expect_member(network.id).await;
    back.say(&ToController::EndpointsSince {
        network: network.id,
        moment: UnixSeconds(moment.0 + 3600),
    })
    .await;
    back.sync(network.id, Version::default()).await;
    let (again, _) = back.all_endpoints(network.id).await;
    other.announce(network.id, 2).await;
    let (news, _) = back.all_endpoints(network.id).await;

    assert_eq!(again, []);
    assert_eq!(news, [other.identity()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deauthorised_member_hears_nothing_more_of_the_network() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut out = rig.member(network.id).await;
    out.sync(network.id, Version::default()).await;

    rig.set_member(network.id, &out, json!({"authorized": false}))
        .await;
    out.expect_denied(network.id, "deauthorised").await;
    let _other = rig.member(network.id).await;
    out.join(network.id, None).await;

    // What was said while it was a member may still lie there.
    let next = out.wait(|message| match message {
        ToNode::EndpointsUpto { .. } => None,
        other => Some(other.clone()),
    });
    assert!(matches!(
        next.await,
        ToNode::Status {
            standing: Standing::Denied { .. },
            ..
        }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_member_that_asks_again_is_a_new_request_and_its_address_is_free() {
    let rig = Rig::start().await;
    let network = rig
        .network(json!({"name": "tiny", "v4": "10.9.0.0/30"}))
        .await;
    let mut first = rig.member(network.id).await;
    let mut second = rig.member(network.id).await;
    second.sync(network.id, Version::default()).await;

    rig.http
        .delete(&member_path(network.id, &first))
        .await
        .expect_no_content();

    first.expect_denied(network.id, "deleted").await;
    let removed = second.directory(network.id).await;
    assert_eq!(removed.revocations.len(), 1);
    first.join(network.id, None).await;
    first.expect_pending(network.id).await;
    let _third = rig.member(network.id).await;
    rig.http
        .patch(
            &member_path(network.id, &first),
            json!({"authorized": true}),
        )
        .await
        .expect_problem(409, "pool is full");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_use_token_lets_exactly_one_of_twenty_in() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let token: api::CreatedToken = rig
        .http
        .post(&format!("/networks/{}/join-tokens", network.id), json!({}))
        .await
        .expect_status(201);
    let mut nodes = Vec::new();
    for _ in 0..20 {
        nodes.push(rig.node().await);
    }

    let mut racing = tokio::task::JoinSet::new();
    for mut node in nodes {
        let secret = token.token.clone();
        racing.spawn(async move {
            node.join(network.id, Some(&secret)).await;
            (node.standing(network.id).await, node)
        });
    }
    let answers: Vec<_> = racing.join_all().await;

    let members = answers
        .iter()
        .filter(|(standing, _)| *standing == Standing::Member);
    assert_eq!(members.count(), 1);
    let denied = answers.iter().filter(|(standing, _)| {
        matches!(standing, Standing::Denied { reason } if reason.contains("expired or used up"))
    });
    assert_eq!(denied.count(), 19);
    let page: Page<api::Member> = rig
        .http
        .get(&format!("/networks/{}/members", network.id))
        .await
        .expect_status(200);
    assert_eq!(
        page.items.iter().filter(|member| member.authorized).count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_shows_its_used_token_again_stays_a_member() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let token: api::CreatedToken = rig
        .http
        .post(&format!("/networks/{}/join-tokens", network.id), json!({}))
        .await
        .expect_status(201);
    let mut node = rig.node().await;

    node.join(network.id, Some(&token.token)).await;
    node.expect_member(network.id).await;
    node.join(network.id, Some(&token.token)).await;

    node.expect_member(network.id).await;
    assert!(token.join_link.expect("a link").ends_with(&token.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_network_lets_everybody_in_at_once() {
    let rig = Rig::start().await;
    let network = rig
        .network(json!({"name": "open", "v4": "172.27.0.0/16", "private": false}))
        .await;
    let mut node = rig.node().await;

    node.join(network.id, None).await;

    node.expect_member(network.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_reach_members_that_are_there_and_members_that_come_later() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut first = rig.member(network.id).await;
    let mut second = rig.member(network.id).await;
    first.sync(network.id, Version::default()).await;
    second.sync(network.id, Version::default()).await;

    let announcement = second.announcement(network.id, 1);
    second
        .say(&ToController::Announce {
            network: network.id,
            announcement,
        })
        .await;

    assert_eq!(first.endpoints(network.id).await, second.identity());
    let mut third = rig.member(network.id).await;
    third.sync(network.id, Version::default()).await;
    assert_eq!(third.endpoints(network.id).await, second.identity());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_signed_by_another_ends_the_connection() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.member(network.id).await;
    let other = rig.member(network.id).await;

    let announcement = other.announcement(network.id, 1);
    node.say(&ToController::Announce {
        network: network.id,
        announcement,
    })
    .await;

    assert_eq!(node.closed().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subnet_from_the_pools_is_a_members_at_once_and_is_given_back_by_itself() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.member(network.id).await;
    node.sync(network.id, Version::default()).await;
    let ask = |request, length| ToController::Subnet {
        network: network.id,
        request,
        length,
        metric: 20,
    };
    let answer = |message: &ToNode| match message {
        ToNode::SubnetAnswer {
            request, outcome, ..
        } => Some((*request, outcome.clone())),
        _ => None,
    };

    node.say(&ask(1, 24)).await;
    let prefix = "10.240.0.0/24".parse().expect("a prefix");
    let allocated = SubnetOutcome::Allocated { prefix };
    assert_eq!(node.wait(answer).await, (1, allocated));
    let with_route = node.directory(network.id).await;
    let routed = &with_route.cert(node.identity()).routes[0];
    assert_eq!((routed.prefix, routed.metric), (prefix, 20));

    node.say(&ask(2, 16)).await;
    let (_, refused) = node.wait(answer).await;
    assert!(
        matches!(&refused, SubnetOutcome::Refused { reason } if reason.contains("/24 to /29")),
        "{refused:?}"
    );

    node.say(&ToController::Route {
        network: network.id,
        request: 3,
        prefix,
        action: RouteAction::Withdraw,
    })
    .await;
    let withdrawn = |message: &ToNode| match message {
        ToNode::RouteAnswer { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    assert_eq!(node.wait(withdrawn).await, RouteOutcome::Withdrawn);

    let settings = format!("/networks/{}", network.id);
    let patch = json!({"member_routes": "off"});
    let _: api::Network = rig.http.patch(&settings, patch).await.expect_status(200);
    node.say(&ask(4, 24)).await;
    let (_, refused) = node.wait(answer).await;
    assert!(
        matches!(&refused, SubnetOutcome::Refused { reason } if reason.contains("may not publish")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_a_member_asks_for_waits_for_approval_and_then_is_in_its_certificate() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.member(network.id).await;
    node.sync(network.id, Version::default()).await;
    let ask = |action, request| ToController::Route {
        network: network.id,
        request,
        prefix: "172.28.1.0/24".parse().expect("a prefix"),
        action,
    };
    let answer = |message: &ToNode| match message {
        ToNode::RouteAnswer {
            request, outcome, ..
        } => Some((*request, outcome.clone())),
        _ => None,
    };

    node.say(&ask(RouteAction::Publish { metric: 30 }, 7)).await;
    assert_eq!(node.wait(answer).await, (7, RouteOutcome::Pending));
    let routes: Page<api::Route> = rig
        .http
        .get(&format!("/networks/{}/routes", network.id))
        .await
        .expect_status(200);
    let route = routes.items.first().expect("the route is listed");
    let path = format!("/networks/{}/routes/{}", network.id, route.id);
    let approved: api::Route = rig
        .http
        .patch(&path, json!({"state": "active"}))
        .await
        .expect_status(200);

    assert_eq!(approved.state, api::RouteState::Active);
    let with_route = loop {
        let directory = node.directory(network.id).await;
        if !directory.certs.is_empty() {
            break directory;
        }
    };
    let routed: Vec<_> = with_route.cert(node.identity()).routes.iter().collect();
    assert_eq!((routed.len(), routed[0].metric), (1, 30));
    node.say(&ask(RouteAction::Withdraw, 8)).await;
    assert_eq!(node.wait(answer).await, (8, RouteOutcome::Withdrawn));
    let without = node.directory(network.id).await;
    assert_eq!(without.cert(node.identity()).routes.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_is_no_member_any_more() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.member(network.id).await;

    node.say(&ToController::Leave {
        network: network.id,
    })
    .await;
    node.expect_denied(network.id, "deleted").await;

    rig.http
        .get(&member_path(network.id, &node))
        .await
        .expect_problem(404, "no such member");
}

#[tokio::test(flavor = "multi_thread")]
async fn clashes_that_a_node_reports_show_in_the_api() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.member(network.id).await;

    node.say(&ToController::Clashes {
        network: network.id,
        clashes: vec!["172.27.0.0/16 clashes with eth0".to_owned()],
    })
    .await;
    // The answer to a later message shows that the earlier one was worked on.
    node.join(network.id, None).await;
    node.expect_member(network.id).await;

    let member: api::Member = rig
        .http
        .get(&member_path(network.id, &node))
        .await
        .expect_status(200);
    assert_eq!(member.clashes, ["172.27.0.0/16 clashes with eth0"]);
}
