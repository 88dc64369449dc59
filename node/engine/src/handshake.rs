//! Lane negotiation: how two peers that have just proved to each other who they are agree on a lane.
//!
//! ```text
//! offerer                                          answerer
//! initiation                      ->
//!                                 <-               response
//! Offer {lane, ephemeral, kem}    ->                            both inside the handshake's sealed envelope
//!                                 <-               Answer {offered, lane, ephemeral, kem, aead}
//! first lane frame                ->                            confirms the lane to the answerer
//! ```
//!
//! Both sides make a fresh X25519 key per lane. If the offerer has a mind to, it adds a fresh ML-KEM-768 key; if the
//! answerer does too, it adds a ciphertext for that key, and the lane is hybrid. The lane's keys are
//!
//! ```text
//! HKDF-SHA256(salt = label, key = ML-KEM secret (32, hybrid lanes only) | X25519 secret (32),
//!             info = SHA256(label | network | offerer | answerer | length of Offer | Offer | length of Answer | Answer)
//!                    | "offerer" or "answerer")
//! ```
//!
//! with both long-term keys, and offer and answer as they were encoded: every key, index, wish and choice, and the
//! ciphertext. Whatever an attacker changes gives the two sides different keys.
//!
//! - The order of the secrets is that of TLS's X25519MLKEM768, ML-KEM first, for the same reason: HKDF over a
//!   concatenation is approved (NIST SP 800-56C) where what comes first is approved. Both have a fixed length, so there
//!   is one way to read them. X-Wing shows that such a hash is as strong as the stronger of the two; it need not even
//!   cover the ciphertext, as this one does.
//! - There is no lane without X25519: a hybrid lane is at least as strong as a plain one. A ciphertext nobody asked for,
//!   or a key that is none, makes no lane. A ciphertext for another key gives the two sides different secrets (FIPS
//!   203's implicit rejection), so the lane never opens a frame and is given up.
//! - Nobody else can make a lane plain. Wish and choice travel in the envelope and stand in the transcript, and a side
//!   whose hybrid offer stays unanswered repeats it and never makes a lesser one. Who records everything and later breaks
//!   X25519 opens the envelope, and finds an ML-KEM key and a ciphertext there.
//!
//! The answerer opens frames on the new lane from the moment it answers, but sends on it only after the first frame of
//! the offerer: until then the answer may be lost. The offerer sends at once: the answer names its own fresh offer and
//! came inside the authenticated envelope, so the answerer holds the lane.

pub mod kem;
mod message;

use hkdf::Hkdf;
use rand::{Rng as _, RngCore as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tombolo_proto::{
    id::{LaneIndex, NetworkId},
    key::TransportKey,
    wire,
};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize as _, Zeroizing};

use crate::lane::{Aead, LaneKeys};
use kem::{KemCiphertext, KemKey, KemSecret, KemSeed};
pub use message::{Assembly, Negotiation, Part};

const LABEL: &[u8] = b"tombolo/lane/v2";

/// What a side can and wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Has AES instructions.
    pub aes: bool,
    /// Takes part in ML-KEM.
    pub post_quantum: bool,
}

/// One side's half of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What the answerer is to write into frames.
    pub lane: LaneIndex,
    /// Fresh X25519 public key.
    pub ephemeral: [u8; 32],
    /// Whether the offerer has AES instructions.
    pub aes: bool,
    /// Fresh ML-KEM-768 key, if the offerer wants a hybrid lane.
    pub kem: Option<KemKey>,
}

/// The other side's half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which offer this answers.
    pub offered: LaneIndex,
    /// What the offerer is to write into frames.
    pub lane: LaneIndex,
    /// Fresh X25519 public key.
    pub ephemeral: [u8; 32],
    /// The lane's cipher: AES only if both sides have it.
    pub aead: Aead,
    /// For the offer's ML-KEM key, if both sides want a hybrid lane.
    pub kem: Option<KemCiphertext>,
}

/// What a lane's keys were made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyExchange {
    /// Both kinds of secret.
    Hybrid,
    /// X25519 alone.
    Plain,
}

impl KeyExchange {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "x25519+ml-kem-768",
            Self::Plain => "x25519",
        }
    }
}

impl Answer {
    /// What the lane's keys are made from.
    #[must_use]
    pub const fn key_exchange(&self) -> KeyExchange {
        if self.kem.is_some() {
            KeyExchange::Hybrid
        } else {
            KeyExchange::Plain
        }
    }
}

/// Who the two sides are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// In which network.
    pub network: NetworkId,
    /// This node's long-term key there.
    pub local: TransportKey,
    /// The peer's.
    pub remote: TransportKey,
}

/// An offer of ours that waits for its answer.
pub struct Offered {
    /// What was sent.
    pub offer: Offer,
    ephemeral: StaticSecret,
    kem: Option<KemSeed>,
}

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Offered({:?})", self.offer)
    }
}

impl Offered {
    /// Makes an offer. `lane` is random and not in use.
    #[must_use]
    pub fn new(lane: LaneIndex, abilities: Abilities, rng: &mut StdRng) -> Self {
        let ephemeral = an_ephemeral(rng);
        let kem = abilities.post_quantum.then(|| KemSeed::generate(rng));
        Self::from_secrets(lane, abilities.aes, ephemeral, kem)
    }

