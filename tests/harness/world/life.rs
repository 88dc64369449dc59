//! Nodes start, die, sleep and move.

use std::net::SocketAddr;

use rand::{SeedableRng as _, rngs::StdRng};
use tombolo_engine::control::{Engine, Settings};
use tombolo_proto::key::Seed;

use super::{Handshake, Name, Node, World, diary::Entry};

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
        if self.relays {
            engine.enable_relays(true);
            engine.set_public(true);
        }
        let mut node = match before {
            Some(before) => before.reborn(engine),
            None => {
                let address = SocketAddr::from(([192, 0, 2, name.0], 9790));
                Node::new(Seed::from_bytes([name.0; 32]), address, engine, noise)
            }
        };
        node.diary.push(Entry::Started(node.disk.newest()));
        self.nodes.insert(name, node);
        if self.controllers.is_some() {
            self.begin(name);
        } else {
            self.read_disk(name);
        }
    }

    /// Kills a node.
    pub fn kill(&mut self, name: Name) {
        self.node_mut(name).is_up = false;
        self.hang_up(name);
        self.close_streams(name);
        self.settle(name);
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
        self.announce(name);
        self.settle(name);
    }

    /// Moves a node to another UDP address without telling anybody.
    pub fn roam(&mut self, name: Name, address: SocketAddr) {
        self.node_mut(name).address = address;
    }
}
