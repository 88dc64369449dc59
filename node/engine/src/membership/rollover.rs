//! What still counts of the epochs before, while the directory of a new epoch is on its way.
//!
//! A new epoch begins when the key of a replica is revoked. From then on nothing that an older epoch signed is taken any
//! more. But what was held goes on to count, so that no session ends between members that are in both, until this node
//! holds all of the new directory: a controller has said so, or it is complete by the digest in the network's document.
//! Whoever is not in it then is out. If it never comes, everything that is not in it is out after [`ROLLOVER_GRACE`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tombolo_proto::{
    config::{Keyring, MemberCert, MembersDigest, NetworkDoc},
    id::{Epoch, UnixSeconds},
    key::IdentityKey,
};

use super::{Directory, Held};

/// How long documents of an epoch that is over count at most: time to find a controller or a peer that has the new ones,
/// and no more, because a thief may have signed them.
pub const ROLLOVER_GRACE: Duration = Duration::from_secs(600);

/// What is left of the epochs before.
#[derive(Debug, Clone)]
pub(super) struct Rollover {
    /// When the first of their keyrings was replaced.
    pub(super) since: UnixSeconds,
    /// What proves the rest: a keyring for each epoch that is over.
    pub(super) keyrings: BTreeMap<Epoch, Held<Keyring>>,
    pub(super) doc: Option<Held<NetworkDoc>>,
    /// Certificates that were in force.
    pub(super) members: BTreeMap<IdentityKey, Arc<Held<MemberCert>>>,
}

impl Directory {
    /// Takes the keyring of a new epoch. What was in force until now is put aside.
    pub(super) fn begin_epoch(&mut self, keyring: Held<Keyring>, wall: UnixSeconds) {
        let members: BTreeMap<_, _> = self
            .in_force()
            .map(|held| (held.document.identity, Arc::clone(held)))
            .collect();
        let over = std::mem::replace(&mut self.keyring, keyring);
        let before = self.rollover.take();
        let since = before.as_ref().map_or(wall, |before| before.since);
        let (mut keyrings, older_doc) =
            before.map_or_else(Default::default, |before| (before.keyrings, before.doc));
        keyrings.insert(over.version().epoch, over);
        let doc = self.doc.take().or(older_doc);
        let proven: BTreeSet<Epoch> = members
            .values()
            .map(|held| held.version().epoch)
            .chain(doc.iter().map(|held| held.version().epoch))
            .collect();
        keyrings.retain(|epoch, _| proven.contains(epoch));
        self.members.clear();
        self.revocations.clear();
        self.have = Default::default();
        self.rollover = (!proven.is_empty()).then_some(Rollover {
            since,
            keyrings,
            doc,
            members,
        });
    }

    /// How much longer documents of epochs that are over count; `None` if none do. Counted by the wall clock, because it
    /// goes on through a restart; a clock that was set back makes it no longer than the whole.
    #[must_use]
    pub fn rollover_left(&self, wall: UnixSeconds) -> Option<Duration> {
        let rollover = self.rollover.as_ref()?;
        let elapsed = Duration::from_secs(wall.0.saturating_sub(rollover.since.0));
        Some(ROLLOVER_GRACE.saturating_sub(elapsed))
    }

    /// From now on only documents of the newest epoch count.
    pub fn end_rollover(&mut self) {
        self.rollover = None;
    }

    /// Whether everybody who was a member when the network's document was signed has a document of this epoch.
    pub(super) fn is_whole(&self) -> bool {
        let Some(doc) = &self.doc else {
            return false;
        };
        let as_of = doc.version().revision;
        let was_there = |identity: &IdentityKey| {
            self.rollover
                .as_ref()
                .is_some_and(|rollover| rollover.members.contains_key(identity))
        };
        // Who is new to this node and was certified after that document came after it.
        let certified = self
            .certs_in_force()
            .filter(|(identity, serial)| *serial <= as_of || was_there(identity))
            .map(|(identity, _)| identity);
        // Who went after it was there.
        let gone = self
            .revocations
            .iter()
            .filter(|(identity, held)| {
                held.version().revision > as_of
                    && (held.document.serial_floor <= as_of || was_there(identity))
            })
            .map(|(identity, _)| identity);
        MembersDigest::of(certified.chain(gone)) == doc.document.members
    }
}
