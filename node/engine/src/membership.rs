//! The directory of one network: who belongs to it, as far as this node can prove.
//!
//! Trust runs network id -> authority root key -> keyring -> documents. A [`Directory`] only ever holds documents that
//! were verified along that chain, and of each kind only the newest by (epoch, revision). It is a plain value: the shell
//! clones it, lets it accept what arrived, writes it to disk, and only then acts on it.

mod held;
mod rollover;
mod stored;

use std::{collections::BTreeMap, sync::Arc};

use tombolo_proto::{
    config::{DirectoryEntry, EndpointAnnouncement, Keyring, MemberCert, NetworkDoc, Revocation},
    gossip::Gossiped,
    id::{NetworkId, Revision, UnixSeconds, Version},
    key::IdentityKey,
    signed::{Document, Signed, VerifyError},
};

use held::{
    Held, Versioned, contains, is_current, is_void, supersedes, verified_by, verified_keyring,
};
pub use rollover::ROLLOVER_GRACE;
use rollover::Rollover;

/// Why something was not taken into the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not verify.
    #[error(transparent)]
    Unverified(#[from] VerifyError),
    /// Equal version, other body: somebody signed two documents as one. The first is kept.
    #[error(
        "two different documents are version {version}, signed by {kept} and by {other}: the key of a replica may be in other hands, then `tombolo-controller keyring revoke` it"
    )]
    Equivocation {
        /// Of both.
        version: Version,
        /// Who signed the one that is kept.
        kept: IdentityKey,
        /// Who signed the other.
        other: IdentityKey,
    },
    /// From an epoch other than the keyring's.
    #[error("the document is version {0}, of another epoch than the keyring")]
    WrongEpoch(Version),
    /// The stored form is damaged.
    #[error("the stored directory is damaged")]
    Damaged,
}

/// What became of a batch of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Accepted {
    /// Whether the directory differs from before.
    pub changed: bool,
    /// Entries that were refused, in order.
    pub refused: Vec<Refused>,
}

/// A member's word on where it can be reached, as it said it and as it was signed.
pub type Announcement = (EndpointAnnouncement, Signed<EndpointAnnouncement>);

/// What became of documents that a peer has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Brought {
    /// The directory.
    pub accepted: Accepted,
    /// Announcements of members that verify, whether new or not.
    pub announcements: Vec<(IdentityKey, Announcement)>,
}

/// Verified documents of one network. Clones share the documents.
#[derive(Debug, Clone)]
pub struct Directory {
    network: NetworkId,
    root: IdentityKey,
    keyring: Held<Keyring>,
    doc: Option<Held<NetworkDoc>>,
    members: BTreeMap<IdentityKey, Arc<Held<MemberCert>>>,
    revocations: BTreeMap<IdentityKey, Arc<Held<Revocation>>>,
    have: Version,
    rollover: Option<Rollover>,
}

impl Directory {
    /// Starts empty, from a keyring that `root` must have signed. The caller has checked `root` against what it pinned
    /// or against the network id.
    pub fn new(
        network: NetworkId,
        root: IdentityKey,
        keyring: Signed<Keyring>,
    ) -> Result<Self, Refused> {
        Ok(Self {
            network,
            root,
            keyring: verified_keyring(network, root, keyring)?,
            doc: None,
            members: BTreeMap::new(),
            revocations: BTreeMap::new(),
            have: Version::default(),
            rollover: None,
        })
    }

    /// Takes a newer keyring; `false` if it is not newer. A new epoch asks for everything anew; what was held goes on to
    /// count for a while ([`ROLLOVER_GRACE`]).
    pub fn accept_keyring(
        &mut self,
        keyring: Signed<Keyring>,
        wall: UnixSeconds,
    ) -> Result<bool, Refused> {
        let candidate = verified_keyring(self.network, self.root, keyring)?;
        let newer = supersedes(&candidate, Some(&self.keyring))?;
        if newer {
            if candidate.version().epoch > self.keyring.version().epoch {
                self.begin_epoch(candidate, wall);
            } else {
                self.keyring = candidate;
            }
        }
        Ok(newer)
    }

    /// Takes what verifies and is newer; says what it refused.
    pub fn accept(&mut self, entries: Vec<DirectoryEntry>) -> Accepted {
        let mut accepted = Accepted::default();
        for entry in entries {
            match self.accept_entry(entry) {
                Ok(changed) => accepted.changed |= changed,
                Err(refused) => accepted.refused.push(refused),
            }
        }
        accepted
    }

