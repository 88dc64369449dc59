//! Turns documents into signed blobs, before they are committed. Holds the replica's key and the newest keyring; the root
//! key is none of its business.

use std::sync::{Arc, PoisonError, RwLock};

use tombolo_domain::compile::Documents;
use tombolo_proto::{
    config::{DirectoryEntry, Keyring},
    id::{Epoch, NetworkId, NodeId, UnixSeconds},
    key::{IdentityKey, IdentitySecret},
    signed::{Signed, VerifyError},
};

use crate::store::SignedDocument;

/// A keyring with the root key's signature.
#[derive(Debug)]
pub struct HeldKeyring {
    /// What it says.
    pub keyring: Keyring,
    /// As nodes get it.
    pub signed: Signed<Keyring>,
}

/// This replica's key and the newest keyring that it knows.
#[derive(Debug)]
pub struct Signer {
    authority: NodeId,
    root: IdentityKey,
    replica: IdentitySecret,
    held: RwLock<Arc<HeldKeyring>>,
}

impl Signer {
    pub(crate) fn new(
        authority: NodeId,
        root: IdentityKey,
        replica: IdentitySecret,
        held: HeldKeyring,
    ) -> Self {
        Self {
            authority,
            root,
            replica,
            held: RwLock::new(Arc::new(held)),
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

    /// The newest keyring.
    #[must_use]
    pub fn held(&self) -> Arc<HeldKeyring> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The epoch that documents are signed in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.held().keyring.version.epoch
    }

    /// Whether the newest keyring names this replica.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.held()
            .keyring
            .replicas
            .contains(&self.replica.public())
    }

    /// What a keyring says, if the root key signed it.
    pub(crate) fn verify(&self, signed: &Signed<Keyring>) -> Result<Keyring, VerifyError> {
        signed.verify(Keyring::scope(self.authority), |signer| {
            *signer == self.root
        })
    }

    /// Takes a keyring that is newer than the one held. Tells whether it was.
    pub(crate) fn take(&self, signed: Signed<Keyring>) -> Result<bool, VerifyError> {
        let keyring = self.verify(&signed)?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let is_newer = keyring.version > held.keyring.version;
        if is_newer {
            *held = Arc::new(HeldKeyring { keyring, signed });
        }
        Ok(is_newer)
    }

    /// Signs what a decision needs.
    #[must_use]
    pub fn sign(&self, network: NetworkId, documents: &Documents) -> Vec<SignedDocument> {
        let scope = network.into();
        let key = &self.replica;
        let own = documents.network.iter().map(|doc| SignedDocument {
            version: doc.version,
            identity: None,
            issued_at: UnixSeconds(0),
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
