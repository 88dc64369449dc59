//! The next keyring: which replicas may sign, and where nodes find them. Whoever holds the root key signs what is drafted
//! here; nothing of it counts before.

use std::collections::BTreeSet;

use tombolo_proto::{
    config::Keyring,
    id::{Epoch, Revision, Version},
    key::IdentityKey,
    link::HostPort,
};

/// Most replicas of one authority: the keyring travels to every node.
pub const MAX_REPLICAS: usize = 32;
/// Most endpoints in a keyring.
const MAX_ENDPOINTS: usize = 128;

/// A replica that has registered itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its signing key.
    pub key: IdentityKey,
    /// Where nodes reach it.
    pub endpoints: Vec<HostPort>,
    /// Whether its key was revoked.
    pub revoked: bool,
}

/// What shall become different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// These replicas may sign as well. What replicas say of their endpoints is taken over.
    Admit(BTreeSet<IdentityKey>),
    /// So may every replica that waits.
    AdmitPending,
    /// This one may not any more. A new epoch: nothing that it ever signed counts.
    Revoke(IdentityKey),
}

/// Why there is no such keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its variant means")]
pub enum KeyringRefusal {
    #[error(
        "no replica with the key {0} has registered: start it with the URL of this store, then repeat"
    )]
    Unknown(IdentityKey),
    #[error(
        "the key {0} was revoked and never comes back: delete replica.key on that machine and start it again"
    )]
    Revoked(IdentityKey),
    #[error(
        "the key {0} is not in the keyring: `tombolo-controller keyring show` tells those that are"
    )]
    NotAdmitted(IdentityKey),
    #[error(
        "{0} is the only replica that may sign: admit another one first, or nobody could sign the new epoch"
    )]
    Last(IdentityKey),
    #[error(
        "the keyring has used up its {0}: it takes a new authority to go on, with networks of other ids"
    )]
    UsedUp(&'static str),
    #[error("a keyring holds at most {MAX_REPLICAS} replicas: revoke those that are gone")]
    TooMany,
}

/// The keyring after `current`. Equal to it in all but the version if nothing changes.
pub fn draft(
    current: &Keyring,
    registered: &[Replica],
    edit: &Edit,
) -> Result<Keyring, KeyringRefusal> {
    let mut replicas = current.replicas.clone();
    let mut epoch = current.version.epoch;
    match edit {
        Edit::Admit(keys) => {
            for key in keys.difference(&current.replicas) {
                match registered.iter().find(|replica| replica.key == *key) {
                    None => return Err(KeyringRefusal::Unknown(*key)),
                    Some(replica) if replica.revoked => return Err(KeyringRefusal::Revoked(*key)),
                    Some(_) => {}
                }
                replicas.insert(*key);
            }
        }
        Edit::AdmitPending => {
            let waiting = registered.iter().filter(|replica| !replica.revoked);
            replicas.extend(waiting.map(|replica| replica.key));
        }
        Edit::Revoke(key) => {
            if !replicas.remove(key) {
                return Err(KeyringRefusal::NotAdmitted(*key));
            }
            if replicas.is_empty() {
                return Err(KeyringRefusal::Last(*key));
            }
            epoch = Epoch(next(epoch.0).ok_or(KeyringRefusal::UsedUp("epochs"))?);
        }
    }
    if replicas.len() > MAX_REPLICAS {
        return Err(KeyringRefusal::TooMany);
    }
    let revision = next(current.version.revision.0).ok_or(KeyringRefusal::UsedUp("revisions"))?;
    let mut endpoints = Vec::new();
    for replica in registered {
        if replicas.contains(&replica.key) {
            for endpoint in &replica.endpoints {
                if !endpoints.contains(endpoint) {
                    endpoints.push(endpoint.clone());
                }
            }
        }
    }
    endpoints.truncate(MAX_ENDPOINTS);
    Ok(Keyring {
        version: Version {
            epoch,
            revision: Revision(revision),
        },
        replicas,
        endpoints,
    })
}