    /// Takes what a peer has brought, by the same rules as what a controller says, but for the end of `me`, this node's own
    /// membership: a peer that knew of it would not talk to this node, so there is a newer certificate, and that has to
    /// come first.
    pub fn accept_brought(
        &mut self,
        documents: Vec<Gossiped>,
        me: &IdentityKey,
        wall: UnixSeconds,
    ) -> Brought {
        let mut brought = Brought::default();
        for document in documents {
            let outcome = match document {
                Gossiped::Keyring(signed) => self.accept_keyring(signed, wall),
                Gossiped::Entry(DirectoryEntry::Revocation(signed)) => {
                    self.accept_revocation_but_of(me, signed)
                }
                Gossiped::Entry(entry) => self.accept_entry(entry),
                Gossiped::Endpoints {
                    identity,
                    announcement,
                } => self
                    .verified_announcement(identity, announcement)
                    .map(|it| {
                        brought.announcements.extend(it.map(|it| (identity, it)));
                        false
                    }),
            };
            match outcome {
                Ok(changed) => brought.accepted.changed |= changed,
                Err(refused) => brought.accepted.refused.push(refused),
            }
        }
        let is_rolling = brought.accepted.changed && self.rollover.is_some();
        if is_rolling && self.is_certified(me) && self.is_whole() {
            self.end_rollover();
        }
        brought
    }

    fn accept_revocation_but_of(
        &mut self,
        me: &IdentityKey,
        signed: Signed<Revocation>,
    ) -> Result<bool, Refused> {
        let candidate = self.verified(signed)?;
        let ends_us = candidate.document.identity == *me
            && self
                .cert_in_force(me)
                .is_some_and(|held| is_void(held.version(), &candidate.document));
        if ends_us {
            return Ok(false);
        }
        self.accept_entry(DirectoryEntry::Revocation(candidate.signed))
    }

    /// `None` if it is nobody's who is certified.
    pub fn verified_announcement(
        &self,
        identity: IdentityKey,
        signed: Signed<EndpointAnnouncement>,
    ) -> Result<Option<Announcement>, Refused> {
        if !self.is_member(&identity) {
            return Ok(None);
        }
        let document = signed.verify(self.network.into(), |signer| *signer == identity)?;
        Ok(Some((document, signed)))
    }

    fn accept_entry(&mut self, entry: DirectoryEntry) -> Result<bool, Refused> {
        match entry {
            DirectoryEntry::Network(signed) => {
                let candidate = self.verified(signed)?;
                let newer = supersedes(&candidate, self.doc.as_ref())?;
                if newer {
                    self.doc = Some(candidate);
                }
                Ok(newer)
            }
            DirectoryEntry::Member(signed) => {
                let candidate = self.verified(signed)?;
                let newer = supersedes(
                    &candidate,
                    self.members
                        .get(&candidate.document.identity)
                        .map(Arc::as_ref),
                )?;
                if newer {
                    self.members
                        .insert(candidate.document.identity, Arc::new(candidate));
                }
                Ok(newer)
            }
            DirectoryEntry::Revocation(signed) => {
                let candidate = self.verified(signed)?;
                let newer = supersedes(
                    &candidate,
                    self.revocations
                        .get(&candidate.document.identity)
                        .map(Arc::as_ref),
                )?;
                if newer {
                    self.revocations
                        .insert(candidate.document.identity, Arc::new(candidate));
                }
                Ok(newer)
            }
        }
    }

    fn verified<T: Document + Versioned>(&self, signed: Signed<T>) -> Result<Held<T>, Refused> {
        verified_by(&self.keyring.document, self.network, signed)
    }

    /// Whether this differs from `before` by nothing but members that are new. Whoever forgets those is told of them again,
    /// while a removal that is forgotten lets somebody in.
    #[must_use]
    pub fn only_adds_to(&self, before: &Self) -> bool {
        let version = |it: &Self| it.doc.as_ref().map(|doc| doc.document.version);
        self.keyring_version() == before.keyring_version()
            && version(self) == version(before)
            && self.rollover.is_some() == before.rollover.is_some()
            && self.revocations.len() == before.revocations.len()
            && contains(&self.revocations, &before.revocations)
            && contains(&self.members, &before.members)
    }

    /// Which network this is the directory of.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// The authority's root key.
    #[must_use]
    pub const fn root(&self) -> IdentityKey {
        self.root
    }

