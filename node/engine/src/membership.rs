//! The directory of one network: who belongs to it, as far as this node can prove.
//!
//! Trust runs network id -> authority root key -> keyring -> documents. A [`Directory`] only ever holds documents that
//! were verified along that chain, and of each kind only the newest by (epoch, revision). It is a plain value: the shell
//! clones it, lets it accept what arrived, writes it to disk, and only then acts on it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tombolo_proto::{
    config::{
        CLOCK_TOLERANCE_SECONDS, DirectoryEntry, EndpointAnnouncement, Keyring, MemberCert,
        NetworkDoc, Revocation,
    },
    gossip::Gossiped,
    id::{NetworkId, Revision, UnixSeconds, Version},
    key::IdentityKey,
    signed::{Document, Signed, VerifyError},
    wire,
};

/// Why something was not taken into the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not verify.
    #[error(transparent)]
    Unverified(#[from] VerifyError),
    /// Equal version, other body: somebody signed two documents as one. The first is kept.
    #[error("two different documents carry the version {0:?}")]
    Equivocation(Version),
    /// From an epoch other than the keyring's.
    #[error("the document is from epoch {0:?}, the keyring is not")]
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
        })
    }

    /// Takes a newer keyring; `false` if it is not newer. A new epoch asks for everything anew.
    pub fn accept_keyring(&mut self, keyring: Signed<Keyring>) -> Result<bool, Refused> {
        let candidate = verified_keyring(self.network, self.root, keyring)?;
        let newer = supersedes(&candidate, Some(&self.keyring))?;
        if newer {
            if candidate.version().epoch > self.keyring.version().epoch {
                self.have = Version::default();
            }
            self.keyring = candidate;
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

    /// Takes what a peer has brought, by the same rules as what a controller says, but for two things that are left to
    /// controllers. A keyring that begins a new epoch: until everything has been said anew, nobody would be a member. And
    /// the end of `me`, this node's own membership: a peer that knew of it would not talk to this node, so there is a
    /// newer certificate, and that has to come first.
    pub fn accept_brought(&mut self, documents: Vec<Gossiped>, me: &IdentityKey) -> Brought {
        let mut brought = Brought::default();
        for document in documents {
            let outcome = match document {
                Gossiped::Keyring(signed) => self.accept_keyring_of_this_epoch(signed),
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
        brought
    }

    fn accept_revocation_but_of(
        &mut self,
        me: &IdentityKey,
        signed: Signed<Revocation>,
    ) -> Result<bool, Refused> {
        let candidate = self.verified(signed)?;
        let ends_us = candidate.document.identity == *me
            && self.members.get(me).is_some_and(|held| {
                self.is_in_force(&held.document)
                    && held.version().revision <= candidate.document.serial_floor
            });
        if ends_us {
            return Ok(false);
        }
        self.accept_entry(DirectoryEntry::Revocation(candidate.signed))
    }

    fn accept_keyring_of_this_epoch(&mut self, signed: Signed<Keyring>) -> Result<bool, Refused> {
        let candidate = verified_keyring(self.network, self.root, signed)?;
        if candidate.version().epoch != self.keyring.version().epoch {
            return Ok(false);
        }
        let newer = supersedes(&candidate, Some(&self.keyring))?;
        if newer {
            self.keyring = candidate;
        }
        Ok(newer)
    }

    /// `None` if it is nobody's who is certified.
    pub fn verified_announcement(
        &self,
        identity: IdentityKey,
        signed: Signed<EndpointAnnouncement>,
    ) -> Result<Option<Announcement>, Refused> {
        let is_member = self
            .members
            .get(&identity)
            .is_some_and(|held| self.is_in_force(&held.document));
        if !is_member {
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
        let replicas = &self.keyring.document.replicas;
        let document = signed.verify(self.network.into(), |signer| replicas.contains(signer))?;
        if document.version().epoch != self.keyring.version().epoch {
            return Err(Refused::WrongEpoch(document.version()));
        }
        Ok(Held { signed, document })
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
        self.doc.as_ref().map(|held| &held.document)
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
        }
    }

    /// A member that counts at `wall`: certified, above its revocation floor, not expired.
    #[must_use]
    pub fn member(&self, identity: &IdentityKey, wall: UnixSeconds) -> Option<&MemberCert> {
        let cert = &self.members.get(identity)?.document;
        self.counts(cert, wall).then_some(cert)
    }

    /// All members that count at `wall`, ordered by identity key.
    pub fn members(&self, wall: UnixSeconds) -> impl Iterator<Item = &MemberCert> {
        self.members
            .values()
            .map(|held| &held.document)
            .filter(move |cert| self.counts(cert, wall))
    }

    fn counts(&self, cert: &MemberCert, wall: UnixSeconds) -> bool {
        self.is_in_force(cert) && wall.0 <= cert.not_after.0.saturating_add(CLOCK_TOLERANCE_SECONDS)
    }

    /// Of this epoch and above the floor, whether expired or not.
    fn is_in_force(&self, cert: &MemberCert) -> bool {
        let floor = self
            .revocations
            .get(&cert.identity)
            .map_or(Revision(0), |held| held.document.serial_floor);
        cert.version.epoch == self.keyring.version().epoch && cert.version.revision > floor
    }

    /// Whether a revocation is why this identity is no member.
    #[must_use]
    pub fn is_revoked(&self, identity: &IdentityKey) -> bool {
        self.revocations.contains_key(identity)
            && !self
                .members
                .get(identity)
                .is_some_and(|held| self.is_in_force(&held.document))
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

    /// The network's document as it was signed.
    #[must_use]
    pub fn signed_doc(&self) -> Option<&Signed<NetworkDoc>> {
        self.doc.as_ref().map(|held| &held.signed)
    }

    /// Certificates above the floor, with their serials, ordered by identity key. Two nodes that hold the same
    /// documents agree on this, whatever their clocks say.
    pub fn certs_in_force(&self) -> impl Iterator<Item = (&IdentityKey, Revision)> {
        self.members
            .iter()
            .filter(|(_, held)| self.is_in_force(&held.document))
            .map(|(identity, held)| (identity, held.version().revision))
    }

    /// Revocations of this epoch, with their revisions, ordered by identity key.
    pub fn revocations(&self) -> impl Iterator<Item = (&IdentityKey, Revision)> {
        let epoch = self.keyring.version().epoch;
        self.revocations
            .iter()
            .filter(move |(_, held)| held.version().epoch == epoch)
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

    /// The form on disk: signed documents only, so that reading it back verifies everything again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let network = self
            .doc
            .iter()
            .map(|held| DirectoryEntry::Network(held.signed.clone()));
        let members = self
            .members
            .values()
            .map(|held| DirectoryEntry::Member(held.signed.clone()));
        let revocations = self
            .revocations
            .values()
            .map(|held| DirectoryEntry::Revocation(held.signed.clone()));
        wire::encode(&Stored {
            keyring: self.keyring.signed.clone(),
            have: self.have,
            entries: network.chain(members).chain(revocations).collect(),
        })
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(network: NetworkId, root: IdentityKey, bytes: &[u8]) -> Result<Self, Refused> {
        let stored: Stored = wire::decode_unbounded(bytes).map_err(|_| Refused::Damaged)?;
        let mut directory = Self::new(network, root, stored.keyring)?;
        // Entries of an epoch that a newer keyring ended are left behind: they count for nothing.
        let _ = directory.accept(stored.entries);
        directory.set_have(stored.have);
        Ok(directory)
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    keyring: Signed<Keyring>,
    have: Version,
    entries: Vec<DirectoryEntry>,
}

/// A verified document with the bytes that prove it.
#[derive(Debug, Clone)]
struct Held<T> {
    signed: Signed<T>,
    document: T,
}

impl<T: Versioned> Held<T> {
    fn version(&self) -> Version {
        self.document.version()
    }
}

trait Versioned {
    fn version(&self) -> Version;
}

macro_rules! versioned {
    ($($type:ty),*) => {$(
        impl Versioned for $type {
            fn version(&self) -> Version {
                self.version
            }
        }
    )*};
}

versioned!(Keyring, NetworkDoc, MemberCert, Revocation);

/// Whether `candidate` replaces `current`. Equality is judged on the body, never on signature bytes.
fn supersedes<T: Versioned>(
    candidate: &Held<T>,
    current: Option<&Held<T>>,
) -> Result<bool, Refused> {
    let Some(current) = current else {
        return Ok(true);
    };
    if candidate.version() == current.version()
        && candidate.signed.body_digest() != current.signed.body_digest()
    {
        return Err(Refused::Equivocation(candidate.version()));
    }
    Ok(candidate.version() > current.version())
}

fn verified_keyring(
    network: NetworkId,
    root: IdentityKey,
    signed: Signed<Keyring>,
) -> Result<Held<Keyring>, Refused> {
    let document = signed.verify(Keyring::scope(network.authority()), |signer| {
        *signer == root
    })?;
    Ok(Held { signed, document })
}

#[cfg(test)]
mod tests;
