//! ML-KEM-768 (FIPS 203), which an attacker with a quantum computer cannot undo. This is the only file that knows which
//! library does it.
//!
//! The library is RustCrypto's `ml-kem`: kept by the same people as the curve and the hash beside it and released often,
//! small and without C or build scripts, with arithmetic and comparisons free of secret-dependent branches and tables,
//! erases its secrets, and takes randomness as an argument, which the engine's own generator and reproducible tests
//! need. `aws-lc-rs`, which the control connection uses, draws its own randomness and would bring C into this crate;
//! `libcrux-ml-kem` is formally verified in parts but still changes its interface and platform code with every release.
//! Nobody outside has audited `ml-kem`; that is one more reason why it never makes a key alone.

use ml_kem::{
    B32, DecapsulationKey, EncapsulationKey, Key, MlKem768, Seed,
    kem::{Decapsulate as _, KeyExport as _},
};
use rand::{RngCore as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// Bytes of an encapsulation key.
pub const KEY: usize = 1184;
/// Bytes of a ciphertext.
pub const CIPHERTEXT: usize = 1088;
const SEED: usize = 64;

/// What the offerer sends. Not yet checked to be a proper key.
pub type KemKey = Exact<KEY>;
/// What the answerer sends.
pub type KemCiphertext = Exact<CIPHERTEXT>;
/// What both then know.
pub type KemSecret = Zeroizing<[u8; 32]>;

/// Exactly so many bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Exact<const LENGTH: usize>(Box<[u8; LENGTH]>);

impl<const LENGTH: usize> Exact<LENGTH> {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl<const LENGTH: usize> TryFrom<Vec<u8>> for Exact<LENGTH> {
    type Error = WrongLength;

    fn try_from(bytes: Vec<u8>) -> Result<Self, WrongLength> {
        bytes
            .into_boxed_slice()
            .try_into()
            .map(Self)
            .map_err(|_| WrongLength)
    }
}

impl<const LENGTH: usize> From<Exact<LENGTH>> for Vec<u8> {
    fn from(bytes: Exact<LENGTH>) -> Self {
        bytes.0.to_vec()
    }
}

impl<const LENGTH: usize> std::fmt::Debug for Exact<LENGTH> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{LENGTH} bytes]")
    }
}

/// Bytes of another length than a key or ciphertext has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wrong length")]
pub struct WrongLength;

/// The offerer's secret: the 64 bytes that FIPS 203 makes a key pair from. Erased when dropped.
pub struct KemSeed(Zeroizing<[u8; SEED]>);

impl std::fmt::Debug for KemSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KemSeed(…)")
    }
}

impl KemSeed {
    /// A fresh one.
    #[must_use]
    pub fn generate(rng: &mut StdRng) -> Self {
        let mut bytes = Zeroizing::new([0; SEED]);
        rng.fill_bytes(bytes.as_mut_slice());
        Self(bytes)
    }

    /// The one of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; SEED]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What to send.
    #[must_use]
    pub fn public(&self) -> KemKey {
        let bytes: [u8; KEY] = self.pair().encapsulation_key().to_bytes().into();
        Exact(Box::new(bytes))
    }

    /// The secret inside a ciphertext. One that was not made for this key gives a secret that nobody else knows
    /// (FIPS 203's implicit rejection), so the two sides' keys differ.
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &KemCiphertext) -> KemSecret {
        secret(self.pair().decapsulate(&(*ciphertext.0).into()))
    }

    fn pair(&self) -> DecapsulationKey<MlKem768> {
        let mut seed = Seed::from(*self.0);
        let pair = DecapsulationKey::from_seed(seed);
        seed.zeroize();
        pair
    }
}

/// Makes a secret for the owner of `key`. `None` if that is no proper key (FIPS 203 section 7.2).
#[must_use]
pub fn encapsulate(key: &KemKey, rng: &mut StdRng) -> Option<(KemCiphertext, KemSecret)> {
    let mut message = Zeroizing::new([0; 32]);
    rng.fill_bytes(message.as_mut_slice());
    encapsulate_message(key, *message)
}

/// [`encapsulate`] with given randomness, which must be 32 fresh bytes.
#[must_use]
pub fn encapsulate_message(key: &KemKey, message: [u8; 32]) -> Option<(KemCiphertext, KemSecret)> {
    let key =
        EncapsulationKey::<MlKem768>::new(&Key::<EncapsulationKey<MlKem768>>::from(*key.0)).ok()?;
    let mut message = B32::from(message);
    let (ciphertext, shared) = key.encapsulate_deterministic(&message);
    message.zeroize();
    let bytes: [u8; CIPHERTEXT] = ciphertext.into();
    Some((Exact(Box::new(bytes)), secret(shared)))
}

fn secret(mut shared: B32) -> KemSecret {
    let copy = Zeroizing::new(shared.into());
    shared.zeroize();
    copy
}

#[cfg(test)]
mod tests;