    /// The newest keyring.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring.document
    }

    /// The network's document, once there is one.
    #[must_use]
    pub fn doc(&self) -> Option<&NetworkDoc> {
        let former = self.rollover.as_ref().and_then(|it| it.doc.as_ref());
        self.doc.as_ref().or(former).map(|held| &held.document)
    }

    /// Up to which version a controller said that this directory is complete.
    #[must_use]
    pub const fn have(&self) -> Version {
        self.have
    }

    /// Records a controller's word that the directory is complete up to `upto`; never goes back within an epoch.
    pub fn set_have(&mut self, upto: Version) {
        if upto.epoch == self.keyring.version().epoch {
            self.have = self.have.max(upto);
            self.end_rollover();
        }
    }

    /// A member that counts at `wall`: certified, above its revocation floor, not expired.
    #[must_use]
    pub fn member(&self, identity: &IdentityKey, wall: UnixSeconds) -> Option<&MemberCert> {
        let cert = &self.cert_in_force(identity)?.document;
        is_current(cert, wall).then_some(cert)
    }

    /// All members that count at `wall`.
    pub fn members(&self, wall: UnixSeconds) -> impl Iterator<Item = &MemberCert> {
        self.in_force()
            .map(|held| &held.document)
            .filter(move |cert| is_current(cert, wall))
    }

    /// Those who were members and are none at `wall`, and whether they were removed; the others have expired.
    pub fn former_members(&self, wall: UnixSeconds) -> impl Iterator<Item = (&MemberCert, bool)> {
        self.members
            .values()
            .map(|held| (&held.document, self.is_below_floor(held)))
            .filter(move |(cert, is_removed)| *is_removed || !is_current(cert, wall))
    }

    /// Whether this is a member, whatever the date.
    #[must_use]
    pub fn is_member(&self, identity: &IdentityKey) -> bool {
        self.cert_in_force(identity).is_some()
    }

    /// Whether a revocation is why this identity is no member.
    #[must_use]
    pub fn is_revoked(&self, identity: &IdentityKey) -> bool {
        self.revocations.contains_key(identity) && !self.is_certified(identity)
    }

    /// Every certificate that counts but for its date: those of this epoch, then those that a rollover leaves.
    fn in_force(&self) -> impl Iterator<Item = &Arc<Held<MemberCert>>> {
        let former = self.rollover.iter().flat_map(|it| it.members.values());
        let undecided = former.filter(|held| !self.is_decided(&held.document.identity));
        self.members
            .values()
            .filter(|held| !self.is_below_floor(held))
            .chain(undecided)
    }

    fn cert_in_force(&self, identity: &IdentityKey) -> Option<&Arc<Held<MemberCert>>> {
        if self.is_decided(identity) {
            let held = self.members.get(identity)?;
            (!self.is_below_floor(held)).then_some(held)
        } else {
            self.rollover.as_ref()?.members.get(identity)
        }
    }

    /// Whether this epoch has said anything of this identity.
    fn is_decided(&self, identity: &IdentityKey) -> bool {
        self.members.contains_key(identity) || self.revocations.contains_key(identity)
    }

    /// Whether a certificate of this epoch says that this is a member.
    fn is_certified(&self, identity: &IdentityKey) -> bool {
        self.members
            .get(identity)
            .is_some_and(|held| !self.is_below_floor(held))
    }

    fn is_below_floor(&self, cert: &Held<MemberCert>) -> bool {
        self.revocations
            .get(&cert.document.identity)
            .is_some_and(|held| is_void(cert.version(), &held.document))
    }

    // For gossip: what there is to tell others, with the bytes that prove it.

    /// Version of the keyring.
    #[must_use]
    pub fn keyring_version(&self) -> Version {
        self.keyring.version()
    }

    /// The keyring as the root key signed it.
    #[must_use]
    pub const fn signed_keyring(&self) -> &Signed<Keyring> {
        &self.keyring.signed
    }

    /// Version of the network's document of this epoch; the default as long as there is none.
    #[must_use]
    pub fn doc_version(&self) -> Version {
        self.doc.as_ref().map(Held::version).unwrap_or_default()
    }

    /// The network's document of this epoch as it was signed.
    #[must_use]
    pub fn signed_doc(&self) -> Option<&Signed<NetworkDoc>> {
        self.doc.as_ref().map(|held| &held.signed)
    }

    /// Certificates of this epoch above the floor, with their serials, ordered by identity key. Two nodes that hold the
    /// same documents agree on this, whatever their clocks say.
    pub fn certs_in_force(&self) -> impl Iterator<Item = (&IdentityKey, Revision)> {
        self.members
            .iter()
            .filter(|(_, held)| !self.is_below_floor(held))
            .map(|(identity, held)| (identity, held.version().revision))
    }

    /// Revocations of this epoch, with their revisions, ordered by identity key.
    pub fn revocations(&self) -> impl Iterator<Item = (&IdentityKey, Revision)> {
        self.revocations
            .iter()
            .map(|(identity, held)| (identity, held.version().revision))
    }

    /// A member's certificate as it was signed.
    #[must_use]
    pub fn signed_cert(&self, identity: &IdentityKey) -> Option<&Signed<MemberCert>> {
        Some(&self.members.get(identity)?.signed)
    }

    /// A member's revocation as it was signed.
    #[must_use]
    pub fn signed_revocation(&self, identity: &IdentityKey) -> Option<&Signed<Revocation>> {
        Some(&self.revocations.get(identity)?.signed)
    }
}

#[cfg(test)]
mod tests;
