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
mod network;
mod punts;
mod relays;
mod rendezvous;
mod settings;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng as _, rngs::StdRng};
use tombolo_proto::{
    config::MAX_ENDPOINTS,
    id::{NetworkId, UnixSeconds},
    key::{IdentityKey, TransportKey, TransportSecret},
    relay::RELAY_HEADER,
};

use tombolo_relay::Relay;

use crate::{
    budget::Budgets,
    counters::{Counters, PeerCounters},
    endpoint::is_host,
    failover::Failover,
    fib::{Fib, NetworkSlot, PeerSlot},
    gate::Gate,
    gossip::Gossip,
    handshake::Parties,
    membership::Directory,
    observer::Observer,
    path::way::Way,
    peer::{Identity, Pace, Peer, Portrait},
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

/// Between looks at the sessions while anything flows.
const TICK: Duration = Duration::from_millis(250);
/// Between looks at sessions that were all idle at the last.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// Between looks at a session that may be lost.
const QUICK_TICK: Duration = Duration::from_millis(100);
/// Without a look for this long, the host slept or the process stood still: nothing that was known of ways counts.
const SLEPT: Duration = Duration::from_secs(5);
/// A slot is not given to another peer before this: by then no packet that was routed to the old one is under way.
const SLOT_QUARANTINE: Duration = Duration::from_secs(60);

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

    // Networks and their members.

    /// Adds a network in which this node is `identity` and has the key `transport`. If it is there already, it starts
    /// anew. The slot is never given out again.
    pub fn add_network(
        &mut self,
        network: NetworkId,
        identity: IdentityKey,
        transport: TransportSecret,
        now: Instant,
    ) -> NetworkSlot {
        self.remove_network(network, now);
        let slot = NetworkSlot(
            u16::try_from(self.networks.len()).expect("nobody joins 65,536 networks in one run"),
        );
        let mut entry = Network::new(network, identity, transport, self.noise.as_ref());
        entry.gossip = self.gossips.then(|| Gossip::new(identity));
        self.networks.push(Some(entry));
        self.by_id.insert(network, slot);
        if self.seeks_relays {
            self.relays.add_network(slot, now);
        }
        self.outbox.fib_is_stale = true;
        slot
    }

    /// Forgets a network and erases its sessions.
    pub fn remove_network(&mut self, network: NetworkId, now: Instant) {
        let Some(slot) = self.by_id.remove(&network) else {
            return;
        };
        let peers: Vec<PeerSlot> = self
            .network(slot)
            .map(|network| network.by_identity.values().copied().collect())
            .unwrap_or_default();
        for peer in peers {
            self.remove_peer(peer, now);
        }
        self.relays.remove_network(slot);
        self.settle_relays(now);
        if let Some(entry) = self.networks.get_mut(usize::from(slot.0)) {
            *entry = None;
        }
        self.outbox.fib_is_stale = true;
    }

    /// Takes a newer directory. Peers are the members that count, while this node is one of them; members that are gone
    /// are cut off at once.
    pub fn set_directory(&mut self, directory: &Directory, wall: UnixSeconds, now: Instant) {
        self.take_directory(directory, None, wall, now);
    }

    /// Lets default routes of other members count, or not, as the owner of this host says. They do not until this is called;
    /// what it says holds from the next [`Self::set_directory`].
    pub fn allow_default(&mut self, network: NetworkId, is_allowed: bool) {
        let slot = self.by_id.get(&network).copied();
        if let Some(network) = slot.and_then(|slot| self.network_mut(slot)) {
            network.allow_default = is_allowed;
        }
    }

    fn take_directory(
        &mut self,
        directory: &Directory,
        from: Option<IdentityKey>,
        wall: UnixSeconds,
        now: Instant,
    ) {
        let Some(&slot) = self.by_id.get(&directory.network()) else {
            return;
        };
        let Some(network) = self.network(slot) else {
            return;
        };
        let changes = network.compare(directory, wall);
        for peer in changes.gone {
            self.remove_peer(peer, now);
        }
        for cert in changes.new {
            self.add_peer(
                slot,
                cert.identity,
                cert.transport,
                Portrait::from(cert),
                now,
            );
        }
        for (peer, cert) in changes.kept {
            if let Some(peer) = self.peer_mut(peer) {
                peer.portrait = Portrait::from(cert);
            }
        }
        // Drawn only where it is needed, so that a simulation without rules repeats what it did before.
        let has_rules = directory.doc().is_some_and(|doc| !doc.rules.is_open());
        let seed = if has_rules { self.rng.random() } else { [0; 2] };
        if let Some(network) = self.network_mut(slot) {
            network.rebuild_ownership(directory, wall);
            let own = directory.member(&network.identity, wall);
            network.may_relay = own.is_some_and(|cert| cert.relay);
            network.rebuild_guard(directory, seed, wall, now);
        }
        self.review_own_relay(now);
        self.outbox.fib_is_stale = true;
        self.with_gossip(slot, now, |gossip, rng| {
            gossip.set_directory(directory, from, wall, rng, now);
        });
    }

    fn add_peer(
        &mut self,
        slot: NetworkSlot,
        identity: IdentityKey,
        transport: TransportKey,
        portrait: Portrait,
        now: Instant,
    ) {
        let peer_slot = self.take_slot(now);
        let Some(network) = self.network_mut(slot) else {
            return;
        };
        network.by_identity.insert(identity, peer_slot);
        network.by_transport.insert(transport, peer_slot);
        let id = Identity {
            slot: peer_slot,
            network: slot,
            identity,
            parties: Parties {
                network: network.id,
                local: network.public,
                remote: transport,
            },
            secret: network.secret.clone(),
        };
        let candidates = network.announced(&identity);
        let peer = Peer::new(id, portrait, candidates, Arc::new(PeerCounters::default()));
        if let Some(entry) = self.peers.get_mut(peer_slot.0 as usize) {
            *entry = Some(peer);
        }
    }

    fn take_slot(&mut self, now: Instant) -> PeerSlot {
        let is_free = |freed: &Instant| now.saturating_duration_since(*freed) >= SLOT_QUARANTINE;
        if let Some((_, slot)) = self.free_slots.pop_front_if(|(freed, _)| is_free(freed)) {
            return slot;
        }
        let slot = PeerSlot(u32::try_from(self.peers.len()).expect("fewer than 2^32 peers"));
        self.peers.push(None);
        slot
    }

    fn remove_peer(&mut self, slot: PeerSlot, now: Instant) {
        self.with_peer(slot, now, |peer, context| peer.erase(context));
        let Some(peer) = self.peers.get_mut(slot.0 as usize).and_then(Option::take) else {
            return;
        };
        self.reschedule(slot, None);
        let network = peer.id.parties.network;
        self.relay.remove(network, &peer.id.identity);
        self.relays
            .remove_peer(peer.id.network, slot, peer.id.identity);
        self.free_slots.push_back((now, slot));
        self.failover.forget(slot);
        if let Some(network) = self.network_mut(peer.id.network) {
            network.by_identity.remove(&peer.id.identity);
            network.by_transport.remove(&peer.id.parties.remote);
        }
    }

    /// Where a peer may be reached, best first; at most 8 count, and none that no host can have. Port 0 stands for one that
    /// the peer itself does not know, because its NAT maps by destination.
    pub fn set_endpoints(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
        mut endpoints: Vec<SocketAddr>,
        now: Instant,
    ) {
        endpoints.retain(|endpoint| is_host(endpoint.ip()));
        endpoints.truncate(MAX_ENDPOINTS);
        let Some(&slot) = self.by_id.get(&network) else {
            return;
        };
        let Some(network) = self.network_mut(slot) else {
            return;
        };
        network.announce(peer, endpoints.clone());
        if let Some(gossip) = network.gossip.as_mut().filter(|_| !endpoints.is_empty()) {
            gossip.set_known(peer);
        }
        if let Some(&slot) = network.by_identity.get(&peer) {
            self.with_peer(slot, now, |peer, context| {
                peer.set_candidates(endpoints, context, now)
            });
        }
        self.settle_relays(now);
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

    // Time.

    /// When [`Self::handle_timeout`] wants to be called next, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let dialing = self.deadlines.first().map(|(at, _)| (*at, "handshake"));
        let tick = self.next_tick.map(|at| (at, "sessions"));
        let gossip = self.gossip_due().map(|at| (at, "gossip"));
        let relays = self.relays_due().map(|at| (at, "relays"));
        let due = dialing.into_iter().chain(tick).chain(gossip).chain(relays);
        due.min_by_key(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, slot)) = self.deadlines.first()
            && at <= now
        {
            self.with_peer(slot, now, |peer, context| peer.handle_timeout(context, now));
        }
        if self.next_tick.is_some_and(|at| at <= now) {
            self.tick(now);
        }
        self.handle_gossip_timeout(now);
        self.handle_relays_timeout(now);
    }

    /// Looks at all sessions when their time has come, and in between at those that may be lost.
    fn tick(&mut self, now: Instant) {
        let previous = self.last_tick.unwrap_or(now);
        let next_full = self.next_full_tick.unwrap_or(now);
        let is_full = next_full <= now;
        let looked_at = if is_full {
            &self.with_lanes
        } else {
            &self.suspects
        };
        let slots: Vec<PeerSlot> = looked_at.iter().copied().collect();
        if now.saturating_duration_since(previous) >= SLEPT {
            self.handle_upheaval(now);
        }
        let mut pace = Pace::Idle;
        for slot in slots {
            if self.peer(slot).is_some_and(|peer| peer.may_rest(now)) {
                continue;
            }
            let mut own = Pace::Idle;
            self.with_peer(slot, now, |peer, context| {
                own = peer.tick(context, previous, now)
            });
            if own == Pace::Suspicious && self.with_lanes.contains(&slot) {
                self.suspects.insert(slot);
            } else {
                self.suspects.remove(&slot);
            }
            pace = pace.min(own);
        }
        self.seek_owners(now);
        if self.with_lanes.is_empty() {
            (self.last_tick, self.next_tick, self.next_full_tick) = (None, None, None);
            return;
        }
        let next_full = match pace {
            _ if !is_full => next_full,
            Pace::Idle => now + IDLE_TICK,
            Pace::Active | Pace::Suspicious => now + TICK,
        };
        let soon = (!self.suspects.is_empty()).then_some(now + QUICK_TICK);
        self.last_tick = Some(now);
        self.next_full_tick = Some(next_full);
        self.next_tick = Some(soon.map_or(next_full, |soon| soon.min(next_full)));
    }

    /// An owner of a shared prefix is away: what waits for it goes to the next one.
    fn turn_to_others(&mut self, owner: PeerSlot, now: Instant) {
        self.outbox.fib_is_stale = true;
        let waiting = self.peer_mut(owner).map(|peer| peer.take_waiting(now));
        for packet in waiting.unwrap_or_default() {
            self.handle_packet(owner, packet, now);
        }
    }

    /// Looks for owners of shared prefixes that are away, and trusts those that came back.
    fn seek_owners(&mut self, now: Instant) {
        for &owner in self.failover.away().iter() {
            self.with_peer(owner, now, |peer, context| peer.seek(context, now));
        }
        if self.failover.trust(now) {
            self.outbox.fib_is_stale = true;
        }
    }

    /// Asks every peer by every way: what was known of ways may be wrong.
    fn handle_upheaval(&mut self, now: Instant) {
        let slots: Vec<PeerSlot> = self.with_lanes.iter().copied().collect();
        for slot in slots {
            self.with_peer(slot, now, |peer, context| {
                peer.handle_upheaval(context, now);
            });
        }
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
            self.next_tick.get_or_insert(next);
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

    fn reschedule(&mut self, slot: PeerSlot, deadline: Option<Instant>) {
        let before = match deadline {
            Some(at) => self.scheduled.insert(slot, at),
            None => self.scheduled.remove(&slot),
        };
        if before == deadline {
            return;
        }
        if let Some(at) = before {
            self.deadlines.remove(&(at, slot));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, slot));
        }
    }
}
