//! The signed documents of every network as this replica last saw them: what it serves while the store cannot be asked.

use std::collections::BTreeMap;

use dashmap::DashMap;
use tombolo_proto::{
    config::DirectoryEntry,
    id::{NetworkId, Version},
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
    networks: DashMap<NetworkId, BTreeMap<Place, (Version, DirectoryEntry)>>,
}

impl Blobs {
    /// Takes documents that are newer than those held. A revocation takes the certificate's place, as in the store.
    pub(crate) fn add(&self, network: NetworkId, documents: &[SignedDocument]) {
        let mut held = self.networks.entry(network).or_default();
        for document in documents {
            let place = Place::of(document);
            let is_newer = held
                .get(&place)
                .is_none_or(|(version, _)| *version < document.version);
            if !is_newer {
                continue;
            }
            if let Place::Revocation(identity) = place {
                let is_over = |(version, _): &(Version, _)| *version < document.version;
                if held.get(&Place::Member(identity)).is_some_and(is_over) {
                    held.remove(&Place::Member(identity));
                }
            }
            held.insert(place, (document.version, document.entry.clone()));
        }
    }

    /// Whether documents of this network are held.
    pub(crate) fn has(&self, network: NetworkId) -> bool {
        self.networks.contains_key(&network)
    }

    /// Documents above a version, in order of version.
    pub(crate) fn above(&self, network: NetworkId, have: Version) -> Vec<DirectoryEntry> {
        let Some(held) = self.networks.get(&network) else {
            return Vec::new();
        };
        let mut above: Vec<_> = held
            .values()
            .filter(|(version, _)| *version > have)
            .collect();
        above.sort_by_key(|(version, _)| *version);
        above.into_iter().map(|(_, entry)| entry.clone()).collect()
    }

    pub(crate) fn forget(&self, network: NetworkId) {
        self.networks.remove(&network);
    }

    pub(crate) fn forget_all(&self) {
        self.networks.clear();
    }
}
