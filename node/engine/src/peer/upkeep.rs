//! A session that is up: confirming lanes, following the peer to new addresses, watching it, replacing lanes in time.

use std::time::Instant;

use rand::Rng as _;
use tombolo_proto::{frame::LANE_CONTROL, id::LaneIndex};

use super::{Peer, watch::Verdict};
use crate::{
    control::Context, counters::DropReason, lane::framed, lane_control::LaneMessage, path::way::Way,
};

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
            self.way = Some(from);
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
                self.send_control(&LaneMessage::Pong { id }, Some(lane), from, context);
                self.handle_roamed(from, context, now);
            }
            Some(LaneMessage::Pong { id }) => self.handle_pong(id, context, now),
            Some(LaneMessage::Gossip(message)) => {
                self.handle_gossip(message, from, context);
                self.handle_roamed(from, context, now);
            }
            Some(LaneMessage::Rendezvous { peer, announcement }) => {
                self.handle_wish(peer, announcement, context, now);
                self.handle_roamed(from, context, now);
            }
            Some(LaneMessage::Call {
                caller,
                announcement,
            }) => {
                self.handle_passed_call(caller, announcement, context, now);
                self.handle_roamed(from, context, now);
            }
            Some(LaneMessage::Relay(message)) => {
                self.handle_relaying(message, from, context, now);
                self.handle_roamed(from, context, now);
            }
            Some(LaneMessage::SizeProbe { number, .. }) => {
                self.answer_size_probe(number, message, lane, from, context);
                self.handle_roamed(from, context, now);
            }
            Some(LaneMessage::SizeAnswer { number, size }) => {
                self.mtus.handle_answer(number, size, now);
            }
            None => self.counters.dropped.count(DropReason::UnknownMessage),
        }
    }

    /// The peer was heard from an address that is not its endpoint: a candidate, which one round trip proves.
    pub(crate) fn handle_roamed(&mut self, from: Way, context: &mut Context<'_>, now: Instant) {
        let is_news = self.path.as_ref().is_some_and(|path| path.to != from);
        if is_news && !self.watch.is_asking(from, now) {
            self.ping(from, context, now);
        }
    }

    fn handle_pong(&mut self, id: u64, context: &mut Context<'_>, now: Instant) {
        if self.tell_answer(id, context, now) {
            return;
        }
        let Some(returned) = self.watch.pong(id, now) else {
            return;
        };
        self.watch.measured(returned.after);
        if self.path.is_some() && self.way != Some(returned.to) {
            self.way = Some(returned.to);
            self.refresh_path(context);
        }
    }

    pub(super) fn ping_endpoint(&mut self, context: &mut Context<'_>, now: Instant) {
        if let Some(way) = self.way {
            self.ping(way, context, now);
        }
    }

    pub(super) fn ping(&mut self, to: Way, context: &mut Context<'_>, now: Instant) {
        let id = context.rng.random();
        self.watch.ping_sent(id, to, now);
        self.send_control(&LaneMessage::Ping { id }, None, to, context);
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

    /// Looks after the lanes; whether anything happened since the last look, at `previous`.
    pub(crate) fn tick(
        &mut self,
        context: &mut Context<'_>,
        previous: Instant,
        now: Instant,
    ) -> bool {
        for gone in self.lanes.prune(&context.settings.timing, now) {
            context.give_back_lane_index(gone);
        }
        self.refresh_path(context);
        self.forget_envelope(now);
        let Some(sealing) = self.lanes.sealing() else {
            return false;
        };
        let index = sealing.entry.lane.local();
        let is_worn = sealing.entry.lane.sealed() >= context.settings.rekey_after_frames;
        let unproven_since = (!sealing.is_proven()).then_some(sealing.created);
        let observed = self
            .watch
            .look(&self.counters, unproven_since, previous, now);
        self.mtus.look(&self.counters, now);
        match observed.verdict {
            Verdict::Fine => {}
            Verdict::Ask => {
                self.ping_endpoint(context, now);
                self.seek_other_ways(context, now);
            }
            Verdict::Back => {
                self.refresh_path(context);
                self.flush(context, now);
            }
            Verdict::Lost => self.handle_lost(index, unproven_since.is_some(), context, now),
        }
        let is_due = is_worn || self.rekey_at.is_some_and(|at| now >= at);
        if (observed.data_flows || self.is_kept) && is_due && self.dialing.is_none() {
            self.dial(context, now);
        }
        observed.data_flows
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
