//! What a relay and those it forwards for say to each other.
//!
//! A relay forwards frames between two members of one network and can read none of them: they are sealed for the other
//! end. A member becomes a *client* of a relay over a channel that proves who both are: a lane, or a controller's
//! connection. There it asks, is given an index and a key, and asks for a *channel* to each peer it wants to reach:
//!
//! ```text
//! A                              relay                             B
//! Ask                        ->                                         on the authenticated channel
//!                            <-  Grant {index, key}
//! Open {peer: B}             ->
//!                            <-  Opened {peer: B, channel: a}
//! ping (index, counter)      ->                                         frames, on UDP or on a stream
//!                            <-  pong (index, counter)
//! forward (a, frame)         ->  deliver (b, frame)                ->
//!                            <-  forward (b, answer)               <-
//! ```
//!
//! Every frame is `30 | operation | index u32 (little endian) | tag (6) | payload`. The tag is the beginning of
//! SipHash-2-4 under the client's key: it costs some 20 ns and keeps strangers from using a relay, or from sending in its
//! name. What the payload says is authenticated by the lane between the two ends, so the tag covers the operation, the
//! index, the length and the beginning of the payload. A client's address is where its newest ping came from.
//!
//! A frame that was delivered is never forwarded again, and no relayed frame lies in another, so there are no loops.

use std::fmt;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{frame::RELAY, key::IdentityKey};

/// Bytes of a relayed frame's header; the MTU of networks leaves room for it.
pub const RELAY_HEADER: usize = 12;
/// Where the tag lies in the header.
const TAG: std::ops::Range<usize> = 6..RELAY_HEADER;
/// Bytes of the payload that the tag covers: a lane frame's header and the first of what it seals.
const COVERED: usize = 32;
/// Payload of pings and pongs: a counter.
pub const PING_PAYLOAD: usize = 8;
/// ALPN (RFC 7301) of a TLS connection that carries frames where no UDP passes: those that a controller relays; to and from
/// a member that relays also those of lanes. Each frame stands behind its length, a `u16` in network byte order.
pub const RELAY_ALPN: &[u8] = b"tombolo-relay/1";
/// Longest frame on such a connection: a jumbo network's, with all headers.
pub const MAX_STREAM_FRAME: usize = 9_300;

/// Appends a frame as it stands on a stream. One that is too long is left out.
pub fn put_on_stream(frame: &[u8], stream: &mut Vec<u8>) {
    if let Ok(length) = u16::try_from(frame.len())
        && frame.len() <= MAX_STREAM_FRAME
    {
        stream.extend_from_slice(&length.to_be_bytes());
        stream.extend_from_slice(frame);
    }
}

/// Names a client or one of its channels at one relay. Random, so that nobody can guess what others have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelayIndex(pub u32);

/// The key that a client and its relay share.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct RelayKey(pub [u8; 16]);

impl fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayKey(…)")
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayOp {
    /// From a client, for the other end of a channel.
    Forward,
    /// From the relay, of the other end of a channel.
    Deliver,
    /// From a client: is the relay there, and here I am.
    Ping,
    /// The relay's answer to a ping.
    Pong,
}

impl RelayOp {
    const fn byte(self) -> u8 {
        match self {
            Self::Forward => 0,
            Self::Deliver => 1,
            Self::Ping => 2,
            Self::Pong => 3,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Forward),
            1 => Some(Self::Deliver),
            2 => Some(Self::Ping),
            3 => Some(Self::Pong),
            _ => None,
        }
    }
}

/// The header of a relayed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayHeader {
    /// What the frame is.
    pub op: RelayOp,
    /// A channel of the client; in pings and pongs the client itself.
    pub index: RelayIndex,
}

impl RelayHeader {
    /// Reads the header; `None` for other frames and operations this version does not know. Says nothing about the tag.
    #[must_use]
    pub fn decode(frame: &[u8]) -> Option<Self> {
        let (header, _) = frame.split_first_chunk::<RELAY_HEADER>()?;
        let [RELAY, op, a, b, c, d, ..] = *header else {
            return None;
        };
        Some(Self {
            op: RelayOp::from_byte(op)?,
            index: RelayIndex(u32::from_le_bytes([a, b, c, d])),
        })
    }

    /// Writes the header, with its tag, to the front of `frame`, whose payload is in place behind it. A frame without room
    /// for a header stays as it is.
    pub fn write(self, key: &RelayKey, frame: &mut [u8]) {
        let Some((header, payload)) = frame.split_first_chunk_mut::<RELAY_HEADER>() else {
            return;
        };
        let tag = self.tag(key, payload);
        let [a, b, c, d] = self.index.0.to_le_bytes();
        let [t, u, v, w, x, y, ..] = tag;
        *header = [RELAY, self.op.byte(), a, b, c, d, t, u, v, w, x, y];
    }

    /// Whether `frame`, whose header this is, carries the tag that only the holder of `key` can make.
    #[must_use]
    pub fn verify(self, key: &RelayKey, frame: &[u8]) -> bool {
        let (Some(found), Some(payload)) = (frame.get(TAG), frame.get(RELAY_HEADER..)) else {
            return false;
        };
        let tag = self.tag(key, payload);
        let differing = found
            .iter()
            .zip(tag)
            .fold(0, |all, (found, made)| all | (found ^ made));
        differing == 0
    }

