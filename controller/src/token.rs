//! Tokens: `tombolo_<id>_<secret>`, 256 random bits of secret. Only the hash of the whole is ever stored.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest as _, Sha256};

use crate::store::TokenClaim;

/// A new token: its public part, the whole, and the hash to store.
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) hash: [u8; 32],
}

impl Minted {
    pub(crate) fn claim(&self) -> TokenClaim {
        TokenClaim {
            id: self.id.clone(),
            hash: self.hash,
        }
    }
}

/// A new name for something that is not told by its secret alone.
pub(crate) fn id() -> String {
    HEXLOWER.encode(&rand::random::<[u8; 6]>())
}

pub(crate) fn mint() -> Minted {
    let id = id();
    let secret = BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>());
    let token = format!("tombolo_{id}_{secret}");
    Minted {
        hash: hash(&token),
        id,
        token,
    }
}

/// What a token claims to be; none if it does not look like one.
pub(crate) fn claim(token: &str) -> Option<TokenClaim> {
    let (id, secret) = token.strip_prefix("tombolo_")?.split_once('_')?;
    let looks_right =
        id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && secret.len() == 43;
    looks_right.then(|| TokenClaim {
        id: id.to_owned(),
        hash: hash(token),
    })
}

/// Compares without telling by time where the first difference is.
pub(crate) fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(difference) == 0
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_claims_what_was_stored() {
        let minted = mint();

        let claim = claim(&minted.token).expect("a token of our own");

        assert_eq!(claim.id, minted.id);
        assert!(same(&claim.hash, &minted.hash));
        assert_eq!(minted.token.len(), "tombolo_".len() + 12 + 1 + 43);
    }

    #[test]
    fn other_texts_claim_nothing() {
        for text in ["", "tombolo_", "tombolo_abc_def", "Bearer x"] {
            assert!(claim(text).is_none(), "{text}");
        }
    }
}
