//! A peer by relays: the ways there are, when they are wanted, and what peers that relay for each other say.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_proto::relay::RelayMessage;

use super::Peer;
use crate::{control::Context, counters::DropReason, path::way::Way, relay::WARM};

/// Questions about relaying that a peer may ask in a burst, and one per this long after: a channel to each of a hundred
/// peers at once, when its network has fallen apart.
const RELAYING_BURST: u32 = 128;
const RELAYING_REFILL: Duration = Duration::from_millis(50);
/// Initiations go by this many relays: those that each side keeps warm.
const MAX_RELAYED: usize = 2 * WARM;
/// If the usual relays did not help after this, others are tried: a question and a ping there and back have had their time.
const IN_VAIN: Duration = Duration::from_millis(400);
/// Relays that are wanted this long after they last were are wanted for another reason.
const WANTED_ANEW: Duration = Duration::from_secs(40);

/// The peer does not answer: since when relays are wanted, and when they last were.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    since: Instant,
    last: Instant,
}

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
        self.announce_ways();
        if fresh.is_empty() {
            return;
        }
        if self.watch.is_suspicious() || self.watch.is_lost() {
            self.ping_each(fresh, context, now);
        }
        if let Some(dialing) = &mut self.dialing {
            dialing.hurry(now);
            self.handle_timeout(context, now);
        }
    }

    /// Whether the way in use is a relay.
    pub(crate) fn is_relayed(&self) -> bool {
        let way = self.path.as_ref().map(|path| path.to);
        way.is_some_and(|way| way.endpoint().is_none())
    }

    /// The peer says where else it is than `before`: if it answers there, that is better than a relay, and it is taken at
    /// once.
    pub(super) fn try_fresh(
        &mut self,
        before: &[SocketAddr],
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let is_fresh = |place: &&SocketAddr| place.port() != 0 && !before.contains(place);
        let fresh = self.candidates.iter().filter(is_fresh);
        let fresh: Vec<Way> = fresh.copied().map(Way::from).collect();
        if !fresh.is_empty() {
            self.paths.settle(now);
            self.ping_each(fresh, context, now);
        }
    }

    /// The peer is reached by a relay: if it answers directly, that is taken at once.
    pub(crate) fn try_directly(&mut self, context: &mut Context<'_>, now: Instant) {
        self.try_fresh(&[], context, now);
    }

    /// The ways by relays that are worth an initiation: the one that the peer was last heard by, and the nearest.
    pub(super) fn relayed_ways(&self) -> Vec<Way> {
        let current = self.paths.current().filter(|way| way.endpoint().is_none());
        let mut ways: Vec<Way> = current.into_iter().collect();
        for way in &self.relayed {
            if !ways.contains(way) {
                ways.push(*way);
            }
        }
        ways.truncate(MAX_RELAYED);
        ways
    }

    /// As a relay the peer does not answer any more: it is to show that it is still there.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if self.path.is_some() {
            self.watch.expect(now);
        }
    }

    /// Along with a ping or an initiation: a peer that is silent may answer by a relay.
    pub(super) fn want_relays(&mut self, context: &mut Context<'_>, now: Instant) {
        let before = self.relays_wanted.filter(|wanted| {
            let pause = now.saturating_duration_since(wanted.last);
            pause < WANTED_ANEW && !self.paths.has_any_answered_since(wanted.since)
        });
        let since = before.map_or(now, |wanted| wanted.since);
        self.relays_wanted = Some(Wanted { since, last: now });
        let is_in_vain = now.saturating_duration_since(since) >= IN_VAIN;
        context.outbox.relay_wanted.insert(self.id.slot, is_in_vain);
    }
}