    fn tag(self, key: &RelayKey, payload: &[u8]) -> [u8; 8] {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let beginning = payload.get(..COVERED).unwrap_or(payload);
        let mut covered = [0; 9 + COVERED];
        covered[0] = self.op.byte();
        covered[1..5].copy_from_slice(&self.index.0.to_le_bytes());
        covered[5..9].copy_from_slice(&length.to_le_bytes());
        covered[9..9 + beginning.len()].copy_from_slice(beginning);
        SipHasher24::new_with_key(&key.0)
            .hash(&covered)
            .to_le_bytes()
    }

    /// A whole frame around `payload`.
    #[must_use]
    pub fn frame(self, key: &RelayKey, payload: &[u8]) -> Vec<u8> {
        let mut frame = [&[0; RELAY_HEADER], payload].concat();
        self.write(key, &mut frame);
        frame
    }
}

/// What a relay and its client say on the authenticated channel between them. Lost messages are asked for again; asking
/// twice gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayMessage {
    /// Asks to be forwarded for.
    Ask,
    /// The sender of `Ask` is a client from now on.
    Grant {
        /// The client's own index.
        index: RelayIndex,
        /// For the tags of its frames, both ways.
        key: RelayKey,
    },
    /// Asks for a channel to another client of this relay.
    Open {
        /// The other client.
        peer: IdentityKey,
    },
    /// There is one.
    Opened {
        /// From the request.
        peer: IdentityKey,
        /// What the asker writes into frames for that peer.
        channel: RelayIndex,
    },
    /// There will be none.
    Refused {
        /// Whom a channel was asked to; `None` is the answer to `Ask`.
        peer: Option<IdentityKey>,
        /// Why.
        reason: RelayRefusal,
    },
    /// The relay ends: its clients look for another one.
    Farewell,
}

/// Why a relay does not forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayRefusal {
    /// It forwards for nobody: it is switched off, or cannot be reached from everywhere.
    NotRelaying,
    /// It has as many clients, or the client as many channels, as it may.
    Full,
    /// Who asks for a channel is no client (any more): it has to ask to be one.
    NotAClient,
    /// The other end of the channel is no client of this relay, or has not shown yet where it is.
    NotHere,
    /// Who asks is no member of the network.
    NotAMember,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_twelve_bytes_and_its_payload() {
        let header = RelayHeader {
            op: RelayOp::Forward,
            index: RelayIndex(0x0403_0201),
        };
        let frame = header.frame(&key(), &[0x10; 40]);

        assert_eq!(&frame[..6], [0x30, 0, 1, 2, 3, 4]);
        assert_eq!(&frame[12..], [0x10; 40]);
        assert_eq!(RelayHeader::decode(&frame), Some(header));
        assert!(header.verify(&key(), &frame));
    }

    #[test]
    fn tags_do_not_change_from_version_to_version() {
        let header = RelayHeader {
            op: RelayOp::Deliver,
            index: RelayIndex(7),
        };
        let frame = header.frame(&key(), b"sealed for somebody else");
        assert_eq!(frame[6..12], VECTOR);
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let header = RelayHeader {
            op: RelayOp::Ping,
            index: RelayIndex(99),
        };
        let good = header.frame(&key(), &7u64.to_le_bytes());
        for at in 1..good.len() {
            let mut frame = good.clone();
            frame[at] ^= 1;
            let is_good =
                RelayHeader::decode(&frame).is_some_and(|header| header.verify(&key(), &frame));
            assert!(!is_good, "byte {at}");
        }
        assert!(!header.verify(&key(), &good[..good.len() - 1]), "shorter");
        assert!(
            !header.verify(&key(), &[&good[..], &[0]].concat()),
            "longer"
        );
        assert!(!header.verify(&RelayKey([8; 16]), &good), "another key");
    }

    #[test]
    fn junk_is_no_frame() {
        for junk in [
            &[][..],
            &[0x30],
            &[0x30; 11],
            &[0x30; 40],
            &[0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(RelayHeader::decode(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn messages_do_not_change_from_version_to_version() {
        let index = RelayIndex(300);
        let peer = IdentityKey([9; 32]);
        let refused = RelayMessage::Refused {
            peer: None,
            reason: RelayRefusal::NotHere,
        };
        for (message, bytes) in [
            (RelayMessage::Ask, vec![0]),
            (
                RelayMessage::Grant { index, key: key() },
                [&[1, 0xac, 2][..], &[7; 16]].concat(),
            ),
            (RelayMessage::Open { peer }, [&[2][..], &[9; 32]].concat()),
            (
                RelayMessage::Opened {
                    peer,
                    channel: index,
                },
                [&[3][..], &[9; 32], &[0xac, 2]].concat(),
            ),
            (refused, vec![4, 0, 3]),
            (RelayMessage::Farewell, vec![5]),
        ] {
            assert_eq!(crate::wire::encode(&message), bytes);
            assert_eq!(crate::wire::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn on_a_stream_a_frame_stands_behind_its_length_and_none_that_is_too_long() {
        let mut stream = Vec::new();
        put_on_stream(&[7; 300], &mut stream);
        put_on_stream(&[8; MAX_STREAM_FRAME + 1], &mut stream);

        assert_eq!(stream, [&[1, 44][..], &[7; 300]].concat());
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", key()), "RelayKey(…)");
    }

    const VECTOR: [u8; 6] = [0x1e, 0x97, 0x2e, 0x03, 0xf4, 0x92];

    fn key() -> RelayKey {
        RelayKey([7; 16])
    }
}
