//! A key was stolen and is revoked: number 1 is the root, 2 the replica that stays, 9 the one whose key was stolen.

use std::time::Duration;

use super::*;

const STOLEN: u8 = 9;
const HIGHEST: u64 = u64::MAX;

#[test]
fn a_revoked_key_says_nothing_new_but_nobody_is_cut_off() {
    let mut directory = with_both_keys(&[3, 4]);
    begin(&mut directory, 1);

    let refused = directory.accept(vec![
        cert_by(STOLEN, &a_cert(5, 0, HIGHEST)),
        cert_by(STOLEN, &a_cert(5, 1, HIGHEST)),
        // Nor does one that stays, in the epoch that is over.
        cert_by(2, &a_cert(5, 0, 9)),
    ]);

    assert_eq!(refused.refused.len(), 3);
    assert!(!refused.changed);
    assert_eq!(names(&directory), ["node-3", "node-4"]);
    assert_eq!(directory.doc().map(|doc| doc.name.as_str()), Some("home"));
    assert_eq!(directory.have(), Version::default());
}

#[test]
fn what_the_thief_signed_is_undone_however_high_its_revision() {
    let thief = |number| MemberCert {
        name: "thief".to_owned(),
        ..a_cert(number, 0, HIGHEST)
    };
    let doc = NetworkDoc {
        name: "stolen".to_owned(),
        ..a_doc(HIGHEST)
    };
    let mut directory = with_both_keys(&[3, 4, 5]);
    let taken = directory.accept(vec![
        cert_by(STOLEN, &thief(3)),
        cert_by(STOLEN, &thief(6)),
        revocation_by(STOLEN, &a_revocation(4, 0, HIGHEST, HIGHEST)),
        doc_by(STOLEN, &doc),
    ]);
    assert!(
        taken.refused.is_empty(),
        "the key counts until it is revoked"
    );
    let honest = directory.accept(vec![cert_by(2, &a_cert(3, 0, 12))]);
    assert!(!honest.changed, "nothing is above the highest revision");

    begin(&mut directory, 1);
    let truth = directory.accept(new_directory(1, &[3, 4, 5]));
    directory.set_have(version(1, 9));

    assert!(truth.changed && truth.refused.is_empty());
    assert_eq!(names(&directory), ["node-3", "node-4", "node-5"]);
    assert_eq!(directory.doc().map(|doc| doc.name.as_str()), Some("home"));
    assert_eq!(directory.rollover_left(NOW), None);
}

#[test]
fn who_is_in_both_is_a_member_at_every_step_and_who_is_not_is_out_at_the_last() {
    let mut directory = with_both_keys(&[3, 4, 5]);
    begin(&mut directory, 1);

    for entry in new_directory(1, &[3, 4]) {
        assert_eq!(names(&directory), ["node-3", "node-4", "node-5"]);
        let brought =
            directory.accept_brought(vec![Gossiped::Entry(entry)], &secret(3).public(), NOW);
        assert!(brought.accepted.changed);
    }

    assert_eq!(names(&directory), ["node-3", "node-4"]);
}

#[test]
fn a_removal_of_the_new_epoch_ends_a_certificate_of_the_old() {
    let mut directory = with_both_keys(&[3, 4]);
    begin(&mut directory, 1);

    let _ = directory.accept(vec![revocation(&a_revocation(4, 1, 12, 8))]);

    assert_eq!(names(&directory), ["node-3"]);
    assert!(directory.is_revoked(&secret(4).public()));
}

#[test]
fn a_directory_that_went_on_meanwhile_is_known_to_be_whole_as_well() {
    // As of the document 3, 4 and 5 are members; then 3 has another certificate, 4 is removed and 6 is new.
    let mut later = new_directory(1, &[3, 4, 5]);
    later.retain(|entry| *entry != cert(&a_cert(3, 1, 3)) && *entry != cert(&a_cert(4, 1, 4)));
    later.extend([
        cert(&a_cert(3, 1, 20)),
        revocation(&a_revocation(4, 1, 21, 4)),
        cert(&a_cert(6, 1, 22)),
    ]);
    let mut directory = with_both_keys(&[3, 4, 5, 7]);
    begin(&mut directory, 1);

    let documents = later.into_iter().map(Gossiped::Entry).collect();
    let _ = directory.accept_brought(documents, &secret(3).public(), NOW);

    assert_eq!(names(&directory), ["node-3", "node-5", "node-6"]);
    assert_eq!(directory.rollover_left(NOW), None);
}

