//! The engine: the slow path's one owner, for all networks of a node.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use tombolo_proto::{
    id::{NetworkId, NodeId, UnixSeconds},
    key::{IdentityKey, TransportSecret},
};

use crate::{
    fib::{Fib, NetworkSlot},
    forward::Punt,
    membership::Directory,
};

/// How long things take. Tests shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Age at which a lane is replaced while data flows.
    pub rekey_after: Duration,
    /// Age at which a lane's keys are erased.
    pub reject_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            rekey_after: Duration::from_secs(120),
            reject_after: Duration::from_secs(180),
        }
    }
}

/// What a node's owner decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Ages of keys.
    pub timing: Timing,
    /// Whether the processor has AES instructions, and they are not switched off.
    pub aes: bool,
}

/// A datagram for the UDP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// All of it.
    pub payload: Vec<u8>,
}

/// What the shell wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Event {
    /// Take [`Engine::fib`] and publish it.
    FibChanged,
    /// A session with a peer is up.
    SessionUp {
        /// Which network.
        network: NetworkId,
        /// Which peer.
        peer: IdentityKey,
        /// Where the peer is, authenticated.
        endpoint: SocketAddr,
    },
    /// There is no session with a peer any more.
    SessionDown {
        /// Which network.
        network: NetworkId,
        /// Which peer.
        peer: IdentityKey,
    },
    /// A peer is reached elsewhere now.
    EndpointChanged {
        /// Which network.
        network: NetworkId,
        /// Which peer.
        peer: IdentityKey,
        /// Where the peer is, authenticated.
        endpoint: SocketAddr,
    },
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
    /// Where it is reached.
    pub endpoint: Option<SocketAddr>,
    /// Smoothed round-trip time.
    pub latency: Option<Duration>,
    /// How long ago the current lane was agreed.
    pub last_handshake: Option<Duration>,
    /// The current lane's cipher.
    pub cipher: Option<&'static str>,
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

/// The slow path of a node.
#[derive(Debug)]
pub struct Engine {
    fib: Arc<Fib>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Engine {
    /// An engine without networks. `rng` is seeded from the operating system.
    #[must_use]
    pub fn new(_settings: Settings, _rng: StdRng) -> Self {
        Self {
            fib: Arc::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Adds a network in which this node is `identity` and has the key `transport`. The slot is never given out again.
    pub fn add_network(
        &mut self,
        _network: NetworkId,
        _identity: IdentityKey,
        _transport: TransportSecret,
        _now: Instant,
    ) -> NetworkSlot {
        NetworkSlot(0)
    }

    /// Forgets a network and erases its sessions.
    pub fn remove_network(&mut self, _network: NetworkId, _now: Instant) {}

    /// Takes a newer directory: members that are gone are cut off at once.
    pub fn set_directory(&mut self, _directory: &Directory, _wall: UnixSeconds, _now: Instant) {}

    /// Where a peer may be reached, best first; at most 8 count.
    pub fn set_endpoints(
        &mut self,
        _network: NetworkId,
        _peer: IdentityKey,
        _endpoints: Vec<SocketAddr>,
        _now: Instant,
    ) {
    }

    /// Makes a session now if there is none.
    pub fn connect(&mut self, _network: NetworkId, _peer: IdentityKey, _now: Instant) {}

    /// Takes what the fast path handed over.
    pub fn handle_punt(&mut self, _punt: Punt, _now: Instant) {}

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Self::handle_timeout`] wants to be called next, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The snapshot to publish. Take it after [`Event::FibChanged`].
    #[must_use]
    pub fn fib(&self) -> Arc<Fib> {
        Arc::clone(&self.fib)
    }

    /// All peers, for people.
    #[must_use]
    pub fn peers(&self, _now: Instant) -> Vec<PeerStatus> {
        Vec::new()
    }
}
