use std::collections::BTreeSet;

use proptest::prelude::*;
use tombolo_proto::{
    config::{CERT_LIFETIME_SECONDS, CLOCK_TOLERANCE_SECONDS, MembersDigest, V6Mode},
    id::{Epoch, Mtu, NodeId},
    key::{IdentitySecret, Seed},
    rules::AccessRules,
};

use super::*;

mod rollover;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

#[test]
fn only_the_root_key_makes_a_keyring_count() {
    let root = secret(1);
    let by_another = Signed::sign(&a_keyring(0, 1), scope(), &secret(9));

    let refused =
        Directory::new(network(), root.public(), by_another).expect_err("signed by another key");

    assert_eq!(refused, Refused::Unverified(VerifyError::UntrustedSigner));
}

#[test]
fn a_member_counts_until_it_is_revoked_and_again_with_a_higher_serial() {
    let mut directory = a_directory();
    let alice = secret(3).public();

    assert!(directory.accept(vec![cert(&a_cert(3, 0, 5))]).changed);
    assert!(directory.member(&alice, NOW).is_some());

    assert!(
        directory
            .accept(vec![revocation(&a_revocation(3, 0, 6, 5))])
            .changed
    );
    assert!(directory.member(&alice, NOW).is_none());

    assert!(directory.accept(vec![cert(&a_cert(3, 0, 7))]).changed);
    assert!(directory.member(&alice, NOW).is_some());
}

#[test]
fn new_members_alone_can_wait_for_the_disk_and_nothing_else_can() {
    let mut before = a_directory();
    let _ = before.accept(vec![cert(&a_cert(3, 0, 5))]);
    let after = |entries| {
        let mut after = before.clone();
        assert!(after.accept(entries).changed);
        after.only_adds_to(&before)
    };

    assert!(after(vec![cert(&a_cert(4, 0, 6))]));
    assert!(!after(vec![revocation(&a_revocation(3, 0, 6, 5))]));
    assert!(!after(vec![revocation(&a_revocation(9, 0, 6, 5))]));
    assert!(!after(vec![cert(&a_cert(4, 0, 6)), cert(&a_cert(3, 0, 7))]));
}

#[test]
fn a_revoked_certificate_does_not_come_back_by_replay() {
    let mut directory = a_directory();
    let old = cert(&a_cert(3, 0, 5));
    let _ = directory.accept(vec![old.clone(), revocation(&a_revocation(3, 0, 6, 5))]);

    let replayed = directory.accept(vec![old]);

    assert!(!replayed.changed);
    assert!(directory.member(&secret(3).public(), NOW).is_none());
}

#[test]
fn the_same_version_with_another_body_is_an_alarm_and_the_first_is_kept() {
    let mut directory = a_directory();
    let other = MemberCert {
        name: "mallory".to_owned(),
        ..a_cert(3, 0, 5)
    };
    let _ = directory.accept(vec![cert(&a_cert(3, 0, 5))]);

    let accepted = directory.accept(vec![cert(&other)]);

    assert_eq!(
        accepted.refused,
        [Refused::Equivocation {
            version: Version::first_epoch(5),
            kept: secret(2).public(),
            other: secret(2).public(),
        }]
    );
    assert_eq!(
        directory
            .member(&secret(3).public(), NOW)
            .map(|cert| cert.name.as_str()),
        Some("node-3")
    );
}

#[test]
fn an_expired_certificate_counts_a_day_longer_and_no_more() {
    let mut directory = a_directory();
    let _ = directory.accept(vec![cert(&a_cert(3, 0, 5))]);
    let end = NOW.0 + CERT_LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS;

    assert!(
        directory
            .member(&secret(3).public(), UnixSeconds(end))
            .is_some()
    );
    assert!(
        directory
            .member(&secret(3).public(), UnixSeconds(end + 1))
            .is_none()
    );
}

#[test]
fn an_older_keyring_changes_nothing() {
    let mut directory = a_directory();
    let older = Signed::sign(&a_keyring(0, 0), scope(), &secret(1));
    assert_eq!(directory.accept_keyring(older, NOW), Ok(false));
}

#[test]
fn what_is_stored_reads_back_equal_and_every_cut_is_refused() {
    let mut directory = a_directory();
    let _ = directory.accept(vec![
        DirectoryEntry::Network(Signed::sign(&a_doc(4), network().into(), &secret(2))),
        cert(&a_cert(3, 0, 5)),
        cert(&a_cert(4, 0, 7)),
        revocation(&a_revocation(3, 0, 6, 5)),
    ]);
    directory.set_have(Version::first_epoch(7));
    let bytes = directory.encode();

    let read = Directory::decode(network(), directory.root(), &bytes).expect("our own bytes");

    assert_eq!(read.encode(), bytes);
    assert_eq!(read.have(), Version::first_epoch(7));
    assert_eq!(read.members(NOW).count(), 1);
    for length in 0..bytes.len() {
        assert!(
            Directory::decode(network(), directory.root(), &bytes[..length]).is_err(),
            "cut at {length}"
        );
    }
}

