//! Members that cannot reach each other are introduced, and nobody else is.

use tombolo_proto::{
    config::EndpointAnnouncement,
    control::{RendezvousOutcome, Standing, ToController},
    signed::Signed,
};

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_told_whom_to_call_and_where() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut caller = rig.member(network).await;
    let mut callee = rig.member(network).await;

    let outcome = caller.ask_for_call(network, callee.identity()).await;

    assert_eq!(outcome, RendezvousOutcome::Told);
    let (identity, announcement) = callee.called_by(network).await;
    assert_eq!(identity, caller.identity());
    assert_eq!(announcement, caller.announcement(network, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_neither_called_nor_told() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut member = rig.member(network).await;
    let mut waiting = rig.node().await;
    waiting.join(network, None).await;
    waiting.expect_pending(network).await;

    let of_stranger = member.ask_for_call(network, waiting.identity()).await;
    let by_stranger = waiting.ask_for_call(network, member.identity()).await;

    assert_eq!(of_stranger, RendezvousOutcome::Refused);
    assert_eq!(by_stranger, RendezvousOutcome::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_not_connected_is_not_here() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut caller = rig.member(network).await;
    let gone = rig.member(network).await;
    let identity = gone.identity();
    drop(gone);

    // The controller hears of the end of a connection a moment later.
    while caller.ask_for_call(network, identity).await != RendezvousOutcome::NotHere {}
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_somebody_elses_address_called() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut liar = rig.member(network).await;
    let victim = rig.member(network).await;
    let body = EndpointAnnouncement {
        endpoints: vec!["192.0.2.66:9790".parse().expect("an endpoint")],
        home: None,
        sequence: 1,
    };

    liar.say(&ToController::Rendezvous {
        network,
        peer: victim.identity(),
        announcement: Signed::sign(&body, network.into(), &victim.seed.identity()),
    })
    .await;

    assert_eq!(liar.closed().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_asks_without_end_is_told_to_wait_and_costs_others_nothing() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut noisy = rig.member(network).await;
    let mut quiet = rig.member(network).await;
    let mut callee = rig.member(network).await;

    let mut told = 0;
    while noisy.ask_for_call(network, callee.identity()).await == RendezvousOutcome::Told {
        told += 1;
        assert!(told < 1000, "there is no limit");
    }

    let outcome = quiet.ask_for_call(network, callee.identity()).await;
    assert_eq!(outcome, RendezvousOutcome::Told);
    for _ in 0..told {
        assert_eq!(callee.called_by(network).await.0, noisy.identity());
    }
    assert_eq!(callee.called_by(network).await.0, quiet.identity());
    callee.join(network, None).await;
    callee.expect_member(network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_leaves_the_nodes_own_connection_alone_and_carries_nothing_else() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let mut at_home = rig.member(network).await;
    let callee = rig.member(network).await;

    let mut visit = rig.node_with(at_home.seed.clone()).await;
    let outcome = visit.ask_for_call(network, callee.identity()).await;
    assert_eq!(outcome, RendezvousOutcome::Told);
    at_home.join(network, None).await;
    assert_eq!(at_home.standing(network).await, Standing::Member);
    visit.join(network, None).await;

    assert_eq!(visit.closed().await, 2);
}
