//! Relays, carried out: the machine says what to say and whom to keep warm, peers and the shell do it. And this node as a
//! relay for others.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tombolo_proto::{
    id::NetworkId,
    key::IdentityKey,
    relay::{RelayMessage, RelayRefusal},
};
use tombolo_relay::Relay;

use super::{Engine, Event, Transmit};
use crate::{
    fib::{NetworkSlot, PeerSlot},
    lane_control::LaneMessage,
    path::{is_stream, way::Way},
    peer::Peer,
    relay::{Candidate, Output, RelayName},
};

/// Streams that are wanted at once to members that may become relays.
const STREAMS_SOUGHT: usize = 8;

impl Engine {
    /// Turns relays on, for networks that are added from now on. `offers` says whether this node relays for other members,
    /// where its certificate lets it and it can be reached.
    pub const fn enable_relays(&mut self, offers: bool) {
        self.seeks_relays = true;
        self.offers_relay = offers;
    }

    /// What this node relays for others.
    #[must_use]
    pub fn relay(&self) -> Arc<Relay> {
        Arc::clone(&self.relay)
    }

    /// The replica of a network that relays and that this node can ask: the one it is connected to. `passes_udp` is whether
    /// that connection goes by UDP: where it could not, frames that are to be relayed cannot either.
    pub fn set_controller_relay(
        &mut self,
        network: NetworkId,
        replica: Option<IdentityKey>,
        passes_udp: bool,
        now: Instant,
    ) {
        let Some(&slot) = self.by_id.get(&network) else {
            return;
        };
        let Some(network) = self.network_mut(slot) else {
            return;
        };
        network.controller = replica;
        let Some(replica) = replica else {
            return;
        };
        let relay = RelayName::Controller(replica);
        self.relays.handle_session_up(slot, relay, now);
        self.handle_relays_timeout(now);
        if !passes_udp {
            self.relays.want_stream(slot, relay);
            self.settle_relays(now);
        }
    }

    /// Takes what a replica answered to [`Event::RelaySay`]. `at` is where it relays.
    pub fn handle_relay_message(
        &mut self,
        network: NetworkId,
        replica: IdentityKey,
        message: &RelayMessage,
        at: SocketAddr,
        now: Instant,
    ) {
        if let Some(&slot) = self.by_id.get(&network) {
            let relay = RelayName::Controller(replica);
            self.relays
                .handle_message(slot, relay, message, Some(at), now);
            self.settle_relays(now);
        }
    }

    /// Whoever relays is reached by a stream behind this address of the host's loopback from now on, or by none any more.
    pub fn set_stream(
        &mut self,
        network: NetworkId,
        relay: RelayName,
        stream: Option<SocketAddr>,
        now: Instant,
    ) {
        match relay {
            RelayName::Member(key) => {
                if let Some(slot) = self.slot_of(network, &key) {
                    self.with_peer(slot, now, |peer, context| {
                        peer.set_stream(stream, context, now);
                    });
                }
            }
            RelayName::Controller(_) => {
                if let Some(&network) = self.by_id.get(&network) {
                    self.relays.set_stream(network, relay, stream, now);
                }
            }
        }
        self.settle_relays(now);
    }

    /// Whether some relay of a network is reached by a stream, because no UDP passes to it.
    #[must_use]
    pub fn has_relay_on_stream(&self, network: NetworkId) -> bool {
        let slot = self.by_id.get(&network);
        slot.is_some_and(|slot| self.relays.is_any_on_stream(*slot))
    }

    /// Whether what is sent by a way goes by a stream of TCP.
    #[must_use]
    pub fn is_on_stream(&self, way: Way) -> bool {
        match way {
            Way::Direct(endpoint) => is_stream(endpoint),
            Way::Through { .. } => false,
            Way::Relay { relay, .. } => self.relays.is_on_stream(relay),
        }
    }

    /// The relays of a network that this node keeps warm, nearest first, and their round trips.
    #[must_use]
    pub fn warm_relays(&self, network: NetworkId) -> Vec<(RelayName, Duration)> {
        let slot = self.by_id.get(&network);
        slot.map(|slot| self.relays.warm(*slot)).unwrap_or_default()
    }

    pub(super) fn relays_due(&self) -> Option<Instant> {
        let served = self.relay.poll_timeout();
        self.relays.poll_timeout().into_iter().chain(served).min()
    }

    pub(super) fn handle_relays_timeout(&mut self, now: Instant) {
        if self.relay.poll_timeout().is_some_and(|at| at <= now) {
            self.relay.handle_timeout(now);
        }
        for network in self.relays.to_choose(now) {
            self.seek_streams(network, now);
            let candidates = self.relay_candidates(network);
            self.relays.choose(network, &candidates, now);
        }
        self.relays.handle_timeout(now);
        self.settle_relays(now);
    }

