//! Nodes, a network between them, and virtual time. A node is an engine and the snapshot it published last, driven
//! exactly as the daemon drives them: packets and datagrams go through the snapshot, what it punts goes to the engine,
//! what the engine publishes replaces the snapshot.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};
use tombolo_engine::{
    control::{Engine, Event, PeerStatus, Settings, Timing},
    counters::DropReason,
    fib::{Fib, NetworkSlot},
    forward::{Inbound, Outbound},
    lane::REKEY_AFTER_FRAMES,
    membership::{Announcement, Directory},
};
use tombolo_proto::{
    config::EndpointAnnouncement,
    frame::{LANE_HEADER, LANE_TAG},
    gossip::Gossiped,
    id::{NetworkId, UnixSeconds},
    key::{IdentityKey, Seed},
    signed::Signed,
};

use crate::{
    authority::Authority,
    clock::Clock,
    fake_noise::FakeNoise,
    packets::Message,
    simnet::{Conditions, Delivery, SimNet},
};

/// Which handshake nodes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// The real one.
    Real,
    /// [`FakeNoise`]: fast, and no clock but the virtual one.
    Fake,
}

/// Which node: a small number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u8);

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its secret.
    pub seed: Seed,
    /// Where its UDP socket is.
    pub address: SocketAddr,
    /// Its slow path.
    pub engine: Engine,
    /// Its fast path.
    pub fib: Arc<Fib>,
    /// Everything the engine said, except that the snapshot changed.
    pub events: Vec<Event>,
    /// Packets that reached its TUN devices, in order.
    pub delivered: Vec<(NetworkId, Message)>,
    /// Whether it takes no news from controllers: a node that does not cooperate, or hears nothing.
    pub is_deaf: bool,
    is_up: bool,
    /// How much time has passed for everybody but this node.
    slept: Duration,
    asleep_since: Option<Instant>,
    noise: FakeNoise,
    slots: BTreeMap<NetworkId, NetworkSlot>,
    /// Whether it does nothing about what peers tell it of the network.
    pub ignores_peers: bool,
    /// What it has on disk.
    directories: Vec<Directory>,
    announcements: BTreeMap<(NetworkId, IdentityKey), Announcement>,
    places: Vec<(IdentityKey, SocketAddr)>,
}

impl Node {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> IdentityKey {
        self.seed.identity().public()
    }

    fn now(&self, clock: &Clock) -> Instant {
        clock.now() - self.slept
    }

    /// What it has on disk of the first network.
    #[must_use]
    pub fn directory(&self) -> Option<&Directory> {
        self.directories.first()
    }

    /// Where another node has said that it is, in the first network.
    #[must_use]
    pub fn announced_by(&self, other: &Self) -> Vec<SocketAddr> {
        let network = self.directories.first().map(Directory::network);
        network
            .and_then(|network| self.announcements.get(&(network, other.identity())))
            .map(|(document, _)| document.endpoints.clone())
            .unwrap_or_default()
    }

    /// Sets what its wall clock shows to handshakes (of the fake kind).
    pub fn set_handshake_clock(&self, value: u64) {
        self.noise
            .clock
            .store(value, std::sync::atomic::Ordering::Relaxed);
    }
}

/// What the daemon does with what peers bring: verify, keep on disk, act.
impl Node {
    fn take_gossip(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
        documents: Vec<Gossiped>,
        wall: UnixSeconds,
        now: Instant,
    ) {
        let me = self.identity();
        let Some(directory) = self
            .directories
            .iter_mut()
            .find(|directory| directory.network() == network)
        else {
            return;
        };
        let brought = directory.accept_brought(documents, &me);
        if brought.accepted.changed {
            self.engine
                .set_gossiped_directory(directory, peer, wall, now);
        }
        for (identity, announcement) in brought.announcements {
            self.take_announcement(network, identity, announcement, Some(peer), now);
        }
    }

