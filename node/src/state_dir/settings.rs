//! What a node keeps about a network besides its signed documents.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};
use tombolo_proto::{
    config::MAX_ENDPOINTS,
    key::{IdentityKey, KeyDigest},
    link::HostPort,
};

/// How a network was joined, and what the owner of this host allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSettings {
    /// Where controllers were said to be, in order of preference.
    pub controllers: Vec<HostPort>,
    /// Where the keyring last said that controllers are.
    #[serde(default)]
    pub known_controllers: Vec<HostPort>,
    /// The authority's root key, once seen: it never changes.
    pub root: Option<IdentityKey>,
    /// What the join link says of that key.
    pub digest: Option<KeyDigest>,
    /// The join token, until it has been used.
    pub token: Option<Token>,
    /// The TUN's name.
    pub interface: String,
    /// Routes to public prefixes may be installed.
    #[serde(default)]
    pub allow_global: bool,
    /// Default routes may be installed.
    #[serde(default)]
    pub allow_default: bool,
    /// Why a controller said no, if that was its last word.
    #[serde(default)]
    pub denied: Option<String>,
    /// A controller's last word was that there is no such network.
    #[serde(default)]
    pub not_found: bool,
}

/// A join token. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the members of a network were last reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerEndpoints {
    /// Best first.
    pub peers: BTreeMap<IdentityKey, Vec<SocketAddr>>,
    /// The sequence number of the last announcement this node signed.
    #[serde(default)]
    pub announced: u64,
}

impl PeerEndpoints {
    /// Moves an endpoint where a peer has just been heard to the front. `false` if it is there already.
    pub fn heard(&mut self, peer: IdentityKey, endpoint: SocketAddr) -> bool {
        let known = self.peers.entry(peer).or_default();
        if known.first() == Some(&endpoint) {
            return false;
        }
        known.retain(|other| *other != endpoint);
        known.insert(0, endpoint);
        known.truncate(MAX_ENDPOINTS);
        true
    }

    /// Takes the endpoints that a peer announced; what else was known follows as long as there is room. That its port was
    /// another for everybody holds only as long as it says so.
    pub fn announced_by(&mut self, peer: IdentityKey, announced: Vec<SocketAddr>) -> bool {
        let known = self.peers.entry(peer).or_default();
        let mut merged = announced;
        merged.truncate(MAX_ENDPOINTS);
        let older: Vec<_> = known
            .iter()
            .filter(|endpoint| !merged.contains(endpoint) && endpoint.port() != 0)
            .copied()
            .collect();
        merged.extend(older);
        merged.truncate(MAX_ENDPOINTS);
        let changed = *known != merged;
        *known = merged;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_peer_was_heard_comes_first_and_nine_endpoints_are_one_too_many() {
        let peer = IdentityKey([1; 32]);
        let mut endpoints = PeerEndpoints::default();

        endpoints.announced_by(peer, (1..=8).map(endpoint).collect());
        assert!(endpoints.heard(peer, endpoint(9)));
        assert!(!endpoints.heard(peer, endpoint(9)));

        let expected: Vec<_> = [9, 1, 2, 3, 4, 5, 6, 7].into_iter().map(endpoint).collect();
        assert_eq!(endpoints.peers[&peer], expected);
    }

    #[test]
    fn a_new_announcement_goes_before_what_was_known() {
        let peer = IdentityKey([1; 32]);
        let mut endpoints = PeerEndpoints::default();
        endpoints.announced_by(peer, vec![endpoint(1), endpoint(2)]);

        endpoints.announced_by(peer, vec![endpoint(3), endpoint(2)]);

        assert_eq!(endpoints.peers[&peer], [3, 2, 1].map(endpoint));
    }

    #[test]
    fn a_port_that_is_another_for_everybody_is_forgotten_when_it_is_said_no_more() {
        let peer = IdentityKey([1; 32]);
        let mut endpoints = PeerEndpoints::default();
        endpoints.announced_by(peer, vec![endpoint(0), endpoint(1)]);

        endpoints.announced_by(peer, vec![endpoint(2)]);

        assert_eq!(endpoints.peers[&peer], [2, 1].map(endpoint));
    }

    fn endpoint(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }
}
