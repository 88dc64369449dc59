//! What the fast path knows: an immutable snapshot that the slow path publishes as `Arc<Fib>`.
//!
//! A snapshot says, per network, who owns which prefix; per peer, on which lane and to which endpoint to send; per lane
//! index, which lane opens a frame and whose it is. A change of lanes or endpoints makes a new snapshot that shares the
//! prefix tables with the old one, so it costs a copy of pointers, however many members there are.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::Instant,
};

use tombolo_proto::{frame::WireGuardKind, id::LaneIndex};
use tombolo_relay::Relay;

use crate::{
    counters::{Counters, PeerCounters},
    lane::Lane,
    ownership::Ownership,
    parts::Unfinished,
    path::way::Way,
    relay::RelayRoute,
    rules::Guard,
    session::{Door, MachineIndex, receiver},
};

/// Dense index of a network on this node, also of its TUN device. Never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkSlot(pub u16);

/// Dense index of a peer over all networks of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerSlot(pub u32);

/// Where and how to send to a peer.
#[derive(Debug)]
pub(crate) struct SendPath {
    pub(crate) lane: Arc<Lane>,
    pub(crate) to: Way,
    /// Largest frame that the way there takes.
    pub(crate) frame_limit: u16,
    pub(crate) counters: Arc<PeerCounters>,
}

/// Whose frames a lane opens.
#[derive(Debug)]
pub(crate) struct LaneEntry {
    pub(crate) lane: Arc<Lane>,
    pub(crate) network: NetworkSlot,
    pub(crate) peer: PeerSlot,
    pub(crate) counters: Arc<PeerCounters>,
    pub(crate) unfinished: Unfinished,
}

/// The lanes that frames are opened with.
pub(crate) type LaneTable = HashMap<LaneIndex, Arc<LaneEntry>, BuildHasherDefault<IndexHasher>>;

/// Immutable forwarding snapshot.
#[derive(Debug, Default)]
pub struct Fib {
    pub(crate) networks: Vec<Option<Arc<Ownership>>>,
    /// By network; empty while no network has rules to enforce.
    pub(crate) guards: Vec<Option<Arc<Guard>>>,
    pub(crate) paths: Vec<Option<Arc<SendPath>>>,
    /// Owners of shared prefixes that do not answer.
    pub(crate) away: Arc<BTreeSet<PeerSlot>>,
    pub(crate) lanes: LaneTable,
    pub(crate) doors: Vec<Arc<dyn Door>>,
    pub(crate) machines: Arc<BTreeSet<MachineIndex>>,
    pub(crate) counters: Arc<Counters>,
    /// Relays that this node is a client of: a handful.
    pub(crate) relays: Vec<RelayRoute>,
    /// What this node relays for others.
    pub(crate) relay: Arc<Relay>,
}

impl Fib {
    /// Drops that belong to no peer. The fast path counts its own; a shell adds what it had to drop itself.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn ownership(&self, network: NetworkSlot) -> Option<&Ownership> {
        self.networks.get(usize::from(network.0))?.as_deref()
    }

    pub(crate) fn guard(&self, network: NetworkSlot) -> Option<&Guard> {
        self.guards.get(usize::from(network.0))?.as_deref()
    }

    /// Whether access rules have to be told the time.
    #[must_use]
    pub fn wants_time(&self) -> bool {
        !self.guards.is_empty()
    }

    /// Tells the time, once per batch of packets: flows that access rules let answers in for end by it.
    pub fn set_time(&self, now: Instant) {
        for guard in self.guards.iter().flatten() {
            guard.set_time(now);
        }
    }

    pub(crate) fn path(&self, peer: PeerSlot) -> Option<&SendPath> {
        self.paths.get(peer.0 as usize)?.as_deref()
    }

    /// Whether a handshake message may concern this node at all. Keeps junk from taking memory or a place in a queue.
    pub(crate) fn concerns_us(&self, kind: WireGuardKind, message: &[u8]) -> bool {
        match kind {
            WireGuardKind::Initiation => self
                .doors
                .iter()
                .any(|door| door.is_addressed_to_us(message)),
            WireGuardKind::Response | WireGuardKind::Cookie | WireGuardKind::Transport => {
                receiver(kind, message).is_some_and(|index| self.machines.contains(&index))
            }
        }
    }
}

/// Lane indices are random and chosen by this node, so they are their own hash; what a stranger looks up enters no table.
#[derive(Debug, Default, Clone)]
pub(crate) struct IndexHasher(u64);

impl Hasher for IndexHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }

    fn write_u32(&mut self, index: u32) {
        // The table takes its tag from the top bits and its bucket from the bottom ones: give it both.
        self.0 = u64::from(index) << 32 | u64::from(index);
    }
}