#[test]
fn peers_cannot_end_a_membership_by_leaving_something_out() {
    let me = secret(4).public();
    let mut directory = with_both_keys(&[3, 4, 5]);
    begin(&mut directory, 1);

    // All but this node's own certificate, then a directory without this node.
    for members in [&[3, 5][..], &[3]] {
        let documents = new_directory(1, members)
            .into_iter()
            .map(Gossiped::Entry)
            .collect();
        let _ = directory.accept_brought(documents, &me, NOW);
        assert_eq!(names(&directory), ["node-3", "node-4", "node-5"]);
    }
}

#[test]
fn what_never_comes_is_out_after_ten_minutes() {
    let mut directory = with_both_keys(&[3, 4]);
    begin(&mut directory, 1);
    let _ = directory.accept(vec![cert(&a_cert(3, 1, 3))]);
    let at = |seconds| UnixSeconds(NOW.0 + seconds);

    assert_eq!(directory.rollover_left(NOW), Some(ROLLOVER_GRACE));
    // A clock that was set back gives no more than the whole.
    assert_eq!(
        directory.rollover_left(UnixSeconds(0)),
        Some(ROLLOVER_GRACE)
    );
    assert_eq!(
        directory.rollover_left(at(599)),
        Some(Duration::from_secs(1))
    );
    assert_eq!(directory.rollover_left(at(600)), Some(Duration::ZERO));
    directory.end_rollover();

    assert_eq!(names(&directory), ["node-3"]);
    assert_eq!(directory.doc(), None);
}

#[test]
fn a_restart_in_between_changes_nothing() {
    let mut directory = with_both_keys(&[3, 4, 5]);
    let _ = directory.accept(vec![revocation_by(
        STOLEN,
        &a_revocation(5, 0, HIGHEST, HIGHEST),
    )]);
    begin(&mut directory, 1);
    let _ = directory.accept(vec![cert(&a_cert(3, 1, 3))]);

    let read =
        Directory::decode(network(), directory.root(), &directory.encode()).expect("our own bytes");

    assert_eq!(read.encode(), directory.encode());
    assert_eq!(names(&read), ["node-3", "node-4"]);
    let later = UnixSeconds(NOW.0 + 100);
    assert_eq!(
        read.rollover_left(later),
        Some(ROLLOVER_GRACE - Duration::from_secs(100))
    );
    let mut whole = read;
    let _ = whole.accept(new_directory(1, &[3, 4, 5]));
    whole.set_have(version(1, 9));
    let read = Directory::decode(network(), whole.root(), &whole.encode()).expect("our own bytes");
    assert_eq!(names(&read), ["node-3", "node-4", "node-5"]);
    assert_eq!(read.rollover_left(NOW), None);
}

#[test]
fn two_revocations_in_a_row_and_a_skipped_one_cut_nobody_off() {
    let mut directory = with_both_keys(&[3, 4, 5]);
    begin(&mut directory, 1);
    let _ = directory.accept(vec![cert(&a_cert(3, 1, 3))]);
    begin(&mut directory, 2);
    begin(&mut directory, 4);
    assert_eq!(names(&directory), ["node-3", "node-4", "node-5"]);

    let mut read =
        Directory::decode(network(), directory.root(), &directory.encode()).expect("our own bytes");

    assert_eq!(names(&read), ["node-3", "node-4", "node-5"]);
    let documents = new_directory(4, &[3, 5])
        .into_iter()
        .map(Gossiped::Entry)
        .collect();
    let _ = read.accept_brought(documents, &secret(3).public(), NOW);
    assert_eq!(names(&read), ["node-3", "node-5"]);
}

#[test]
fn a_keyring_of_an_epoch_that_is_over_never_comes_back() {
    let mut directory = with_both_keys(&[3]);
    begin(&mut directory, 1);
    let old = Signed::sign(&both_keys(HIGHEST), scope(), &secret(1));

    let brought = directory.accept_brought(
        vec![Gossiped::Keyring(old.clone())],
        &secret(3).public(),
        NOW,
    );

    assert!(!brought.accepted.changed);
    assert_eq!(directory.accept_keyring(old, NOW), Ok(false));
    assert_eq!(directory.keyring().version.epoch, Epoch(1));
}

