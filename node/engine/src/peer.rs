//! One peer: its handshake, its lanes, its endpoint, and the packets that wait for it.
//!
//! A session is made when a packet wants to go to the peer, or when the shell asks for it:
//!
//! 1. The same initiation goes to every place where the peer may be (at most 8). The first to answer wins.
//! 2. The answer opens a sealed envelope, in which the lane is negotiated ([`crate::handshake`]).
//! 3. The offerer sends on the lane at once and pings; the answerer from the first frame it opens.
//!
//! Nothing that a stranger can send or repeat changes a session: an accepted initiation makes nothing but a response.
//! Lanes, endpoint and what is sent where change only by what arrives inside the envelope of a fresh handshake or on a
//! lane. An initiation whose timestamp does not rise is a replay, or the peer's clock went back; the second is given its
//! due by forgetting the old timestamp, but only once in 10 s and only if no good initiation came in that time.
//!
//! A lane is replaced while data flows when it has reached the age for it: first by the side with the lower key, and if
//! it does not, by the other. A lane's keys are erased at the age of rejection. A peer that is silent although packets
//! go to it is asked and then dialled anew ([`watch`]); its old lanes stay open meanwhile, in case it was only the path.

mod dialing;
mod lane_set;
mod watch;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng as _;
use tombolo_proto::{
    config::{MAX_ENDPOINTS, MemberCert},
    frame::{LANE_CONTROL, LANE_DATA},
    id::{LaneIndex, NodeId},
    ip,
    key::{IdentityKey, TransportSecret},
};

use crate::{
    control::{Context, Event},
    counters::{DropReason, PeerCounters},
    fib::{LaneEntry, NetworkSlot, PeerSlot, SendPath},
    gate::Budget,
    handshake::{self, Answer, Negotiation, Offer, Offered, Parties},
    lane::{Lane, LaneKeys, REKEY_AFTER_FRAMES, framed},
    lane_control::LaneMessage,
    pending::Pending,
    session::{Machine, MachineIndex, Received, network_psk},
};
use dialing::{Dialing, Due};
use lane_set::{LaneSet, Role};
use watch::{Verdict, Watch};

/// How long a refused timestamp must wait until the peer's handshake state is made anew.
const RECREATE_PAUSE: Duration = Duration::from_secs(10);
/// How long an accepted initiation of the peer's holds back our own.
const CROSSING: Duration = Duration::from_millis(500);
/// Lanes a peer may ask for in a burst, and one per this long after: an honest one asks every two minutes.
const OFFER_BURST: u32 = 8;
const OFFER_REFILL: Duration = Duration::from_millis(200);
/// How long after a negotiation the envelope's keys are kept for late repetitions.
const ENVELOPE_KEPT: Duration = Duration::from_secs(15);
/// The side with the higher key waits this part of the time between rekeying and rejection for the other to rekey.
const SECOND_TO_REKEY: u32 = 4;
/// Lanes made at the same moment are replaced spread over this part of their life.
const REKEY_SPREAD: u32 = 16;

/// Who a peer is; fixed as long as its keys are.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) slot: PeerSlot,
    pub(crate) network: NetworkSlot,
    pub(crate) identity: IdentityKey,
    pub(crate) parties: Parties,
    pub(crate) secret: TransportSecret,
}

/// What people want to know of a peer; follows its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Portrait {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
}

impl From<&MemberCert> for Portrait {
    fn from(cert: &MemberCert) -> Self {
        Self {
            node: cert.node,
            name: cert.name.clone(),
            addresses: cert.addresses.iter().copied().collect(),
        }
    }
}

