//! A peer by relays: the ways there are, when they are wanted, and what peers that relay for each other say.

use std::time::{Duration, Instant};

use tombolo_proto::relay::RelayMessage;

use super::Peer;
use crate::{control::Context, counters::DropReason, path::way::Way};

/// Questions about relaying that a peer may ask in a burst, and one per this long after: a channel to each of a hundred
/// peers at once, when its network has fallen apart.
const RELAYING_BURST: u32 = 128;
const RELAYING_REFILL: Duration = Duration::from_millis(50);
/// Initiations go by this many relays.
const MAX_RELAYED: usize = 2;

impl Peer {
    /// The peer relays for this node, or wants this node to.
    pub(super) fn handle_relaying(
        &mut self,
        message: RelayMessage,
        from: Way,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if !self.relaying.spend(RELAYING_BURST, RELAYING_REFILL, now) {
            return self.counters.dropped.count(DropReason::RateLimited);
        }
        let said = (self.id.slot, message, from);
        context.outbox.relaying.push_back(said);
    }

    /// Which channels there are to this peer. What was waiting for one goes by it at once.
    pub(crate) fn set_relayed(
        &mut self,
        relayed: Vec<Way>,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let fresh: Vec<Way> = relayed
            .iter()
            .filter(|way| !self.relayed.contains(way))
            .copied()
            .collect();
        self.relayed = relayed;
        if fresh.is_empty() {
            return;
        }
        if self.watch.is_silent() {
            for way in fresh {
                self.ping(way, context, now);
            }
        }
        if let Some(dialing) = &mut self.dialing {
            dialing.hurry(now);
            self.handle_timeout(context, now);
        }
    }

    /// The ways by relays that are worth an initiation: the one that the peer was last heard by, and the nearest.
    pub(super) fn relayed_ways(&self) -> Vec<Way> {
        let current = self.way.filter(|way| way.endpoint().is_none());
        let mut ways: Vec<Way> = current.into_iter().collect();
        for way in &self.relayed {
            if !ways.contains(way) {
                ways.push(*way);
            }
        }
        ways.truncate(MAX_RELAYED);
        ways
    }

    /// Along with a ping. A peer that is silent may answer by a relay; one that is reached by a relay, directly.
    pub(super) fn seek_other_ways(&mut self, context: &mut Context<'_>, now: Instant) {
        if self.watch.is_silent() {
            context.outbox.relay_wanted.insert(self.id.slot);
            for way in self.relayed_ways() {
                self.ping_if_other(way, context, now);
            }
        }
        let is_relayed = self.way.is_some_and(|way| way.endpoint().is_none());
        if is_relayed {
            for place in self.places(context) {
                self.ping_if_other(place.into(), context, now);
            }
        }
    }

    fn ping_if_other(&mut self, way: Way, context: &mut Context<'_>, now: Instant) {
        if self.way != Some(way) {
            self.ping(way, context, now);
        }
    }
}
