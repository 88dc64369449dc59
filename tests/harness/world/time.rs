//! Time passes: datagrams arrive, timers fire, and what engines want done is done.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_engine::{control::Event, forward::Inbound};

use super::{Call, Name, World};
use crate::{packets::Message, simnet::Delivery};

/// From the wish to be called to the callee: node to controller to node.
const CALL_DELAY: Duration = Duration::from_millis(40);

impl World {
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
        let call = self.calls.front().map(|(at, _)| *at);
        let next = [arrival, wake_up.map(|(at, _)| at), call]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next.filter(|next| *next <= end) else {
            return false;
        };
        self.clock.advance_to(next);
        if arrival == Some(next) {
            self.deliver();
        } else if call == Some(next) {
            self.call();
        } else if let Some((_, name)) = wake_up {
            let now = self.node(name).now(&self.clock);
            self.node_mut(name).engine.handle_timeout(now);
            self.settle(name);
        }
        true
    }

    /// A controller tells a node to call another. How it carries that is not simulated; that it takes time is.
    fn call(&mut self) {
        let Some((_, call)) = self.calls.pop_front() else {
            return;
        };
        let callee = self
            .nodes
            .iter_mut()
            .find(|(_, node)| node.is_up && node.identity() == call.callee);
        if let Some((name, node)) = callee {
            let (name, now) = (*name, node.now(&self.clock));
            node.engine
                .handle_rendezvous(call.network, call.caller, now);
            self.settle(name);
        }
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
    pub(super) fn settle(&mut self, name: Name) {
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
                Event::RendezvousWanted { network, peer } if self.has_controllers => {
                    let asked = Call {
                        network,
                        caller: node.identity(),
                        callee: peer,
                    };
                    self.calls.push_back((now + CALL_DELAY, asked));
                }
                Event::RendezvousWanted { network, peer } => {
                    if let Some(announcement) = node.own_announcement(network) {
                        node.engine
                            .ask_peers_for_call(network, peer, announcement, local);
                    }
                    node.events.push(event);
                }
                Event::Called {
                    network,
                    peer,
                    ref announcement,
                } => {
                    node.take_call(network, peer, announcement, local);
                    node.events.push(event);
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
}
