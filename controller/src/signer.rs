//! Turns documents into signed blobs, before they are committed. Holds the replica's key; the root key signs keyrings
//! only, when the controller starts.

use tombolo_domain::compile::Documents;
use tombolo_proto::{
    config::{DirectoryEntry, Keyring},
    id::{Epoch, NetworkId, NodeId},
    key::{IdentityKey, IdentitySecret},
    signed::Signed,
};

use crate::store::SignedDocument;

/// This replica's key and the keyring it stands in.
#[derive(Debug)]
pub struct Signer {
    authority: NodeId,
    root: IdentityKey,
    replica: IdentitySecret,
    keyring: Keyring,
    signed_keyring: Signed<Keyring>,
}

impl Signer {
    pub(crate) const fn new(
        authority: NodeId,
        root: IdentityKey,
        replica: IdentitySecret,
        keyring: Keyring,
        signed_keyring: Signed<Keyring>,
    ) -> Self {
        Self {
            authority,
            root,
            replica,
            keyring,
            signed_keyring,
        }
    }

    /// The authority's address: the first part of every network id.
    #[must_use]
    pub const fn authority(&self) -> NodeId {
        self.authority
    }

    /// The authority's root key.
    #[must_use]
    pub const fn root(&self) -> IdentityKey {
        self.root
    }

    /// This replica's key, with which it also proves itself on the control channel.
    #[must_use]
    pub const fn replica(&self) -> &IdentitySecret {
        &self.replica
    }

    /// The epoch that documents are signed in.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.keyring.version.epoch
    }

    /// The keyring.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The keyring as nodes get it.
    #[must_use]
    pub const fn signed_keyring(&self) -> &Signed<Keyring> {
        &self.signed_keyring
    }

    /// Signs what a decision needs.
    #[must_use]
    pub fn sign(&self, network: NetworkId, documents: &Documents) -> Vec<SignedDocument> {
        let scope = network.into();
        let key = &self.replica;
        let own = documents.network.iter().map(|doc| SignedDocument {
            version: doc.version,
            identity: None,
            issued_at: tombolo_proto::id::UnixSeconds(0),
            entry: DirectoryEntry::Network(Signed::sign(doc, scope, key)),
        });
        let certs = documents.certs.iter().map(|cert| SignedDocument {
            version: cert.version,
            identity: Some(cert.identity),
            issued_at: cert.issued_at,
            entry: DirectoryEntry::Member(Signed::sign(cert, scope, key)),
        });
        let revocations = documents
            .revocations
            .iter()
            .map(|revocation| SignedDocument {
                version: revocation.version,
                identity: Some(revocation.identity),
                issued_at: revocation.issued_at,
                entry: DirectoryEntry::Revocation(Signed::sign(revocation, scope, key)),
            });
        own.chain(certs).chain(revocations).collect()
    }
}
