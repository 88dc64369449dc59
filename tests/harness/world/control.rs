//! Connections between nodes and controllers: dialled, carried, lost and dialled again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tombolo_engine::membership::Directory;
use tombolo_proto::{
    config::DirectoryEntry,
    control::{ToController, ToNode},
    id::{NetworkId, Version},
};

use super::{Handshake, Name, World};
use crate::{controllers::Controllers, simnet::Conditions};

/// One way.
const DELAY: Duration = Duration::from_millis(20);
/// Pauses between attempts, as the daemon makes them.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a daemon compares what it does with what it should do.
const REFRESH: Duration = Duration::from_secs(30);
/// After a controller was too busy.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// What happens to a node at some time.
#[derive(Debug)]
enum Due {
    Dial,
    Refresh,
    AskAgain,
    ToNode(ToNode),
    ToController(ToController),
}

#[derive(Debug, Clone, Copy, Default)]
struct Link {
    /// Raised with every start and every connection: what belongs to an earlier one is void.
    serial: u64,
    replica: Option<usize>,
    pause: Duration,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Control {
    agenda: BTreeMap<(Instant, u64), (Name, u64, Due)>,
    entries: u64,
    links: BTreeMap<Name, Link>,
    rng: StdRng,
}

impl Control {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            agenda: BTreeMap::new(),
            entries: 0,
            links: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    fn link(&mut self, name: Name) -> &mut Link {
        self.links.entry(name).or_default()
    }

    fn schedule(&mut self, name: Name, at: Instant, due: Due) {
        let serial = self.link(name).serial;
        self.agenda.insert((at, self.entries), (name, serial, due));
        self.entries += 1;
    }
}

impl World {
    /// A world with controllers, and nodes that know nothing but where these are. Nobody is a member.
    #[must_use]
    pub fn with_controllers(conditions: Conditions, seed: u64, nodes: u8, replicas: u8) -> Self {
        let mut world = Self::new(Handshake::Fake, conditions, seed);
        world.gossip = true;
        world.post_quantum = false;
        world.authorities.clear();
        let network = NetworkId::from_bits(0x8056_c2e2_1c00_0001).expect("a network id");
        world.controllers = Some(Controllers::new(network, replicas, seed, &world.clock));
        for number in 1..=nodes {
            world.start(Name(number));
            let refresh = REFRESH.mul_f64(world.control.rng.random_range(0.1..1.0));
            let at = world.clock.now() + refresh;
            world.control.schedule(Name(number), at, Due::Refresh);
        }
        world
    }

    /// The controllers.
    ///
    /// # Panics
    /// In a world without.
    #[must_use]
    pub fn controllers(&self) -> &Controllers {
        self.controllers.as_ref().expect("a world with controllers")
    }

    /// The controllers, to be changed, and the time.
    ///
    /// # Panics
    /// In a world without.
    pub fn controllers_mut(&mut self) -> (&mut Controllers, &crate::clock::Clock) {
        let controllers = self.controllers.as_mut();
        (controllers.expect("a world with controllers"), &self.clock)
    }

    /// What a node does first: what it has on disk, then controllers.
    pub(super) fn begin(&mut self, name: Name) {
        let network = self.network();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let (wall, now) = (node.wall(&self.clock), node.now(&self.clock));
        node.refresh(network, wall, now);
        let cached: Vec<_> = node.places.keys().copied().collect();
        for peer in cached {
            node.engine.connect(network, peer, now);
        }
        self.hang_up(name);
        self.settle(name);
    }

    /// A node leaves a replica whose key was revoked, whoever told it.
    pub(super) fn leave_the_revoked(&mut self, name: Name) {
        let node = &self.nodes[&name];
        if node.home.is_some_and(|home| !node.trusts(&home, None)) {
            self.hang_up(name);
        }
    }

    /// Ends a node's connection, if there is one, and dials again if the node lives.
    pub(super) fn hang_up(&mut self, name: Name) {
        let link = self.control.link(name);
        let replica = link.replica.take();
        link.serial += 1;
        link.pause = FIRST_PAUSE;
        if let (Some(controllers), Some(replica)) = (&mut self.controllers, replica) {
            controllers.disconnect(replica, name);
        }
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        node.lost_home();
        if node.is_up {
            let pause = FIRST_PAUSE.mul_f64(self.control.rng.random_range(0.5..1.0));
            self.control
                .schedule(name, self.clock.now() + pause, Due::Dial);
        }
    }