#[test]
fn a_keyring_of_the_highest_epoch_is_a_keyring_like_any_other() {
    let mut directory = with_both_keys(&[3]);

    begin(&mut directory, u64::MAX);
    let _ = directory.accept(new_directory(u64::MAX, &[3]));
    directory.set_have(version(u64::MAX, 9));

    assert_eq!(names(&directory), ["node-3"]);
    let again = Signed::sign(&a_keyring(u64::MAX, u64::MAX), scope(), &secret(1));
    assert_eq!(directory.accept_keyring(again, NOW), Ok(true));
    assert_eq!(names(&directory), ["node-3"]);
}

proptest! {
    /// Whatever of the new directory comes in whatever order, and however often: who is in both stays a member, nobody
    /// else becomes one but by the new directory, and once all of it is there only it counts.
    #[test]
    fn no_order_of_arrival_cuts_anybody_off_or_lets_anybody_in(
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        restart_at in 0usize..7,
    ) {
        let members = [3, 4, 5, 6, 7, 8];
        let entries = new_directory(1, &members);
        let mut directory = with_both_keys(&[3, 4, 5, 10]);
        begin(&mut directory, 1);

        for (step, index) in order.into_iter().enumerate() {
            let documents = vec![Gossiped::Entry(entries[index].clone())];
            let _ = directory.accept_brought(documents, &secret(3).public(), NOW);
            if step == restart_at {
                directory = Directory::decode(network(), directory.root(), &directory.encode()).expect("our own bytes");
            }
            for number in [3, 4, 5] {
                prop_assert!(directory.is_member(&secret(number).public()));
            }
            prop_assert_eq!(directory.is_member(&secret(10).public()), step < 6);
        }
        prop_assert_eq!(names(&directory).len(), members.len());
    }
}

/// A directory of the first epoch, by the replica whose key will be stolen.
fn with_both_keys(members: &[u8]) -> Directory {
    let keyring = Signed::sign(&both_keys(1), scope(), &secret(1));
    let mut directory =
        Directory::new(network(), secret(1).public(), keyring).expect("signed by the root");
    let certs = members
        .iter()
        .map(|&number| cert_by(STOLEN, &a_cert(number, 0, number.into())));
    let accepted = directory.accept(certs.chain([doc_by(STOLEN, &a_doc(2))]).collect());
    assert!(accepted.refused.is_empty());
    directory
}

fn both_keys(revision: u64) -> Keyring {
    Keyring {
        replicas: BTreeSet::from([secret(2).public(), secret(STOLEN).public()]),
        ..a_keyring(0, revision)
    }
}

/// The keyring without the stolen key.
fn begin(directory: &mut Directory, epoch: u64) {
    let keyring = Signed::sign(&a_keyring(epoch, 2), scope(), &secret(1));
    assert_eq!(directory.accept_keyring(keyring, NOW), Ok(true));
}

/// What the replica that stays signs: a certificate for each, with its number as serial, and the network's document.
fn new_directory(epoch: u64, members: &[u8]) -> Vec<DirectoryEntry> {
    let keys: Vec<IdentityKey> = members.iter().map(|&it| secret(it).public()).collect();
    let doc = NetworkDoc {
        version: version(epoch, 9),
        members: MembersDigest::of(&keys),
        ..a_doc(9)
    };
    let certs = members
        .iter()
        .map(|&number| cert_by(2, &a_cert(number, epoch, number.into())));
    [doc_by(2, &doc)].into_iter().chain(certs).collect()
}

/// In order.
fn names(directory: &Directory) -> Vec<&str> {
    let names: BTreeSet<&str> = directory.members(NOW).map(|it| it.name.as_str()).collect();
    names.into_iter().collect()
}

fn version(epoch: u64, revision: u64) -> Version {
    Version {
        epoch: Epoch(epoch),
        revision: Revision(revision),
    }
}

fn cert_by(signer: u8, document: &MemberCert) -> DirectoryEntry {
    DirectoryEntry::Member(Signed::sign(document, network().into(), &secret(signer)))
}

fn revocation_by(signer: u8, document: &Revocation) -> DirectoryEntry {
    DirectoryEntry::Revocation(Signed::sign(document, network().into(), &secret(signer)))
}

fn doc_by(signer: u8, document: &NetworkDoc) -> DirectoryEntry {
    DirectoryEntry::Network(Signed::sign(document, network().into(), &secret(signer)))
}
