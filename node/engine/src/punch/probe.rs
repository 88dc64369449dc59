//! A probe: 20 bytes that only the two nodes of a pair can make, so that nobody else can point them anywhere.
//!
//! `{0x20, 0, 0, 0, tag [16]}`. The tag is the same for all probes of one node to the other. Repeating one shows no more
//! than that the pair wants to meet, and is answered by a handshake at most.

use sha2::{Digest as _, Sha256};
use tombolo_proto::{
    frame::PROBE,
    id::NetworkId,
    key::{TransportKey, TransportSecret},
};

/// Bytes of a probe.
pub(crate) const PROBE_LENGTH: usize = 20;
const LABEL: &[u8] = b"tombolo/probe/v1";

/// The probes of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probes {
    /// What this node sends.
    pub(crate) ours: [u8; PROBE_LENGTH],
    theirs: [u8; PROBE_LENGTH],
}

impl Probes {
    pub(crate) fn new(network: NetworkId, secret: &TransportSecret, peer: &TransportKey) -> Self {
        let shared = secret
            .expose()
            .diffie_hellman(&x25519_dalek::PublicKey::from(peer.0));
        let probe = |sender: &TransportKey| {
            let tag = Sha256::new()
                .chain_update(LABEL)
                .chain_update(network.get().to_be_bytes())
                .chain_update(shared.as_bytes())
                .chain_update(sender.0)
                .finalize();
            let mut probe = [0; PROBE_LENGTH];
            probe[0] = PROBE;
            probe[4..].copy_from_slice(&tag[..16]);
            probe
        };
        Self {
            ours: probe(&secret.public()),
            theirs: probe(peer),
        }
    }

    /// Whether the peer made this.
    pub(crate) fn is_theirs(&self, datagram: &[u8]) -> bool {
        datagram == self.theirs
    }
}

#[cfg(test)]
mod tests {
    use tombolo_proto::key::Seed;

    use super::*;

    #[test]
    fn each_side_knows_the_others_probe_and_nobody_elses() {
        let network: NetworkId = "8056c2e21c000001".parse().expect("a network id");
        let other: NetworkId = "8056c2e21c000002".parse().expect("a network id");
        let [a, b, c] = [1, 2, 3].map(|seed| Seed::from_bytes([seed; 32]).transport(network, 0));
        let of_a = Probes::new(network, &a, &b.public());
        let of_b = Probes::new(network, &b, &a.public());

        assert!(of_a.is_theirs(&of_b.ours) && of_b.is_theirs(&of_a.ours));
        assert!(!of_a.is_theirs(&of_a.ours));
        for stranger in [
            Probes::new(network, &c, &a.public()),
            Probes::new(network, &b, &c.public()),
            Probes::new(other, &b, &a.public()),
        ] {
            assert!(!of_a.is_theirs(&stranger.ours));
        }
        assert_eq!(of_a.ours[..4], [0x20, 0, 0, 0]);
    }
}
