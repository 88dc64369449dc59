//! The store that replicas share: one network's rows and documents, and the one transaction that changes them.

use std::{collections::BTreeMap, sync::Arc};

use tombolo_domain::{change::Change, command::Command, network::Network};
use tombolo_proto::{
    config::{DirectoryEntry, EndpointAnnouncement, Keyring, MemberCert, NetworkDoc, Revocation},
    id::{Epoch, UnixSeconds, Version},
    key::IdentityKey,
    signed::Signed,
};

use super::signing::{SignedDocument, above};
use crate::clock::Clock;

/// Which document: there is one of each kind for an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The network's own.
    Network,
    /// A member's certificate.
    Member(IdentityKey),
    /// A member's revocation.
    Revocation(IdentityKey),
}

/// What a signed document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Of the network.
    Network(NetworkDoc),
    /// Of a member.
    Member(MemberCert),
    /// Of a removal.
    Revocation(Revocation),
}

impl Said {
    /// Of which version it is.
    #[must_use]
    pub const fn version(&self) -> Version {
        match self {
            Self::Network(doc) => doc.version,
            Self::Member(cert) => cert.version,
            Self::Revocation(revocation) => revocation.version,
        }
    }
}

/// A change that was committed, with who asked for it.
#[derive(Debug, Clone)]
pub struct Audited {
    /// The number of the wish.
    pub wish: u64,
    /// What was asked.
    pub command: Command,
}

/// What a replica wants written.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) wish: u64,
    pub(super) command: Command,
    pub(super) expected: u64,
    pub(super) epoch: Epoch,
    pub(super) changes: Vec<Change>,
    pub(super) documents: Vec<SignedDocument>,
}

/// Why nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Somebody else was faster, or the keyring is another.
    Conflict,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    /// Whether it answers at all.
    pub is_up: bool,
    /// By how much its clock is wrong.
    pub clock_error: i64,
    network: Arc<Network>,
    sequence: u64,
    keyring: (Keyring, Signed<Keyring>),
    documents: BTreeMap<Place, SignedDocument>,
    announcements: BTreeMap<IdentityKey, (u64, Signed<EndpointAnnouncement>)>,
    audit: Vec<Audited>,
    /// What every document says that was ever committed, by the digest of its body.
    ledger: BTreeMap<[u8; 32], Said>,
}

impl Store {
    pub(super) fn new(network: Network, keyring: (Keyring, Signed<Keyring>)) -> Self {
        Self {
            is_up: true,
            clock_error: 0,
            network: Arc::new(network),
            sequence: 1,
            keyring,
            documents: BTreeMap::new(),
            announcements: BTreeMap::new(),
            audit: Vec::new(),
            ledger: BTreeMap::new(),
        }
    }

    /// The network as the last commit left it.
    #[must_use]
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Counts commits.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The keyring in force.
    #[must_use]
    pub const fn keyring(&self) -> &(Keyring, Signed<Keyring>) {
        &self.keyring
    }

    /// All commits, in order.
    #[must_use]
    pub fn audit(&self) -> &[Audited] {
        &self.audit
    }

    /// What a document says, if it was ever committed.
    #[must_use]
    pub fn said(&self, entry: &DirectoryEntry) -> Option<&Said> {
        self.ledger.get(&digest(entry))
    }

    /// Every document that is served.
    pub fn documents(&self) -> impl Iterator<Item = &Said> {
        self.documents.values().map(|document| &document.said)
    }

    /// What its clock shows.
    #[must_use]
    pub fn now(&self, clock: &Clock) -> UnixSeconds {
        UnixSeconds(clock.wall().0.saturating_add_signed(self.clock_error))
    }

    /// All of it or nothing.
    pub(super) fn commit(&mut self, commit: Commit) -> Result<(), Refused> {
        if commit.expected != self.sequence || commit.epoch != self.keyring.0.version.epoch {
            return Err(Refused::Conflict);
        }
        self.network = Arc::new(self.network.apply(&commit.changes));
        self.sequence += 1;
        for document in commit.documents {
            self.put(document);
        }
        self.audit.push(Audited {
            wish: commit.wish,
            command: commit.command,
        });
        Ok(())
    }

    /// A new epoch: what the ones before have signed is gone.
    pub(super) fn begin_epoch(
        &mut self,
        keyring: (Keyring, Signed<Keyring>),
        documents: Vec<SignedDocument>,
    ) {
        self.keyring = keyring;
        self.sequence += 1;
        self.documents.clear();
        for document in documents {
            self.put(document);
        }
    }

    /// A revocation takes the place of the certificate and of what its member announced.
    fn put(&mut self, document: SignedDocument) {
        if let Place::Revocation(identity) = document.place {
            self.documents.remove(&Place::Member(identity));
            self.announcements.remove(&identity);
        }
        self.ledger
            .insert(digest(&document.entry), document.said.clone());
        self.documents.insert(document.place, document);
    }

    /// Documents above a version, in order of version.
    pub(super) fn above(&self, have: Version) -> Vec<SignedDocument> {
        above(self.documents.values(), have)
    }

    /// Keeps a member's announcement if it is newer than the one held; tells whether it was.
    pub(super) fn announce(
        &mut self,
        identity: IdentityKey,
        sequence: u64,
        signed: &Signed<EndpointAnnouncement>,
    ) -> bool {
        let is_member = self
            .network
            .member(&identity)
            .is_some_and(tombolo_domain::member::Member::is_authorized);
        let is_newer = self
            .announcements
            .get(&identity)
            .is_none_or(|(held, _)| *held < sequence);
        let is_kept = is_member && is_newer;
        if is_kept {
            self.announcements
                .insert(identity, (sequence, signed.clone()));
        }
        is_kept
    }

    pub(super) const fn announcements(
        &self,
    ) -> &BTreeMap<IdentityKey, (u64, Signed<EndpointAnnouncement>)> {
        &self.announcements
    }
}

fn digest(entry: &DirectoryEntry) -> [u8; 32] {
    match entry {
        DirectoryEntry::Network(signed) => signed.body_digest(),
        DirectoryEntry::Member(signed) => signed.body_digest(),
        DirectoryEntry::Revocation(signed) => signed.body_digest(),
    }
}
