//! A peer's ways, carried out: pings leave, answers come back, and what [`crate::path`] makes of them is done.

use std::time::{Duration, Instant};

use rand::Rng as _;

use super::Peer;
use crate::{
    control::Context,
    lane_control::LaneMessage,
    path::{Sign, Standby, way::Way},
};

/// A NAT forgets a mapping on which nothing leaves for 30 seconds, many a one.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

impl Peer {
    /// The ways to fall back to.
    pub(crate) fn standbys(&self, now: Instant) -> Vec<Standby> {
        self.paths.standbys(now)
    }

    /// The peer was heard from elsewhere than it is reached: a candidate, which one round trip proves.
    pub(crate) fn handle_roamed(
        &mut self,
        from: Way,
        sign: Sign,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if self.path.as_ref().is_some_and(|path| path.to != from) {
            let asked = self.paths.roamed(from, sign, now);
            self.ping_each(asked, context, now);
            // Only while something flows: otherwise two that use different ways would ask each other for ever.
            if sign == Sign::Ping && self.watch.is_in_use(now) {
                self.ping_each(self.paths.doubted(from, now), context, now);
            }
        }
    }

    pub(super) fn handle_pong(&mut self, id: u64, context: &mut Context<'_>, now: Instant) {
        if self.tell_answer(id, context, now) {
            return;
        }
        let Some(way) = self.paths.answer(id, now) else {
            return;
        };
        if self.watch.is_lost() {
            self.paths.take(way);
        } else {
            self.prefer(context, now);
        }
    }

    /// Changes over if that is better by now.
    pub(super) fn prefer(&mut self, context: &mut Context<'_>, now: Instant) {
        if self.path.is_some()
            && let Some(way) = self.paths.better(now)
        {
            self.change_over(way, context);
        }
    }

    pub(super) fn change_over(&mut self, way: Way, context: &mut Context<'_>) {
        self.paths.take(way);
        self.watch.restart();
        self.refresh_path(context);
    }

    pub(super) fn ping_current(&mut self, context: &mut Context<'_>, now: Instant) {
        self.ping_each(self.paths.current(), context, now);
    }

    pub(super) fn ping_warm(&mut self, context: &mut Context<'_>, now: Instant) {
        self.ping_each(self.paths.warm(now), context, now);
    }

    pub(super) fn ping_all(&mut self, context: &mut Context<'_>, now: Instant) {
        self.ping_each(self.paths.all(), context, now);
    }

    /// Asks what is due while data flows.
    pub(super) fn ping_due(&mut self, context: &mut Context<'_>, now: Instant) {
        self.ping_each(self.paths.due(now), context, now);
    }

    /// What leads into the overlay itself is no way to a peer.
    pub(super) fn ping_each(
        &mut self,
        ways: impl IntoIterator<Item = Way>,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if self.lanes.sealing().is_none() {
            return;
        }
        for way in ways {
            let is_underlay = way
                .endpoint()
                .is_none_or(|at| context.ownership.next_hop_inside(at.ip()).is_none());
            if is_underlay {
                let id = context.rng.random();
                self.paths.ask(way, id, now);
                self.send_control(&LaneMessage::Ping { id }, None, way, context);
                if Some(way) == self.paths.current() {
                    self.spoken_at = Some(now);
                }
            }
        }
    }

    /// This host has other addresses, or slept: the way in use may be gone. Every way is asked, and the peer learns by
    /// that where this node is now.
    pub(crate) fn handle_upheaval(&mut self, context: &mut Context<'_>, now: Instant) {
        if self.path.is_none() {
            return;
        }
        if self.watch.is_in_use(now) || self.is_kept {
            self.watch.suspect(now);
        }
        self.ping_all(context, now);
    }

    /// Keeps the NAT in front of this node open.
    pub(super) fn keep_alive(&mut self, has_sent: bool, context: &mut Context<'_>, now: Instant) {
        if has_sent {
            self.spoken_at = Some(now);
        }
        let is_due = self
            .spoken_at
            .is_none_or(|at| now.saturating_duration_since(at) >= KEEP_ALIVE);
        if context.is_translated && self.path.is_some() && is_due {
            self.ping_current(context, now);
        }
    }
}
