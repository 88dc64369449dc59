//! The engine: the slow path's one owner, for all networks of a node.
//!
//! It takes what the fast path punts, what the controller and the cache say about members and their endpoints, and the
//! passing of time; it gives datagrams to send, events, and the snapshot that the fast path works from. A shell's loop:
//!
//! ```text
//! loop {
//!     wait for a punt, a directory, endpoints, or poll_timeout()  ->  handle_…(…, now)
//!     while poll_transmit() -> send
//!     while poll_event()    -> FibChanged: publish fib(); others: remember, report
//! }
//! ```
//!
//! Peers that dial have a deadline each. Peers with a session are looked at together, four times a second while anything
//! flows and twice a second otherwise, which for those that nothing happened to is a look at their counters; without
//! sessions, attempts and gossip the engine sleeps for ever.

mod effects;
mod gossip;
mod members;
mod network;
mod punts;
mod relays;
mod rendezvous;
mod settings;
mod status;
mod time;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use rand::rngs::StdRng;
use tombolo_proto::{id::NetworkId, key::IdentityKey, relay::RELAY_HEADER};

use tombolo_relay::Relay;

use crate::{
    budget::Budgets,
    counters::Counters,
    failover::Failover,
    fib::{Fib, NetworkSlot, PeerSlot},
    gate::Gate,
    observer::Observer,
    path::way::Way,
    peer::Peer,
    punch::Puncher,
    relay::Relays,
    session::{Noise, WireGuardNoise},
};
pub(crate) use effects::{Context, Introduction};
pub use effects::{Event, Transmit};
use effects::{Indices, Outbox};
use network::Network;
pub use settings::{Settings, Timing};
pub use status::{PeerStatus, RulesStatus, StandbyStatus, Stopped, TriedStatus};
use time::{QUICK_TICK, TICK};

/// The slow path of a node.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    rng: StdRng,
    noise: Box<dyn Noise>,
    gate: Gate,
    counters: Arc<Counters>,
    /// By slot; slots are not given out twice.
    networks: Vec<Option<Network>>,
    by_id: BTreeMap<NetworkId, NetworkSlot>,
    peers: Vec<Option<Peer>>,
    free_slots: VecDeque<(Instant, PeerSlot)>,
    indices: Indices,
    called: Budgets,
    observer: Observer,
    puncher: Puncher,
    /// Peers that have lanes.
    with_lanes: BTreeSet<PeerSlot>,
    failover: Failover,
    /// Those of them that are looked at more often.
    suspects: BTreeSet<PeerSlot>,
    is_translated: bool,
    deadlines: BTreeSet<(Instant, PeerSlot)>,
    /// Each peer's entry in `deadlines`.
    scheduled: BTreeMap<PeerSlot, Instant>,
    last_tick: Option<Instant>,
    /// When to look at some of the sessions, or at all.
    next_tick: Option<Instant>,
    next_full_tick: Option<Instant>,
    outbox: Outbox,
    fib: Arc<Fib>,
    /// Whether networks that are added gossip.
    gossips: bool,
    /// Relays that this node uses.
    relays: Relays,
    /// Whether networks that are added look for relays.
    seeks_relays: bool,
    /// What this node relays for others.
    relay: Arc<Relay>,
    /// Whether its owner lets it, and whether others can reach it.
    offers_relay: bool,
    is_public: bool,
}

impl Engine {
    /// An engine without networks. `rng` is seeded from the operating system.
    #[must_use]
    pub fn new(settings: Settings, rng: StdRng) -> Self {
        Self::with_noise(settings, rng, Box::new(WireGuardNoise))
    }

    /// An engine with another handshake than the real one.
    #[must_use]
    pub fn with_noise(settings: Settings, mut rng: StdRng, noise: Box<dyn Noise>) -> Self {
        let gate = Gate::new(&mut rng);
        let called = Budgets::new(&mut rng);
        let observer = Observer::new(called.likewise());
        let puncher = Puncher::new(called.likewise());
        Self {
            settings,
            rng,
            noise,
            gate,
            counters: Arc::default(),
            networks: Vec::new(),
            by_id: BTreeMap::new(),
            peers: Vec::new(),
            free_slots: VecDeque::new(),
            indices: Indices::default(),
            called,
            observer,
            puncher,
            with_lanes: BTreeSet::new(),
            failover: Failover::default(),
            suspects: BTreeSet::new(),
            is_translated: false,
            deadlines: BTreeSet::new(),
            scheduled: BTreeMap::new(),
            last_tick: None,
            next_tick: None,
            next_full_tick: None,
            outbox: Outbox::default(),
            fib: Arc::default(),
            gossips: false,
            relays: Relays::default(),
            seeks_relays: false,
            relay: Arc::default(),
            offers_relay: false,
            is_public: false,
        }
    }

    /// Makes a session now if there is none.
    pub fn connect(&mut self, network: NetworkId, peer: IdentityKey, now: Instant) {
        if let Some(slot) = self.slot_of(network, &peer) {
            self.with_peer(slot, now, |peer, context| peer.connect(context, now));
        }
        self.settle_relays(now);
    }

    /// The kernel refused to send a datagram, because the interface on its way takes less than `size` bytes of payload.
    pub fn handle_refused(&mut self, way: Way, size: usize, now: Instant) {
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        let is_meant = |slot: &PeerSlot| {
            self.peer(*slot)
                .and_then(Peer::path)
                .is_some_and(|path| path.to == way)
        };
        let slots: Vec<PeerSlot> = self.with_lanes.iter().copied().filter(is_meant).collect();
        for slot in slots {
            self.with_peer(slot, now, |peer, _| peer.handle_refused(way, size, now));
        }
    }

