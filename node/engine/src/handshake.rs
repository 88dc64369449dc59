//! Lane negotiation: how two peers that have just proved to each other who they are agree on a lane.
//!
//! ```text
//! offerer                                    answerer
//! initiation                ->
//!                           <-               response
//! Offer {lane, ephemeral}   ->                            both inside the handshake's sealed envelope
//!                           <-               Answer {offered, lane, ephemeral, aead}
//! first lane frame          ->                            confirms the lane to the answerer
//! ```
//!
//! Both sides make a fresh X25519 key per lane. The lane's keys come from HKDF-SHA256 over the shared secret, with
//! everything that was said as context: network, both long-term keys, both ephemeral keys, both lane indices, the
//! cipher. Whatever an attacker changes gives the two sides different keys.
//!
//! The answerer opens frames on the new lane from the moment it answers, but sends on it only after the first frame of
//! the offerer: until then the answer may be lost. The offerer sends at once: the answer names its own fresh offer and
//! came inside the authenticated envelope, so the answerer holds the lane.
//!
//! The envelope takes only IP packets, so a message travels as an IPv4 packet of protocol 253 (RFC 3692: for
//! experiments) that no interface ever sees. Messages of an unknown kind are ignored: later versions may say more. An
//! ephemeral key of another kind adds its shared secret to what the lane's keys are derived from.

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
use zeroize::Zeroize as _;

use crate::lane::{Aead, LaneKeys};

const LABEL: &[u8] = b"tombolo/lane/v1";

/// A message of the negotiation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Negotiation {
    /// Asks for a lane.
    Offer(Offer),
    /// Makes the lane.
    Answer(Answer),
}

/// One side's half of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What the answerer is to write into frames.
    pub lane: LaneIndex,
    /// Fresh X25519 public key.
    pub ephemeral: [u8; 32],
    /// Whether the offerer has AES instructions.
    pub aes: bool,
}

/// The other side's half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which offer this answers.
    pub offered: LaneIndex,
    /// What the offerer is to write into frames.
    pub lane: LaneIndex,
    /// Fresh X25519 public key.
    pub ephemeral: [u8; 32],
    /// The lane's cipher: AES only if both sides have it.
    pub aead: Aead,
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
}

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Offered({:?})", self.offer)
    }
}

impl Offered {
    /// Makes an offer. `lane` is random and not in use.
    #[must_use]
    pub fn new(lane: LaneIndex, aes: bool, rng: &mut StdRng) -> Self {
        let ephemeral = an_ephemeral(rng);
        let offer = Offer {
            lane,
            ephemeral: PublicKey::from(&ephemeral).to_bytes(),
            aes,
        };
        Self { offer, ephemeral }
    }

    /// The lane's keys, if `answer` is one to this offer.
    #[must_use]
    pub fn accept(&self, answer: &Answer, parties: &Parties) -> Option<LaneKeys> {
        let asks_too_much = answer.aead == Aead::Aes256Gcm && !self.offer.aes;
        if answer.offered != self.offer.lane || asks_too_much {
            return None;
        }
        let secret = shared_secret(&self.ephemeral, answer.ephemeral)?;
        let [offerer, answerer] = Agreement {
            network: parties.network,
            offerer: parties.local,
            answerer: parties.remote,
            offer: &self.offer,
            answer,
            secrets: &[secret],
        }
        .derive();
        Some(LaneKeys {
            seal: offerer,
            open: answerer,
        })
    }
}

/// Answers an offer. `lane` is random and not in use. `None` if the offer's key is not a proper one.
#[must_use]
pub fn answer(
    offer: &Offer,
    lane: LaneIndex,
    aes: bool,
    parties: &Parties,
    rng: &mut StdRng,
) -> Option<(Answer, LaneKeys)> {
    let ephemeral = an_ephemeral(rng);
    let secret = shared_secret(&ephemeral, offer.ephemeral)?;
    let answer = Answer {
        offered: offer.lane,
        lane,
        ephemeral: PublicKey::from(&ephemeral).to_bytes(),
        aead: if aes && offer.aes {
            Aead::Aes256Gcm
        } else {
            Aead::ChaCha20Poly1305
        },
    };
    let [offerer, answerer] = Agreement {
        network: parties.network,
        offerer: parties.remote,
        answerer: parties.local,
        offer,
        answer: &answer,
        secrets: &[secret],
    }
    .derive();
    let keys = LaneKeys {
        seal: answerer,
        open: offerer,
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
fn shared_secret(ours: &StaticSecret, theirs: [u8; 32]) -> Option<[u8; 32]> {
    let shared = ours.diffie_hellman(&PublicKey::from(theirs));
    shared.was_contributory().then(|| shared.to_bytes())
}

/// Everything that the two sides agree on.
struct Agreement<'a> {
    network: NetworkId,
    offerer: TransportKey,
    answerer: TransportKey,
    offer: &'a Offer,
    answer: &'a Answer,
    /// In the order in which the kinds of ephemeral keys were introduced.
    secrets: &'a [[u8; 32]],
}

impl Agreement<'_> {
    /// The offerer's sealing key and the answerer's.
    fn derive(self) -> [[u8; 32]; 2] {
        let aead = match self.answer.aead {
            Aead::Aes256Gcm => 1,
            Aead::ChaCha20Poly1305 => 2,
        };
        let transcript = Sha256::new()
            .chain_update(LABEL)
            .chain_update(self.network.get().to_be_bytes())
            .chain_update(self.offerer.0)
            .chain_update(self.answerer.0)
            .chain_update(self.offer.ephemeral)
            .chain_update(self.answer.ephemeral)
            .chain_update(self.offer.lane.0.to_be_bytes())
            .chain_update(self.answer.lane.0.to_be_bytes())
            .chain_update([aead])
            .finalize();
        let mut input = self.secrets.as_flattened().to_vec();
        let expander = Hkdf::<Sha256>::new(Some(LABEL), &input);
        input.zeroize();
        [b"offerer".as_slice(), b"answerer"].map(|direction| {
            let mut key = [0; 32];
            expander
                .expand_multi_info(&[&transcript, direction], &mut key)
                .expect("32 bytes are within the limit of HKDF-SHA256");
            key
        })
    }
}

/// Internet Protocol number for experiments (RFC 3692).
const PROTOCOL: u8 = 253;
const IP_HEADER: usize = 20;
/// Far above what any message needs, far below what a datagram may have.
const MAX_MESSAGE: usize = 1024;

impl Negotiation {
    /// The message as an IPv4 packet for the envelope.
    #[must_use]
    pub fn wrap(&self) -> Vec<u8> {
        let body = wire::encode(self);
        let total = (IP_HEADER + body.len()) as u16;
        let mut packet = vec![0; IP_HEADER];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[9] = PROTOCOL;
        packet.extend_from_slice(&body);
        packet
    }

    /// The inverse of [`Self::wrap`]; `None` for whatever this version does not know.
    #[must_use]
    pub fn unwrap(packet: &[u8]) -> Option<Self> {
        let (header, body) = packet.split_first_chunk::<IP_HEADER>()?;
        if header[0] != 0x45 || header[9] != PROTOCOL || body.len() > MAX_MESSAGE {
            return None;
        }
        wire::decode(body).ok()
    }
}

#[cfg(test)]
mod tests;