/// The next number, as long as stores can hold it: their integers have a sign.
fn next(number: u64) -> Option<u64> {
    (number < i64::MAX as u64).then(|| number + 1)
}

/// Whether `next` says anything that `current` does not.
#[must_use]
pub fn differs(current: &Keyring, next: &Keyring) -> bool {
    current.version.epoch != next.version.epoch
        || current.replicas != next.replicas
        || current.endpoints != next.endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_replica_is_admitted_with_its_endpoints() {
        let registered = [a_replica(1), a_replica(2)];

        let next = draft(&a_keyring(&[1]), &registered, &Edit::AdmitPending).expect("a keyring");

        assert_eq!(next.replicas, BTreeSet::from([key(1), key(2)]));
        assert_eq!(next.endpoints.len(), 2);
        assert_eq!(next.version, Version::first_epoch(8));
    }

    #[test]
    fn a_revoked_replica_never_comes_back() {
        let revoked = Replica {
            revoked: true,
            ..a_replica(2)
        };
        let registered = [a_replica(1), revoked];
        let admit = Edit::Admit(BTreeSet::from([key(2)]));

        let all = draft(&a_keyring(&[1]), &registered, &Edit::AdmitPending).expect("a keyring");

        assert_eq!(all.replicas, BTreeSet::from([key(1)]));
        assert_eq!(
            draft(&a_keyring(&[1]), &registered, &admit),
            Err(KeyringRefusal::Revoked(key(2)))
        );
    }

    #[test]
    fn a_revocation_raises_the_epoch_and_spares_the_last_replica() {
        let registered = [a_replica(1), a_replica(2)];

        let next =
            draft(&a_keyring(&[1, 2]), &registered, &Edit::Revoke(key(1))).expect("a keyring");

        assert_eq!(next.version.epoch, Epoch(1));
        assert_eq!(next.replicas, BTreeSet::from([key(2)]));
        assert_eq!(next.endpoints, a_replica(2).endpoints);
        assert_eq!(
            draft(&next, &registered, &Edit::Revoke(key(2))),
            Err(KeyringRefusal::Last(key(2)))
        );
    }

    #[test]
    fn the_last_epoch_and_the_last_revision_are_the_last() {
        let registered = [a_replica(1), a_replica(2)];
        let with_version = |epoch, revision| Keyring {
            version: Version {
                epoch: Epoch(epoch),
                revision: Revision(revision),
            },
            ..a_keyring(&[1, 2])
        };
        for highest in [i64::MAX as u64, u64::MAX] {
            let revoke = Edit::Revoke(key(1));
            let last_epoch = draft(&with_version(highest, 7), &registered, &revoke);
            assert_eq!(last_epoch, Err(KeyringRefusal::UsedUp("epochs")));
            let last_revision = draft(&with_version(0, highest), &registered, &revoke);
            assert_eq!(last_revision, Err(KeyringRefusal::UsedUp("revisions")));
        }
    }

    #[test]
    fn a_stranger_is_not_admitted() {
        let admit = Edit::Admit(BTreeSet::from([key(9)]));

        let refused = draft(&a_keyring(&[1]), &[a_replica(1)], &admit);

        assert_eq!(refused, Err(KeyringRefusal::Unknown(key(9))));
    }

    fn key(number: u8) -> IdentityKey {
        IdentityKey([number; 32])
    }

    fn a_replica(number: u8) -> Replica {
        Replica {
            key: key(number),
            endpoints: vec![
                format!("192.0.2.{number}:9791")
                    .parse()
                    .expect("host and port"),
            ],
            revoked: false,
        }
    }

    fn a_keyring(replicas: &[u8]) -> Keyring {
        Keyring {
            version: Version::first_epoch(7),
            replicas: replicas.iter().copied().map(key).collect(),
            endpoints: Vec::new(),
        }
    }
}
