//! One attempt to sign in: `state`, `nonce` and the PKCE verifier, all made from one secret that only the browser keeps.

use data_encoding::BASE64URL_NOPAD;
use openidconnect::{CsrfToken, Nonce, PkceCodeVerifier};
use sha2::{Digest as _, Sha256};

use crate::token;

/// One attempt. `state` and `nonce` go by way of the browser and tell nothing of the verifier, which does not.
pub(super) struct Flow([u8; 32]);

impl Flow {
    pub(super) fn new() -> Self {
        Self(rand::random())
    }

    /// What the browser keeps.
    pub(super) fn secret(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    pub(super) fn of_secret(secret: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn state(&self) -> CsrfToken {
        CsrfToken::new(self.derived("state"))
    }

    pub(super) fn nonce(&self) -> Nonce {
        Nonce::new(self.derived("nonce"))
    }

    /// 43 characters, the least that RFC 7636 section 4.1 takes: 256 bits.
    pub(super) fn verifier(&self) -> PkceCodeVerifier {
        PkceCodeVerifier::new(self.derived("verifier"))
    }

    /// Whether the provider was sent here by this very attempt.
    pub(super) fn has_state(&self, state: &str) -> bool {
        let digest = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
        token::same(&digest(state), &digest(self.state().secret()))
    }

    fn derived(&self, label: &str) -> String {
        let digest = Sha256::new()
            .chain_update("tombolo sign-in ")
            .chain_update(label)
            .chain_update(self.0)
            .finalize();
        BASE64URL_NOPAD.encode(&digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_replica_makes_the_same_of_the_secret() {
        let flow = Flow::new();

        let again = Flow::of_secret(&flow.secret()).expect("a secret of our own");

        assert!(again.has_state(flow.state().secret()));
        assert_eq!(again.nonce().secret(), flow.nonce().secret());
        assert_eq!(again.verifier().secret(), flow.verifier().secret());
        assert_eq!(flow.verifier().secret().len(), 43);
        let parts = [flow.state().secret().clone(), flow.nonce().secret().clone()];
        assert_ne!(parts[0], parts[1]);
        assert!(!parts.contains(flow.verifier().secret()));
        assert!(!Flow::new().has_state(flow.state().secret()));
    }

    #[test]
    fn other_texts_are_no_secrets() {
        for text in ["", "x", &"A".repeat(42), &"A".repeat(44), &"é".repeat(21)] {
            assert!(Flow::of_secret(text).is_none(), "{text}");
        }
    }
}
