//! One-time codes (RFC 6238) and the secret behind them. The store holds the secret sealed under the user's password, so
//! whoever reads the store cannot make codes:
//!
//! ```text
//! salt (16) | nonce (12) | AES-256-GCM of the secret, under Argon2id of the password
//! ```

use argon2::Argon2;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};
use totp_rs::{Builder, Totp};

const SALT: usize = 16;
/// As long as the output of HMAC-SHA-1 (RFC 4226 section 4 recommends 160 bits).
const SECRET: usize = 20;
/// Recovery codes that are made at once.
const RECOVERY_CODES: usize = 8;
/// Random bytes in each: too many to be guessed from a hash.
const RECOVERY_BYTES: usize = 10;

/// What the authenticator app and the controller share.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TotpSecret([u8; SECRET]);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret")
    }
}

impl TotpSecret {
    pub(crate) fn fresh() -> Self {
        Self(rand::random())
    }

    /// As people type it.
    pub(crate) fn text(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// As authenticator apps scan it (Key URI format). Names of users hold letters, digits, `-`, `_` and `.` only.
    pub(crate) fn uri(&self, user: &str) -> String {
        format!(
            "otpauth://totp/Tombolo:{user}?secret={}&issuer=Tombolo",
            self.text()
        )
    }

    /// The time step (30 s) that a code belongs to: now, the one before or the one after.
    pub(crate) fn step_of(&self, code: &str, now: u64) -> Option<u64> {
        let code: String = code.chars().filter(char::is_ascii_digit).collect();
        self.totp().check(&code, now)
    }

    /// SHA-1, 6 digits, 30 seconds: what every app can do.
    fn totp(&self) -> Totp {
        let secret = totp_rs::Secret::new_stack(self.0);
        Builder::new()
            .with_secret(secret)
            .build()
            .expect("160 bits are enough")
    }

    /// Seals the secret under a password. Takes as long as hashing one.
    pub(crate) fn seal(&self, password: &str) -> Vec<u8> {
        let salt: [u8; SALT] = rand::random();
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = self.0.to_vec();
        key(password, &salt)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut sealed,
            )
            .expect("20 bytes are few");
        [&salt[..], &nonce[..], &sealed[..]].concat()
    }

    /// The secret, if the password is right.
    pub(crate) fn open(sealed: &[u8], password: &str) -> Option<Self> {
        let (salt, rest) = sealed.split_at_checked(SALT)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let opened = key(password, salt)
            .open_in_place(nonce, Aad::empty(), &mut body)
            .ok()?;
        (&*opened).try_into().ok().map(Self)
    }
}

fn key(password: &str, salt: &[u8]) -> LessSafeKey {
    let mut key = [0; 32];
    Argon2::default()
        .hash_password_into(password.as_bytes(), salt, &mut key)
        .expect("the parameters are valid");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes are a key"))
}

/// Codes that each work once instead of one from the app.
pub(crate) fn recovery_codes() -> Vec<String> {
    let grouped = |letters: String| {
        let groups: Vec<String> = letters
            .as_bytes()
            .chunks(4)
            .map(|group| String::from_utf8_lossy(group).into_owned())
            .collect();
        groups.join("-")
    };
    (0..RECOVERY_CODES)
        .map(|_| grouped(BASE32_NOPAD.encode(&rand::random::<[u8; RECOVERY_BYTES]>())))
        .collect()
}

/// What is stored of a recovery code: nothing that helps to guess its 80 bits.
pub(crate) fn recovery_hash(code: &str) -> String {
    let letters: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    BASE64URL_NOPAD.encode(&Sha256::digest(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, the last six digits of the SHA-1 column.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = TotpSecret(*b"12345678901234567890");
        for (now, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.step_of(code, now), Some(now / 30), "{now}");
        }
    }

    #[test]
    fn a_code_counts_one_step_early_and_one_late_and_no_longer() {
        let secret = TotpSecret(*b"12345678901234567890");
        let step = 1_111_111_109 / 30;
        for (now, counts) in [
            (step - 2, false),
            (step - 1, true),
            (step, true),
            (step + 1, true),
            (step + 2, false),
        ] {
            let expected = counts.then_some(step);
            assert_eq!(secret.step_of("081 804", now * 30), expected, "{now}");
        }
        for code in ["", "81804", "0818040", "abcdef", "281804"] {
            assert_eq!(secret.step_of(code, 1_111_111_109), None, "{code}");
        }
    }

    #[test]
    fn only_the_password_opens_a_sealed_secret() {
        let secret = TotpSecret::fresh();
        let sealed = secret.seal("correct horse");

        assert_eq!(
            TotpSecret::open(&sealed, "correct horse"),
            Some(secret.clone())
        );
        assert_eq!(TotpSecret::open(&sealed, "correct horsf"), None);
        assert_eq!(TotpSecret::open(&sealed[..20], "correct horse"), None);
        assert!(!sealed.windows(4).any(|window| secret.0.starts_with(window)));
        assert_eq!(TotpSecret::parse(&secret.text()), Some(secret));
    }

    #[test]
    fn recovery_codes_are_many_and_forgive_how_they_are_typed() {
        let codes = recovery_codes();

        assert_eq!(codes.len(), RECOVERY_CODES);
        assert_eq!(codes[0].len(), 19);
        let typed = codes[0].to_lowercase().replace('-', " ");
        assert_eq!(recovery_hash(&typed), recovery_hash(&codes[0]));
        assert_ne!(recovery_hash(&codes[1]), recovery_hash(&codes[0]));
    }
}
