//! Passwords: hashed with Argon2id, a few at a time, because each hash takes memory on purpose.

use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString},
};
use tokio::sync::Semaphore;

use super::TotpSecret;

/// Hashes at once: each takes 19 MiB and some 30 ms.
const AT_ONCE: usize = 2;
/// Shortest password, in characters.
const SHORTEST: usize = 10;
/// Longest, in characters: more says nothing more.
const LONGEST: usize = 256;

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error(
        "the password has to have {SHORTEST} to {LONGEST} characters: choose a longer or shorter one"
    )]
    Length,
    #[error("the password must not be the name: choose another")]
    IsName,
}

/// Hashes passwords.
#[derive(Debug)]
pub(crate) struct Passwords(Semaphore);

impl Default for Passwords {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Passwords {
    /// The hash to store (PHC string format).
    pub(crate) async fn hash(&self, name: &str, password: &str) -> Result<String, PasswordError> {
        if !(SHORTEST..=LONGEST).contains(&password.chars().count()) {
            return Err(PasswordError::Length);
        }
        if password.eq_ignore_ascii_case(name) {
            return Err(PasswordError::IsName);
        }
        let password = password.to_owned();
        Ok(self.run(move || hash(&password)).await)
    }

    /// Whether a password belongs to a hash. Without a hash it takes as long, so that nobody learns who is there.
    pub(crate) async fn verify(&self, password: &str, hash: Option<String>) -> bool {
        if password.len() > 4 * LONGEST {
            return false;
        }
        let password = password.to_owned();
        self.run(move || match hash {
            Some(hash) => verify(&password, &hash),
            None => {
                self::hash(&password);
                false
            }
        })
        .await
    }

    /// Seals the secret of one-time codes under a password.
    pub(crate) async fn seal(&self, secret: TotpSecret, password: &str) -> Vec<u8> {
        let password = password.to_owned();
        self.run(move || secret.seal(&password)).await
    }

    /// The secret of one-time codes, if the password is right.
    pub(crate) async fn open(&self, sealed: Vec<u8>, password: &str) -> Option<TotpSecret> {
        let password = password.to_owned();
        self.run(move || TotpSecret::open(&sealed, &password)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _turn = self.0.acquire().await.expect("nobody closes it");
        tokio::task::spawn_blocking(work)
            .await
            .expect("hashing does not panic")
    }
}

/// The crate's default parameters are those that OWASP recommends: 19 MiB, 2 passes, 1 lane.
fn hash(password: &str) -> String {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).expect("16 bytes are a salt");
    Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .expect("the parameters are valid")
        .to_string()
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .and_then(|hash| Argon2::default().verify_password(password.as_bytes(), &hash))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_belongs_to_its_hash() {
        let passwords = Passwords::default();
        let hash = passwords
            .hash("alice", "correct horse")
            .await
            .expect("a good password");

        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(passwords.verify("correct horse", Some(hash.clone())).await);
        assert!(!passwords.verify("correct horsf", Some(hash)).await);
        assert!(!passwords.verify("correct horse", None).await);
        let damaged = Some("no hash".to_owned());
        assert!(!passwords.verify("correct horse", damaged).await);
    }

    #[tokio::test]
    async fn poor_passwords_are_refused() {
        let passwords = Passwords::default();
        for (password, wrong) in [
            ("ninechars", PasswordError::Length),
            ("administrator", PasswordError::IsName),
        ] {
            let refused = passwords.hash("Administrator", password).await;
            assert_eq!(refused, Err(wrong));
        }
        let endless = "x".repeat(LONGEST + 1);
        let refused = passwords.hash("alice", &endless).await;
        assert_eq!(refused, Err(PasswordError::Length));
    }
}
