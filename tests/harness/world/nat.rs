//! Nodes behind routers of any kind find out where they are, as daemons do by STUN.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use tombolo_engine::nat::Mapping;

use super::{Name, World};
use crate::simnat::{Behaviour, SimNat};

impl World {
    /// Adds a router with this public address.
    pub fn add_router(&mut self, behaviour: Behaviour, public: [u8; 4], seed: u64) -> usize {
        let nat = SimNat::seeded(behaviour, IpAddr::from(public), seed);
        self.net.add_router(nat)
    }

    /// Puts a node behind a router, at its address inside.
    pub fn put_behind_router(&mut self, name: Name, router: usize, inside: [u8; 4]) {
        let inside = SocketAddr::from((inside, 9790));
        self.net.put_behind(inside.ip(), router);
        self.node_mut(name).address = inside;
    }

    /// All nodes ask where they are seen, draw their conclusions, and tell each other. Again and again, as daemons do, it
    /// keeps mappings open.
    pub fn find_out_nats(&mut self) {
        let names = self.names();
        let mut found = BTreeMap::new();
        for name in &names {
            let address = self.node(*name).address;
            let observed = self.observed(address);
            let mapping = Mapping::seen(&observed, |seen| seen == address.ip());
            let mut endpoints: Vec<SocketAddr> = Vec::new();
            for seen in observed.values() {
                if !endpoints.contains(seen) {
                    endpoints.push(*seen);
                }
            }
            if mapping.is_dependent()
                && let Some(seen) = endpoints.first()
            {
                endpoints.insert(0, SocketAddr::new(seen.ip(), 0));
            }
            if !endpoints.contains(&address) {
                endpoints.push(address);
            }
            found.insert(*name, (mapping, endpoints));
        }
        let now = self.clock.now();
        for name in &names {
            let places: Vec<_> = found
                .iter()
                .filter(|(other, _)| *other != name)
                .map(|(other, (_, endpoints))| (self.node(*other).identity(), endpoints.clone()))
                .collect();
            let (mapping, _) = found[name];
            let network = self.network();
            let node = self.node_mut(*name);
            node.engine.set_nat([mapping, Mapping::Unknown]);
            for (peer, endpoints) in places {
                node.set_place(network, peer, &endpoints, now);
            }
            self.settle(*name);
        }
    }

    /// What a node has found out about its NAT, as [`Self::find_out_nats`] does.
    pub fn mapping_of(&mut self, name: Name) -> Mapping {
        let address = self.node(name).address;
        let observed = self.observed(address);
        Mapping::seen(&observed, |seen| seen == address.ip())
    }

    /// Where a socket is seen by two hosts, one of which has two ports.
    fn observed(&mut self, socket: SocketAddr) -> BTreeMap<SocketAddr, SocketAddr> {
        let now = self.clock.now();
        let observers = [(1, 9793), (1, 9794), (2, 9793)]
            .map(|(host, port)| SocketAddr::from(([203, 0, 113, host], port)));
        observers
            .into_iter()
            .filter_map(|observer| Some((observer, self.net.answered(socket, observer, now)?)))
            .collect()
    }
}
