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
    rules::{Action, Protocol},
};

use super::Engine;
use crate::{
    fib::PeerSlot,
    handshake::KeyExchange,
    path::way::Way,
    peer::Peer,
    relay::{RelayName, Relays},
    rules::GuardStatus,
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

/// What became of one way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TriedStatus {
    /// The way.
    pub way: Way,
    /// Who relays, if it is not direct.
    pub relay: Option<RelayName>,
    /// How long ago the peer was last asked there.
    pub tried: Option<Duration>,
    /// How long ago it last answered.
    pub answered: Option<Duration>,
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
    /// Every way that is known, the one in use first, then best first.
    pub tried: Vec<TriedStatus>,
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
    /// Whether no UDP passes to it, as it said lately.
    pub is_without_udp: bool,
}

/// The access rules of a network at this node, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesStatus {
    /// For what no rule matches.
    pub default: Action,
    /// Every rule as text and how many packets it stopped here, in order.
    pub rules: Vec<(String, u64)>,
    /// How many packets no rule allowed.
    pub stopped_by_default: u64,
    /// Flows under way.
    pub flows: usize,
    /// What was stopped lately, newest first; a bounded list.
    pub lately: Vec<Stopped>,
}

/// A flow that an access rule stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Who sent it; `None` if that is no member any more.
    pub peer: Option<(NodeId, String)>,
    /// The rule, from 1; `None` for the default.
    pub rule: Option<usize>,
    /// The rule as text, or `default deny`.
    pub text: String,
    /// From where.
    pub source: IpAddr,
    /// To where.
    pub destination: IpAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its destination port, if it has one.
    pub port: Option<u16>,
    /// How many packets.
    pub packets: u64,
    /// How long ago the last one came.
    pub ago: Duration,
}

impl Engine {
    /// Where peers are reached directly at present.
    pub fn endpoints_in_use(&self) -> impl Iterator<Item = SocketAddr> {
        self.in_session()
            .filter_map(|peer| peer.path()?.to.endpoint())
    }

    /// Bytes of inner packets to and from all peers of a network together.
    #[must_use]
    pub fn traffic(&self, network: NetworkId) -> (u64, u64) {
        let slot = self.by_id.get(&network).copied();
        let peers = self.peers.iter().flatten();
        peers
            .filter(|peer| Some(peer.id.network) == slot)
            .map(|peer| {
                let counters = &peer.counters;
                (
                    counters.tx_bytes.load(Relaxed),
                    counters.rx_bytes.load(Relaxed),
                )
            })
            .fold((0, 0), |(sent, received), (tx, rx)| {
                (sent + tx, received + rx)
            })
    }

    /// The peers that there are sessions with, for people.
    #[must_use]
    pub fn sessions(&self, now: Instant) -> Vec<PeerStatus> {
        self.in_session()
            .map(|peer| self.status_of(peer, now))
            .collect()
    }

    fn status_of(&self, peer: &Peer, now: Instant) -> PeerStatus {
        let of = self.network(peer.id.network);
        let covers = |at| of.is_some_and(|of| of.ownership.covers(at));
        PeerStatus::of(peer, &self.relays, covers, now)
    }

    fn in_session(&self) -> impl Iterator<Item = &Peer> {
        self.with_lanes.iter().filter_map(|slot| self.peer(*slot))
    }

    /// All peers, for people.
    #[must_use]
    pub fn peers(&self, now: Instant) -> Vec<PeerStatus> {
        self.peers
            .iter()
            .flatten()
            .map(|peer| self.status_of(peer, now))
            .collect()
    }

    /// What the access rules of a network do here; `None` if there is nothing to enforce.
    #[must_use]
    pub fn rules(&self, network: NetworkId) -> Option<RulesStatus> {
        let guard = self.network(*self.by_id.get(&network)?)?.guard.as_deref()?;
        Some(RulesStatus::of(guard.status(), |slot| self.peer(slot)))
    }
}

impl RulesStatus {
    pub(super) fn of<'a>(guard: GuardStatus, peer: impl Fn(PeerSlot) -> Option<&'a Peer>) -> Self {
        let lately = guard.lately.into_iter().map(|(flow, ago)| Stopped {
            peer: peer(flow.peer).map(|peer| (peer.portrait.node, peer.portrait.name.clone())),
            rule: flow.rule,
            text: flow.text.to_string(),
            source: flow.source,
            destination: flow.destination,
            protocol: Protocol::of(flow.protocol),
            port: flow.port,
            packets: flow.packets,
            ago: Duration::from_secs(u64::from(ago)),
        });
        Self {
            default: guard.default,
            rules: guard.rules,
            stopped_by_default: guard.stopped_by_default,
            flows: guard.flows,
            lately: lately.collect(),
        }
    }
}

impl PeerStatus {
    /// `covers` is whether an address is one of the network itself: nothing is sent there to reach a peer.
    pub(crate) fn of(
        peer: &Peer,
        relays: &Relays,
        covers: impl Fn(IpAddr) -> bool,
        now: Instant,
    ) -> Self {
        let path = peer.path();
        let ago = |moment: Option<Instant>| Some(now.saturating_duration_since(moment?));
        let is_underlay = |at: &SocketAddr| !covers(at.ip());
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
            candidates: peer
                .candidates()
                .iter()
                .filter(|at| is_underlay(at))
                .copied()
                .collect(),
            tried: peer
                .tried()
                .into_iter()
                .filter(|tried| tried.way.endpoint().is_none_or(|at| is_underlay(&at)))
                .map(|tried| TriedStatus {
                    way: tried.way,
                    relay: relays.behind(tried.way),
                    tried: ago(tried.tried_at),
                    answered: ago(tried.answered_at),
                    latency: tried.round_trip,
                })
                .collect(),
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
            is_without_udp: peer.is_without_udp(now),
        }
    }
}