    fn take_announcement(
        &mut self,
        network: NetworkId,
        identity: IdentityKey,
        announcement: Announcement,
        from: Option<IdentityKey>,
        now: Instant,
    ) {
        let key = (network, identity);
        let is_newer = from.is_none()
            || self
                .announcements
                .get(&key)
                .is_none_or(|(held, _)| held.sequence < announcement.0.sequence);
        if !is_newer {
            return;
        }
        self.announcements.insert(key, announcement.clone());
        if identity != self.identity() {
            let endpoints = announcement.0.endpoints.clone();
            self.engine.set_endpoints(network, identity, endpoints, now);
        }
        self.engine
            .set_announcement(network, identity, announcement, from, now);
    }

    fn announce(
        &mut self,
        network: NetworkId,
        endpoints: Vec<SocketAddr>,
        clock: &Clock,
        now: Instant,
    ) {
        let identity = self.identity();
        let milliseconds = clock.wall().0 * 1_000 + u64::from(clock.elapsed().subsec_millis());
        let last = self
            .announcements
            .get(&(network, identity))
            .map_or(0, |(document, _)| document.sequence);
        let document = EndpointAnnouncement {
            endpoints,
            home: None,
            sequence: milliseconds.max(last + 1),
        };
        let signed = Signed::sign(&document, network.into(), &self.seed.identity());
        self.take_announcement(network, identity, (document, signed), None, now);
    }
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// Virtual time.
    pub clock: Clock,
    /// The underlay.
    pub net: SimNet,
    handshake: Handshake,
    timing: Timing,
    aes: bool,
    gossip: bool,
    post_quantum: bool,
    rekey_after_frames: u64,
    authorities: Vec<Authority>,
    nodes: BTreeMap<Name, Node>,
    next_number: u64,
    seed: u64,
}

impl World {
    /// A world without nodes. Everything random follows from `seed`.
    #[must_use]
    pub fn new(handshake: Handshake, conditions: Conditions, seed: u64) -> Self {
        Self {
            clock: Clock::default(),
            net: SimNet::new(conditions, seed),
            handshake,
            timing: Timing::default(),
            aes: true,
            gossip: false,
            post_quantum: true,
            rekey_after_frames: REKEY_AFTER_FRAMES,
            authorities: vec![Authority::new(1)],
            nodes: BTreeMap::new(),
            next_number: 1,
            seed,
        }
    }

    /// A world with nodes 1 to `count`, all members of the first network, everybody knowing everybody's endpoint.
    #[must_use]
    pub fn with_members(
        handshake: Handshake,
        conditions: Conditions,
        seed: u64,
        count: u8,
    ) -> Self {
        let mut world = Self::new(handshake, conditions, seed);
        world.add_members(count);
        world
    }

    /// The same, with gossip on.
    #[must_use]
    pub fn with_gossip(handshake: Handshake, conditions: Conditions, seed: u64, count: u8) -> Self {
        let mut world = Self::new(handshake, conditions, seed);
        world.gossip = true;
        world.add_members(count);
        world
    }

    fn add_members(&mut self, count: u8) {
        for number in 1..=count {
            self.start(Name(number));
            self.authorise(Name(number));
        }
        self.publish();
    }

    /// Other ages of keys, for nodes that start from now on.
    pub const fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Whether nodes that start from now on have AES instructions.
    pub const fn set_aes(&mut self, aes: bool) {
        self.aes = aes;
    }

    /// Whether nodes that start from now on take part in ML-KEM.
    pub const fn set_post_quantum(&mut self, post_quantum: bool) {
        self.post_quantum = post_quantum;
    }

    /// After how many frames nodes that start from now on replace a lane.
    pub const fn set_rekey_after_frames(&mut self, frames: u64) {
        self.rekey_after_frames = frames;
    }

    /// The first network's authority.
    pub fn authority(&mut self) -> &mut Authority {
        &mut self.authorities[0]
    }

