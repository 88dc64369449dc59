//! Packets that hosts send through their TUN devices, and what became of them.

use std::net::IpAddr;

use tombolo_engine::{
    control::PeerStatus, counters::DropReason, forward::Outbound, path::way::Way,
};
use tombolo_proto::relay::RELAY_HEADER;
use tombolo_proto::{
    frame::{LANE_HEADER, LANE_TAG},
    id::NetworkId,
};

use super::{Name, World};
use crate::{authority::Authority, packets::Message, simnet::Delivery};

impl World {
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

    /// The same with a packet of `length` bytes.
    pub fn send_long(&mut self, from: Name, to: Name, length: u16) -> u64 {
        let message = Message {
            from: Self::address_of(from),
            to: Self::address_of(to),
            number: self.next_number,
        };
        self.next_number += 1;
        self.send_raw(0, from, &message.encode_long(length));
        message.number
    }

    /// Sends a numbered packet from a node's TUN device with any addresses.
    pub fn send_between(&mut self, name: Name, from: IpAddr, to: IpAddr) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let packet = Message { from, to, number }.encode();
        self.send_raw(0, name, &packet);
        number
    }

    fn network_of(&self, number: usize) -> NetworkId {
        self.authorities
            .get(number)
            .map_or_else(|| self.network(), Authority::network)
    }

    /// Sends any bytes from a node's TUN device.
    pub fn send_raw(&mut self, network: usize, name: Name, packet: &[u8]) {
        let network = self.network_of(network);
        let now = self.clock.now();
        let node = self.nodes.get_mut(&name).expect("a node of that name");
        if !node.is_up {
            return;
        }
        let mut frame = vec![0; LANE_HEADER + packet.len() + LANE_TAG];
        frame[LANE_HEADER..LANE_HEADER + packet.len()].copy_from_slice(packet);
        let Some(slot) = node.slots.get(&network) else {
            return;
        };
        match node.fib.outbound(*slot, &mut frame) {
            Outbound::Send {
                to: way @ (Way::Direct(_) | Way::Through { .. }),
                ..
            } => {
                if let Some((from, to)) = node.sockets_of(way) {
                    let delivery = Delivery {
                        from,
                        to,
                        payload: frame,
                    };
                    self.streams.send(&mut self.net, name, delivery, now);
                }
            }
            Outbound::SendParts {
                to: way @ (Way::Direct(_) | Way::Through { .. }),
                frames,
            } => {
                if let Some((from, to)) = node.sockets_of(way) {
                    for payload in frames {
                        let sent = Delivery { from, to, payload };
                        self.streams.send(&mut self.net, name, sent, now);
                    }
                }
            }
            Outbound::Punt(punt) => {
                node.engine.handle_punt(punt, node.now(&self.clock));
                self.settle(name);
            }
            Outbound::Send {
                to: way @ Way::Relay { .. },
                ..
            } => {
                let Some(relay) = node.fib.by_relay(way) else {
                    return;
                };
                let mut payload = [&[0; RELAY_HEADER], &frame[..]].concat();
                relay.wrap(&mut payload);
                let delivery = Delivery {
                    from: node.address,
                    to: relay.at,
                    payload,
                };
                self.streams.send(&mut self.net, name, delivery, now);
            }
            Outbound::SendParts {
                to: way @ Way::Relay { .. },
                frames,
            } => {
                let Some(relay) = node.fib.by_relay(way) else {
                    return;
                };
                for frame in frames {
                    let mut payload = [&[0; RELAY_HEADER], &frame[..]].concat();
                    relay.wrap(&mut payload);
                    let delivery = Delivery {
                        from: node.address,
                        to: relay.at,
                        payload,
                    };
                    self.streams.send(&mut self.net, name, delivery, now);
                }
            }
            Outbound::Drop(_) => {}
        }
    }

    /// Whether a node would send a packet to this address to anybody, with or without a session.
    #[must_use]
    pub fn is_routed(&self, name: Name, destination: IpAddr) -> bool {
        let node = &self.nodes[&name];
        let source = match destination {
            IpAddr::V4(_) => Self::address_of(name),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let packet = Message {
            from: source,
            to: destination,
            number: 0,
        };
        let slot = node.slots.get(&self.network());
        slot.is_some_and(|slot| node.fib.route(*slot, &packet.encode()).is_ok())
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
