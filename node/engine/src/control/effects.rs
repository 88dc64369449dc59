//! What the slow path has to say to the outside, and what every peer may use to say it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rand::{Rng as _, rngs::StdRng};
use tombolo_proto::{
    config::EndpointAnnouncement,
    gossip::{GossipMessage, Gossiped},
    id::{LaneIndex, NetworkId},
    key::IdentityKey,
    relay::RelayMessage,
    signed::Signed,
};

use super::Settings;
use crate::relay::Relays;
use crate::{
    budget::Budgets,
    fib::PeerSlot,
    handshake,
    ownership::Ownership,
    path::way::{SocketSlot, Way},
    punch::Puncher,
    relay::RelayName,
    session::{MachineIndex, Noise},
};

/// A datagram for the UDP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Transmit {
    /// Where to.
    pub to: Way,
    /// All of it.
    pub payload: Vec<u8>,
}

/// What the shell wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Event {
    /// Take [`super::Engine::fib`] and publish it.
    FibChanged,
    /// A session with a peer is up.
    SessionUp {
        /// Which network.
        network: NetworkId,
        /// Which peer.
        peer: IdentityKey,
        /// The way to the peer, authenticated.
        way: Way,
    },
    /// There is no session with a peer any more.
    SessionDown {
        /// Which network.
        network: NetworkId,
        /// Which peer.
        peer: IdentityKey,
    },
    /// A peer is reached by another way now.
    WayChanged {
        /// Which network.
        network: NetworkId,
        /// Which peer.
        peer: IdentityKey,
        /// The way to the peer, authenticated.
        way: Way,
    },
    /// A peer sent documents. Verify them, keep on disk what is new, and only then give the outcome to
    /// [`super::Engine::set_gossiped_directory`] and [`super::Engine::set_announcement`].
    Gossip {
        /// Which network.
        network: NetworkId,
        /// Which peer.
        peer: IdentityKey,
        /// Unverified.
        documents: Vec<Gossiped>,
    },
    /// A peer does not answer: have it call this node, by whoever can tell it to. Its NAT may let in nothing but answers.
    RendezvousWanted {
        /// Which network.
        network: NetworkId,
        /// Which peer.
        peer: IdentityKey,
    },
    /// A peer cannot reach this node and asks, through another one, to be called. Verify what it says of where it is, and
    /// give that to [`super::Engine::set_endpoints`] and the call to [`super::Engine::handle_rendezvous`].
    Called {
        /// Which network.
        network: NetworkId,
        /// Who asks.
        peer: IdentityKey,
        /// Unverified.
        announcement: Signed<EndpointAnnouncement>,
    },
    /// Other relays are kept warm than before: this node can be reached through them, and announces that.
    Relays {
        /// Which network.
        network: NetworkId,
        /// One overlay address of each member that relays, nearest first.
        addresses: Vec<IpAddr>,
    },
    /// Something to be said to a replica that relays. What it answers goes to [`super::Engine::handle_relay_message`].
    RelaySay {
        /// Which network.
        network: NetworkId,
        /// Which replica.
        replica: IdentityKey,
        /// The message.
        message: RelayMessage,
    },
    /// No UDP seems to pass to somebody who relays: connect to it by TCP, and say where frames for it go then, with
    /// [`super::Engine::set_stream`]. Repeated as long as it is so.
    StreamWanted {
        /// Which network.
        network: NetworkId,
        /// To whom.
        relay: RelayName,
        /// Where a member may be, best first; of a replica it is known.
        at: Vec<SocketAddr>,
        /// The stream that there was, if nothing comes by it any more: it is to be closed.
        silent: Option<SocketAddr>,
    },
    /// A peer answered what [`super::Engine::ping`] asked.
    Answered {
        /// What that returned.
        id: u64,
        /// The way that the question took.
        way: Way,
        /// The round trip.
        after: Duration,
    },
    /// Nothing is sent from a socket of [`crate::path::way::Way::Through`] any more: close it, once everything from
    /// [`super::Engine::poll_transmit`] is sent.
    SocketUnused {
        /// Which.
        socket: SocketSlot,
    },
    /// Peers see this node at other addresses than before.
    Seen {
        /// Which network.
        network: NetworkId,
        /// Where they see it; at least two agree, if there are two.
        endpoints: Vec<SocketAddr>,
    },
}

