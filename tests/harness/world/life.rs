//! Nodes start, die, sleep and move.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use tombolo_engine::control::{Engine, Settings};
use tombolo_proto::key::Seed;

use super::{Handshake, Name, Node, World};

impl World {
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
}
