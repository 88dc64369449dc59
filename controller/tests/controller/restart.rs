//! What survives a restart: everything.

use serde_json::json;
use tombolo_proto::{api, id::Version};

use crate::rig::{Rig, member_path};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_controller_knows_everything_and_the_same_token_works() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.member(network.id).await;
    let before = node.sync(network.id, Version::default()).await;
    let announcement = node.announcement(network.id, 5);
    node.say(&tombolo_proto::control::ToController::Announce {
        network: network.id,
        announcement,
    })
    .await;
    let route: api::Route = rig
        .http
        .post(
            &format!("/networks/{}/routes", network.id),
            json!({"target": "172.28.233.1/24", "via": node.address}),
        )
        .await
        .expect_status(201);

    let rig = rig.restart().await;

    assert_eq!(node.closed().await, 1, "nodes are told that it stops");
    let again: api::Network = rig
        .http
        .get(&format!("/networks/{}", network.id))
        .await
        .expect_status(200);
    assert_eq!(again.routes.len(), 1);
    assert_eq!(again.routes[0].id, route.id);
    assert_eq!(again.join_link, network.join_link, "the same port");
    let mut back = rig.node_with(node.seed.clone()).await;
    back.join(network.id, None).await;
    back.expect_member(network.id).await;
    let after = back.sync(network.id, Version::default()).await;
    assert_eq!(
        after.cert(node.identity()).addresses,
        before.cert(node.identity()).addresses
    );
    let nothing_new = back.sync(network.id, after.upto).await;
    assert_eq!(nothing_new.certs.len(), 0);
    assert!(nothing_new.network.is_none());
    let mut other = rig.member(network.id).await;
    other.sync(network.id, Version::default()).await;
    assert_eq!(other.endpoints(network.id).await, node.identity());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_advertised_address_is_in_a_newer_keyring_and_in_the_join_link() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let first = rig.node().await.keyring;
    let Rig {
        controller, state, ..
    } = rig;
    controller.shutdown().await;

    let config = tombolo_controller::config::Config {
        advertise: vec!["ctl.example.org:9791".parse().expect("host and port")],
        ..crate::rig::a_config(state.path())
    };
    let controller = tombolo_controller::Controller::start(config)
        .await
        .expect("it starts again");
    let rig = Rig {
        http: crate::http::Http::admin(controller.http(), state.path()),
        controller,
        state,
    };

    let second = rig.node().await.keyring;
    assert!(second.version > first.version);
    assert_eq!(second.endpoints[0].to_string(), "ctl.example.org:9791");
    let network: api::Network = rig
        .http
        .get(&format!("/networks/{}", network.id))
        .await
        .expect_status(200);
    assert!(network.join_link.contains("@ctl.example.org:9791"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_offline_after_it_went_away_and_was_last_seen_then() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let node = rig.member(network.id).await;
    let path = member_path(network.id, &node);
    let mut events = rig.controller.state().events();
    node.connection.close(0u32.into(), b"gone");

    loop {
        let event = tokio::time::timeout(std::time::Duration::from_secs(20), events.recv())
            .await
            .expect("an event in time")
            .expect("the stream goes on");
        if event.kind == "online" {
            break;
        }
    }

    // Written down a moment after it was told.
    let offline = async {
        loop {
            let member: api::Member = rig.http.get(&path).await.expect_status(200);
            if !member.online {
                return member;
            }
        }
    };
    let member = tokio::time::timeout(std::time::Duration::from_secs(20), offline)
        .await
        .expect("the member is offline in time");
    assert!(member.last_seen.is_some());
}
