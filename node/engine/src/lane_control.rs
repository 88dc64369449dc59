//! What two peers say to each other on a lane besides packets. A message of an unknown kind is ignored, so that later
//! versions may say more.

use serde::{Deserialize, Serialize};
use tombolo_proto::{
    config::EndpointAnnouncement, gossip::GossipMessage, key::IdentityKey, relay::RelayMessage,
    signed::Signed, wire,
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
    fn unknown_kinds_and_junk_are_ignored() {
        for junk in [
            &[5, 9][..],
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
