//! Calls: taken, asked for, and passed on between peers that this node has sessions with.

use std::time::Instant;

use rand::seq::IndexedRandom as _;
use tombolo_proto::{
    config::EndpointAnnouncement, id::NetworkId, key::IdentityKey, signed::Signed,
};

use super::Engine;
use crate::{
    counters::DropReason, fib::PeerSlot, lane_control::LaneMessage, nat::Mapping, path::way::Way,
};

/// Peers that are asked to pass a wish on: a callee keeps as many neighbours, and two pick the same ones often enough.
const ASKED: usize = 4;

impl Engine {
    /// A peer that cannot reach this node asks to be called, through a controller or another peer. Where it is was said
    /// by [`Self::set_endpoints`]. What strangers ask is ignored, and what a peer may ask for is bounded.
    pub fn handle_rendezvous(&mut self, network: NetworkId, peer: IdentityKey, now: Instant) {
        if let Some(slot) = self.slot_of(network, &peer) {
            self.with_peer(slot, now, |peer, context| peer.handle_call(context, now));
        }
    }

    /// What NATs in front of this node do, towards IPv4 and IPv6: it decides how peers behind other NATs are met.
    pub const fn set_nat(&mut self, mapping: [Mapping; 2]) {
        self.puncher.set_mapping(mapping);
    }

    /// Somebody tries ways: one of the peers that this node tries to meet, or nobody.
    pub(super) fn handle_probe(&mut self, from: Way, datagram: &[u8], now: Instant) {
        let sought: Vec<PeerSlot> = self.puncher.active().collect();
        let mut is_known = false;
        for slot in sought {
            self.with_peer(slot, now, |peer, context| {
                is_known |= peer.handle_probe(from, datagram, context, now);
            });
        }
        if !is_known {
            self.counters.count(DropReason::UnknownFrame);
        }
    }

    /// This node says from now on that it is elsewhere: peers that were to call it are to hear of that.
    pub fn call_elsewhere(&mut self, network: NetworkId, now: Instant) {
        let waiting: Vec<PeerSlot> = self
            .scheduled
            .keys()
            .copied()
            .filter(|slot| {
                let peer = self.peer(*slot);
                peer.is_some_and(|peer| peer.id.parties.network == network)
            })
            .collect();
        for slot in waiting {
            self.with_peer(slot, now, |peer, context| peer.ask_anew(context, now));
        }
    }

    /// Asks some of the peers that this node talks with to have another one call. `announcement` is this node's own.
    pub fn ask_peers_for_call(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
        announcement: Signed<EndpointAnnouncement>,
        now: Instant,
    ) {
        let Some(&of) = self.by_id.get(&network) else {
            return;
        };
        let others = self.with_lanes.iter().copied().filter(|slot| {
            self.peer(*slot).is_some_and(|other| {
                other.id.network == of && other.id.identity != peer && other.path().is_some()
            })
        });
        let others: Vec<PeerSlot> = others.collect();
        let asked: Vec<PeerSlot> = others
            .choose_multiple(&mut self.rng, ASKED)
            .copied()
            .collect();
        let wish = LaneMessage::Rendezvous { peer, announcement };
        for slot in asked {
            self.with_peer(slot, now, |peer, context| peer.tell(&wish, context));
        }
    }

    /// Passes on what peers want of each other, as far as this node has sessions with both.
    pub(super) fn introduce(&mut self, now: Instant) {
        while let Some(wish) = self.outbox.introductions.pop_front() {
            let callee = self.name_of(wish.caller).and_then(|(network, caller)| {
                let slot = self.network(network)?.by_identity.get(&wish.callee)?;
                Some((*slot, caller))
            });
            let Some((callee, caller)) = callee else {
                continue;
            };
            let call = LaneMessage::Call {
                caller,
                announcement: wish.announcement,
            };
            self.with_peer(callee, now, |peer, context| peer.tell(&call, context));
        }
    }
}