    /// Where no UDP passes and relays are missing: members that may relay, and are reached by a relay now, may take a stream.
    fn seek_streams(&mut self, network: NetworkSlot, now: Instant) {
        let way_of = |peer: &Peer| peer.path().map(|path| path.to);
        let with_lanes = self.with_lanes.iter().filter_map(|slot| self.peer(*slot));
        let peers = with_lanes.filter(|peer| peer.id.network == network);
        let is_without_udp = self.relays.is_any_on_stream(network)
            || peers
                .clone()
                .filter_map(way_of)
                .any(|way| self.is_on_stream(way));
        if !is_without_udp || !self.relays.are_missing(network) {
            return;
        }
        let is_direct = |peer: &Peer| way_of(peer).is_some_and(|way| way.endpoint().is_some());
        let slots: Vec<PeerSlot> = peers
            .filter(|peer| peer.portrait.relays && !is_direct(peer))
            .take(STREAMS_SOUGHT)
            .map(|peer| peer.id.slot)
            .collect();
        for slot in slots {
            self.with_peer(slot, now, |peer, context| peer.seek_stream(context, now));
        }
    }

    /// Members that may relay and that this node talks with directly, and the replica it is connected to.
    fn relay_candidates(&self, network: NetworkSlot) -> Vec<Candidate> {
        let Some(of) = self.network(network) else {
            return Vec::new();
        };
        let members = self
            .with_lanes
            .iter()
            .filter_map(|slot| self.peer(*slot))
            .filter(|peer| peer.id.network == network && peer.portrait.relays)
            .filter(|peer| peer.path().is_some_and(|path| path.to.endpoint().is_some()))
            .map(|peer| Candidate {
                relay: RelayName::Member(peer.id.identity),
                round_trip: peer.round_trip(),
            });
        let controller = of.controller.map(|replica| Candidate {
            relay: RelayName::Controller(replica),
            round_trip: None,
        });
        members.chain(controller).collect()
    }

    /// Where this node may not relay, nobody is its client.
    pub(super) fn review_own_relay(&mut self, now: Instant) {
        for (&id, &slot) in &self.by_id {
            if !self.relays_for(slot) {
                self.relay.retain(|network, _| network != id);
            }
        }
        self.settle_relays(now);
    }

    fn relays_for(&self, network: NetworkSlot) -> bool {
        self.offers_relay
            && self.is_public
            && self
                .network(network)
                .is_some_and(|network| network.may_relay)
    }

    /// Passes on what peers, relays and the machine have to say to each other, until nobody has.
    pub(super) fn settle_relays(&mut self, now: Instant) {
        loop {
            let wanted = std::mem::take(&mut self.outbox.relay_wanted);
            for (slot, is_in_vain) in wanted {
                self.want_relays(slot, is_in_vain, now);
            }
            if let Some((slot, message, from)) = self.outbox.relaying.pop_front() {
                self.peer_says(slot, &message, from, now);
            } else if let Some(output) = self.relays.poll_output() {
                self.carry_out_relaying(output, now);
            } else if self.outbox.relay_wanted.is_empty() {
                return;
            }
        }
    }

    /// A peer does not answer: it may do so by a relay. `is_in_vain`: not by those asked so far.
    fn want_relays(&mut self, slot: PeerSlot, is_in_vain: bool, now: Instant) {
        if !self.seeks_relays {
            return;
        }
        let Some((network, key)) = self.name_of(slot) else {
            return;
        };
        let Some(of) = self.network(network) else {
            return;
        };
        // Where the peer says that it is inside the overlay, a member relays for it.
        let announced = of.announced(&key);
        let members = announced
            .iter()
            .filter_map(|endpoint| of.ownership.next_hop_inside(endpoint.ip()))
            .filter_map(|relay| self.peer(relay))
            .filter(|relay| relay.portrait.relays)
            .map(|relay| RelayName::Member(relay.id.identity));
        let home = of.homes.get(&key).copied().map(RelayName::Controller);
        let mut at: Vec<RelayName> = members.chain(home).collect();
        if is_in_vain {
            let candidates = self.relay_candidates(network);
            let ends = [&of.identity, &key];
            at.extend(self.relays.spare(network, &candidates, ends, now));
        }
        self.relays.want_channels(network, (slot, key), at, now);
    }