    /// The first network.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.authorities[0].network()
    }

    /// Adds another network and returns which.
    pub fn add_network(&mut self) -> usize {
        let number = self.authorities.len();
        self.authorities.push(Authority::new(number as u8 + 1));
        number
    }

    /// Any network's authority.
    pub fn authority_of(&mut self, number: usize) -> &mut Authority {
        &mut self.authorities[number]
    }

    /// A node.
    #[must_use]
    pub fn node(&self, name: Name) -> &Node {
        &self.nodes[&name]
    }

    /// A node, to be changed.
    pub fn node_mut(&mut self, name: Name) -> &mut Node {
        self.nodes.get_mut(&name).expect("a node of that name")
    }

    /// All nodes there are.
    pub fn names(&self) -> Vec<Name> {
        self.nodes.keys().copied().collect()
    }

    /// The IPv4 address that [`Self::authorise`] gives a node.
    #[must_use]
    pub fn address_of(name: Name) -> IpAddr {
        IpAddr::from([172, 27, 0, name.0])
    }

    /// Starts a node, in every network there is. A node that ran before has its identity, its place and what it has on
    /// disk, and nothing else.
    pub fn start(&mut self, name: Name) {
        self.seed += 1;
        let rng = StdRng::seed_from_u64(self.seed << 8 | u64::from(name.0));
        let settings = Settings {
            timing: self.timing,
            aes: self.aes,
            post_quantum: self.post_quantum,
            rekey_after_frames: self.rekey_after_frames,
        };
        let before = self.nodes.remove(&name);
        let noise = before
            .as_ref()
            .map(|node| node.noise.clone())
            .unwrap_or_default();
        let mut engine = match self.handshake {
            Handshake::Real => Engine::new(settings, rng),
            Handshake::Fake => Engine::with_noise(settings, rng, Box::new(noise.clone())),
        };
        if self.gossip {
            engine.enable_gossip();
        }
        let seed = Seed::from_bytes([name.0; 32]);
        let identity = seed.identity().public();
        let mut slots = BTreeMap::new();
        for authority in &self.authorities {
            let network = authority.network();
            let secret = seed.transport(network, 0);
            let slot = engine.add_network(network, identity, secret, self.clock.now());
            slots.insert(network, slot);
        }
        let node = match before {
            Some(before) => Node {
                fib: engine.fib(),
                engine,
                slots,
                events: Vec::new(),
                is_up: true,
                slept: Duration::ZERO,
                asleep_since: None,
                ..before
            },
            None => Node {
                seed,
                address: SocketAddr::from(([192, 0, 2, name.0], 9790)),
                fib: engine.fib(),
                engine,
                events: Vec::new(),
                delivered: Vec::new(),
                is_deaf: false,
                is_up: true,
                slept: Duration::ZERO,
                asleep_since: None,
                noise,
                slots,
                ignores_peers: false,
                directories: Vec::new(),
                announcements: BTreeMap::new(),
                places: Vec::new(),
            },
        };
        self.nodes.insert(name, node);
        self.read_disk(name);
    }

    /// Kills a node.
    pub fn kill(&mut self, name: Name) {
        self.node_mut(name).is_up = false;
    }

    /// Kills a node if it runs, and starts it again.
    pub fn restart(&mut self, name: Name) {
        self.kill(name);
        self.start(name);
    }

    /// Puts a node to sleep: time passes, but not for it.
    pub fn freeze(&mut self, name: Name) {
        let now = self.clock.now();
        let node = self.node_mut(name);
        node.asleep_since = Some(now);
        node.is_up = false;
    }

    /// Wakes a node.
    pub fn thaw(&mut self, name: Name) {
        let now = self.clock.now();
        let node = self.node_mut(name);
        node.slept += node
            .asleep_since
            .take()
            .map(|since| now - since)
            .unwrap_or_default();
        node.is_up = true;
    }

    /// Makes a node a member of the first network. Nobody knows before [`Self::publish`].
    pub fn authorise(&mut self, name: Name) {
        self.authorise_in(0, name);
    }

    /// Makes a node a member of any network.
    pub fn authorise_in(&mut self, network: usize, name: Name) {
        let seed = Seed::from_bytes([name.0; 32]);
        let wall = self.clock.wall();
        self.authorities[network].authorise(&seed, name.0, Self::address_of(name), wall);
    }

    /// Puts a node out of the first network. Nobody knows before [`Self::publish`].
    pub fn revoke(&mut self, name: Name) {
        let identity = Seed::from_bytes([name.0; 32]).identity().public();
        let wall = self.clock.wall();
        self.authorities[0].revoke(identity, wall);
    }

    /// Tells every node that listens what the directories and endpoints are.
    pub fn publish(&mut self) {
        for name in self.names() {
            self.publish_to(name);
        }
    }

    /// Tells one node, if it listens.
    pub fn publish_to(&mut self, name: Name) {
        let places = self
            .nodes
            .values()
            .map(|node| (node.identity(), node.address))
            .collect();
        let directories = self
            .authorities
            .iter()
            .map(|authority| authority.directory().clone())
            .collect();
        let node = self.node_mut(name);
        if node.is_deaf || !node.is_up {
            return;
        }
        node.directories = directories;
        node.places = places;
        self.read_disk(name);
    }

    fn read_disk(&mut self, name: Name) {
        let wall = self.clock.wall();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let now = node.now(&self.clock);
        for directory in &node.directories {
            node.engine.set_directory(directory, wall, now);
            for (identity, place) in &node.places {
                node.engine
                    .set_endpoints(directory.network(), *identity, vec![*place], now);
            }
        }
        let announcements = node.announcements.clone();
        for ((network, identity), announcement) in announcements {
            node.take_announcement(network, identity, announcement, None, now);
        }
        self.settle(name);
    }

    /// Moves a node to another UDP address; its host tells it that addresses have changed.
    pub fn move_to(&mut self, name: Name, address: SocketAddr) {
        let now = self.node(name).now(&self.clock);
        let node = self.node_mut(name);
        node.address = address;
        node.engine.host_moved(now);
        self.settle(name);
    }

    /// Moves a node to another UDP address without telling anybody.
    pub fn roam(&mut self, name: Name, address: SocketAddr) {
        self.node_mut(name).address = address;
    }

    /// Asks a node for a session with another.
    pub fn connect(&mut self, from: Name, to: Name) {
        let (network, peer) = (self.network(), self.node(to).identity());
        let now = self.node(from).now(&self.clock);
        self.node_mut(from).engine.connect(network, peer, now);
        self.settle(from);
    }

    /// Sends a numbered packet in the first network between the IPv4 addresses of two nodes; returns its number.
    pub fn send(&mut self, from: Name, to: Name) -> u64 {
        self.send_between(from, Self::address_of(from), Self::address_of(to))
    }

    /// Sends a numbered packet from a node's TUN device with any addresses.
    pub fn send_between(&mut self, name: Name, from: IpAddr, to: IpAddr) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let packet = Message { from, to, number }.encode();
        self.send_raw(0, name, &packet);
        number
    }

    /// Sends any bytes from a node's TUN device.
    pub fn send_raw(&mut self, network: usize, name: Name, packet: &[u8]) {
        let network = self.authorities[network].network();
        let now = self.clock.now();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        if !node.is_up {
            return;
        }
        let mut frame = vec![0; LANE_HEADER + packet.len() + LANE_TAG];
        frame[LANE_HEADER..LANE_HEADER + packet.len()].copy_from_slice(packet);
        match node.fib.outbound(node.slots[&network], &mut frame) {
            Outbound::Send { to, .. } => self.net.send(
                Delivery {
                    from: node.address,
                    to,
                    payload: frame,
                },
                now,
            ),
            Outbound::Punt(punt) => {
                node.engine.handle_punt(punt, node.now(&self.clock));
                self.settle(name);
            }
            Outbound::Drop(_) => {}
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.clock.now() + duration;
        while self.step(end) {}
        self.clock.advance_to(end);
    }

    /// Lets time pass until `done`; says whether it came to that.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.clock.now() + limit;
        while !done(self) {
            if !self.step(end) {
                self.clock.advance_to(end);
                return done(self);
            }
        }
        true
    }

    /// Jumps to whatever is due first, and does it; `false` if nothing is due before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.net.poll_timeout();
        let wake_up = self
            .nodes
            .iter()
            .filter(|(_, node)| node.is_up)
            .filter_map(|(name, node)| {
                let (at, _) = node.engine.poll_timeout()?;
                Some((at + node.slept, *name))
            })
            .min();
        let next = [arrival, wake_up.map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next.filter(|next| *next <= end) else {
            return false;
        };
        self.clock.advance_to(next);
        if arrival == Some(next) {
            self.deliver();
        } else if let Some((_, name)) = wake_up {
            let now = self.node(name).now(&self.clock);
            self.node_mut(name).engine.handle_timeout(now);
            self.settle(name);
        }
        true
    }

    fn deliver(&mut self) {
        let now = self.clock.now();
        let Some(delivery) = self.net.poll_delivery(now) else {
            return;
        };
        let receiver = self
            .nodes
            .iter()
            .find(|(_, node)| node.is_up && node.address == delivery.to)
            .map(|(name, _)| *name);
        if let Some(name) = receiver {
            self.receive(name, delivery.from, delivery.payload);
        }
    }

    /// Gives a node a datagram.
    pub fn receive(&mut self, name: Name, from: SocketAddr, mut datagram: Vec<u8>) {
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let now = node.now(&self.clock);
        match node.fib.inbound(from, &mut datagram) {
            Inbound::Deliver {
                network,
                packet,
                note,
            } => {
                let (network, _) = node
                    .slots
                    .iter()
                    .find(|(_, slot)| **slot == network)
                    .expect("a network of this node");
                if let Some(message) = Message::decode(&datagram[packet]) {
                    node.delivered.push((*network, message));
                }
                if let Some(note) = note {
                    node.engine.handle_punt(note, now);
                }
            }
            Inbound::Punt(punt) => node.engine.handle_punt(punt, now),
            Inbound::Drop(_) => {}
        }
        self.settle(name);
    }

    /// Sends what the engine has to send and publishes what it has to publish.
    fn settle(&mut self, name: Name) {
        let now = self.clock.now();
        let wall = self.clock.wall();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        loop {
            while let Some(transmit) = node.engine.poll_transmit() {
                self.net.send(
                    Delivery {
                        from: node.address,
                        to: transmit.to,
                        payload: transmit.payload,
                    },
                    now,
                );
            }
            let Some(event) = node.engine.poll_event() else {
                return;
            };
            let local = node.now(&self.clock);
            match event {
                Event::FibChanged => node.fib = node.engine.fib(),
                Event::Gossip {
                    network,
                    peer,
                    documents,
                } if !node.ignores_peers => {
                    node.take_gossip(network, peer, documents, wall, local);
                }
                Event::Seen { network, endpoints } => {
                    node.announce(network, endpoints, &self.clock, local);
                }
                Event::SessionUp { .. }
                | Event::SessionDown { .. }
                | Event::EndpointChanged { .. }
                | Event::Gossip { .. } => node.events.push(event),
            }
        }
    }

    /// Numbers of the packets that reached a node, in order, in all networks.
    #[must_use]
    pub fn received(&self, name: Name) -> Vec<u64> {
        self.nodes[&name]
            .delivered
            .iter()
            .map(|(_, message)| message.number)
            .collect()
    }

    /// Whether a packet has reached a node.
    #[must_use]
    pub fn has_received(&self, name: Name, number: u64) -> bool {
        self.nodes[&name]
            .delivered
            .iter()
            .any(|(_, message)| message.number == number)
    }

    /// What a node reports of a peer in the first network.
    #[must_use]
    pub fn status(&self, of: Name, peer: Name) -> Option<PeerStatus> {
        let (identity, network) = (self.node(peer).identity(), self.network());
        self.nodes[&of]
            .engine
            .peers(self.nodes[&of].now(&self.clock))
            .into_iter()
            .find(|status| status.identity == identity && status.network == network)
    }

    /// How often a node dropped something for `reason`, whoever it came from.
    #[must_use]
    pub fn drops(&self, name: Name, reason: DropReason) -> u64 {
        let node = &self.nodes[&name];
        let of_peers: u64 = node
            .engine
            .peers(node.now(&self.clock))
            .iter()
            .filter_map(|status| status.dropped.get(reason.name()))
            .sum();
        of_peers + node.fib.counters().get(reason)
    }
}
