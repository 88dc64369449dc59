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
mod gossip;
mod lane_set;
mod negotiate;
mod pings;
mod punching;
mod relaying;
mod rendezvous;
mod sizes;
mod streams;
mod upkeep;
mod watch;
mod ways;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tombolo_proto::{
    config::MemberCert,
    frame::{LANE_DATA, LANE_OVERHEAD},
    id::NodeId,
    ip,
    key::{IdentityKey, TransportSecret},
};

use crate::{
    budget::Budget,
    control::{Context, Event},
    counters::{DropReason, PeerCounters},
    fib::{LaneEntry, NetworkSlot, PeerSlot, SendPath},
    handshake::{Answer, Assembly, KeyExchange, Offer, Parties},
    lane::framed,
    mtu::WayMtus,
    path::{
        Paths, Tried,
        way::{SocketSlot, Way},
    },
    pending::Pending,
    session::{Machine, MachineIndex},
};
use dialing::{Dialing, Due};
use lane_set::LaneSet;
use pings::Pings;
use punching::{Attempts, Punching};
use relaying::Wanted;
use streams::{Search, Stream};
pub(crate) use upkeep::Pace;
use watch::Watch;

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
    /// Whether it may relay for others.
    pub(crate) relays: bool,
}

impl From<&MemberCert> for Portrait {
    fn from(cert: &MemberCert) -> Self {
        Self {
            node: cert.node,
            name: cert.name.clone(),
            addresses: cert.addresses.iter().copied().collect(),
            relays: cert.relay,
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
    /// Ways by relays on which there is a channel, nearest relay first.
    relayed: Vec<Way>,
    relays_wanted: Option<Wanted>,
    stream: Option<Stream>,
    stream_wanted_at: Option<Instant>,
    stream_search: Option<Search>,
    paths: Paths,
    /// Made when first needed: most members of a large network never talk to each other.
    machine: Option<(MachineIndex, Box<dyn Machine>)>,
    dialing: Option<Dialing>,
    punching: Option<Punching>,
    attempts: Attempts,
    /// Sockets of its own, opened for it.
    sockets: Vec<SocketSlot>,
    lanes: LaneSet,
    watch: Watch,
    mtus: WayMtus<Way>,
    pings: Pings,
    pending: Pending,
    /// What the fast path is to use; the outcome of all the above.
    path: Option<Arc<SendPath>>,
    /// The last offer answered: a repetition gets the same answer.
    answered: Option<(Offer, Answer)>,
    /// What there is of an offer that comes in parts.
    assembly: Assembly,
    offers: Budget,
    calls: Budget,
    introductions: Budget,
    relaying: Budget,
    rekey_at: Option<Instant>,
    /// When something was last sent by the way in use.
    spoken_at: Option<Instant>,
    negotiated_at: Option<Instant>,
    /// When it last said that no UDP passes to it.
    without_udp_at: Option<Instant>,
    initiation_accepted_at: Option<Instant>,
    recreated_at: Option<Instant>,
    /// Whether the session is to stay although nothing flows.
    is_kept: bool,
    /// Until then nothing is due, unless something is heard or sent.
    rests_until: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(
        id: Identity,
        portrait: Portrait,
        candidates: Vec<SocketAddr>,
        counters: Arc<PeerCounters>,
    ) -> Self {
        let is_led = id.parties.local.0 > id.parties.remote.0;
        let mut peer = Self {
            id,
            portrait,
            counters,
            candidates,
            relayed: Vec::new(),
            relays_wanted: None,
            stream: None,
            stream_wanted_at: None,
            stream_search: None,
            paths: Paths::new(is_led),
            machine: None,
            dialing: None,
            punching: None,
            attempts: Attempts::default(),
            sockets: Vec::new(),
            lanes: LaneSet::default(),
            watch: Watch::default(),
            mtus: WayMtus::default(),
            pings: Pings::default(),
            pending: Pending::default(),
            path: None,
            answered: None,
            assembly: Assembly::default(),
            offers: Budget::default(),
            calls: Budget::default(),
            introductions: Budget::default(),
            relaying: Budget::default(),
            rekey_at: None,
            spoken_at: None,
            negotiated_at: None,
            without_udp_at: None,
            initiation_accepted_at: None,
            recreated_at: None,
            is_kept: false,
            rests_until: None,
        };
        peer.announce_ways();
        peer
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

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.paths.round_trip()
    }

    /// Whether it was heard elsewhere than it is reached, and it is being found out what that means.
    pub(crate) const fn is_undecided(&self) -> bool {
        self.paths.is_undecided()
    }

    /// Where it may be, best first.
    pub(crate) fn candidates(&self) -> &[SocketAddr] {
        &self.candidates
    }

    /// What became of every way there is.
    pub(crate) fn tried(&self) -> Vec<Tried> {
        self.paths.tried()
    }

    /// When the lane in use was made.
    pub(crate) fn lane_made_at(&self) -> Option<Instant> {
        Some(self.lanes.sealing()?.created)
    }

    /// What the keys of the lane in use were made from.
    pub(crate) fn key_exchange(&self) -> Option<KeyExchange> {
        Some(self.lanes.sealing()?.key_exchange)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let dialing = self.dialing.as_ref().map(Dialing::deadline);
        let due = dialing.into_iter().chain(self.mtus.poll_timeout());
        due.chain(self.punching_deadline()).min()
    }

    // Packets.

    /// Sends a packet that the fast path had no lane for, or keeps it until there is one.
    pub(crate) fn handle_packet(
        &mut self,
        packet: Vec<u8>,
        context: &mut Context<'_>,
        now: Instant,
    ) {
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
        if packet.len() + LANE_OVERHEAD > usize::from(path.frame_limit) {
            return Self::send_parts(path, packet, context);
        }
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
            let is_ours = ip::view(&packet).is_some_and(|view| {
                let hops = context.ownership.next_hops(view.destination);
                hops.contains(&self.id.slot)
            });
            if !is_ours {
                self.counters.dropped.count(DropReason::NoRoute);
            } else if !self.send_packet(&packet, context) {
                self.counters.dropped.count(DropReason::Unreachable);
            }
        }
    }

    /// Takes back what waits for a session.
    pub(crate) fn take_waiting(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let (packets, expired) = self.pending.take(now);
        for _ in 0..expired {
            self.counters.dropped.count(DropReason::Unreachable);
        }
        packets
    }

    /// Whether packets for the peer go unanswered.
    pub(crate) fn is_missed(&self, now: Instant) -> bool {
        let is_called_in_vain = self
            .dialing
            .as_ref()
            .is_some_and(|dialing| dialing.is_in_vain(now));
        self.path.is_none() && (self.watch.is_lost() || is_called_in_vain)
    }

    /// Goes on dialling while the peer is missed.
    pub(crate) fn seek(&mut self, context: &mut Context<'_>, now: Instant) {
        if self.path.is_some() {
            return;
        }
        match &mut self.dialing {
            Some(dialing) => dialing.want(now),
            None => self.dial(context, now),
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
        let before = std::mem::replace(&mut self.candidates, candidates);
        self.announce_ways();
        if self.watch.is_suspicious() {
            self.ping_all(context, now);
        } else if self.is_relayed() {
            self.try_fresh(&before, context, now);
        }
        if let Some(dialing) = &mut self.dialing {
            dialing.start_over(now);
            self.handle_timeout(context, now);
        }
    }

    fn announce_ways(&mut self) {
        let known = self.candidates.iter().filter(|place| place.port() != 0);
        let stream = self.stream.map(|stream| stream.at);
        let direct = known.copied().chain(stream).map(Way::from);
        let ways: Vec<Way> = direct.chain(self.relayed.iter().copied()).collect();
        self.paths.set_announced(&ways);
    }

    fn dial(&mut self, context: &mut Context<'_>, now: Instant) {
        self.dialing = Some(Dialing::new(self.initiation_accepted_at, now));
        self.handle_timeout(context, now);
    }

    pub(crate) fn handle_timeout(&mut self, context: &mut Context<'_>, now: Instant) {
        self.send_probes(context, now);
        let Some(dialing) = &mut self.dialing else {
            return;
        };
        match dialing.handle_timeout(context.rng, now) {
            Due::Nothing => {}
            Due::Initiation => self.initiate(context, now),
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

    /// Works out what the fast path is to use, and tells if that has changed.
    fn refresh_path(&mut self, context: &mut Context<'_>) {
        let usable = if self.watch.is_lost() {
            None
        } else {
            self.lanes.sealing()
        };
        let next = usable.zip(self.paths.current()).map(|(lane, to)| {
            let limit = self.mtus.limit(to, context.ownership.mtu());
            (Arc::clone(&lane.entry.lane), to, limit)
        });
        let is_same = match (&self.path, &next) {
            (Some(path), Some((lane, to, limit))) => {
                Arc::ptr_eq(&path.lane, lane) && path.to == *to && path.frame_limit == *limit
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_same {
            return;
        }
        context.outbox.fib_is_stale = true;
        let before = self.path.take().map(|path| path.to);
        self.path = next.map(|(lane, to, frame_limit)| {
            Arc::new(SendPath {
                lane,
                to,
                frame_limit,
                counters: Arc::clone(&self.counters),
            })
        });
        self.report_path(before, context);
    }

    fn report_path(&self, before: Option<Way>, context: &mut Context<'_>) {
        let network = self.id.parties.network;
        let peer = self.id.identity;
        let after = self.path.as_ref().map(|path| path.to);
        match (before, after) {
            (None, Some(way)) => context.event(Event::SessionUp { network, peer, way }),
            (Some(_), None) => context.event(Event::SessionDown { network, peer }),
            (Some(before), Some(way)) if before != way => {
                context.event(Event::WayChanged { network, peer, way });
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Erases everything that was agreed with the peer.
    pub(crate) fn erase(&mut self, context: &mut Context<'_>) {
        self.stop_dialing(context);
        self.stop_punching(context);
        self.answered = None;
        self.assembly = Assembly::default();
        for entry in std::mem::take(&mut self.lanes).entries() {
            context.give_back_lane_index(entry.lane.local());
        }
        if let Some((index, _)) = self.machine.take() {
            context.give_back_machine_index(index);
        }
        self.refresh_path(context);
    }
}
