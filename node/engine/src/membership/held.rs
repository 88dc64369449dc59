//! One document that was verified, and which of two counts.

use std::{collections::BTreeMap, sync::Arc};

use tombolo_proto::{
    config::{CLOCK_TOLERANCE_SECONDS, Keyring, MemberCert, NetworkDoc, Revocation},
    id::{NetworkId, UnixSeconds, Version},
    key::IdentityKey,
    signed::{Document, Signed},
};

use super::Refused;

/// A verified document with the bytes that prove it.
#[derive(Debug, Clone)]
pub(super) struct Held<T> {
    pub(super) signed: Signed<T>,
    pub(super) document: T,
}

impl<T: Versioned> Held<T> {
    pub(super) fn version(&self) -> Version {
        self.document.version()
    }
}

pub(super) trait Versioned {
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

/// Whether everything in `part` is in `whole` unchanged. What two versions of a directory have in common they share.
pub(super) fn contains<T>(
    whole: &BTreeMap<IdentityKey, Arc<T>>,
    part: &BTreeMap<IdentityKey, Arc<T>>,
) -> bool {
    part.iter()
        .all(|(key, old)| whole.get(key).is_some_and(|new| Arc::ptr_eq(new, old)))
}

/// Whether `candidate` replaces `current`. Equality is judged on the body, never on signature bytes.
pub(super) fn supersedes<T: Versioned>(
    candidate: &Held<T>,
    current: Option<&Held<T>>,
) -> Result<bool, Refused> {
    let Some(current) = current else {
        return Ok(true);
    };
    if candidate.version() == current.version()
        && candidate.signed.body_digest() != current.signed.body_digest()
    {
        return Err(Refused::Equivocation {
            version: candidate.version(),
            kept: current.signed.signer(),
            other: candidate.signed.signer(),
        });
    }
    Ok(candidate.version() > current.version())
}

/// Whether a revocation makes a certificate of this version void.
pub(super) fn is_void(version: Version, revocation: &Revocation) -> bool {
    (version.epoch, version.revision) <= (revocation.version.epoch, revocation.serial_floor)
}

pub(super) fn is_current(cert: &MemberCert, wall: UnixSeconds) -> bool {
    wall.0 <= cert.not_after.0.saturating_add(CLOCK_TOLERANCE_SECONDS)
}

pub(super) fn verified_by<T: Document + Versioned>(
    keyring: &Keyring,
    network: NetworkId,
    signed: Signed<T>,
) -> Result<Held<T>, Refused> {
    let document = signed.verify(network.into(), |signer| keyring.replicas.contains(signer))?;
    if document.version().epoch != keyring.version.epoch {
        return Err(Refused::WrongEpoch(document.version()));
    }
    Ok(Held { signed, document })
}

pub(super) fn verified_keyring(
    network: NetworkId,
    root: IdentityKey,
    signed: Signed<Keyring>,
) -> Result<Held<Keyring>, Refused> {
    let document = signed.verify(Keyring::scope(network.authority()), |signer| {
        *signer == root
    })?;
    Ok(Held { signed, document })
}
