//! What the fast path hands over: packets without a lane, handshakes, control messages, notes.

use std::time::Instant;

use tombolo_proto::{
    frame::{self, FrameKind, WireGuardKind},
    id::LaneIndex,
    ip,
};

use super::{Context, Engine, Transmit};
use crate::{
    counters::DropReason,
    fib::PeerSlot,
    forward::Punt,
    gate::Admission,
    path::{Sign, way::Way},
    peer::Peer,
    session::receiver,
};

impl Engine {
    /// Takes what the fast path handed over.
    pub fn handle_punt(&mut self, punt: Punt, now: Instant) {
        match punt {
            Punt::Packet { peer, packet } => self.handle_packet(peer, packet, now),
            Punt::Datagram { from, datagram } => self.handle_datagram(from, &datagram, now),
            Punt::Control {
                lane,
                from,
                message,
            } => {
                self.with_lane_owner(lane, now, |peer, context| {
                    peer.handle_control(lane, from, &message, context, now);
                });
                self.hand_out_gossip(now);
                self.introduce(now);
            }
            Punt::Confirmed { lane, from } => self.with_lane_owner(lane, now, |peer, context| {
                peer.handle_confirmed(lane, from, context, now);
            }),
            Punt::RelayPong { relay, counter } => self.relays.handle_pong(relay, counter, now),
            Punt::Roamed { lane, from } => self.with_lane_owner(lane, now, |peer, context| {
                peer.handle_roamed(from, Sign::Use, context, now);
            }),
        }
        self.settle_relays(now);
    }

    /// Routes the packet once more: while it was under way, its destination may have moved to another member.
    pub(super) fn handle_packet(&mut self, routed_to: PeerSlot, packet: Vec<u8>, now: Instant) {
        let next_hop = self
            .peer(routed_to)
            .and_then(|peer| self.network(peer.id.network))
            .zip(ip::view(&packet))
            .and_then(|(network, view)| {
                let away = self.failover.away();
                network.ownership.next_hop_present(view.destination, &away)
            });
        match next_hop {
            Some(slot) => {
                self.with_peer(slot, now, |peer, context| {
                    peer.handle_packet(packet, context, now)
                });
            }
            None => self.counters.count(DropReason::NoRoute),
        }
    }

    fn handle_datagram(&mut self, from: Way, datagram: &[u8], now: Instant) {
        let kind = match frame::kind(datagram) {
            Some(FrameKind::WireGuard(kind)) => kind,
            Some(FrameKind::Stun) => return self.handle_question(from, datagram, now),
            Some(FrameKind::Probe) => return self.handle_probe(from, datagram, now),
            _ => return self.counters.count(DropReason::UnknownFrame),
        };
        if kind == WireGuardKind::Initiation {
            return self.handle_initiation(from, datagram, now);
        }
        let owner = receiver(kind, datagram).and_then(|index| self.indices.machine_owner(index));
        match owner {
            Some(slot) => self.with_peer(slot, now, |peer, context| {
                peer.handle_handshake(from, datagram, context, now);
            }),
            None => self.counters.count(DropReason::UnknownHandshake),
        }
    }

    /// Somebody asks where it is seen.
    fn handle_question(&mut self, from: Way, datagram: &[u8], now: Instant) {
        // Who asks by a relay has learnt nothing from the answer.
        let asker = from.endpoint();
        let answer = asker.and_then(|asker| self.observer.answer(asker, datagram, now));
        match answer {
            Some(payload) => self
                .outbox
                .transmits
                .push_back(Transmit { to: from, payload }),
            None => self.counters.count(DropReason::UnknownFrame),
        }
    }

    /// First MAC, then budget, then cookie if there is load, then one Diffie-Hellman operation to learn the caller's key,
    /// and only if that is a member's, the rest.
    fn handle_initiation(&mut self, from: Way, initiation: &[u8], now: Instant) {
        let Some(network) = self
            .networks
            .iter()
            .flatten()
            .find(|network| network.door.is_addressed_to_us(initiation))
        else {
            return self.counters.count(DropReason::UnknownHandshake);
        };
        match self.gate.admit(from.source(), now) {
            Admission::Admitted => {}
            Admission::OverBudget => return self.counters.count(DropReason::RateLimited),
            Admission::NeedsCookie => {
                if let Err(reply) = network
                    .door
                    .check_cookie(initiation, from.source().to_canonical())
                {
                    self.counters.count(DropReason::RateLimited);
                    if !reply.is_empty() {
                        self.outbox.transmits.push_back(Transmit {
                            to: from,
                            payload: reply,
                        });
                    }
                    return;
                }
            }
        }
        let Some(caller) = network.door.caller(initiation) else {
            return self.counters.count(DropReason::BadHandshake);
        };
        let Some(&slot) = network.by_transport.get(&caller) else {
            return self.counters.count(DropReason::UnknownPeer);
        };
        self.with_peer(slot, now, |peer, context| {
            peer.handle_handshake(from, initiation, context, now);
        });
    }

    fn with_lane_owner(
        &mut self,
        lane: LaneIndex,
        now: Instant,
        act: impl FnOnce(&mut Peer, &mut Context<'_>),
    ) {
        if let Some(slot) = self.indices.lane_owner(lane) {
            self.with_peer(slot, now, act);
        }
    }
}
