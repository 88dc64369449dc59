//! The messages of the negotiation, and how they travel.
//!
//! The envelope takes only IP packets, so a message travels as an IPv4 packet of protocol 253 (RFC 3692: for
//! experiments) that no interface ever sees. Messages of an unknown kind are ignored: later versions may say more.
//!
//! An offer with an ML-KEM key is longer than a datagram may be and goes in two parts. They come out of the envelope of a
//! handshake, so they are the peer's own words; there is room for the parts of one offer, and a part of another takes the
//! place of what is there. A part that gets lost comes again with the repetition of the offer.

use serde::{Deserialize, Serialize};
use tombolo_proto::{id::LaneIndex, wire};

use super::{Answer, Offer};
use crate::session::{ENVELOPE, MAX_DATAGRAM};

/// A message of the negotiation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Negotiation {
    /// Asks for a lane.
    Offer(Box<Offer>),
    /// Makes the lane.
    Answer(Box<Answer>),
    /// Half of an offer.
    Part(Part),
}

/// A piece of the encoding of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// That of the offer.
    pub lane: LaneIndex,
    /// Which piece: 0 or 1.
    pub number: u8,
    /// The piece.
    pub bytes: Vec<u8>,
}

/// Internet Protocol number for experiments (RFC 3692).
const PROTOCOL: u8 = 253;
const IP_HEADER: usize = 20;
/// What a datagram holds besides the envelope and the header.
const MAX_MESSAGE: usize = MAX_DATAGRAM - ENVELOPE - IP_HEADER;
/// Bytes of an offer in its first part.
const PART: usize = 1000;
const PARTS: usize = 2;

impl Offer {
    /// The messages that say it, each of which fits into a datagram.
    #[must_use]
    pub fn messages(&self) -> Vec<Negotiation> {
        let bytes = wire::encode(self);
        if bytes.len() <= PART {
            return vec![Negotiation::Offer(Box::new(self.clone()))];
        }
        bytes
            .chunks(PART)
            .zip(0..)
            .map(|(bytes, number)| {
                Negotiation::Part(Part {
                    lane: self.lane,
                    number,
                    bytes: bytes.to_vec(),
                })
            })
            .collect()
    }
}

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

/// The parts of one offer that have come so far.
#[derive(Debug, Default)]
pub struct Assembly {
    lane: Option<LaneIndex>,
    parts: [Option<Vec<u8>>; PARTS],
}

impl Assembly {
    /// Takes a part; gives the offer that it completes.
    #[must_use]
    pub fn take(&mut self, part: Part) -> Option<Offer> {
        if self.lane != Some(part.lane) {
            *self = Self::default();
            self.lane = Some(part.lane);
        }
        *self.parts.get_mut(usize::from(part.number))? = Some(part.bytes);
        let [Some(first), Some(second)] = &self.parts else {
            return None;
        };
        let offer: Option<Offer> = wire::decode(&[first.as_slice(), second].concat()).ok();
        *self = Self::default();
        offer.filter(|offer| offer.lane == part.lane)
    }
}

#[cfg(test)]
mod tests;
