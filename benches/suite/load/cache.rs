//! One directory that all simulated nodes share, as if each had it on its own disk: ten thousand copies would not fit.
//!
//! Every document is verified once, by whoever brings it first.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tombolo_engine::membership::Directory;
use tombolo_proto::{
    config::{DirectoryEntry, Keyring},
    id::{NetworkId, Revision, UnixSeconds, Version},
    key::IdentityKey,
    signed::Signed,
};

/// Whom a document is about, and its revision.
type Subject = (IdentityKey, Revision);

/// A change that is on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Awaited {
    /// Which of all changes it is.
    pub(crate) number: usize,
    /// Whom it is about.
    pub(crate) identity: IdentityKey,
    /// Documents up to this revision are older.
    pub(crate) above: Revision,
}

/// What all nodes know.
#[derive(Debug)]
pub(crate) struct Cache(Mutex<Known>);

#[derive(Debug)]
struct Known {
    network: NetworkId,
    directory: Option<Directory>,
    subjects: HashMap<[u8; 32], Option<Subject>>,
    awaited: Option<Awaited>,
}

impl Cache {
    pub(crate) fn new(network: NetworkId) -> Self {
        Self(Mutex::new(Known {
            network,
            directory: None,
            subjects: HashMap::new(),
            awaited: None,
        }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a controller greeted with.
    pub(crate) fn greeted(&self, root: IdentityKey, keyring: &Signed<Keyring>) {
        let mut known = self.known();
        let network = known.network;
        if let Some(directory) = &mut known.directory {
            // What all nodes are greeted with is mostly what they were greeted with before. No epoch ends under load, so
            // the time does not matter.
            let _ = directory.accept_keyring(keyring.clone(), UnixSeconds(0));
        } else {
            known.directory = Directory::new(network, root, keyring.clone()).ok();
        }
    }

    /// What a node that starts from this cache holds.
    pub(crate) fn have(&self) -> Version {
        self.known()
            .directory
            .as_ref()
            .map_or_else(Version::default, Directory::have)
    }

    /// The authority's key, once somebody was greeted with it.
    pub(crate) fn root(&self) -> Option<IdentityKey> {
        self.known().directory.as_ref().map(Directory::root)
    }

    /// The authority's keyring, once somebody was greeted with it.
    pub(crate) fn keyring(&self) -> Option<Keyring> {
        let known = self.known();
        let directory = known.directory.as_ref()?;
        let scope = Keyring::scope(known.network.authority());
        let signed = directory.signed_keyring();
        signed.verify(scope, |key| *key == directory.root()).ok()
    }

    /// Revision of the newest document about somebody.
    pub(crate) fn newest_of(&self, identity: &IdentityKey) -> Option<u64> {
        let known = self.known();
        let about = |subject: &Option<Subject>| subject.filter(|(whom, _)| whom == identity);
        let revisions = known.subjects.values().filter_map(about);
        revisions.map(|(_, revision)| revision.0).max()
    }

    /// The directory as a node writes it to its disk: how many bytes.
    pub(crate) fn size(&self) -> usize {
        let directory = self.known().directory.clone();
        directory.map_or(0, |directory| directory.encode().len())
    }

    /// From now on nodes look for this change.
    pub(crate) fn await_change(&self, awaited: Option<Awaited>) {
        self.known().awaited = awaited;
    }

    /// Takes a part of the directory; `upto` if it was the last one. Tells which awaited change was in it.
    pub(crate) fn take(
        &self,
        entries: &[DirectoryEntry],
        upto: Option<Version>,
    ) -> Option<Awaited> {
        let mut known = self.known();
        let mut found = None;
        for entry in entries {
            let subject = known.subject(entry);
            if let (Some(awaited), Some((identity, revision))) = (known.awaited, subject)
                && identity == awaited.identity
                && revision > awaited.above
            {
                found = Some(awaited);
            }
        }
        if let (Some(directory), Some(upto)) = (&mut known.directory, upto) {
            directory.set_have(upto);
        }
        found
    }
}

impl Known {
    fn subject(&mut self, entry: &DirectoryEntry) -> Option<Subject> {
        let digest = match entry {
            DirectoryEntry::Network(signed) => signed.body_digest(),
            DirectoryEntry::Member(signed) => signed.body_digest(),
            DirectoryEntry::Revocation(signed) => signed.body_digest(),
        };
        if let Some(subject) = self.subjects.get(&digest) {
            return *subject;
        }
        let subject = self.verified_subject(entry);
        self.subjects.insert(digest, subject);
        subject
    }

    fn verified_subject(&mut self, entry: &DirectoryEntry) -> Option<Subject> {
        let directory = self.directory.as_mut()?;
        if !directory.accept(vec![entry.clone()]).refused.is_empty() {
            return None;
        }
        let (scope, anybody) = (self.network.into(), |_: &IdentityKey| true);
        match entry {
            DirectoryEntry::Network(_) => None,
            DirectoryEntry::Member(signed) => {
                let cert = signed.verify(scope, anybody).ok()?;
                Some((cert.identity, cert.version.revision))
            }
            DirectoryEntry::Revocation(signed) => {
                let revocation = signed.verify(scope, anybody).ok()?;
                Some((revocation.identity, revocation.version.revision))
            }
        }
    }
}
