//! Nodes, a network between them, and virtual time. A node is an engine and the snapshot it published last, driven
//! exactly as the daemon drives them: packets and datagrams go through the snapshot, what it punts goes to the engine,
//! what the engine publishes replaces the snapshot.

mod control;
pub mod diary;
pub mod disk;
mod life;
mod member;
mod nat;
mod node;
mod streams;
mod time;
mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use tombolo_engine::{control::Timing, lane::REKEY_AFTER_FRAMES, membership::Directory};
use tombolo_proto::{
    id::{NetworkId, UnixSeconds},
    key::{IdentityKey, Seed},
};

use control::Control;
use diary::Entry;
pub use node::Node;
use streams::Streams;

use crate::{
    authority::Authority,
    clock::Clock,
    controllers::Controllers,
    simnat::{NatKind, SimNat},
    simnet::{Conditions, SimNet},
};

/// Which handshake nodes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// The real one.
    Real,
    /// [`fake_noise`](crate::fake_noise): fast, and no clock but the virtual one.
    Fake,
}

/// Which node: a small number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u8);

/// A wish to be called, on its way.
#[derive(Debug)]
struct Call {
    network: NetworkId,
    caller: IdentityKey,
    callee: IdentityKey,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// Virtual time.
    pub clock: Clock,
    /// The underlay.
    pub net: SimNet,
    streams: Streams,
    handshake: Handshake,
    timing: Timing,
    aes: bool,
    gossip: bool,
    relays: bool,
    post_quantum: bool,
    rekey_after_frames: u64,
    authorities: Vec<Authority>,
    controllers: Option<Controllers>,
    control: Control,
    nodes: BTreeMap<Name, Node>,
    /// When each node wants to be woken.
    wake_ups: BTreeSet<(Instant, Name)>,
    /// What happened, while somebody wants to know.
    diary: Option<Vec<(Name, Instant, Entry)>>,
    next_number: u64,
    seed: u64,
    has_controllers: bool,
    calls: VecDeque<(Instant, Call)>,
}

impl World {
    /// A world without nodes. Everything random follows from `seed`.
    #[must_use]
    pub fn new(handshake: Handshake, conditions: Conditions, seed: u64) -> Self {
        Self {
            clock: Clock::default(),
            net: SimNet::new(conditions, seed),
            streams: Streams::new(seed),
            handshake,
            timing: Timing::default(),
            aes: true,
            gossip: false,
            relays: false,
            post_quantum: true,
            rekey_after_frames: REKEY_AFTER_FRAMES,
            authorities: vec![Authority::new(1)],
            controllers: None,
            control: Control::new(seed),
            nodes: BTreeMap::new(),
            wake_ups: BTreeSet::new(),
            diary: None,
            next_number: 1,
            seed,
            has_controllers: false,
            calls: VecDeque::new(),
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

    /// The same, with gossip, and everybody relays for everybody.
    #[must_use]
    pub fn with_relays(handshake: Handshake, conditions: Conditions, seed: u64, count: u8) -> Self {
        let mut world = Self::new(handshake, conditions, seed);
        world.gossip = true;
        world.relays = true;
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

    /// Whether somebody tells nodes to call others that cannot reach them.
    pub const fn set_controllers(&mut self, there: bool) {
        self.has_controllers = there;
    }

    /// Puts a node behind a NAT of its own. Others know where it is seen once it is published.
    pub fn put_behind(&mut self, name: Name, kind: NatKind) {
        let inside = SocketAddr::from(([10, 0, name.0, 2], 9790));
        let public = IpAddr::from([198, 51, 100, name.0]);
        self.net.set_nat(inside.ip(), SimNat::new(kind, public));
        self.node_mut(name).address = inside;
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
        match (&self.controllers, self.authorities.first()) {
            (Some(controllers), _) => controllers.store.network().id(),
            (None, Some(authority)) => authority.network(),
            (None, None) => unreachable!("a world has one or the other"),
        }
    }

    /// Begins to write down what happens.
    pub fn keep_diary(&mut self) {
        self.diary = Some(Vec::new());
    }

    /// What happened since this was last asked.
    pub fn read_diary(&mut self) -> Vec<(Name, Instant, Entry)> {
        self.diary.as_mut().map(std::mem::take).unwrap_or_default()
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
        // As a controller's STUN sees them.
        let controller = SocketAddr::from(([203, 0, 113, 1], 9793));
        let net = &mut self.net;
        let places = self
            .nodes
            .values()
            .map(|node| {
                let seen = net.seen_as(node.address, controller);
                let places = [seen].into_iter().chain(node.links.iter().copied());
                (node.identity(), places.collect())
            })
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
        node.keep();
        self.read_disk(name);
    }

    /// Lets somebody tell one node something of the first network, which it keeps and acts on.
    pub fn tell(&mut self, name: Name, say: impl FnOnce(&mut Directory, UnixSeconds)) {
        let wall = self.clock.wall();
        let node = self.node_mut(name);
        if let Some(directory) = node.directories.first_mut() {
            say(directory, wall);
        }
        self.read_disk(name);
    }

    fn read_disk(&mut self, name: Name) {
        let wall = self.clock.wall();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let now = node.now(&self.clock);
        for authority in &self.authorities {
            let network = authority.network();
            node.slots.entry(network).or_insert_with(|| {
                let secret = node.seed.transport(network, 0);
                let identity = node.seed.identity().public();
                node.engine.add_network(network, identity, secret, now)
            });
            node.hand_over(network, wall, now);
        }
        self.settle(name);
    }
}
