//! The signed documents of every network as this replica last saw them: what it serves, whether the store can be
//! asked or not.

use std::collections::BTreeMap;

use dashmap::DashMap;
use tombolo_proto::{
    config::DirectoryEntry,
    id::{Epoch, NetworkId, Revision, Version},
    key::IdentityKey,
};

use crate::store::SignedDocument;

/// A document's place: there is one of each kind for an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Network,
    Member(IdentityKey),
    Revocation(IdentityKey),
}

impl Place {
    pub(crate) const fn of(document: &SignedDocument) -> Self {
        match (&document.entry, document.identity) {
            (DirectoryEntry::Member(_), Some(identity)) => Self::Member(identity),
            (DirectoryEntry::Revocation(_), Some(identity)) => Self::Revocation(identity),
            (DirectoryEntry::Network(_), _) | (_, None) => Self::Network,
        }
    }
}

/// Documents by network.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    networks: DashMap<NetworkId, Held>,
}

/// The documents of one network.
#[derive(Debug, Default)]
struct Held {
    places: BTreeMap<Place, Version>,
    documents: BTreeMap<(Version, Place), DirectoryEntry>,
    /// The epoch of which every document is here, up to what was told of the network last.
    whole: Option<Epoch>,
}

impl Held {
    fn take(&mut self, place: Place) {
        if let Some(version) = self.places.remove(&place) {
            self.documents.remove(&(version, place));
        }
    }

    fn is_older(&self, place: Place, version: Version) -> bool {
        self.places.get(&place).is_some_and(|held| *held < version)
    }
}

impl Blobs {
    /// Takes documents that are newer than those held. A revocation takes the certificate's place, as in the store.
    pub(crate) fn add(&self, network: NetworkId, documents: &[SignedDocument]) {
        let mut held = self.networks.entry(network).or_default();
        for document in documents {
            let (place, version) = (Place::of(document), document.version);
            if held.places.contains_key(&place) && !held.is_older(place, version) {
                continue;
            }
            if let Place::Revocation(identity) = place
                && held.is_older(Place::Member(identity), version)
            {
                held.take(Place::Member(identity));
            }
            held.take(place);
            held.places.insert(place, version);
            held.documents
                .insert((version, place), document.entry.clone());
        }
    }

    /// From now on every document of this epoch is held.
    pub(crate) fn set_whole(&self, network: NetworkId, epoch: Epoch) {
        self.networks.entry(network).or_default().whole = Some(epoch);
    }

    /// Whether every document of this epoch is held.
    pub(crate) fn is_whole(&self, network: NetworkId, epoch: Epoch) -> bool {
        self.networks
            .get(&network)
            .is_some_and(|held| held.whole == Some(epoch))
    }

    /// Documents above a version, in order of version.
    pub(crate) fn above(&self, network: NetworkId, have: Version) -> Vec<DirectoryEntry> {
        let Some(held) = self.networks.get(&network) else {
            return Vec::new();
        };
        let next = Version {
            revision: Revision(have.revision.0.saturating_add(1)),
            ..have
        };
        // No place is before the network's own.
        let above = held.documents.range((next, Place::Network)..);
        above.map(|(_, entry)| entry.clone()).collect()
    }

    pub(crate) fn forget(&self, network: NetworkId) {
        self.networks.remove(&network);
    }

    pub(crate) fn forget_all(&self) {
        self.networks.clear();
    }
}
