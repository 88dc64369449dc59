//! Members connected to different replicas are introduced by visits.

use tombolo_proto::control::RendezvousOutcome;

use crate::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_a_peer_called_that_is_connected_to_another_replica() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    let network = cluster.first.home().await.id;
    let mut caller = cluster.first.node().await;
    let mut callee = second.node().await;
    for node in [&mut caller, &mut callee] {
        node.join(network, None).await;
        node.expect_pending(network).await;
        cluster
            .first
            .http
            .patch(
                &format!("/networks/{network}/members/{}", node.address),
                serde_json::json!({"authorized": true}),
            )
            .await
            .expect_status::<tombolo_proto::api::Member>(200);
        node.expect_member(network).await;
    }

    let at_home = caller.ask_for_call(network, callee.identity()).await;
    let mut visit = second.node_with(caller.seed.clone()).await;
    let elsewhere = visit.ask_for_call(network, callee.identity()).await;

    assert_eq!(at_home, RendezvousOutcome::NotHere);
    assert_eq!(elsewhere, RendezvousOutcome::Told);
    assert_eq!(callee.called_by(network).await.0, caller.identity());
    // Its place is where it was: a visitor is no member that came and went.
    let member: tombolo_proto::api::Member = cluster
        .first
        .http
        .get(&format!("/networks/{network}/members/{}", caller.address))
        .await
        .expect_status(200);
    drop(visit);
    assert!(member.online);
}
