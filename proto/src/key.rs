//! Keys. One 32-byte seed per node gives an Ed25519 identity and, per network and key epoch, an X25519 transport key,
//! so that transport keys rotate and leaving one network never touches another.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::id::NetworkId;

const IDENTITY_LABEL: &[u8] = b"tombolo/identity/ed25519/v1";
const TRANSPORT_LABEL: &[u8] = b"tombolo/transport/x25519/v1";

/// The one secret a node or an authority keeps. Never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Takes 32 bytes from a cryptographic random source.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the key file alone.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The Ed25519 identity of this seed.
    #[must_use]
    pub fn identity(&self) -> IdentitySecret {
        IdentitySecret(SigningKey::from_bytes(&self.derive(&[IDENTITY_LABEL])))
    }

    /// The X25519 key for one network; a new `key_epoch` gives an unrelated key.
    #[must_use]
    pub fn transport(&self, network: NetworkId, key_epoch: u32) -> TransportSecret {
        let bytes = self.derive(&[
            TRANSPORT_LABEL,
            &network.get().to_be_bytes(),
            &key_epoch.to_be_bytes(),
        ]);
        TransportSecret(x25519_dalek::StaticSecret::from(bytes))
    }

    fn derive(&self, info: &[&[u8]]) -> [u8; 32] {
        let mut out = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand_multi_info(info, &mut out)
            .expect("32 bytes are within the limit of HKDF-SHA256");
        out
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// Ed25519 signing key of a node, an authority or a replica.
#[derive(Clone)]
pub struct IdentitySecret(SigningKey);

impl IdentitySecret {
    /// The public half.
    #[must_use]
    pub fn public(&self) -> IdentityKey {
        IdentityKey(self.0.verifying_key().to_bytes())
    }

    /// Signs raw bytes. Callers put a domain label in front: see [`crate::signed`].
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// PKCS#8 DER (RFC 8410), as TLS libraries take it.
    #[must_use]
    pub fn to_pkcs8(&self) -> Vec<u8> {
        use ed25519_dalek::pkcs8::EncodePrivateKey as _;
        self.0
            .to_pkcs8_der()
            .expect("an Ed25519 key always encodes")
            .as_bytes()
            .to_vec()
    }
}

impl fmt::Debug for IdentitySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentitySecret({})", self.public())
    }
}

/// Ed25519 public key: who somebody is. Written as 52 characters of lower-case base32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityKey(pub [u8; 32]);

impl IdentityKey {
    /// SubjectPublicKeyInfo prefix of an Ed25519 key (RFC 8410 section 4): the raw key follows.
    const SPKI_PREFIX: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];

    /// Whether `signature` over `message` is by this key, by the strict rules (no small-order keys, no malleability).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else {
            return false;
        };
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature))
            .is_ok()
    }

    /// DER SubjectPublicKeyInfo, the form of RFC 7250 raw public keys.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        [&Self::SPKI_PREFIX[..], &self.0[..]].concat()
    }

    /// The inverse of [`Self::to_spki`]; `None` for anything but exactly an Ed25519 key.
    #[must_use]
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let raw = der.strip_prefix(&Self::SPKI_PREFIX[..])?;
        Some(Self(raw.try_into().ok()?))
    }

    /// SHA-256 of the key: what a join link carries.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.0).into())
    }
}

/// SHA-256 of an identity key, 52 characters of base32 in a join link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest(pub [u8; 32]);

/// X25519 secret of one node in one network. Never printed.
#[derive(Clone)]
pub struct TransportSecret(x25519_dalek::StaticSecret);

impl TransportSecret {
    /// The public half.
    #[must_use]
    pub fn public(&self) -> TransportKey {
        TransportKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// The secret itself, for the handshake.
    #[must_use]
    pub const fn expose(&self) -> &x25519_dalek::StaticSecret {
        &self.0
    }
}

impl fmt::Debug for TransportSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportSecret({})", self.public())
    }
}

/// X25519 public key of one node in one network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportKey(pub [u8; 32]);

/// Why a piece of text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 52 characters of lower-case base32")]
pub struct ParseKeyError;

macro_rules! base32_text {
    ($($type:ident),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base32().encode(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl core::str::FromStr for $type {
            type Err = ParseKeyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = base32().decode(text.as_bytes()).map_err(|_| ParseKeyError)?;
                Ok(Self(bytes.try_into().map_err(|_| ParseKeyError)?))
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    )*};
}

base32_text!(IdentityKey, TransportKey, KeyDigest);

/// RFC 4648 base32, lower case, without padding: nothing in it needs quoting in a shell.
fn base32() -> &'static data_encoding::Encoding {
    static BASE32: std::sync::OnceLock<data_encoding::Encoding> = std::sync::OnceLock::new();
    BASE32.get_or_init(|| {
        let mut spec = data_encoding::Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        spec.encoding().expect("32 distinct symbols")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_prints_a_secret() {
        let seed = Seed::from_bytes([0xab; 32]);
        let network = NetworkId::from_bits(0x8056_c2e2_1c00_0001).expect("a valid id");

        let printed = format!(
            "{seed:?} {:?} {:?}",
            seed.identity(),
            seed.transport(network, 0)
        );

        assert!(
            !printed.contains("abab") && !printed.contains("171, 171"),
            "{printed}"
        );
    }

    #[test]
    fn networks_and_epochs_have_unrelated_transport_keys() {
        let seed = Seed::from_bytes([1; 32]);
        let one = NetworkId::from_bits(0x8056_c2e2_1c00_0001).expect("a valid id");
        let two = NetworkId::from_bits(0x8056_c2e2_1c00_0002).expect("a valid id");

        assert_ne!(
            seed.transport(one, 0).public(),
            seed.transport(two, 0).public()
        );
        assert_ne!(
            seed.transport(one, 0).public(),
            seed.transport(one, 1).public()
        );
    }

    #[test]
    fn spki_round_trips_and_refuses_other_algorithms() {
        let key = Seed::from_bytes([2; 32]).identity().public();
        let mut der = key.to_spki();

        assert_eq!(IdentityKey::from_spki(&der), Some(key));
        der[8] ^= 1;
        assert_eq!(IdentityKey::from_spki(&der), None);
    }
}