    fn dial(&mut self, name: Name) {
        let node = &self.nodes[&name];
        let (identity, address, network) = (node.identity(), node.address, self.network());
        let controllers = self.controllers.as_mut().expect("somebody to dial");
        let count = controllers.count();
        let first = self.control.rng.random_range(0..count);
        let connected = (first..first + count).find_map(|number| {
            let replica = number % count;
            if self.net.is_cut(address, controllers.address(replica)) {
                return None;
            }
            let (shown, signed) = controllers.greet(replica)?;
            node.trusts(&controllers.key(replica), Some(shown))
                .then(|| (replica, signed.clone()))
        });
        let now = self.clock.now();
        let Some((replica, keyring)) = connected else {
            let link = self.control.link(name);
            let pause = link.pause;
            link.pause = (pause * 2).min(LONGEST_PAUSE);
            let jittered = pause.mul_f64(self.control.rng.random_range(0.5..1.0));
            self.control.schedule(name, now + jittered, Due::Dial);
            return;
        };
        controllers.connect(replica, name, identity);
        let (home, root) = (controllers.key(replica), controllers.root());
        self.control.link(name).replica = Some(replica);
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let (wall, now) = (node.wall(&self.clock), node.now(&self.clock));
        node.greeted(network, home, root, &keyring, wall, now);
    }

    /// Does what is due first between nodes and controllers.
    pub(super) fn handle_control(&mut self) {
        let Some((_, (name, serial, due))) = self.control.agenda.pop_first() else {
            return;
        };
        let link = *self.control.link(name);
        let is_void = link.serial != serial || !self.nodes[&name].is_up;
        match due {
            Due::Refresh => self.refresh(name),
            _ if is_void => return,
            Due::Dial => self.dial(name),
            Due::AskAgain => {
                let network = self.network();
                self.node_mut(name).ask_to_join(network);
            }
            Due::ToNode(message) => self.carry_to_node(name, link, message),
            Due::ToController(message) => self.carry_to_controller(name, link, message),
        }
        self.settle(name);
    }

    /// Certificates expire without anybody telling.
    fn refresh(&mut self, name: Name) {
        let network = self.network();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        if node.is_up {
            let (wall, now) = (node.wall(&self.clock), node.now(&self.clock));
            node.end_rollover(network, wall, now);
            node.refresh(network, wall, now);
        }
        let next = self.clock.now() + REFRESH;
        self.control.schedule(name, next, Due::Refresh);
    }

    fn carry_to_node(&mut self, name: Name, link: Link, message: ToNode) {
        if !self.is_connected(name, link) {
            self.hang_up(name);
            return;
        }
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        if node.take_message(message, &self.clock) {
            let at = self.clock.now() + ASK_AGAIN;
            self.control.schedule(name, at, Due::AskAgain);
        }
    }

    fn carry_to_controller(&mut self, name: Name, link: Link, message: ToController) {
        let Some(replica) = link.replica.filter(|_| self.is_connected(name, link)) else {
            self.hang_up(name);
            return;
        };
        let node = (name, self.nodes[&name].identity());
        let controllers = self.controllers.as_mut().expect("one is connected");
        controllers.handle_message(replica, node, message, &self.clock);
    }

    fn is_connected(&self, name: Name, link: Link) -> bool {
        let controllers = self.controllers();
        link.replica.is_some_and(|replica| {
            let address = controllers.address(replica);
            controllers.is_up(replica) && !self.net.is_cut(self.nodes[&name].address, address)
        })
    }

    /// Puts what nodes and controllers say on its way.
    pub(super) fn carry(&mut self, name: Name) {
        let at = self.clock.now() + DELAY;
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        for message in std::mem::take(&mut node.outgoing) {
            self.control.schedule(name, at, Due::ToController(message));
        }
        self.carry_from_controllers();
    }

    pub(super) fn carry_from_controllers(&mut self) {
        let at = self.clock.now() + DELAY;
        while let Some((replica, node, message)) = self
            .controllers
            .as_mut()
            .and_then(Controllers::poll_message)
        {
            if self.control.link(node).replica == Some(replica) {
                self.control.schedule(node, at, Due::ToNode(message));
            }
        }
    }

    /// A node that has moved says so.
    pub(super) fn announce(&mut self, name: Name) {
        if self.controllers.is_some() {
            let network = self.network();
            let node = self.nodes.get_mut(&name).expect("a node of that name");
            if node.is_up && node.is_active() {
                node.announce(network, vec![node.address], &self.clock);
            }
        }
    }

    /// A node gets part of a directory as if from a controller, whoever it is that sends it.
    pub fn hand_over(&mut self, name: Name, entries: Vec<DirectoryEntry>) {
        let network = self.network();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let upto = node
            .directory()
            .map_or_else(Version::default, Directory::have);
        let message = ToNode::Directory {
            network,
            entries,
            upto,
            more: false,
        };
        if node.is_up {
            let _ = node.take_message(message, &self.clock);
            self.settle(name);
        }
    }

    /// Kills a replica; those who are connected notice at once.
    pub fn kill_controller(&mut self, replica: usize) {
        self.controllers_mut().0.kill(replica);
        for name in self.names() {
            if self.control.link(name).replica == Some(replica) {
                self.hang_up(name);
            }
        }
    }
}
