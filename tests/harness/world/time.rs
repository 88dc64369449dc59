//! Time passes: datagrams arrive, timers fire, and what engines want done is done.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_engine::{control::Event, forward::Inbound, offload::ecn::Ecn, path::way::Way};
use tombolo_relay::Outlet;

use super::{Call, Name, World, diary::Entry};
use crate::{controllers::Controllers, packets::Message, simnet::Delivery};

/// Where something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Underlay,
    Streams,
    Control,
    Controllers,
    Call,
    Node,
}

/// From the wish to be called to the callee: node to controller to node.
const CALL_DELAY: Duration = Duration::from_millis(40);

impl World {
    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.reschedule_all();
        let end = self.clock.now() + duration;
        while self.step(end) {}
        self.clock.advance_to(end);
    }

    /// Lets time pass until `done`; says whether it came to that.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        self.reschedule_all();
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
        let sources = [
            (self.net.poll_timeout(), Source::Underlay),
            (self.streams.poll_timeout(), Source::Streams),
            (self.control.poll_timeout(), Source::Control),
            (
                self.controllers
                    .as_ref()
                    .and_then(Controllers::poll_timeout),
                Source::Controllers,
            ),
            (self.calls.front().map(|(at, _)| *at), Source::Call),
            (self.wake_ups.first().map(|(at, _)| *at), Source::Node),
        ];
        let due = sources
            .into_iter()
            .filter_map(|(at, source)| Some((at?, source)));
        let Some((at, source)) = due.min().filter(|(at, _)| *at <= end) else {
            return false;
        };
        self.clock.advance_to(at);
        match source {
            Source::Underlay => self.deliver(),
            Source::Streams => self.handle_streams(),
            Source::Control => self.handle_control(),
            Source::Controllers => self.handle_controllers(),
            Source::Call => self.call(),
            Source::Node => self.wake(),
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

    fn wake(&mut self) {
        if let Some((_, name)) = self.wake_ups.pop_first() {
            let node = self.nodes.get_mut(&name).expect("a node of that name");
            node.wakes_at = None;
            node.engine.handle_timeout(node.now(&self.clock));
            self.settle(name);
        }
    }

    /// Notes when a node wants to be woken.
    fn reschedule(&mut self, name: Name) {
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let wakes_at = node.engine.poll_timeout().filter(|_| node.is_up);
        let wakes_at = wakes_at.map(|(at, _)| at + node.slept);
        let before = std::mem::replace(&mut node.wakes_at, wakes_at);
        if before != wakes_at {
            before.map(|at| self.wake_ups.remove(&(at, name)));
            self.wake_ups.extend(wakes_at.map(|at| (at, name)));
        }
    }

    /// Tests may have had their hands on engines.
    fn reschedule_all(&mut self) {
        for name in self.names() {
            self.reschedule(name);
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
            .filter(|(_, node)| node.is_up)
            .find_map(|(name, node)| Some((*name, node.way_of(delivery.from, delivery.to)?)));
        if let Some((name, way)) = receiver {
            self.receive_by(name, way, delivery.payload);
        }
    }

    /// Gives a node a datagram.
    pub fn receive(&mut self, name: Name, from: SocketAddr, datagram: Vec<u8>) {
        self.receive_by(name, Way::Direct(from), datagram);
    }

    pub(super) fn receive_by(&mut self, name: Name, from: Way, mut datagram: Vec<u8>) {
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let now = node.now(&self.clock);
        let inbound = match from {
            Way::Direct(from) => node.fib.inbound(from, &mut datagram),
            Way::Through { .. } | Way::Relay { .. } => node.fib.inbound_by(from, &mut datagram),
        };
        match inbound {
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
                    node.diary.push(Entry::Delivered(message));
                }
                if let Some(note) = note {
                    node.engine.handle_punt(note, now);
                }
            }
            Inbound::Part {
                lane,
                counter,
                payload,
                note,
            } => {
                let whole = node
                    .fib
                    .gather(lane, counter, &datagram[payload], Ecn::NotEct);
                if let Some((network, packet, _)) = whole {
                    let (network, _) = node
                        .slots
                        .iter()
                        .find(|(_, slot)| **slot == network)
                        .expect("a network of this node");
                    if let Some(message) = Message::decode(&packet) {
                        node.delivered.push((*network, message));
                        node.diary.push(Entry::Delivered(message));
                    }
                }
                if let Some(note) = note {
                    node.engine.handle_punt(note, now);
                }
            }
            Inbound::Punt(punt) => node.engine.handle_punt(punt, now),
            Inbound::Relayed(Outlet::Udp(to)) => {
                let delivery = Delivery {
                    from: node.address,
                    to,
                    payload: datagram,
                };
                let now = self.clock.now();
                self.streams.send(&mut self.net, name, delivery, now);
            }
            // Members that relay see their streams as addresses.
            Inbound::Relayed(Outlet::Stream(_)) | Inbound::Drop(_) => {}
        }
        self.settle(name);
    }

    /// Sends what has to be sent and publishes what has to be published.
    pub(super) fn settle(&mut self, name: Name) {
        if self.nodes[&name].is_up {
            self.drain(name);
        }
        self.leave_the_revoked(name);
        self.want_streams();
        self.carry(name);
        self.reschedule(name);
        let now = self.clock.now();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        let entries = node.diary.drain(..).map(|entry| (name, now, entry));
        match &mut self.diary {
            Some(diary) => diary.extend(entries),
            None => drop(entries),
        }
    }

    fn drain(&mut self, name: Name) {
        let now = self.clock.now();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        while node.is_up {
            while let Some(transmit) = node.engine.poll_transmit() {
                let Some((from, to)) = node.sockets_of(transmit.to) else {
                    continue;
                };
                let sent = Delivery {
                    from,
                    to,
                    payload: transmit.payload,
                };
                self.streams.send(&mut self.net, name, sent, now);
            }
            let Some(event) = node.engine.poll_event() else {
                return;
            };
            node.diary.extend(Entry::of(&event));
            match event {
                Event::FibChanged => node.fib = node.engine.fib(),
                Event::Gossip {
                    network,
                    peer,
                    documents,
                } if !node.ignores_peers => {
                    node.take_gossip(network, peer, documents, &self.clock);
                }
                Event::Seen { network, .. } if self.controllers.is_some() => {
                    node.announce(network, vec![node.address], &self.clock);
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
                    let local = node.now(&self.clock);
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
                    node.take_call(network, peer, announcement, &self.clock);
                    node.events.push(event);
                }
                Event::Seen { network, endpoints } => {
                    node.announce(network, endpoints, &self.clock);
                }
                Event::Relays { network, addresses } => {
                    node.announce_relays(network, addresses, &self.clock);
                }
                Event::SocketUnused { socket } => {
                    node.open_sockets.remove(&socket);
                }
                Event::SessionUp {
                    peer,
                    way: Way::Direct(endpoint),
                    ..
                }
                | Event::WayChanged {
                    peer,
                    way: Way::Direct(endpoint),
                    ..
                } if self.controllers.is_some() => {
                    node.heard_from(peer, endpoint);
                }
                Event::StreamWanted {
                    network,
                    relay,
                    at,
                    silent,
                } => {
                    self.streams.ask(name, network, relay, at, silent);
                }
                Event::Answered { .. }
                | Event::RelaySay { .. }
                | Event::SessionUp { .. }
                | Event::SessionDown { .. }
                | Event::WayChanged { .. }
                | Event::Gossip { .. } => node.events.push(event),
            }
        }
    }

    fn handle_controllers(&mut self) {
        if let Some(controllers) = &mut self.controllers {
            controllers.handle_timeout(&self.clock);
        }
        self.carry_from_controllers();
    }
}
