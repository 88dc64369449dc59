//! Nodes that ask for what there is not, speak otherwise, or claim to be what they are not.

use std::time::Duration;

use tombolo_proto::{
    api,
    control::{self, Standing, ToController, ToNode},
    stun,
};

use crate::{
    node::{closed, dial, read, unknown_message},
    rig::{Rig, a_seed, member_path},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_network_is_said_to_be_unknown() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let other = (network.id.get() ^ 1, network.id.get() ^ 2);
    let unknown = tombolo_proto::id::NetworkId::from_bits(other.0)
        .or_else(|| tombolo_proto::id::NetworkId::from_bits(other.1))
        .expect("one of them is a valid id");
    let mut node = rig.node().await;

    node.join(unknown, None).await;

    assert_eq!(node.standing(unknown).await, Standing::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_from_one_source_are_capped() {
    let rig = Rig::start().await;
    let network = rig.home().await;

    for _ in 0..16 {
        let mut node = rig.node().await;
        node.join(network.id, None).await;
        node.expect_pending(network.id).await;
    }
    let mut one_more = rig.node().await;
    one_more.join(network.id, None).await;

    assert_eq!(one_more.standing(network.id).await, Standing::Busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_protocol_version_is_told_which_versions_there_are() {
    let rig = Rig::start().await;
    let (_endpoint, connection) = dial(rig.controller.control(), &a_seed(), rig.replica()).await;
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");

    let hello = ToController::Hello {
        min: 900,
        max: 901,
        software: String::new(),
    };
    send.write_all(&control::encode(&hello))
        .await
        .expect("the controller reads");

    assert!(matches!(
        read(&mut receive).await,
        ToNode::Incompatible { min: 1, .. }
    ));
    drop((send, receive));
    assert_eq!(closed(&connection).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_message_is_answered_and_a_malformed_one_ends_the_connection() {
    let rig = Rig::start().await;
    let mut node = rig.node().await;

    node.say_raw(&unknown_message()).await;
    assert!(matches!(node.next().await, ToNode::Unsupported { .. }));
    node.say_raw(&[0, 0, 0, 1, 4]).await;

    assert_eq!(node.closed().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_claims_to_be_huge_ends_the_connection() {
    let rig = Rig::start().await;
    let mut node = rig.node().await;

    node.say_raw(&u32::MAX.to_be_bytes()).await;

    assert_eq!(node.closed().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_node_address_is_refused_with_the_reason() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let seed = std::iter::repeat_with(|| tombolo_proto::key::Seed::from_bytes(rand::random()))
        .find(|seed| {
            let key = seed.identity().public();
            tombolo_proto::address::of(&key, tombolo_proto::address::Cost::Node).is_none()
        })
        .expect("fifteen keys of sixteen have none");
    let (_endpoint, connection) = dial(rig.controller.control(), &seed, rig.replica()).await;
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    let messages = [
        ToController::Hello {
            min: 1,
            max: 1,
            software: String::new(),
        },
        ToController::Join {
            network: network.id,
            token: None,
            transport: seed.transport(network.id, 0).public(),
            transport_epoch: 0,
            name: String::new(),
        },
    ];

    for message in &messages {
        send.write_all(&control::encode(message))
            .await
            .expect("the controller reads");
    }
    let _welcome = read(&mut receive).await;
    let answer = read(&mut receive).await;

    assert!(matches!(
        answer,
        ToNode::Status { standing: Standing::Denied { reason }, .. } if reason.contains("no node address")
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_of_a_node_takes_over() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let first = rig.member(network.id).await;

    let mut second = rig.node_with(first.seed.clone()).await;
    second.join(network.id, None).await;
    second.expect_member(network.id).await;

    assert_eq!(first.closed().await, 4);
    let member: api::Member = rig
        .http
        .get(&member_path(network.id, &second))
        .await
        .expect_status(200);
    assert!(member.online);
}

#[tokio::test(flavor = "multi_thread")]
async fn stun_tells_a_node_its_address_at_the_port_that_the_controller_names() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let node = rig.member(network.id).await;
    assert_eq!(node.relay, Some(rig.controller.relay().port()));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a UDP socket");

    socket
        .send_to(&stun::request(&[3; 12]), rig.controller.relay())
        .await
        .expect("it is sent");
    let mut answer = [0; 200];
    let received = tokio::time::timeout(Duration::from_secs(10), socket.recv(&mut answer))
        .await
        .expect("an answer in time")
        .expect("an answer");

    let seen = stun::read_response(&answer[..received]).expect("a STUN answer");
    assert_eq!(seen, ([3; 12], socket.local_addr().expect("bound")));
}
