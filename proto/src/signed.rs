//! Signatures over documents. [`Signed::verify`] is the only way from received bytes to a document that may be acted on.
//!
//! The signature covers `label | network id | SHA-256(body)`: a document of one kind or network never passes for another.

use core::{fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::{
    id::NetworkId,
    key::{IdentityKey, IdentitySecret},
    wire::{self, DecodeError},
};

/// A kind of document that can be signed.
pub trait Document: Serialize + DeserializeOwned {
    /// Domain separation: distinct for every kind and version of document.
    const LABEL: &'static str;
}

/// Why a signed document was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The signer is not one that may sign this.
    #[error("signed by a key that may not sign it")]
    UntrustedSigner,
    /// The signature does not match.
    #[error("the signature does not match")]
    BadSignature,
    /// The signature is right, the body is not a document.
    #[error("the body is malformed: {0}")]
    Body(#[from] DecodeError),
}

/// A document as it travels and as it is stored: encoded once, with its signature.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<T> {
    signer: IdentityKey,
    signature: Signature,
    body: Bytes,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T: Document> Signed<T> {
    /// Encodes and signs. `scope` is the network the document belongs to (see [`crate::config::Keyring::scope`]).
    #[must_use]
    pub fn sign(document: &T, scope: NetworkScope, key: &IdentitySecret) -> Self {
        let body = Bytes::from(wire::encode(document));
        let signature = Signature::from_bytes(key.sign(&message::<T>(scope, &body)));
        Self {
            signer: key.public(),
            signature,
            body,
            kind: PhantomData,
        }
    }

    /// Checks signer, signature and form, in this order.
    pub fn verify(
        &self,
        scope: NetworkScope,
        may_sign: impl Fn(&IdentityKey) -> bool,
    ) -> Result<T, VerifyError> {
        if !may_sign(&self.signer) {
            return Err(VerifyError::UntrustedSigner);
        }
        if !self
            .signer
            .verifies(&message::<T>(scope, &self.body), &self.signature.to_bytes())
        {
            return Err(VerifyError::BadSignature);
        }
        Ok(wire::decode(&self.body)?)
    }
}

impl<T> Signed<T> {
    /// Who claims to have signed. Worth nothing before [`Self::verify`].
    #[must_use]
    pub const fn signer(&self) -> IdentityKey {
        self.signer
    }

    /// SHA-256 of the body: equality of documents is judged on this, never on signature bytes.
    #[must_use]
    pub fn body_digest(&self) -> [u8; 32] {
        Sha256::digest(&self.body).into()
    }
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self {
            signer: self.signer,
            signature: self.signature,
            body: self.body.clone(),
            kind: PhantomData,
        }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.signer == other.signer && self.signature == other.signature && self.body == other.body
    }
}

impl<T> Eq for Signed<T> {}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} bytes by {})", self.body.len(), self.signer)
    }
}

/// What a signature is bound to: a network id, or an authority (its id with network number 0) for the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkScope(pub(crate) u64);

impl From<NetworkId> for NetworkScope {
    fn from(network: NetworkId) -> Self {
        Self(network.get())
    }
}

fn message<T: Document>(scope: NetworkScope, body: &[u8]) -> Vec<u8> {
    let digest = Sha256::digest(body);
    [T::LABEL.as_bytes(), b"\0", &scope.0.to_be_bytes(), &digest].concat()
}

/// 64 bytes of Ed25519 signature; two halves because serde stops at arrays of 32.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Signature([u8; 32], [u8; 32]);

impl Signature {
    fn from_bytes(bytes: [u8; 64]) -> Self {
        let mut halves = Self([0; 32], [0; 32]);
        let (first, second) = bytes.split_at(32);
        halves.0.copy_from_slice(first);
        halves.1.copy_from_slice(second);
        halves
    }

    fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let (first, second) = bytes.split_at_mut(32);
        first.copy_from_slice(&self.0);
        second.copy_from_slice(&self.1);
        bytes
    }
}
