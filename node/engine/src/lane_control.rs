//! What two peers say to each other on a lane besides packets. A message of an unknown kind is ignored, so that later
//! versions may say more.

use serde::{Deserialize, Serialize};
use tombolo_proto::{
    config::EndpointAnnouncement, frame::LANE_OVERHEAD, gossip::GossipMessage, key::IdentityKey,
    relay::RelayMessage, signed::Signed, wire,
};

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
    /// Asks to tell another member, if the receiver has a session with it, to call the sender.
    Rendezvous {
        /// Who is to call.
        peer: IdentityKey,
        /// Where; signed by the sender.
        announcement: Signed<EndpointAnnouncement>,
    },
    /// Passes such a wish on: once, never further.
    Call {
        /// Who is to be called.
        caller: IdentityKey,
        /// Where; signed by that member.
        announcement: Signed<EndpointAnnouncement>,
    },
    /// About frames that one of the two relays for the other.
    Relay(RelayMessage),
    /// Asks whether a frame of this size passes (RFC 8899 section 4.1).
    SizeProbe {
        /// Which question it belongs to.
        number: u32,
        /// Zeros: whatever is missing to the size.
        padding: Vec<u8>,
    },
    /// Answer to a [`Self::SizeProbe`].
    SizeAnswer {
        /// That of the probe.
        number: u32,
        /// Bytes of the frame that arrived.
        size: u16,
    },
    /// No UDP passes to the sender: it reaches the relay that carries this by TCP. Comes with each pong by such a relay.
    NoUdp,
}

impl LaneMessage {
    /// A probe whose frame has `size` bytes, which is at least 256.
    #[must_use]
    pub fn size_probe(number: u32, size: u16) -> Self {
        let probe = |length: usize| Self::SizeProbe {
            number,
            padding: vec![0; length],
        };
        let room = usize::from(size).saturating_sub(LANE_OVERHEAD);
        // The length of the padding is written in as many bytes however much of it makes room for them.
        let around = probe(room).encode().len() - room;
        probe(room.saturating_sub(around))
    }

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
    use tombolo_proto::{id::NetworkId, key::Seed};

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
    fn a_message_about_relaying_is_its_encoding_behind_a_number() {
        let message = LaneMessage::Relay(RelayMessage::Farewell);
        assert_eq!(message.encode(), [5, 5]);
        assert_eq!(LaneMessage::decode(&[5, 5]), Some(message));
    }

    #[test]
    fn the_messages_of_a_rendezvous() {
        let said = EndpointAnnouncement {
            endpoints: Vec::new(),
            home: None,
            sequence: 1,
        };
        let network: NetworkId = "8056c2e21c000001".parse().expect("a network id");
        let key = Seed::from_bytes([7; 32]).identity();
        let announcement = Signed::sign(&said, network.into(), &key);
        let identity = IdentityKey([9; 32]);
        let rest = [&[9; 32][..], &wire::encode(&announcement)].concat();

        let messages = [
            LaneMessage::Rendezvous {
                peer: identity,
                announcement: announcement.clone(),
            },
            LaneMessage::Call {
                caller: identity,
                announcement,
            },
        ];

        for (message, kind) in messages.into_iter().zip(3..) {
            let bytes = [&[kind][..], &rest].concat();
            assert_eq!(message.encode(), bytes);
            assert_eq!(LaneMessage::decode(&bytes), Some(message));
        }
    }

    #[test]
    fn probes_have_the_size_they_ask_about_and_the_encoding_they_had_from_the_start() {
        for size in [256, 1188, 1432, 8932] {
            for number in [0, 127, 128, u32::MAX] {
                let probe = LaneMessage::size_probe(number, size).encode();
                assert_eq!(probe.len() + LANE_OVERHEAD, usize::from(size));
                assert_eq!(probe[0], 6);
            }
        }
        let answer = LaneMessage::SizeAnswer {
            number: 1,
            size: 1432,
        };
        assert_eq!(answer.encode(), [7, 1, 0x98, 0x0b]);
        assert_eq!(LaneMessage::decode(&answer.encode()), Some(answer));
    }

    #[test]
    fn that_no_udp_passes_is_one_byte() {
        assert_eq!(LaneMessage::NoUdp.encode(), [8]);
        assert_eq!(LaneMessage::decode(&[8]), Some(LaneMessage::NoUdp));
    }

    #[test]
    fn unknown_kinds_and_junk_are_ignored() {
        for junk in [
            &[9, 0][..],
            &[8, 0],
            &[6, 0],
            &[5, 9],
            &[0x70, 0],
            &[3, 0],
            &[2, 9],
            &[0],
            &[],
            &[0, 1, 0],
            &[0x80],
        ] {
            assert_eq!(LaneMessage::decode(junk), None);
        }
    }
}
