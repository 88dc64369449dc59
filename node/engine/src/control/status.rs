//! What people see of a peer.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use tombolo_proto::{
    id::{NetworkId, NodeId},
    key::IdentityKey,
};

use crate::{
    handshake::KeyExchange,
    path::way::Way,
    peer::Peer,
    relay::{RelayName, Relays},
};

/// A way to fall back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyStatus {
    /// The way.
    pub way: Way,
    /// Who relays, if it is not direct.
    pub relay: Option<RelayName>,
    /// Smoothed round-trip time.
    pub latency: Option<Duration>,
}

/// One peer, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which network.
    pub network: NetworkId,
    /// The peer's address, a name.
    pub node: NodeId,
    /// Who the peer is.
    pub identity: IdentityKey,
    /// The name in its certificate.
    pub name: String,
    /// Its addresses in the network.
    pub addresses: Vec<IpAddr>,
    /// How it is reached, while there is a session.
    pub way: Option<Way>,
    /// Where it is reached, while there is a session with a direct path.
    pub endpoint: Option<SocketAddr>,
    /// Who relays, if the peer is not reached directly.
    pub relay: Option<RelayName>,
    /// Where it may be, best first.
    pub candidates: Vec<SocketAddr>,
    /// Other ways that have answered lately, best first.
    pub standby: Vec<StandbyStatus>,
    /// Smoothed round-trip time.
    pub latency: Option<Duration>,
    /// Largest inner packet that passes undivided, once the way has been asked.
    pub mtu: Option<u16>,
    /// How long ago the lane in use was agreed.
    pub last_handshake: Option<Duration>,
    /// The cipher of the lane in use.
    pub cipher: Option<&'static str>,
    /// What the keys of the lane in use were made from.
    pub key_exchange: Option<&'static str>,
    /// Bytes of inner packets from the peer.
    pub rx_bytes: u64,
    /// Bytes of inner packets to the peer.
    pub tx_bytes: u64,
    /// Inner packets from the peer.
    pub rx_packets: u64,
    /// Inner packets to the peer.
    pub tx_packets: u64,
    /// Drops by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Whether a handshake is under way.
    pub connecting: bool,
}

impl PeerStatus {
    pub(crate) fn of(peer: &Peer, relays: &Relays, now: Instant) -> Self {
        let path = peer.path();
        let counters = &peer.counters;
        Self {
            network: peer.id.parties.network,
            node: peer.portrait.node,
            identity: peer.id.identity,
            name: peer.portrait.name.clone(),
            addresses: peer.portrait.addresses.clone(),
            way: path.map(|path| path.to),
            endpoint: path.and_then(|path| path.to.endpoint()),
            relay: path.and_then(|path| relays.behind(path.to)),
            candidates: peer.candidates().to_vec(),
            standby: peer
                .standbys(now)
                .into_iter()
                .filter(|_| path.is_some())
                .map(|standby| StandbyStatus {
                    way: standby.way,
                    relay: relays.behind(standby.way),
                    latency: standby.round_trip,
                })
                .collect(),
            latency: path.and_then(|_| peer.round_trip()),
            mtu: path.and_then(|_| peer.proven_mtu()),
            last_handshake: peer
                .lane_made_at()
                .map(|made| now.saturating_duration_since(made)),
            cipher: path.map(|path| path.lane.aead().name()),
            key_exchange: path
                .and_then(|_| peer.key_exchange())
                .map(KeyExchange::name),
            rx_bytes: counters.rx_bytes.load(Relaxed),
            tx_bytes: counters.tx_bytes.load(Relaxed),
            rx_packets: counters.rx_packets.load(Relaxed),
            tx_packets: counters.tx_packets.load(Relaxed),
            dropped: counters.dropped.report(),
            connecting: peer.is_connecting(),
        }
    }
}
