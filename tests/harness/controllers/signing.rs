//! Documents with a replica's signature.

use tombolo_domain::compile::Documents;
use tombolo_proto::{
    config::DirectoryEntry,
    id::{NetworkId, Version},
    key::IdentitySecret,
    signed::Signed,
};

use super::store::{Place, Said};

/// A document as it is stored and served.
#[derive(Debug, Clone)]
pub(super) struct SignedDocument {
    pub(super) place: Place,
    pub(super) version: Version,
    pub(super) entry: DirectoryEntry,
    pub(super) said: Said,
}

/// Documents above a version, in order of version.
pub(super) fn above<'a>(
    documents: impl Iterator<Item = &'a SignedDocument>,
    have: Version,
) -> Vec<SignedDocument> {
    let mut above: Vec<SignedDocument> = documents
        .filter(|document| document.version > have)
        .cloned()
        .collect();
    above.sort_by_key(|document| document.version);
    above
}

/// Signs what a decision needs.
pub(super) fn sign(
    network: NetworkId,
    documents: Documents,
    key: &IdentitySecret,
) -> Vec<SignedDocument> {
    let scope = network.into();
    let own = documents.network.into_iter().map(|doc| SignedDocument {
        place: Place::Network,
        version: doc.version,
        entry: DirectoryEntry::Network(Signed::sign(&doc, scope, key)),
        said: Said::Network(doc),
    });
    let certs = documents.certs.into_iter().map(|cert| SignedDocument {
        place: Place::Member(cert.identity),
        version: cert.version,
        entry: DirectoryEntry::Member(Signed::sign(&cert, scope, key)),
        said: Said::Member(cert),
    });
    let revocations = documents
        .revocations
        .into_iter()
        .map(|revocation| SignedDocument {
            place: Place::Revocation(revocation.identity),
            version: revocation.version,
            entry: DirectoryEntry::Revocation(Signed::sign(&revocation, scope, key)),
            said: Said::Revocation(revocation),
        });
    own.chain(certs).chain(revocations).collect()
}
