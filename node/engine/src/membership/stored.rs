//! The form of a directory on disk: signed documents only, so that reading it back verifies everything again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tombolo_proto::{
    config::{DirectoryEntry, Keyring, MemberCert, NetworkDoc},
    id::{NetworkId, UnixSeconds, Version},
    key::IdentityKey,
    signed::Signed,
    wire,
};

use super::{Directory, Held, Refused, rollover::Rollover, verified_by, verified_keyring};

#[derive(Serialize, Deserialize)]
struct Stored {
    keyring: Signed<Keyring>,
    have: Version,
    entries: Vec<DirectoryEntry>,
    rollover: Option<StoredRollover>,
}

/// The entries are in no order of epoch: each is proven by one of the keyrings.
#[derive(Serialize, Deserialize)]
struct StoredRollover {
    since: UnixSeconds,
    keyrings: Vec<Signed<Keyring>>,
    doc: Option<Signed<NetworkDoc>>,
    members: Vec<Signed<MemberCert>>,
}

impl Directory {
    /// The form on disk.
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
            rollover: self.rollover.as_ref().map(StoredRollover::of),
        })
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(network: NetworkId, root: IdentityKey, bytes: &[u8]) -> Result<Self, Refused> {
        let stored: Stored = wire::decode_unbounded(bytes).map_err(|_| Refused::Damaged)?;
        let mut directory = Self::new(network, root, stored.keyring)?;
        // What does not verify counts for nothing.
        let _ = directory.accept(stored.entries);
        directory.set_have(stored.have);
        directory.rollover = stored
            .rollover
            .map(|rollover| rollover.verified(network, root))
            .transpose()?;
        Ok(directory)
    }
}

impl StoredRollover {
    fn of(rollover: &Rollover) -> Self {
        Self {
            since: rollover.since,
            keyrings: rollover
                .keyrings
                .values()
                .map(|held| held.signed.clone())
                .collect(),
            doc: rollover.doc.as_ref().map(|held| held.signed.clone()),
            members: rollover
                .members
                .values()
                .map(|held| held.signed.clone())
                .collect(),
        }
    }

    fn verified(self, network: NetworkId, root: IdentityKey) -> Result<Rollover, Refused> {
        let keyrings: Vec<Held<Keyring>> = self
            .keyrings
            .into_iter()
            .map(|signed| verified_keyring(network, root, signed))
            .collect::<Result<_, _>>()?;
        let by_any = keyrings.iter().map(|held| &held.document);
        let doc = self.doc.and_then(|signed| {
            by_any
                .clone()
                .find_map(|keyring| verified_by(keyring, network, signed.clone()).ok())
        });
        let members = self.members.into_iter().filter_map(|signed| {
            by_any
                .clone()
                .find_map(|keyring| verified_by(keyring, network, signed.clone()).ok())
        });
        let members = members
            .map(|held: Held<MemberCert>| (held.document.identity, Arc::new(held)))
            .collect();
        Ok(Rollover {
            since: self.since,
            doc,
            members,
            keyrings: keyrings
                .into_iter()
                .map(|held| (held.version().epoch, held))
                .collect(),
        })
    }
}
