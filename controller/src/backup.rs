//! A backup: one file with everything a controller needs to go on elsewhere, the keys included.
//!
//! ```text
//! "tombolo backup 1\n" | 0 | signed contents
//! "tombolo backup 1\n" | 1 | salt (16) | nonce (12) | AES-256-GCM of signed contents
//! ```

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tombolo_proto::{
    address::{self, Cost},
    config::Keyring,
    id::{NodeId, UnixSeconds},
    key::{IdentityKey, IdentitySecret, Seed},
    signed::{Document, Signed},
    wire,
};

use crate::store::{Contents, MadeBackup};

const MAGIC: &[u8] = b"tombolo backup 1\n";
const SALT: usize = 16;
/// A passphrase is guessed offline: each guess costs 64 MiB and a third of a second.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backup {
    /// When it was made, by the store's clock.
    pub(crate) made_at: UnixSeconds,
    /// The root key, if it was there.
    pub(crate) root: Option<[u8; 32]>,
    /// The replica's key.
    pub(crate) replica: [u8; 32],
    /// The root key's public half, by which the authority is known.
    pub(crate) authority: IdentityKey,
    /// The keyring, which names the replica that made this.
    pub(crate) keyring: Signed<Keyring>,
    /// The store.
    pub(crate) contents: Contents,
}

impl Backup {
    /// What the store says of it, once it is a file of so many bytes.
    pub(crate) fn made(&self, encrypted: bool, bytes: usize) -> MadeBackup {
        MadeBackup {
            made_at: self.made_at,
            made_by: Seed::from_bytes(self.replica).identity().public(),
            encrypted,
            root_key: self.root.is_some(),
            bytes: bytes as u64,
        }
    }
}

/// What is signed of it.
#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    digest: [u8; 32],
}

impl Document for Seal {
    const LABEL: &'static str = "tombolo/backup/v1";
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    seal: Signed<Seal>,
    body: Vec<u8>,
}

/// Why a file is not a backup that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("it is not a backup of this version")]
    Unknown,
    #[error("it is encrypted: name its passphrase with --passphrase-file")]
    Encrypted,
    #[error("the passphrase is wrong, or the file is damaged")]
    Passphrase,
    #[error("it is damaged, or was not made by a replica of its authority")]
    Seal,
}

/// The bytes of a backup, signed by the replica and, with a passphrase, encrypted.
pub(crate) fn encode(
    backup: &Backup,
    replica: &IdentitySecret,
    passphrase: Option<&[u8]>,
) -> Result<Vec<u8>, BackupError> {
    let authority = authority_of(backup.authority)?;
    let body = wire::encode(backup);
    let seal = Seal {
        digest: Sha256::digest(&body).into(),
    };
    let sealed = Sealed {
        seal: Signed::sign(&seal, Keyring::scope(authority), replica),
        body,
    };
    let mut plain = wire::encode(&sealed);
    let Some(passphrase) = passphrase else {
        return Ok([MAGIC, &[0], &plain].concat());
    };
    let (salt, nonce): ([u8; SALT], [u8; NONCE_LEN]) = (rand::random(), rand::random());
    key(passphrase, &salt)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(MAGIC),
            &mut plain,
        )
        .map_err(|_| BackupError::Unknown)?;
    Ok([MAGIC, &[1], &salt, &nonce, &plain].concat())
}

/// Reads a backup and checks that a replica of its authority made it.
pub(crate) fn decode(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Backup, BackupError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(BackupError::Unknown)?;
    let plain = match rest.split_first() {
        Some((0, plain)) => plain.to_vec(),
        Some((1, sealed)) => open(sealed, passphrase.ok_or(BackupError::Encrypted)?)?,
        _ => return Err(BackupError::Unknown),
    };
    let sealed: Sealed = postcard::from_bytes(&plain).map_err(|_| BackupError::Seal)?;
    let backup: Backup = wire::decode_unbounded(&sealed.body).map_err(|_| BackupError::Seal)?;
    let scope = Keyring::scope(authority_of(backup.authority)?);
    let keyring = backup
        .keyring
        .verify(scope, |signer| *signer == backup.authority)
        .map_err(|_| BackupError::Seal)?;
    let seal = sealed
        .seal
        .verify(scope, |signer| keyring.replicas.contains(signer))
        .map_err(|_| BackupError::Seal)?;
    if seal.digest == <[u8; 32]>::from(Sha256::digest(&sealed.body)) {
        Ok(backup)
    } else {
        Err(BackupError::Seal)
    }
}

fn open(sealed: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, BackupError> {
    let (salt, rest) = sealed
        .split_first_chunk::<SALT>()
        .ok_or(BackupError::Passphrase)?;
    let (nonce, rest) = rest
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(BackupError::Passphrase)?;
    let mut bytes = rest.to_vec();
    let plain = key(passphrase, salt)?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(MAGIC),
            &mut bytes,
        )
        .map_err(|_| BackupError::Passphrase)?
        .len();
    bytes.truncate(plain);
    Ok(bytes)
}

fn key(passphrase: &[u8], salt: &[u8; SALT]) -> Result<LessSafeKey, BackupError> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(|_| BackupError::Unknown)?;
    let mut bytes = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut bytes)
        .map_err(|_| BackupError::Passphrase)?;
    let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| BackupError::Unknown)?;
    Ok(LessSafeKey::new(key))
}

fn authority_of(root: IdentityKey) -> Result<NodeId, BackupError> {
    address::of(&root, Cost::Authority).ok_or(BackupError::Seal)
}