    fn peer_says(&mut self, slot: PeerSlot, message: &RelayMessage, from: Way, now: Instant) {
        let Some((network, key)) = self.name_of(slot) else {
            return;
        };
        match message {
            RelayMessage::Ask | RelayMessage::Open { .. } => {
                let answer = self.serve(network, key, message, now);
                self.tell_about_relaying(slot, answer, now);
            }
            RelayMessage::Farewell if self.relay_has(network, &key) => {
                let _ = self.serve(network, key, message, now);
            }
            RelayMessage::Grant { .. }
            | RelayMessage::Opened { .. }
            | RelayMessage::Refused { .. }
            | RelayMessage::Farewell => {
                let relay = RelayName::Member(key);
                self.relays
                    .handle_message(network, relay, message, from.endpoint(), now);
            }
        }
    }

    fn relay_has(&self, network: NetworkSlot, key: &IdentityKey) -> bool {
        self.network(network)
            .is_some_and(|network| self.relay.has_client(network.id, key))
    }

    /// What this node, as a relay, answers.
    fn serve(
        &mut self,
        network: NetworkSlot,
        member: IdentityKey,
        message: &RelayMessage,
        now: Instant,
    ) -> Option<RelayMessage> {
        let id = self.network(network)?.id;
        if !self.relays_for(network) {
            return Some(RelayMessage::Refused {
                peer: None,
                reason: RelayRefusal::NotRelaying,
            });
        }
        self.relay
            .handle_message(id, member, message, &mut self.rng, now)
    }

    fn tell_about_relaying(&mut self, slot: PeerSlot, message: Option<RelayMessage>, now: Instant) {
        if let Some(message) = message {
            let message = LaneMessage::Relay(message);
            self.with_peer(slot, now, |peer, context| peer.tell(&message, context));
        }
    }

    fn carry_out_relaying(&mut self, output: Output, now: Instant) {
        match output {
            Output::Say {
                network,
                relay: RelayName::Member(key),
                message,
            } => {
                let of = self.network(network);
                let Some(&slot) = of.and_then(|of| of.by_identity.get(&key)) else {
                    return;
                };
                // Without a session there is nobody to ask yet; the question is repeated.
                self.with_peer(slot, now, |peer, context| peer.connect(context, now));
                // A relay that is reached by another one would take this node for a client that it cannot reach.
                let is_relayed = self.peer(slot).is_some_and(Peer::is_relayed);
                if message == RelayMessage::Ask && is_relayed {
                    self.with_peer(slot, now, |peer, context| peer.try_directly(context, now));
                } else {
                    self.tell_about_relaying(slot, Some(message), now);
                }
            }
            Output::Say {
                network,
                relay: RelayName::Controller(replica),
                message,
            } => {
                if let Some(network) = self.network(network).map(|of| of.id) {
                    self.outbox.events.push_back(Event::RelaySay {
                        network,
                        replica,
                        message,
                    });
                }
            }
            Output::Frame { to, frame } => self.outbox.transmits.push_back(Transmit {
                to: to.into(),
                payload: frame,
            }),
            Output::StreamWanted {
                network,
                relay: relay @ RelayName::Controller(_),
                silent,
            } => {
                if let Some(network) = self.network(network).map(|of| of.id) {
                    self.outbox.events.push_back(Event::StreamWanted {
                        network,
                        relay,
                        at: Vec::new(),
                        silent,
                    });
                }
            }
            Output::Ways(slot) => {
                let ways = self.relays.ways(slot);
                self.with_peer(slot, now, |peer, context| {
                    peer.set_relayed(ways, context, now)
                });
            }
            Output::Warm(network) => self.tell_of_relays(network),
            Output::Routes => self.outbox.fib_is_stale = true,
            // Where UDP does not pass to a member, its lane goes by a stream, and what it relays goes with it.
            Output::Silent {
                network,
                relay: RelayName::Member(key),
            }
            | Output::StreamWanted {
                network,
                relay: RelayName::Member(key),
                ..
            } => {
                let of = self.network(network);
                if let Some(&slot) = of.and_then(|of| of.by_identity.get(&key)) {
                    self.with_peer(slot, now, |peer, _| peer.doubt(now));
                }
            }
            // Its connection is watched by the shell.
            Output::Silent {
                relay: RelayName::Controller(_),
                ..
            } => {}
        }
    }

    fn tell_of_relays(&mut self, network: NetworkSlot) {
        let Some(of) = self.network(network) else {
            return;
        };
        let address_of = |(relay, _)| -> Option<IpAddr> {
            let RelayName::Member(key) = relay else {
                return None;
            };
            let peer = self.peer(*of.by_identity.get(&key)?)?;
            peer.portrait.addresses.first().copied()
        };
        let addresses = self.relays.warm(network).into_iter().filter_map(address_of);
        let event = Event::Relays {
            network: of.id,
            addresses: addresses.collect(),
        };
        self.outbox.events.push_back(event);
    }
}
