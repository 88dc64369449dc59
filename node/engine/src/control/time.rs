//! Time passes: when the engine wants to be woken, and what is done then.

use std::time::{Duration, Instant};

use super::Engine;
use crate::{fib::PeerSlot, peer::Pace};

/// Between looks at the sessions while anything flows.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// Between looks at sessions that were all idle at the last.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// Between looks at a session that may be lost.
pub(super) const QUICK_TICK: Duration = Duration::from_millis(100);
/// Without a look for this long, the host slept or the process stood still: nothing that was known of ways counts.
const SLEPT: Duration = Duration::from_secs(5);

impl Engine {
    /// When [`Self::handle_timeout`] wants to be called next, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let dialing = self.deadlines.first().map(|(at, _)| (*at, "handshake"));
        let tick = self.next_tick.map(|at| (at, "sessions"));
        let gossip = self.gossip_due().map(|at| (at, "gossip"));
        let relays = self.relays_due().map(|at| (at, "relays"));
        let due = dialing.into_iter().chain(tick).chain(gossip).chain(relays);
        due.min_by_key(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, slot)) = self.deadlines.first()
            && at <= now
        {
            self.with_peer(slot, now, |peer, context| peer.handle_timeout(context, now));
        }
        if self.next_tick.is_some_and(|at| at <= now) {
            self.tick(now);
        }
        self.handle_gossip_timeout(now);
        self.handle_relays_timeout(now);
    }

    /// Looks at all sessions when their time has come, and in between at those that may be lost.
    fn tick(&mut self, now: Instant) {
        let previous = self.last_tick.unwrap_or(now);
        let next_full = self.next_full_tick.unwrap_or(now);
        let is_full = next_full <= now;
        let looked_at = if is_full {
            &self.with_lanes
        } else {
            &self.suspects
        };
        let slots: Vec<PeerSlot> = looked_at.iter().copied().collect();
        if now.saturating_duration_since(previous) >= SLEPT {
            self.handle_upheaval(now);
        }
        let mut pace = Pace::Idle;
        for slot in slots {
            if self.peer(slot).is_some_and(|peer| peer.may_rest(now)) {
                continue;
            }
            let mut own = Pace::Idle;
            self.with_peer(slot, now, |peer, context| {
                own = peer.tick(context, previous, now)
            });
            if own == Pace::Suspicious && self.with_lanes.contains(&slot) {
                self.suspects.insert(slot);
            } else {
                self.suspects.remove(&slot);
            }
            pace = pace.min(own);
        }
        self.seek_owners(now);
        if self.with_lanes.is_empty() {
            (self.last_tick, self.next_tick, self.next_full_tick) = (None, None, None);
            return;
        }
        let next_full = match pace {
            _ if !is_full => next_full,
            Pace::Idle => now + IDLE_TICK,
            Pace::Active | Pace::Suspicious => now + TICK,
        };
        let soon = (!self.suspects.is_empty()).then_some(now + QUICK_TICK);
        self.last_tick = Some(now);
        self.next_full_tick = Some(next_full);
        self.next_tick = Some(soon.map_or(next_full, |soon| soon.min(next_full)));
    }

    /// An owner of a shared prefix is away: what waits for it goes to the next one.
    pub(super) fn turn_to_others(&mut self, owner: PeerSlot, now: Instant) {
        self.outbox.fib_is_stale = true;
        let waiting = self.peer_mut(owner).map(|peer| peer.take_waiting(now));
        for packet in waiting.unwrap_or_default() {
            self.handle_packet(owner, packet, now);
        }
    }

    /// Looks for owners of shared prefixes that are away, and trusts those that came back.
    fn seek_owners(&mut self, now: Instant) {
        for &owner in self.failover.away().iter() {
            self.with_peer(owner, now, |peer, context| peer.seek(context, now));
        }
        if self.failover.trust(now) {
            self.outbox.fib_is_stale = true;
        }
    }

    /// Asks every peer by every way: what was known of ways may be wrong.
    pub(super) fn handle_upheaval(&mut self, now: Instant) {
        let slots: Vec<PeerSlot> = self.with_lanes.iter().copied().collect();
        for slot in slots {
            self.with_peer(slot, now, |peer, context| {
                peer.handle_upheaval(context, now);
            });
        }
    }

    pub(super) fn reschedule(&mut self, slot: PeerSlot, deadline: Option<Instant>) {
        let before = match deadline {
            Some(at) => self.scheduled.insert(slot, at),
            None => self.scheduled.remove(&slot),
        };
        if before == deadline {
            return;
        }
        if let Some(at) = before {
            self.deadlines.remove(&(at, slot));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, slot));
        }
    }
}
