//! A session that is up: confirming lanes, following the peer to new addresses, watching it, replacing lanes in time.

use std::time::{Duration, Instant};

use tombolo_proto::{frame::LANE_CONTROL, id::LaneIndex};

use super::{Peer, watch::Verdict};
use crate::{
    control::Context,
    counters::DropReason,
    lane::framed,
    lane_control::LaneMessage,
    path::{Sign, way::Way},
};

/// An idle session is looked after this often, as long as it is idle.
const REST: Duration = Duration::from_secs(2);

/// What a peer said of itself is told of for so long: whoever wants to know asks it first.
const STALE: Duration = Duration::from_secs(60);

/// How soon a peer wants to be looked at again, soonest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// It may be lost: a decision is near.
    Suspicious,
    /// Something flows.
    Active,
    /// Nothing does.
    Idle,
}

impl Peer {
    /// A first frame came on a lane that we answered.
    pub(crate) fn handle_confirmed(
        &mut self,
        lane: LaneIndex,
        from: Way,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if self.lanes.confirm(lane) {
            self.paths.take(from);
            self.stop_dialing(context);
            self.new_lane_in_use(context, now);
        }
    }

    /// A control message came on one of our lanes.
    pub(crate) fn handle_control(
        &mut self,
        lane: LaneIndex,
        from: Way,
        message: &[u8],
        context: &mut Context<'_>,
        now: Instant,
    ) {
        self.handle_confirmed(lane, from, context, now);
        match LaneMessage::decode(message) {
            Some(LaneMessage::Ping { id }) => {
                if context.comes_by_stream(from) {
                    self.send_control(&LaneMessage::NoUdp, Some(lane), from, context);
                }
                self.send_control(&LaneMessage::Pong { id }, Some(lane), from, context);
                self.handle_roamed(from, Sign::Ping, context, now);
            }
            Some(LaneMessage::Pong { id }) => self.handle_pong(id, context, now),
            Some(LaneMessage::Gossip(message)) => {
                self.handle_gossip(message, from, context);
                self.handle_roamed(from, Sign::Use, context, now);
            }
            Some(LaneMessage::Rendezvous { peer, announcement }) => {
                self.handle_wish(peer, announcement, context, now);
                self.handle_roamed(from, Sign::Use, context, now);
            }
            Some(LaneMessage::Call {
                caller,
                announcement,
            }) => {
                self.handle_passed_call(caller, announcement, context, now);
                self.handle_roamed(from, Sign::Use, context, now);
            }
            Some(LaneMessage::Relay(message)) => {
                self.handle_relaying(message, from, context, now);
                self.handle_roamed(from, Sign::Use, context, now);
            }
            Some(LaneMessage::SizeProbe { number, .. }) => {
                self.answer_size_probe(number, message, lane, from, context);
                self.handle_roamed(from, Sign::Use, context, now);
            }
            Some(LaneMessage::SizeAnswer { number, size }) => {
                self.mtus.handle_answer(number, size, now);
            }
            Some(LaneMessage::NoUdp) => self.without_udp_at = Some(now),
            None => self.counters.dropped.count(DropReason::UnknownMessage),
        }
    }

    /// Seals with `lane`, or with the one in use.
    pub(super) fn send_control(
        &self,
        message: &LaneMessage,
        lane: Option<LaneIndex>,
        to: Way,
        context: &mut Context<'_>,
    ) {
        let held = match lane {
            Some(index) => self.lanes.get(index),
            None => self.lanes.sealing(),
        };
        let mut frame = framed(&message.encode());
        if held.is_some_and(|held| held.entry.lane.seal(LANE_CONTROL, &mut frame).is_ok()) {
            context.transmit(to, frame);
        }
    }

    /// Looks after the lanes and the ways. `previous` is when that was last done.
    pub(crate) fn tick(
        &mut self,
        context: &mut Context<'_>,
        previous: Instant,
        now: Instant,
    ) -> Pace {
        for gone in self.lanes.prune(&context.settings.timing, now) {
            context.give_back_lane_index(gone);
        }
        self.refresh_path(context);
        self.forget_envelope(now);
        self.rests_until = None;
        let Some(sealing) = self.lanes.sealing() else {
            return Pace::Idle;
        };
        let index = sealing.entry.lane.local();
        let sealed = sealing.entry.lane.sealed();
        let unproven_since = (!sealing.is_proven()).then_some(sealing.created);
        let observed = self
            .watch
            .look(&self.counters, &self.paths, unproven_since, previous, now);
        self.mtus.look(&self.counters, now);
        match observed.verdict {
            Verdict::Fine => {}
            Verdict::AskWarm => {
                self.ping_warm(context, now);
                self.want_relays(context, now);
            }
            Verdict::AskAll => {
                self.ping_all(context, now);
                self.want_relays(context, now);
                self.want_stream(context, now);
            }
            Verdict::Back => {
                self.refresh_path(context);
                self.flush(context, now);
            }
            Verdict::Lost { asked } => {
                let silent = self.paths.current();
                self.paths.note_broken(asked, now);
                match self.paths.alive_since(asked) {
                    Some(way) => self.change_over(way, context),
                    None => self.handle_lost(index, unproven_since.is_some(), context, now),
                }
                if let Some(way) = silent {
                    self.replace_if_silent(way, context, now);
                }
            }
        }
        if observed.data_flows {
            self.ping_due(context, now);
        }
        if self.path.is_some() {
            self.ping_each(self.paths.undecided(now), context, now);
        }
        self.prefer(context, now);
        if self.path.is_some() && self.watch.is_in_use(now) {
            self.punch_if_relayed(context, now);
            self.seek_stream_if_relayed(context, now);
        }
        self.keep_alive(observed.data_flows, context, now);
        let is_worn = sealed >= context.settings.rekey_after_frames;
        let is_due = is_worn || self.rekey_at.is_some_and(|at| now >= at);
        if (observed.data_flows || self.is_kept) && is_due && self.dialing.is_none() {
            self.dial(context, now);
        }
        if self.watch.is_suspicious() || self.paths.is_undecided() {
            Pace::Suspicious
        } else if observed.data_flows {
            Pace::Active
        } else {
            let end = self.lanes.next_end(&context.settings.timing);
            self.rests_until = Some(end.map_or(now + REST, |end| end.min(now + REST)));
            Pace::Idle
        }
    }

    /// Whether a look would find nothing to do: nothing passed since the last one, and that was a short while ago.
    pub(crate) fn may_rest(&self, now: Instant) -> bool {
        let is_settled = !self.watch.is_suspicious() && !self.paths.is_undecided();
        self.rests_until.is_some_and(|until| now < until)
            && is_settled
            && self.watch.is_still(&self.counters)
    }

    /// Whether no UDP passes to the peer, as it said a short while ago.
    pub(crate) fn is_without_udp(&self, now: Instant) -> bool {
        self.without_udp_at
            .is_some_and(|at| now.saturating_duration_since(at) < STALE)
    }

    fn handle_lost(
        &mut self,
        lane: LaneIndex,
        is_unproven: bool,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if is_unproven {
            self.lanes.abandon(lane);
            context.give_back_lane_index(lane);
            self.watch.restart();
        }
        self.refresh_path(context);
        if self.dialing.is_none() {
            self.dial(context, now);
        }
    }
}
