//! What a node has heard, as naively as can be.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_proto::{
    config::{
        CLOCK_TOLERANCE_SECONDS, DirectoryEntry, Keyring, MemberCert, MembersDigest, NetworkDoc,
        Revocation,
    },
    id::{Epoch, UnixSeconds, Version},
    key::IdentityKey,
};
use tombolo_tests::controllers::{Said, Store};

/// Of the newest epoch: of each member the newest certificate and the newest removal.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    keyring: Option<Keyring>,
    doc: Option<NetworkDoc>,
    certs: BTreeMap<IdentityKey, MemberCert>,
    removals: BTreeMap<IdentityKey, Revocation>,
    /// What counted before this epoch. It goes on to count for those of whom this epoch has said nothing, until all of this
    /// epoch is there.
    former: Option<BTreeMap<IdentityKey, MemberCert>>,
}

impl Heard {
    pub(super) fn epoch(&self) -> Epoch {
        let keyring = self.keyring.as_ref();
        keyring.map_or(Epoch(0), |keyring| keyring.version.epoch)
    }

    /// Tells whether it is news.
    pub(super) fn hear_keyring(&mut self, said: Keyring) -> bool {
        let Some(held) = &self.keyring else {
            self.keyring = Some(said);
            return true;
        };
        if said.version <= held.version {
            return false;
        }
        if said.version.epoch > held.version.epoch {
            let former = self
                .counting()
                .map(|cert| (cert.identity, cert.clone()))
                .collect();
            *self = Self {
                former: Some(former),
                ..Self::default()
            };
        }
        self.keyring = Some(said);
        true
    }

    /// Tells whether it is news. What nobody who may sign has ever signed counts for nothing.
    pub(super) fn hear(&mut self, entry: &DirectoryEntry, store: &Store) -> bool {
        let Some(said) = store.said(entry) else {
            return false;
        };
        let signer = match entry {
            DirectoryEntry::Network(signed) => signed.signer(),
            DirectoryEntry::Member(signed) => signed.signer(),
            DirectoryEntry::Revocation(signed) => signed.signer(),
        };
        let version = said.version();
        let counts = self.keyring.as_ref().is_some_and(|keyring| {
            keyring.version.epoch == version.epoch && keyring.replicas.contains(&signer)
        });
        if !counts {
            return false;
        }
        let held = match said {
            Said::Network(_) => self.doc.as_ref().map(|doc| doc.version),
            Said::Member(cert) => self.certs.get(&cert.identity).map(|held| held.version),
            Said::Revocation(it) => self.removals.get(&it.identity).map(|held| held.version),
        };
        if held.is_some_and(|held| held >= version) {
            return false;
        }
        match said.clone() {
            Said::Network(doc) => self.doc = Some(doc),
            Said::Member(cert) => drop(self.certs.insert(cert.identity, cert)),
            Said::Revocation(removal) => drop(self.removals.insert(removal.identity, removal)),
        }
        true
    }

    /// A controller has said that all of an epoch up to `upto` was told.
    pub(super) fn is_complete(&mut self, upto: Version) {
        if upto.epoch == self.epoch() {
            self.end_rollover();
        }
    }

    /// From now on only this epoch counts.
    pub(super) fn end_rollover(&mut self) {
        self.former = None;
    }

    /// Ends the rollover if what peers brought is all that `me` needs.
    pub(super) fn end_rollover_if_whole(&mut self, me: &IdentityKey) {
        if self.in_force().any(|cert| cert.identity == *me) && self.is_whole() {
            self.end_rollover();
        }
    }

    /// Whether everybody whom the network's document counts has a word of this epoch.
    fn is_whole(&self) -> bool {
        let Some(doc) = &self.doc else {
            return false;
        };
        let was_there =
            |who: &IdentityKey| self.former.as_ref().is_some_and(|it| it.contains_key(who));
        let counted =
            |who: &IdentityKey, since: u64| since <= doc.version.revision.0 || was_there(who);
        let mut there: BTreeSet<IdentityKey> = self
            .in_force()
            .filter(|cert| counted(&cert.identity, cert.version.revision.0))
            .map(|cert| cert.identity)
            .collect();
        let gone_since = self.removals.values().filter(|removal| {
            removal.version.revision > doc.version.revision
                && counted(&removal.identity, removal.serial_floor.0)
        });
        there.extend(gone_since.map(|removal| removal.identity));
        MembersDigest::of(&there) == doc.members
    }

    /// What was denied is forgotten, but for who may sign.
    pub(super) fn forget(&mut self) {
        *self = Self {
            keyring: self.keyring.take(),
            ..Self::default()
        };
    }

    /// Up to which serial a member's certificates of this epoch are void.
    pub(super) fn floor(&self, identity: &IdentityKey) -> u64 {
        let removal = self.removals.get(identity);
        removal.map_or(0, |removal| removal.serial_floor.0)
    }

    pub(super) fn floors(&self) -> BTreeMap<IdentityKey, u64> {
        let floors = self.removals.iter();
        floors
            .map(|(identity, removal)| (*identity, removal.serial_floor.0))
            .collect()
    }

    /// Certificates of this epoch above their floors.
    pub(super) fn in_force(&self) -> impl Iterator<Item = &MemberCert> {
        self.certs
            .values()
            .filter(|cert| cert.version.revision.0 > self.floor(&cert.identity))
    }

    /// These, and those of epochs before that count still.
    fn counting(&self) -> impl Iterator<Item = &MemberCert> {
        let former = self.former.iter().flat_map(BTreeMap::values);
        self.in_force().chain(former.filter(|cert| {
            let who = &cert.identity;
            !self.certs.contains_key(who) && !self.removals.contains_key(who)
        }))
    }

    /// Whether this would put `me` out.
    pub(super) fn ends(&self, me: &IdentityKey, entry: &DirectoryEntry, store: &Store) -> bool {
        let mut after = self.clone();
        after.hear(entry, store);
        let counts = |heard: &Self| heard.counting().any(|cert| cert.identity == *me);
        counts(self) && !counts(&after)
    }

    /// Who counts at a time, if `me` does.
    pub(super) fn members(
        &self,
        me: &IdentityKey,
        wall: UnixSeconds,
    ) -> BTreeMap<IdentityKey, &MemberCert> {
        let counts: BTreeMap<_, _> = self
            .counting()
            .filter(|cert| wall.0 <= cert.not_after.0 + CLOCK_TOLERANCE_SECONDS)
            .map(|cert| (cert.identity, cert))
            .collect();
        if counts.contains_key(me) {
            counts
        } else {
            BTreeMap::new()
        }
    }
}