/// A peer's wish that another one call it.
#[derive(Debug)]
pub(crate) struct Introduction {
    pub(crate) caller: PeerSlot,
    pub(crate) callee: IdentityKey,
    pub(crate) announcement: Signed<EndpointAnnouncement>,
}

/// Waits to be polled.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    /// Messages that peers have sent, and where they came from.
    pub(crate) gossip: VecDeque<(PeerSlot, GossipMessage, Way)>,
    /// Peers that want others to call them.
    pub(crate) introductions: VecDeque<Introduction>,
    /// What peers have said about relaying, and by which way.
    pub(crate) relaying: VecDeque<(PeerSlot, RelayMessage, Way)>,
    /// Peers that do not answer, and may do so by a relay. `true`: those asked so far do not help.
    pub(crate) relay_wanted: BTreeMap<PeerSlot, bool>,
    /// Whether the published snapshot is out of date.
    pub(crate) fib_is_stale: bool,
}

/// Which indices this node has given out, and to which peer.
#[derive(Debug, Default)]
pub(crate) struct Indices {
    lanes: BTreeMap<LaneIndex, PeerSlot>,
    machines: BTreeMap<MachineIndex, PeerSlot>,
    /// Shared with the snapshots.
    known_machines: Arc<BTreeSet<MachineIndex>>,
}

impl Indices {
    pub(crate) fn lane_owner(&self, lane: LaneIndex) -> Option<PeerSlot> {
        self.lanes.get(&lane).copied()
    }

    pub(crate) fn machine_owner(&self, machine: MachineIndex) -> Option<PeerSlot> {
        self.machines.get(&machine).copied()
    }

    pub(crate) fn known_machines(&self) -> Arc<BTreeSet<MachineIndex>> {
        Arc::clone(&self.known_machines)
    }
}

/// What a peer works with: the node's settings and randomness, and the places where its effects go.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) noise: &'a dyn Noise,
    pub(crate) ownership: &'a Ownership,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) indices: &'a mut Indices,
    /// Whether a NAT stands in front of this node, as far as it knows.
    pub(crate) is_translated: bool,
    pub(crate) relays: &'a Relays,
    /// What calls may send to each address.
    pub(crate) called: &'a mut Budgets,
    pub(crate) puncher: &'a mut Puncher,
    pub(crate) outbox: &'a mut Outbox,
}

impl Context<'_> {
    pub(crate) fn transmit(&mut self, to: impl Into<Way>, payload: Vec<u8>) {
        let to = to.into();
        self.outbox.transmits.push_back(Transmit { to, payload });
    }

    /// Whether frames by this way come from a relay that is reached by TCP.
    pub(crate) fn comes_by_stream(&self, way: Way) -> bool {
        matches!(way, Way::Relay { relay, .. } if self.relays.is_on_stream(relay))
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outbox.events.push_back(event);
    }

    /// A random lane index that nobody has.
    pub(crate) fn take_lane_index(&mut self, owner: PeerSlot) -> LaneIndex {
        loop {
            let index = handshake::a_lane_index(self.rng);
            if let Entry::Vacant(entry) = self.indices.lanes.entry(index) {
                entry.insert(owner);
                return index;
            }
        }
    }

    pub(crate) fn give_back_lane_index(&mut self, index: LaneIndex) {
        self.indices.lanes.remove(&index);
        self.outbox.fib_is_stale = true;
    }

    /// A random machine index that nobody has.
    pub(crate) fn take_machine_index(&mut self, owner: PeerSlot) -> MachineIndex {
        loop {
            let index = MachineIndex::from_bits(self.rng.random());
            if let Entry::Vacant(entry) = self.indices.machines.entry(index) {
                entry.insert(owner);
                Arc::make_mut(&mut self.indices.known_machines).insert(index);
                self.outbox.fib_is_stale = true;
                return index;
            }
        }
    }

    pub(crate) fn give_back_machine_index(&mut self, index: MachineIndex) {
        self.indices.machines.remove(&index);
        Arc::make_mut(&mut self.indices.known_machines).remove(&index);
        self.outbox.fib_is_stale = true;
    }
}
