//! Whether the other end of a control connection may speak for a network's authority.
//!
//! Network id or join link or what was pinned -> root key -> keyring -> the key of the connection. Only when the whole
//! chain holds does the node ask to join, and only then does a join token leave it.

use tombolo_proto::{
    address::{self, Cost},
    config::Keyring,
    id::NodeId,
    key::{IdentityKey, KeyDigest},
    signed::Signed,
};

/// What is known about an authority beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The first half of its network ids.
    pub authority: NodeId,
    /// Its root key, once seen.
    pub pinned: Option<IdentityKey>,
    /// What a join link says of its root key.
    pub digest: Option<KeyDigest>,
    /// The newest keyring that this node holds.
    pub keyring: Option<Keyring>,
}

/// Why a controller is not believed, least hopeless first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Distrust {
    /// Its root key is right, but the keyring does not name it.
    #[error(
        "its key is not in the authority's keyring yet: admit it with `tombolo-controller keyring add`"
    )]
    NotAdmitted,
    /// The keyring that it shows names it, a newer one does not.
    #[error("its key was revoked: remove that controller")]
    Revoked,
    /// It speaks for somebody else.
    #[error(
        "it has another key than this network's authority: do not use it, and ask for a fresh join link"
    )]
    WrongKey,
}

impl Trust {
    /// Follows the chain. Takes a tenth of a second and 64 MiB as long as nothing is pinned.
    pub fn check(
        &self,
        root: IdentityKey,
        keyring: &Signed<Keyring>,
        connection: &IdentityKey,
    ) -> Result<Keyring, Distrust> {
        let is_root = match (self.pinned, self.digest) {
            (Some(pinned), _) => pinned == root,
            (None, Some(digest)) => digest == root.digest() && self.is_address_of(root),
            (None, None) => self.is_address_of(root),
        };
        if !is_root {
            return Err(Distrust::WrongKey);
        }
        let keyring = keyring
            .verify(Keyring::scope(self.authority), |signer| *signer == root)
            .map_err(|_| Distrust::WrongKey)?;
        // A key that was revoked goes on to show the keyring that named it.
        let newest = self
            .keyring
            .as_ref()
            .filter(|held| held.version > keyring.version)
            .unwrap_or(&keyring);
        if newest.replicas.contains(connection) {
            Ok(keyring)
        } else if keyring.replicas.contains(connection) {
            Err(Distrust::Revoked)
        } else {
            Err(Distrust::NotAdmitted)
        }
    }

    fn is_address_of(&self, root: IdentityKey) -> bool {
        address::of(&root, Cost::Authority) == Some(self.authority)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tombolo_proto::{
        id::Version,
        key::{IdentitySecret, Seed},
    };

    use super::*;

    #[test]
    fn the_pinned_root_and_a_key_in_its_keyring_are_believed() {
        let trust = a_trust(Some(a_key(1).public()), None);

        assert!(
            trust
                .check(a_key(1).public(), &a_keyring(&a_key(1)), &a_key(2).public())
                .is_ok()
        );
    }

    #[test]
    fn another_root_is_the_wrong_key_however_well_it_signs() {
        for trust in [
            a_trust(Some(a_key(1).public()), None),
            a_trust(None, Some(a_key(1).public().digest())),
            a_trust(Some(a_key(1).public()), Some(a_key(9).public().digest())),
            a_trust(None, None),
        ] {
            let verdict = trust.check(a_key(9).public(), &a_keyring(&a_key(9)), &a_key(2).public());
            assert_eq!(verdict, Err(Distrust::WrongKey));
        }
    }

    #[test]
    fn a_keyring_by_somebody_else_is_the_wrong_key() {
        let trust = a_trust(Some(a_key(1).public()), None);

        let verdict = trust.check(a_key(1).public(), &a_keyring(&a_key(9)), &a_key(2).public());

        assert_eq!(verdict, Err(Distrust::WrongKey));
    }

    #[test]
    fn a_replica_outside_the_keyring_is_not_admitted() {
        let trust = a_trust(Some(a_key(1).public()), None);

        let verdict = trust.check(a_key(1).public(), &a_keyring(&a_key(1)), &a_key(3).public());

        assert_eq!(verdict, Err(Distrust::NotAdmitted));
    }

    #[test]
    fn a_replica_that_was_revoked_is_refused_whatever_keyring_it_shows() {
        let newer = Keyring {
            version: Version::first_epoch(2),
            replicas: BTreeSet::from([a_key(3).public()]),
            endpoints: Vec::new(),
        };
        let trust = Trust {
            keyring: Some(newer),
            ..a_trust(Some(a_key(1).public()), None)
        };
        let check = |number| {
            trust.check(
                a_key(1).public(),
                &a_keyring(&a_key(1)),
                &a_key(number).public(),
            )
        };

        assert_eq!(check(2), Err(Distrust::Revoked));
        // One that has not heard of the newest keyring yet is named by it all the same.
        assert!(check(3).is_ok());
    }

    fn a_trust(pinned: Option<IdentityKey>, digest: Option<KeyDigest>) -> Trust {
        Trust {
            authority: an_authority(),
            pinned,
            digest,
            keyring: None,
        }
    }

    fn an_authority() -> NodeId {
        "8056c2e21c".parse().expect("an address")
    }

    fn a_keyring(root: &IdentitySecret) -> Signed<Keyring> {
        let keyring = Keyring {
            version: Version::first_epoch(1),
            replicas: BTreeSet::from([a_key(2).public()]),
            endpoints: Vec::new(),
        };
        Signed::sign(&keyring, Keyring::scope(an_authority()), root)
    }

    fn a_key(number: u8) -> IdentitySecret {
        Seed::from_bytes([number; 32]).identity()
    }
}