/// One peer of one network.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: Identity,
    pub(crate) portrait: Portrait,
    pub(crate) counters: Arc<PeerCounters>,
    candidates: Vec<SocketAddr>,
    endpoint: Option<SocketAddr>,
    /// Made when first needed: most members of a large network never talk to each other.
    machine: Option<(MachineIndex, Box<dyn Machine>)>,
    dialing: Option<Dialing>,
    lanes: LaneSet,
    watch: Watch,
    pending: Pending,
    /// What the fast path is to use; the outcome of all the above.
    path: Option<Arc<SendPath>>,
    /// The last offer answered: a repetition gets the same answer.
    answered: Option<(Offer, Answer)>,
    offers: Budget,
    rekey_at: Option<Instant>,
    negotiated_at: Option<Instant>,
    initiation_accepted_at: Option<Instant>,
    recreated_at: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(
        id: Identity,
        portrait: Portrait,
        candidates: Vec<SocketAddr>,
        counters: Arc<PeerCounters>,
    ) -> Self {
        Self {
            id,
            portrait,
            counters,
            candidates,
            endpoint: None,
            machine: None,
            dialing: None,
            lanes: LaneSet::default(),
            watch: Watch::default(),
            pending: Pending::default(),
            path: None,
            answered: None,
            offers: Budget::default(),
            rekey_at: None,
            negotiated_at: None,
            initiation_accepted_at: None,
            recreated_at: None,
        }
    }

    // What the engine asks.

    pub(crate) fn path(&self) -> Option<&Arc<SendPath>> {
        self.path.as_ref()
    }

    pub(crate) fn lane_entries(&self) -> impl Iterator<Item = &Arc<LaneEntry>> {
        self.lanes.entries()
    }

    pub(crate) fn has_lanes(&self) -> bool {
        !self.lanes.is_empty()
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.dialing.is_some()
    }

    pub(crate) fn candidates(&self) -> &[SocketAddr] {
        &self.candidates
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.watch.round_trip()
    }

    /// When the lane in use was made.
    pub(crate) fn lane_made_at(&self) -> Option<Instant> {
        Some(self.lanes.sealing()?.created)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.dialing.as_ref().map(Dialing::deadline)
    }

    // Packets.

    /// Sends a packet that the fast path had no lane for, or keeps it until there is one.
    pub(crate) fn handle_packet(&mut self, packet: Vec<u8>, context: &mut Context<'_>, now: Instant) {
        if self.send_packet(&packet, context) {
            return;
        }
        for _ in 0..self.pending.push(packet, now) {
            self.counters.dropped.count(DropReason::QueueFull);
        }
        match &mut self.dialing {
            Some(dialing) => dialing.want(now),
            None => self.dial(context, now),
        }
    }

    fn send_packet(&self, packet: &[u8], context: &mut Context<'_>) -> bool {
        let Some(path) = &self.path else { return false };
        let mut frame = framed(packet);
        if path.lane.seal(LANE_DATA, &mut frame).is_err() {
            return false;
        }
        path.counters.sent(packet.len());
        context.transmit(path.to, frame);
        true
    }

    fn flush(&mut self, context: &mut Context<'_>, now: Instant) {
        let (packets, expired) = self.pending.take(now);
        for _ in 0..expired {
            self.counters.dropped.count(DropReason::Unreachable);
        }
        for packet in packets {
            // While it waited, its destination may have moved to another member.
            let is_ours = ip::view(&packet)
                .and_then(|view| context.ownership.next_hop(view.destination))
                == Some(self.id.slot);
            if !is_ours {
                self.counters.dropped.count(DropReason::NoRoute);
            } else if !self.send_packet(&packet, context) {
                self.counters.dropped.count(DropReason::Unreachable);
            }
        }
    }

    // Handshake.

    /// Makes a session now, unless there is one or one is being made.
    pub(crate) fn connect(&mut self, context: &mut Context<'_>, now: Instant) {
        if self.path.is_none() && self.dialing.is_none() {
            self.dial(context, now);
        }
    }

    /// Where the peer may be, best first.
    pub(crate) fn set_candidates(
        &mut self,
        candidates: Vec<SocketAddr>,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if self.candidates == candidates {
            return;
        }
        self.candidates = candidates;
        if let Some(dialing) = &mut self.dialing {
            dialing.start_over(now);
            self.handle_timeout(context, now);
        }
    }

    fn dial(&mut self, context: &mut Context<'_>, now: Instant) {
        let crossing = self
            .initiation_accepted_at
            .filter(|accepted| now.saturating_duration_since(*accepted) < CROSSING);
        self.dialing = Some(Dialing::new(crossing, now));
        self.handle_timeout(context, now);
    }

    pub(crate) fn handle_timeout(&mut self, context: &mut Context<'_>, now: Instant) {
        let Some(dialing) = &mut self.dialing else { return };
        match dialing.handle_timeout(context.rng, now) {
            Due::Nothing => {}
            Due::Initiation => self.initiate(context),
            Due::Offer(to) => self.send_offer(to, context),
            Due::GiveUp => {
                self.stop_dialing(context);
                let (fresh, expired) = self.pending.take(now);
                for _ in 0..fresh.len() + expired {
                    self.counters.dropped.count(DropReason::Unreachable);
                }
            }
        }
    }

    fn stop_dialing(&mut self, context: &mut Context<'_>) {
        if let Some(offered) = self.dialing.take().and_then(|dialing| dialing.offered) {
            context.give_back_lane_index(offered.offer.lane);
        }
    }

    fn initiate(&mut self, context: &mut Context<'_>) {
        let places = self.places();
        if places.is_empty() {
            return;
        }
        let Some(initiation) = self.machine(context).initiate() else { return };
        for place in places {
            context.transmit(place, initiation.clone());
        }
    }

    fn places(&self) -> Vec<SocketAddr> {
        let mut places: Vec<SocketAddr> = self.endpoint.into_iter().collect();
        for candidate in &self.candidates {
            if !places.contains(candidate) {
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
            let machine = context.noise.machine(&self.id.secret, parties.remote, psk, index);
            (index, machine)
        });
        machine.as_mut()
    }

    /// Takes a handshake message addressed to this peer's machine, or an initiation in this peer's name.
    pub(crate) fn handle_handshake(
        &mut self,
        from: SocketAddr,
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
                Some(Negotiation::Offer(offer)) => self.handle_offer(offer, from, context, now),
                Some(Negotiation::Answer(answer)) => self.handle_answer(&answer, from, context, now),
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

    // Lane negotiation.

    fn offer(&mut self, to: SocketAddr, context: &mut Context<'_>, now: Instant) {
        let slot = self.id.slot;
        // A response to an attempt that has ended: the session it was for is up.
        let Some(dialing) = &mut self.dialing else { return };
        if dialing.offered.is_none() {
            let index = context.take_lane_index(slot);
            dialing.offered = Some(Offered::new(index, context.settings.aes, context.rng));
        }
        dialing.offer_sent(to, now);
        self.send_offer(to, context);
    }

    fn send_offer(&mut self, to: SocketAddr, context: &mut Context<'_>) {
        let Some(offered) = self.dialing.as_ref().and_then(|dialing| dialing.offered.as_ref()) else {
            return;
        };
        let message = Negotiation::Offer(offered.offer);
        self.send_negotiation(&message, to, context);
    }

    fn send_negotiation(
        &mut self,
        message: &Negotiation,
        to: SocketAddr,
        context: &mut Context<'_>,
    ) {
        if let Some(sealed) = self.machine(context).seal(&message.wrap()) {
            context.transmit(to, sealed);
        }
    }

    fn handle_offer(
        &mut self,
        offer: Offer,
        from: SocketAddr,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let repeated = self
            .answered
            .filter(|(answered, answer)| *answered == offer && self.lanes.get(answer.lane).is_some());
        if let Some((_, answer)) = repeated {
            return self.send_negotiation(&Negotiation::Answer(answer), from, context);
        }
        if !self.offers.spend(OFFER_BURST, OFFER_REFILL, now) {
            return self.counters.dropped.count(DropReason::RateLimited);
        }
        let index = context.take_lane_index(self.id.slot);
        let made = handshake::answer(
            &offer,
            index,
            context.settings.aes,
            &self.id.parties,
            context.rng,
        );
        let Some((answer, keys)) = made else {
            context.give_back_lane_index(index);
            return self.counters.dropped.count(DropReason::BadHandshake);
        };
        let lane = Lane::new(index, offer.lane, answer.aead, &keys);
        self.install(lane, Role::Answerer, context, now);
        self.answered = Some((offer, answer));
        self.send_negotiation(&Negotiation::Answer(answer), from, context);
    }

    fn handle_answer(
        &mut self,
        answer: &Answer,
        from: SocketAddr,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let offered = self.dialing.as_ref().and_then(|dialing| dialing.offered.as_ref());
        let made = offered.and_then(|offered| Some((offered.offer, offered.accept(answer, &self.id.parties)?)));
        let Some((offer, keys)): Option<(Offer, LaneKeys)> = made else {
            // Late, repeated, or not to our offer: a good one comes, or the attempt is repeated.
            return self.counters.dropped.count(DropReason::BadHandshake);
        };
        self.dialing = None;
        let lane = Lane::new(offer.lane, answer.lane, answer.aead, &keys);
        self.install(lane, Role::Offerer, context, now);
        // A session that is up knows better where its peer is than a handshake does.
        if self.path.is_none() {
            self.endpoint = Some(from);
        }
        self.new_lane_in_use(context, now);
    }

    fn install(&mut self, lane: Lane, role: Role, context: &mut Context<'_>, now: Instant) {
        let entry = Arc::new(LaneEntry {
            lane: Arc::new(lane),
            network: self.id.network,
            peer: self.id.slot,
            counters: Arc::clone(&self.counters),
        });
        self.negotiated_at = Some(now);
        context.outbox.fib_is_stale = true;
        for dropped in self.lanes.install(entry, role, now) {
            context.give_back_lane_index(dropped);
        }
    }

    fn new_lane_in_use(&mut self, context: &mut Context<'_>, now: Instant) {
        let rekey_after = context.settings.timing.rekey_after;
        let spread = context.rng.random_range(0.0..1.0);
        let early = (rekey_after / REKEY_SPREAD).mul_f64(spread);
        let is_second = self.id.parties.local.0 > self.id.parties.remote.0;
        let spare = context.settings.timing.reject_after.saturating_sub(rekey_after);
        let late = if is_second { spare / SECOND_TO_REKEY } else { Duration::ZERO };
        self.rekey_at = Some(now + rekey_after - early + late);
        self.watch.restart();
        self.refresh_path(context);
        self.ping_endpoint(context, now);
        self.flush(context, now);
    }

    // Lanes in use.

    /// A first frame came on a lane that we answered.
    pub(crate) fn handle_confirmed(
        &mut self,
        lane: LaneIndex,
        from: SocketAddr,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if self.lanes.confirm(lane) {
            self.endpoint = Some(from);
            self.stop_dialing(context);
            self.new_lane_in_use(context, now);
        }
    }

    /// A control message came on one of our lanes.
    pub(crate) fn handle_control(
        &mut self,
        lane: LaneIndex,
        from: SocketAddr,
        message: &[u8],
        context: &mut Context<'_>,
        now: Instant,
    ) {
        self.handle_confirmed(lane, from, context, now);
        match LaneMessage::decode(message) {
            Some(LaneMessage::Ping { id }) => {
                self.send_control(LaneMessage::Pong { id }, Some(lane), from, context);
                self.handle_roamed(from, context, now);
            }
            Some(LaneMessage::Pong { id }) => self.handle_pong(id, context, now),
            None => self.counters.dropped.count(DropReason::UnknownMessage),
        }
    }

    /// The peer was heard from an address that is not its endpoint: a candidate, which one round trip proves.
    pub(crate) fn handle_roamed(
        &mut self,
        from: SocketAddr,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let is_news = self.path.as_ref().is_some_and(|path| path.to != from);
        if is_news && !self.watch.is_asking(from, now) {
            self.ping(from, context, now);
        }
    }

    fn handle_pong(&mut self, id: u64, context: &mut Context<'_>, now: Instant) {
        let Some(returned) = self.watch.pong(id, now) else { return };
        self.watch.measured(returned.after);
        if self.path.is_some() && self.endpoint != Some(returned.to) {
            self.endpoint = Some(returned.to);
            self.refresh_path(context);
        }
    }

    fn ping_endpoint(&mut self, context: &mut Context<'_>, now: Instant) {
        if let Some(endpoint) = self.endpoint {
            self.ping(endpoint, context, now);
        }
    }

    fn ping(&mut self, to: SocketAddr, context: &mut Context<'_>, now: Instant) {
        let id = context.rng.random();
        self.watch.ping_sent(id, to, now);
        self.send_control(LaneMessage::Ping { id }, None, to, context);
    }

    /// Seals with `lane`, or with the one in use.
    fn send_control(
        &self,
        message: LaneMessage,
        lane: Option<LaneIndex>,
        to: SocketAddr,
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
    pub(crate) fn tick(&mut self, context: &mut Context<'_>, previous: Instant, now: Instant) -> bool {
        for gone in self.lanes.prune(&context.settings.timing, now) {
            context.give_back_lane_index(gone);
        }
        self.refresh_path(context);
        self.forget_envelope(now);
        let Some(sealing) = self.lanes.sealing() else {
            return false;
        };
        let index = sealing.entry.lane.local();
        let is_worn = sealing.entry.lane.sealed() >= REKEY_AFTER_FRAMES;
        let unproven_since = (!sealing.is_proven()).then_some(sealing.created);
        let observed = self.watch.look(&self.counters, unproven_since, previous, now);
        match observed.verdict {
            Verdict::Fine => {}
            Verdict::Ask => self.ping_endpoint(context, now),
            Verdict::Back => self.refresh_path(context),
            Verdict::Lost => self.handle_lost(index, unproven_since.is_some(), context, now),
        }
        let is_due = is_worn || self.rekey_at.is_some_and(|at| now >= at);
        if observed.data_flows && is_due && self.dialing.is_none() {
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

    /// The envelope's keys have served when the lane is made.
    fn forget_envelope(&mut self, now: Instant) {
        let is_over = self
            .negotiated_at
            .is_some_and(|at| now.saturating_duration_since(at) >= ENVELOPE_KEPT);
        if is_over && self.dialing.is_none() && !self.lanes.has_unconfirmed() {
            self.negotiated_at = None;
            self.answered = None;
            if let Some((_, machine)) = &mut self.machine {
                machine.forget();
            }
        }
    }

    /// Works out what the fast path is to use, and tells if that has changed.
    fn refresh_path(&mut self, context: &mut Context<'_>) {
        let usable = if self.watch.is_lost() { None } else { self.lanes.sealing() };
        let next = usable.zip(self.endpoint).map(|(lane, to)| (Arc::clone(&lane.entry.lane), to));
        let is_same = match (&self.path, &next) {
            (Some(path), Some((lane, to))) => Arc::ptr_eq(&path.lane, lane) && path.to == *to,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_same {
            return;
        }
        context.outbox.fib_is_stale = true;
        let before = self.path.take().map(|path| path.to);
        self.path = next.map(|(lane, to)| {
            let counters = Arc::clone(&self.counters);
            Arc::new(SendPath { lane, to, counters })
        });
        self.report_path(before, context);
    }

    fn report_path(&self, before: Option<SocketAddr>, context: &mut Context<'_>) {
        let network = self.id.parties.network;
        let peer = self.id.identity;
        let after = self.path.as_ref().map(|path| path.to);
        match (before, after) {
            (None, Some(endpoint)) => context.event(Event::SessionUp {
                network,
                peer,
                endpoint,
            }),
            (Some(_), None) => context.event(Event::SessionDown { network, peer }),
            (Some(before), Some(endpoint)) if before != endpoint => {
                context.event(Event::EndpointChanged {
                    network,
                    peer,
                    endpoint,
                });
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Erases everything that was agreed with the peer.
    pub(crate) fn erase(&mut self, context: &mut Context<'_>) {
        self.stop_dialing(context);
        for entry in std::mem::take(&mut self.lanes).entries() {
            context.give_back_lane_index(entry.lane.local());
        }
        if let Some((index, _)) = self.machine.take() {
            context.give_back_machine_index(index);
        }
        self.refresh_path(context);
    }
}
