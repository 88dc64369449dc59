//! Who may sign: the root key decides, wherever it is.

use tombolo_proto::{
    api::{self, ReplicaState},
    config::{Keyring, MemberCert, MembersDigest},
    control::ToNode,
    id::{Epoch, NetworkId, Revision, Version},
    key::IdentityKey,
    signed::{Signed, VerifyError},
};

use crate::{cluster::Cluster, node::Node};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_replica_is_out_and_everything_is_signed_anew() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.admitted().await;
    let network = second.home().await;
    let path = format!("/networks/{}", network.id);
    let mut node = second.node().await;
    node.join(network.id, None).await;
    node.expect_pending(network.id).await;
    let member: api::Member = second
        .http
        .patch(
            &format!("{path}/members/{}", node.address),
            serde_json::json!({"authorized": true}),
        )
        .await
        .expect_status(200);
    node.expect_member(network.id).await;
    let before = node.sync(network.id, Version::default()).await;
    let mut steady = cluster.first.node().await;
    steady.join(network.id, None).await;
    steady.expect_pending(network.id).await;
    cluster
        .first
        .http
        .patch(
            &format!("{path}/members/{}", steady.address),
            serde_json::json!({"authorized": true}),
        )
        .await
        .expect_status::<api::Member>(200);
    steady.expect_member(network.id).await;
    steady.sync(network.id, Version::default()).await;
    let stolen = second.seed();

    let (code, said) = cluster
        .first
        .verb(&cluster, &["keyring", "revoke", &second.key().to_string()])
        .await;

    assert_eq!(code, 0, "{said}");
    // Whoever is connected to the one that stays is told, and gets everything anew without asking.
    let root = cluster.first.keyring().await.root_key;
    take_keyring(&mut steady, network.id, root).await;
    assert_eq!(steady.keyring.version.epoch, Epoch(1));
    let told = steady.directory(network.id).await;
    assert_eq!(told.upto.epoch, Epoch(1));
    let everybody: Vec<IdentityKey> = told.certs.iter().map(|cert| cert.identity).collect();
    assert_eq!(everybody.len(), 2);
    let members = told
        .network
        .as_ref()
        .expect("the network's document")
        .members;
    assert_eq!(members, MembersDigest::of(&everybody));
    // Nodes of the revoked replica are told as well and lose it; the other one has all of it in the new epoch.
    take_keyring(&mut node, network.id, root).await;
    assert_eq!(node.closed().await, 9);
    let mut back = cluster.first.node_with(node.seed.clone()).await;
    assert_eq!(back.keyring.version.epoch, Epoch(1));
    assert!(!back.keyring.replicas.contains(&second.key()));
    back.join(network.id, None).await;
    back.expect_member(network.id).await;
    let after = back.sync(network.id, before.upto).await;
    assert_eq!(after.certs.len(), 2, "all of it is sent again");
    let (old, new) = (
        before.cert(node.identity()),
        after.cert(node.identity()).clone(),
    );
    assert_eq!(new.version.epoch, Epoch(1));
    let in_old_epoch = MemberCert {
        version: old.version,
        ..new
    };
    assert_eq!(*old, in_old_epoch, "nothing but the epoch is different");
    assert_eq!(after.network.expect("the network's document").name, "home");

    // The revoked replica notices, serves nobody, changes nothing, and is not let in again.
    second.until("//readyz", |status, _| status == 503).await;
    second
        .http
        .patch(
            &format!("{path}/members/{}", member.node),
            serde_json::json!({"name": "other"}),
        )
        .await
        .expect_problem(503, "not in the keyring");
    let (code, said) = cluster
        .first
        .verb(&cluster, &["keyring", "add", &second.key().to_string()])
        .await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("never comes back"), "{said}");
    let (code, _) = cluster
        .first
        .verb(&cluster, &["keyring", "add", "--all-pending"])
        .await;
    assert_eq!(code, 0);
    let keyring = cluster.first.keyring().await;
    let revoked = keyring
        .replicas
        .iter()
        .find(|replica| replica.key == second.key())
        .expect("it is listed");
    assert_eq!(revoked.state, ReplicaState::Revoked);

    // What a thief signs with its key counts for nobody, whatever revision it claims.
    let forged = MemberCert {
        version: Version {
            epoch: Epoch(0),
            revision: Revision(u64::MAX),
        },
        ..old.clone()
    };
    let forged = Signed::sign(&forged, network.id.into(), &stolen.identity());
    let replicas = back.keyring.replicas.clone();
    assert_eq!(
        forged.verify(network.id.into(), |signer| replicas.contains(signer)),
        Err(VerifyError::UntrustedSigner)
    );
    // A change after it goes on in the new epoch.
    cluster
        .first
        .http
        .patch(
            &format!("{path}/members/{}", member.node),
            serde_json::json!({"name": "renamed"}),
        )
        .await
        .expect_status::<api::Member>(200);
    for follower in [&mut back, &mut steady] {
        let pushed = follower.directory(network.id).await;
        assert_eq!(pushed.cert(node.identity()).name, "renamed");
        assert_eq!(pushed.upto.epoch, Epoch(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_key_can_be_kept_elsewhere() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let elsewhere = tempfile::tempdir().expect("a directory");
    let stick = elsewhere.path().join("root.key");
    let stick = stick.to_str().expect("a text");

    let (code, said) = cluster
        .first
        .verb(&cluster, &["keyring", "move-root", stick])
        .await;
    assert_eq!(code, 0, "{said}");
    assert!(!cluster.root_key().exists());

    let second = cluster.another().await;
    let key = second.key().to_string();
    let (code, said) = cluster
        .first
        .verb(&cluster, &["keyring", "add", &key])
        .await;
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("--root-key"), "{said}");
    // Any replica takes what the root key signed, also the one that waits.
    let (code, said) = second
        .verb(&cluster, &["keyring", "add", &key, "--root-key", stick])
        .await;
    assert_eq!(code, 0, "{said}");
    second.until_ready().await;
    let (code, said) = cluster
        .first
        .verb(&cluster, &["keyring", "show", "--json"])
        .await;
    assert_eq!(code, 0, "{said}");
    let shown: api::Keyring = serde_json::from_str(&said).expect("a keyring");
    assert_eq!(shown.replicas.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_that_the_root_key_did_not_sign_is_refused() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let second = cluster.another().await;
    let thief = second.seed().identity();
    let keyring = Keyring {
        version: Version::first_epoch(99),
        replicas: std::collections::BTreeSet::from([thief.public()]),
        endpoints: Vec::new(),
    };
    let network = cluster.first.home().await;
    let scope = Keyring::scope(network.id.authority());
    let signed = Signed::sign(&keyring, scope, &thief);
    let hex: String = tombolo_proto::wire::encode(&signed)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();

    let body = serde_json::json!({ "signed": hex }).to_string();
    let header = [("content-type", "application/json")];
    let answer = cluster
        .first
        .http
        .send("PUT", "/keyring", &header, body.into_bytes())
        .await;

    answer.expect_problem(422, "not this authority's");
    let kept = cluster.first.keyring().await.replicas;
    let may_sign: Vec<IdentityKey> = kept
        .iter()
        .filter(|replica| replica.state == ReplicaState::Admitted)
        .map(|replica| replica.key)
        .collect();
    assert_eq!(may_sign, [cluster.first.key()]);
}

/// Waits for a newer keyring, and believes it.
async fn take_keyring(node: &mut Node, network: NetworkId, root: IdentityKey) {
    let signed = node
        .wait(|message| match message {
            ToNode::Keyring(signed) => Some(signed.clone()),
            _ => None,
        })
        .await;
    let newer = signed
        .verify(Keyring::scope(network.authority()), |signer| {
            *signer == root
        })
        .expect("signed by the root key");
    assert!(newer.version > node.keyring.version);
    node.keyring = newer;
}