#[test]
fn a_peer_cannot_tell_a_node_that_it_is_out_but_that_it_was_and_is_in_again() {
    let mut directory = a_directory();
    let me = secret(3).public();
    let _ = directory.accept(vec![cert(&a_cert(3, 0, 5)), cert(&a_cert(4, 0, 5))]);
    let removals = [3, 4].map(|number| Gossiped::Entry(revocation(&a_revocation(number, 0, 6, 5))));

    let brought = directory.accept_brought(removals.to_vec(), &me, NOW);
    assert!(brought.accepted.changed);
    assert!(directory.member(&me, NOW).is_some());
    assert!(directory.member(&secret(4).public(), NOW).is_none());

    let again = vec![Gossiped::Entry(cert(&a_cert(3, 0, 7))), removals[0].clone()];
    assert!(directory.accept_brought(again, &me, NOW).accepted.changed);
    assert!(directory.member(&me, NOW).is_some());
    assert_eq!(directory.revocations().count(), 2);
}

#[test]
fn a_peer_cannot_announce_for_others_or_for_strangers() {
    let mut directory = a_directory();
    let me = secret(9).public();
    let _ = directory.accept(vec![cert(&a_cert(3, 0, 5))]);
    let said = EndpointAnnouncement {
        endpoints: Vec::new(),
        home: None,
        sequence: 1,
    };
    let signed_by = |number| Signed::sign(&said, network().into(), &secret(number));
    let announce = |identity: u8, signer: u8| Gossiped::Endpoints {
        identity: secret(identity).public(),
        announcement: signed_by(signer),
    };

    let documents = vec![announce(3, 4), announce(4, 4), announce(3, 3)];
    let brought = directory.accept_brought(documents, &me, NOW);

    assert!(!brought.accepted.changed);
    assert_eq!(brought.accepted.refused.len(), 1);
    let announced: Vec<_> = brought.announcements.iter().map(|(key, _)| *key).collect();
    assert_eq!(announced, [secret(3).public()]);
    assert!(directory.member(&secret(3).public(), NOW).is_some());
}

proptest! {
    /// Whatever the order and however often entries arrive, the outcome is the same: gossip needs no order.
    #[test]
    fn the_outcome_does_not_depend_on_the_order_of_arrival(
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        repeated in prop::collection::vec(0usize..8, 0..8),
    ) {
        let entries = [
            cert(&a_cert(3, 0, 5)), cert(&a_cert(3, 0, 9)), cert(&a_cert(4, 0, 6)), cert(&a_cert(5, 0, 7)),
            revocation(&a_revocation(3, 0, 8, 5)), revocation(&a_revocation(4, 0, 10, 6)),
            revocation(&a_revocation(4, 0, 11, 6)),
            DirectoryEntry::Network(Signed::sign(&a_doc(4), network().into(), &secret(2))),
        ];
        let mut in_order = a_directory();
        let _ = in_order.accept(entries.to_vec());

        let mut shuffled = a_directory();
        for index in order.into_iter().chain(repeated) {
            let _ = shuffled.accept(vec![entries[index].clone()]);
        }

        prop_assert_eq!(shuffled.encode(), in_order.encode());
    }
}

fn network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}

fn scope() -> tombolo_proto::signed::NetworkScope {
    Keyring::scope(network().authority())
}

fn secret(number: u8) -> IdentitySecret {
    Seed::from_bytes([number; 32]).identity()
}

fn a_keyring(epoch: u64, revision: u64) -> Keyring {
    Keyring {
        version: Version {
            epoch: Epoch(epoch),
            revision: Revision(revision),
        },
        replicas: BTreeSet::from([secret(2).public()]),
        endpoints: vec!["192.0.2.1:9791".parse().expect("an endpoint")],
    }
}

fn a_directory() -> Directory {
    let keyring = Signed::sign(&a_keyring(0, 1), scope(), &secret(1));
    Directory::new(network(), secret(1).public(), keyring).expect("signed by the root")
}

fn a_doc(revision: u64) -> NetworkDoc {
    NetworkDoc {
        version: Version::first_epoch(revision),
        name: "home".to_owned(),
        v4_pools: Vec::new(),
        on_link: BTreeSet::new(),
        subnet_pools: Vec::new(),
        v6_modes: BTreeSet::from([V6Mode::SixPlane]),
        mtu: Mtu::DEFAULT,
        members: MembersDigest::of([]),
        rules: AccessRules::default(),
    }
}

fn a_cert(number: u8, epoch: u64, serial: u64) -> MemberCert {
    MemberCert {
        version: Version {
            epoch: Epoch(epoch),
            revision: Revision(serial),
        },
        node: NodeId::new(u64::from(number)).expect("a node address"),
        name: format!("node-{number}"),
        identity: secret(number).public(),
        transport: Seed::from_bytes([number; 32])
            .transport(network(), 0)
            .public(),
        transport_epoch: 0,
        addresses: BTreeSet::new(),
        prefix: None,
        routes: Vec::new(),
        relay: true,
        tags: BTreeSet::new(),
        issued_at: NOW,
        not_after: UnixSeconds(NOW.0 + CERT_LIFETIME_SECONDS),
    }
}

fn a_revocation(number: u8, epoch: u64, revision: u64, floor: u64) -> Revocation {
    Revocation {
        version: Version {
            epoch: Epoch(epoch),
            revision: Revision(revision),
        },
        identity: secret(number).public(),
        serial_floor: Revision(floor),
        issued_at: NOW,
    }
}

fn cert(document: &MemberCert) -> DirectoryEntry {
    DirectoryEntry::Member(Signed::sign(document, network().into(), &secret(2)))
}

fn revocation(document: &Revocation) -> DirectoryEntry {
    DirectoryEntry::Revocation(Signed::sign(document, network().into(), &secret(2)))
}