    fn from_secrets(
        lane: LaneIndex,
        aes: bool,
        ephemeral: StaticSecret,
        kem: Option<KemSeed>,
    ) -> Self {
        let offer = Offer {
            lane,
            ephemeral: PublicKey::from(&ephemeral).to_bytes(),
            aes,
            kem: kem.as_ref().map(KemSeed::public),
        };
        Self {
            offer,
            ephemeral,
            kem,
        }
    }

    /// The lane's keys, if `answer` is one to this offer.
    #[must_use]
    pub fn accept(&self, answer: &Answer, parties: &Parties) -> Option<LaneKeys> {
        let asks_too_much = answer.aead == Aead::Aes256Gcm && !self.offer.aes;
        if answer.offered != self.offer.lane || asks_too_much {
            return None;
        }
        let kem = match (&self.kem, &answer.kem) {
            (Some(seed), Some(ciphertext)) => Some(seed.decapsulate(ciphertext)),
            // The answerer will have none of it.
            (Some(_) | None, None) => None,
            (None, Some(_)) => return None,
        };
        let [offerer, answerer] = Agreement {
            network: parties.network,
            offerer: parties.local,
            answerer: parties.remote,
            offer: &self.offer,
            answer,
            secret: shared_secret(&self.ephemeral, answer.ephemeral)?,
            kem,
        }
        .derive();
        Some(LaneKeys {
            seal: *offerer,
            open: *answerer,
        })
    }
}

/// Answers an offer. `lane` is random and not in use. `None` if a key of the offer is not a proper one.
#[must_use]
pub fn answer(
    offer: &Offer,
    lane: LaneIndex,
    abilities: Abilities,
    parties: &Parties,
    rng: &mut StdRng,
) -> Option<(Answer, LaneKeys)> {
    let ephemeral = an_ephemeral(rng);
    let kem = match &offer.kem {
        Some(key) if abilities.post_quantum => Some(kem::encapsulate(key, rng)?),
        Some(_) | None => None,
    };
    answer_with(offer, lane, abilities.aes, parties, &ephemeral, kem)
}

fn answer_with(
    offer: &Offer,
    lane: LaneIndex,
    aes: bool,
    parties: &Parties,
    ephemeral: &StaticSecret,
    kem: Option<(KemCiphertext, KemSecret)>,
) -> Option<(Answer, LaneKeys)> {
    let secret = shared_secret(ephemeral, offer.ephemeral)?;
    let (ciphertext, kem) = kem.unzip();
    let answer = Answer {
        offered: offer.lane,
        lane,
        ephemeral: PublicKey::from(ephemeral).to_bytes(),
        aead: if aes && offer.aes {
            Aead::Aes256Gcm
        } else {
            Aead::ChaCha20Poly1305
        },
        kem: ciphertext,
    };
    let [offerer, answerer] = Agreement {
        network: parties.network,
        offerer: parties.remote,
        answerer: parties.local,
        offer,
        answer: &answer,
        secret,
        kem,
    }
    .derive();
    let keys = LaneKeys {
        seal: *answerer,
        open: *offerer,
    };
    Some((answer, keys))
}

/// A random lane index.
#[must_use]
pub fn a_lane_index(rng: &mut StdRng) -> LaneIndex {
    LaneIndex(rng.random())
}

fn an_ephemeral(rng: &mut StdRng) -> StaticSecret {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    let secret = StaticSecret::from(bytes);
    bytes.zeroize();
    secret
}

/// `None` for the few public keys that make the secret known to everybody (RFC 7748 section 6.1).
fn shared_secret(ours: &StaticSecret, theirs: [u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let shared = ours.diffie_hellman(&PublicKey::from(theirs));
    shared
        .was_contributory()
        .then(|| Zeroizing::new(shared.to_bytes()))
}

/// Everything that the two sides agree on.
struct Agreement<'a> {
    network: NetworkId,
    offerer: TransportKey,
    answerer: TransportKey,
    offer: &'a Offer,
    answer: &'a Answer,
    /// Of the X25519 keys. There is no agreement without it.
    secret: Zeroizing<[u8; 32]>,
    /// Of the ML-KEM key.
    kem: Option<KemSecret>,
}

impl Agreement<'_> {
    /// The offerer's sealing key and the answerer's.
    fn derive(self) -> [Zeroizing<[u8; 32]>; 2] {
        let mut transcript = Sha256::new()
            .chain_update(LABEL)
            .chain_update(self.network.get().to_be_bytes())
            .chain_update(self.offerer.0)
            .chain_update(self.answerer.0);
        for message in [wire::encode(self.offer), wire::encode(self.answer)] {
            transcript.update((message.len() as u64).to_be_bytes());
            transcript.update(message);
        }
        let transcript = transcript.finalize();
        let mut input = Zeroizing::new([0; 64]);
        let input = match &self.kem {
            Some(kem) => {
                input[..32].copy_from_slice(kem.as_slice());
                input[32..].copy_from_slice(self.secret.as_slice());
                input.as_slice()
            }
            None => self.secret.as_slice(),
        };
        let expander = Hkdf::<Sha256>::new(Some(LABEL), input);
        [b"offerer".as_slice(), b"answerer"].map(|direction| {
            let mut key = Zeroizing::new([0; 32]);
            expander
                .expand_multi_info(&[&transcript, direction], key.as_mut_slice())
                .expect("32 bytes are within the limit of HKDF-SHA256");
            key
        })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
