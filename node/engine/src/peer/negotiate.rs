//! From an initiation to a lane in use: what a peer sends and takes of [`crate::session`] and [`crate::handshake`].

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng as _;
use tombolo_proto::config::MAX_ENDPOINTS;

use super::{Peer, lane_set::Role};
use crate::{
    control::Context,
    counters::DropReason,
    fib::LaneEntry,
    handshake::{self, Answer, Assembly, KeyExchange, Negotiation, Offer, Offered},
    lane::Lane,
    parts::Unfinished,
    path::way::Way,
    session::{Machine, Received, network_psk},
};

/// How long a refused timestamp must wait until the peer's handshake state is made anew.
const RECREATE_PAUSE: Duration = Duration::from_secs(10);
/// Lanes a peer may ask for in a burst, and one per this long after: an honest one asks every two minutes.
const OFFER_BURST: u32 = 8;
const OFFER_REFILL: Duration = Duration::from_millis(200);
/// How long after a negotiation the envelope's keys are kept for late repetitions.
const ENVELOPE_KEPT: Duration = Duration::from_secs(15);
/// The side with the higher key waits this part of the time between rekeying and rejection for the other to rekey.
const SECOND_TO_REKEY: u32 = 4;
/// Lanes made at the same moment are replaced spread over this part of their life.
const REKEY_SPREAD: u32 = 16;

impl Peer {
    pub(super) fn initiate(&mut self, context: &mut Context<'_>, now: Instant) {
        let mut places = self.places(context);
        self.ask_for_call(!places.is_empty(), context, now);
        self.spare_strangers(&mut places, context, now);
        self.consider_punching(context, now);
        self.consider_stream(context, now);
        let other_ways = [self.punched_ways(), self.relayed_ways()].concat();
        if places.is_empty() && other_ways.is_empty() {
            return;
        }
        let Some(initiation) = self.machine(context).initiate() else {
            return;
        };
        for place in places {
            self.paths.note_tried(Way::from(place), now);
            context.transmit(place, initiation.clone());
        }
        for way in other_ways {
            self.paths.note_tried(way, now);
            context.transmit(way, initiation.clone());
        }
    }

    /// Where the peer may be, best first. What leads into the overlay itself is no way to a peer.
    pub(super) fn places(&self, context: &Context<'_>) -> Vec<SocketAddr> {
        let mut places: Vec<SocketAddr> = self
            .paths
            .current()
            .and_then(Way::endpoint)
            .into_iter()
            .collect();
        let stream = self.stream.map(|stream| stream.at);
        places.extend(stream.filter(|stream| !places.contains(stream)));
        for candidate in &self.candidates {
            let is_underlay = !context.ownership.covers(candidate.ip());
            if is_underlay && candidate.port() != 0 && !places.contains(candidate) {
                places.push(*candidate);
            }
        }
        places.truncate(MAX_ENDPOINTS);
        places
    }

    fn machine(&mut self, context: &mut Context<'_>) -> &mut dyn Machine {
        let (_, machine) = self.machine.get_or_insert_with(|| {
            let index = context.take_machine_index(self.id.slot);
            let parties = &self.id.parties;
            let psk = network_psk(parties.network);
            let machine = context
                .noise
                .machine(&self.id.secret, parties.remote, psk, index);
            (index, machine)
        });
        machine.as_mut()
    }

    /// Takes a handshake message addressed to this peer's machine, or an initiation in this peer's name.
    pub(crate) fn handle_handshake(
        &mut self,
        from: Way,
        message: &[u8],
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let mut received = self.machine(context).receive(message);
        if received == Received::Stale && self.may_recreate(now) {
            self.recreated_at = Some(now);
            if let Some((index, _)) = self.machine.take() {
                context.give_back_machine_index(index);
            }
            received = self.machine(context).receive(message);
        }
        match received {
            Received::Answer(response) => {
                self.initiation_accepted_at = Some(now);
                if let Some(dialing) = &mut self.dialing {
                    dialing.yield_to_peer(now);
                }
                context.transmit(from, response);
            }
            Received::Established => self.offer(from, context, now),
            Received::Payload(packet) => match Negotiation::unwrap(&packet) {
                Some(Negotiation::Offer(offer)) => self.handle_offer(*offer, from, context, now),
                Some(Negotiation::Part(part)) => {
                    if let Some(offer) = self.assembly.take(part) {
                        self.handle_offer(offer, from, context, now);
                    }
                }
                Some(Negotiation::Answer(answer)) => {
                    self.handle_answer(&answer, from, context, now)
                }
                None => self.counters.dropped.count(DropReason::UnknownMessage),
            },
            Received::Nothing => {}
            Received::Stale | Received::Refused => {
                self.counters.dropped.count(DropReason::BadHandshake);
            }
        }
    }

    fn may_recreate(&self, now: Instant) -> bool {
        [self.recreated_at, self.initiation_accepted_at]
            .into_iter()
            .flatten()
            .all(|earlier| now.saturating_duration_since(earlier) >= RECREATE_PAUSE)
    }

