//! Secrets that the store has to keep as they are, because every replica uses them, sealed by a key that is not in the store:
//! it lies in a file beside each replica.
//!
//! ```text
//! nonce (12) | AES-256-GCM of the secret, for the row that it is in
//! ```

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};

/// What the hash that names a key is made over, before the key.
const LABEL: &[u8] = b"tombolo/secret-key/v1";
/// Bytes of the hash that name a key among the few that there ever are.
const NAME: usize = 6;

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeyError {
    /// It cannot be read.
    #[error("cannot read the secret keys in {path}: {cause}; check the path given with --secret-key-file", path = .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A line of it is no key.
    #[error("line {line} of {path} is no secret key: make one with `openssl rand -hex 32`", path = .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// It holds nothing.
    #[error("{path} holds no secret key: make one with `openssl rand -hex 32`", path = .0.display())]
    Empty(PathBuf),
}

/// Keys of one replica: the first one seals, all of them open.
#[derive(Debug, Default)]
pub(crate) struct SecretKeys(Vec<SecretKey>);

struct SecretKey {
    name: String,
    key: LessSafeKey,
}

/// A secret as it may lie in the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The key; empty if the secret is not sealed.
    pub(crate) by: String,
    pub(crate) bytes: Vec<u8>,
}

impl SecretKeys {
    /// Reads a file with one key in each line, as 64 hexadecimal digits.
    pub(crate) fn read(path: &Path) -> Result<Self, SecretKeyError> {
        let text = fs::read_to_string(path).map_err(|cause| SecretKeyError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let lines = text.lines().map(str::trim).zip(1..);
        let keys = lines
            .filter(|(line, _)| !line.is_empty())
            .map(|(line, number)| {
                SecretKey::parse(line).ok_or_else(|| SecretKeyError::Malformed {
                    path: path.to_owned(),
                    line: number,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(SecretKeyError::Empty(path.to_owned()));
        }
        Ok(Self(keys))
    }

    /// The key that seals; empty if there is none.
    pub(crate) fn current(&self) -> &str {
        self.0.first().map_or("", |key| &key.name)
    }

    /// The names of all keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.name.as_str())
    }

    /// Seals a secret for one row; without a key it stays as it is.
    pub(crate) fn seal(&self, row: &str, secret: &[u8]) -> Sealed {
        let by = self.current().to_owned();
        let Some(SecretKey { key, .. }) = self.0.first() else {
            let bytes = secret.to_vec();
            return Sealed { by, bytes };
        };
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = secret.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(row),
            &mut sealed,
        )
        .expect("a secret is short");
        let bytes = [&nonce[..], &sealed].concat();
        Sealed { by, bytes }
    }

    /// A secret of a row; none if its key is not here, or the row was tampered with.
    pub(crate) fn open(&self, row: &str, sealed: &Sealed) -> Option<Vec<u8>> {
        if sealed.by.is_empty() {
            return Some(sealed.bytes.clone());
        }
        let key = &self.0.iter().find(|key| key.name == sealed.by)?.key;
        let (nonce, body) = sealed.bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let opened = key.open_in_place(nonce, Aad::from(row), &mut body).ok()?;
        Some(opened.to_vec())
    }
}

impl SecretKey {
    fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        // Refuses every other length.
        let key = UnboundKey::new(&AES_256_GCM, &bytes).ok()?;
        let hash = Sha256::new().chain_update(LABEL).chain_update(&bytes);
        Some(Self {
            name: HEXLOWER.encode(&hash.finalize()[..NAME]),
            key: LessSafeKey::new(key),
        })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_of_the_file_opens_a_secret_and_only_in_its_row() {
        let (old, new) = ("0".repeat(64), "AbC1".repeat(16));
        let [before, both, after] = [old.clone(), format!("\n{new}\n {old} \n"), new]
            .map(|text| keys(&text).expect("keys"));

        let sealed = before.seal("a", b"secret");
        assert!(!sealed.bytes.windows(6).any(|window| window == b"secret"));
        assert_eq!(both.open("a", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(after.open("a", &sealed), None);
        assert_eq!(before.open("b", &sealed), None);
        assert_eq!(both.current(), after.current());
        assert_eq!(both.names().count(), 2);
        let again = both.seal("a", b"secret");
        assert_eq!(after.open("a", &again).as_deref(), Some(&b"secret"[..]));
        assert_eq!(before.open("a", &again), None);

        // Without any key, and what was never sealed.
        let none = SecretKeys::default();
        assert_eq!(none.open("a", &sealed), None);
        let clear = none.seal("a", b"secret");
        assert_eq!((clear.by.as_str(), &clear.bytes[..]), ("", &b"secret"[..]));
        assert_eq!(both.open("a", &clear).as_deref(), Some(&b"secret"[..]));
    }

    #[test]
    fn what_is_no_key_is_named_with_its_line() {
        for (text, complaint) in [
            ("", "holds no secret key"),
            ("\n\n", "holds no secret key"),
            ("\nsecret", "line 2"),
            (&"0".repeat(62), "line 1"),
        ] {
            let error = keys(text).expect_err("it is wrong").to_string();
            assert!(error.contains(complaint), "{error}");
        }
        let error = SecretKeys::read(Path::new("/nonexistent")).expect_err("it is not there");
        assert!(error.to_string().contains("--secret-key-file"), "{error}");
    }

    fn keys(text: &str) -> Result<SecretKeys, SecretKeyError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("a file");
        SecretKeys::read(file.path())
    }
}