    /// Asks a peer for a sign of life; [`Event::Answered`] carries what this returns. `None` if there is no session: one is
    /// made then, and [`Event::SessionUp`] says when to ask again.
    pub fn ping(&mut self, network: NetworkId, peer: IdentityKey, now: Instant) -> Option<u64> {
        let slot = self.slot_of(network, &peer)?;
        let mut id = None;
        self.with_peer(slot, now, |peer, context| id = peer.ask(context, now));
        id
    }

    // What came of it.

    /// The next datagram to send. Its way is always direct: what goes by a relay goes to the relay.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(transmit) = self.outbox.transmits.pop_front() {
            let Way::Relay { relay, circuit } = transmit.to else {
                return Some(transmit);
            };
            // Without a relay there is no such way any more.
            if let Some(route) = self.relays.route(relay) {
                let mut payload = [&[0; RELAY_HEADER], &transmit.payload[..]].concat();
                let by = route.toward(circuit);
                by.wrap(&mut payload);
                let to = by.at.into();
                return Some(Transmit { to, payload });
            }
        }
        None
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.outbox.fib_is_stale) {
            self.fib = Arc::new(self.snapshot());
            return Some(Event::FibChanged);
        }
        self.outbox.events.pop_front()
    }

    fn snapshot(&self) -> Fib {
        let networks = self.networks.iter().map(Option::as_ref);
        let lanes = self
            .with_lanes
            .iter()
            .filter_map(|slot| self.peer(*slot))
            .flat_map(Peer::lane_entries)
            .map(|entry| (entry.lane.local(), Arc::clone(entry)));
        let guards = networks.clone().map(|network| network?.guard.clone());
        Fib {
            guards: if guards.clone().any(|guard| guard.is_some()) {
                guards.collect()
            } else {
                Vec::new()
            },
            networks: networks
                .clone()
                .map(|network| network.map(|network| Arc::clone(&network.ownership)))
                .collect(),
            paths: self
                .peers
                .iter()
                .map(|peer| peer.as_ref().and_then(Peer::path).cloned())
                .collect(),
            lanes: lanes.collect(),
            away: self.failover.away(),
            doors: networks
                .flatten()
                .map(|network| Arc::clone(&network.door))
                .collect(),
            machines: self.indices.known_machines(),
            counters: Arc::clone(&self.counters),
            relays: self.relays.routes(),
            relay: Arc::clone(&self.relay),
        }
    }

    /// The snapshot to publish. Take it after [`Event::FibChanged`].
    #[must_use]
    pub fn fib(&self) -> Arc<Fib> {
        Arc::clone(&self.fib)
    }

    // Access.

    fn slot_of(&self, network: NetworkId, peer: &IdentityKey) -> Option<PeerSlot> {
        let slot = self.by_id.get(&network)?;
        self.network(*slot)?.by_identity.get(peer).copied()
    }

    fn network(&self, slot: NetworkSlot) -> Option<&Network> {
        self.networks.get(usize::from(slot.0))?.as_ref()
    }

    fn network_mut(&mut self, slot: NetworkSlot) -> Option<&mut Network> {
        self.networks.get_mut(usize::from(slot.0))?.as_mut()
    }

    fn peer(&self, slot: PeerSlot) -> Option<&Peer> {
        self.peers.get(slot.0 as usize)?.as_ref()
    }

    fn peer_mut(&mut self, slot: PeerSlot) -> Option<&mut Peer> {
        self.peers.get_mut(slot.0 as usize)?.as_mut()
    }

    /// Lets a peer act, and notes what that means for its place in the engine's lists.
    fn with_peer(
        &mut self,
        slot: PeerSlot,
        now: Instant,
        act: impl FnOnce(&mut Peer, &mut Context<'_>),
    ) {
        let Some(peer) = self.peers.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let network = self
            .networks
            .get(usize::from(peer.id.network.0))
            .and_then(Option::as_ref);
        let Some(network) = network else { return };
        let mut context = Context {
            settings: &self.settings,
            noise: self.noise.as_ref(),
            ownership: &network.ownership,
            rng: &mut self.rng,
            indices: &mut self.indices,
            called: &mut self.called,
            is_translated: self.is_translated,
            relays: &self.relays,
            puncher: &mut self.puncher,
            outbox: &mut self.outbox,
        };
        let name = (peer.id.network, peer.id.identity);
        let before = peer.path().map(|path| path.to);
        act(peer, &mut context);
        peer.measure_way(&mut context, now);
        peer.tend_sockets(&mut context);
        let after = peer.path().map(|path| path.to);
        let deadline = peer.poll_timeout();
        let missed = network
            .ownership
            .is_shared_by(slot)
            .then(|| peer.is_missed(now));
        if peer.has_lanes() {
            self.with_lanes.insert(slot);
            self.last_tick.get_or_insert(now);
            let next = *self.next_full_tick.get_or_insert(now + TICK);
            let tick = self.next_tick.get_or_insert(next);
            if peer.is_undecided() && self.suspects.insert(slot) {
                *tick = (*tick).min(now + QUICK_TICK);
            }
        } else {
            self.with_lanes.remove(&slot);
            self.suspects.remove(&slot);
        }
        self.reschedule(slot, deadline);
        if before != after {
            self.relays.note_use(slot, before, after, now);
            self.path_changed(name, before, after, now);
        }
        if let Some(is_missed) = missed
            && self.failover.note(slot, is_missed, after.is_some(), now)
        {
            self.turn_to_others(slot, now);
        }
    }
}