    fn offer(&mut self, to: Way, context: &mut Context<'_>, now: Instant) {
        let slot = self.id.slot;
        // A response to an attempt that has ended: the session it was for is up.
        let Some(dialing) = &mut self.dialing else {
            return;
        };
        if dialing.offered.is_none() {
            let index = context.take_lane_index(slot);
            dialing.offered = Some(Offered::new(
                index,
                context.settings.abilities(),
                context.rng,
            ));
        }
        dialing.offer_sent(to, now);
        self.send_offer(to, context);
    }

    pub(super) fn send_offer(&mut self, to: Way, context: &mut Context<'_>) {
        let Some(offered) = self
            .dialing
            .as_ref()
            .and_then(|dialing| dialing.offered.as_ref())
        else {
            return;
        };
        for message in offered.offer.messages() {
            self.send_negotiation(&message, to, context);
        }
    }

    fn send_negotiation(&mut self, message: &Negotiation, to: Way, context: &mut Context<'_>) {
        if let Some(sealed) = self.machine(context).seal(&message.wrap()) {
            context.transmit(to, sealed);
        }
    }

    fn handle_offer(&mut self, offer: Offer, from: Way, context: &mut Context<'_>, now: Instant) {
        let repeated = self.answered.as_ref().filter(|(answered, answer)| {
            *answered == offer && self.lanes.get(answer.lane).is_some()
        });
        if let Some((_, answer)) = repeated {
            let message = Negotiation::Answer(Box::new(answer.clone()));
            return self.send_negotiation(&message, from, context);
        }
        if !self.offers.spend(OFFER_BURST, OFFER_REFILL, now) {
            return self.counters.dropped.count(DropReason::RateLimited);
        }
        let index = context.take_lane_index(self.id.slot);
        let made = handshake::answer(
            &offer,
            index,
            context.settings.abilities(),
            &self.id.parties,
            context.rng,
        );
        let Some((answer, keys)) = made else {
            context.give_back_lane_index(index);
            return self.counters.dropped.count(DropReason::BadHandshake);
        };
        let lane = Lane::new(index, offer.lane, answer.aead, &keys);
        self.install(lane, Role::Answerer, answer.key_exchange(), context, now);
        self.answered = Some((offer, answer.clone()));
        self.send_negotiation(&Negotiation::Answer(Box::new(answer)), from, context);
    }

    fn handle_answer(
        &mut self,
        answer: &Answer,
        from: Way,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let offered = self
            .dialing
            .as_ref()
            .and_then(|dialing| dialing.offered.as_ref());
        let made = offered.and_then(|offered| {
            let keys = offered.accept(answer, &self.id.parties)?;
            Some((offered.offer.lane, keys))
        });
        let Some((index, keys)) = made else {
            // Late, repeated, or not to our offer: a good one comes, or the attempt is repeated.
            return self.counters.dropped.count(DropReason::BadHandshake);
        };
        let was_call = self.dialing.take().is_some_and(|dialing| dialing.is_call());
        let lane = Lane::new(index, answer.lane, answer.aead, &keys);
        self.install(lane, Role::Offerer, answer.key_exchange(), context, now);
        // A session that is up knows better where its peer is than a handshake does, unless the peer said that it has lost
        // the session.
        if self.path.is_none() || was_call {
            self.paths.take(from);
        }
        self.new_lane_in_use(context, now);
    }

    fn install(
        &mut self,
        lane: Lane,
        role: Role,
        key_exchange: KeyExchange,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let entry = Arc::new(LaneEntry {
            lane: Arc::new(lane),
            network: self.id.network,
            peer: self.id.slot,
            counters: Arc::clone(&self.counters),
            unfinished: Unfinished::default(),
        });
        self.negotiated_at = Some(now);
        context.outbox.fib_is_stale = true;
        for dropped in self.lanes.install(entry, role, key_exchange, now) {
            context.give_back_lane_index(dropped);
        }
    }

    pub(super) fn new_lane_in_use(&mut self, context: &mut Context<'_>, now: Instant) {
        let rekey_after = context.settings.timing.rekey_after;
        let spread = context.rng.random_range(0.0..1.0);
        let early = (rekey_after / REKEY_SPREAD).mul_f64(spread);
        let is_second = self.id.parties.local.0 > self.id.parties.remote.0;
        let spare = context
            .settings
            .timing
            .reject_after
            .saturating_sub(rekey_after);
        let late = if is_second {
            spare / SECOND_TO_REKEY
        } else {
            Duration::ZERO
        };
        self.rekey_at = Some(now + rekey_after - early + late);
        let is_first = self.path.is_none();
        self.watch.restart();
        self.rests_until = None;
        self.mtus.try_again(now);
        self.refresh_path(context);
        self.punch_if_relayed(context, now);
        if is_first {
            self.paths.settle(now);
            self.ping_all(context, now);
        } else {
            self.ping_current(context, now);
        }
        self.flush(context, now);
    }

    /// The envelope's keys have served when the lane is made.
    pub(super) fn forget_envelope(&mut self, now: Instant) {
        let is_over = self
            .negotiated_at
            .is_some_and(|at| now.saturating_duration_since(at) >= ENVELOPE_KEPT);
        if is_over && self.dialing.is_none() && !self.lanes.has_unconfirmed() {
            self.negotiated_at = None;
            self.answered = None;
            self.assembly = Assembly::default();
            if let Some((_, machine)) = &mut self.machine {
                machine.forget();
            }
        }
    }
}
