//! What two peers say to each other on a lane besides packets. A message of an unknown kind is ignored, so that later
//! versions may say more.

use serde::{Deserialize, Serialize};
use tombolo_proto::{gossip::GossipMessage, wire};

/// A message on a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LaneMessage {
    /// Asks for a [`Self::Pong`] to where this came from: measures the way, proves an address, confirms a lane.
    Ping {
        /// Random.
        id: u64,
    },
    /// Answer to a ping.
    Pong {
        /// That of the ping.
        id: u64,
    },
    /// About the network's documents.
    Gossip(GossipMessage),
}

impl LaneMessage {
    /// The bytes to seal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// The inverse of [`Self::encode`]; `None` for whatever this version does not know.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        wire::decode(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_encoding_they_had_from_the_start() {
        assert_eq!(LaneMessage::Ping { id: 1 }.encode(), [0, 1]);
        assert_eq!(LaneMessage::Pong { id: 300 }.encode(), [1, 0xac, 0x02]);
        assert_eq!(
            LaneMessage::decode(&[1, 0xac, 0x02]),
            Some(LaneMessage::Pong { id: 300 })
        );
    }

    #[test]
    fn unknown_kinds_and_junk_are_ignored() {
        for junk in [&[3, 0][..], &[2, 9], &[0], &[], &[0, 1, 0], &[0x80]] {
            assert_eq!(LaneMessage::decode(junk), None);
        }
    }
}
