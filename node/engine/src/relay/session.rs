//! One relay: asked to forward, pinged while it does, and the channels through it.

mod asking;
mod client;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_proto::{
    key::IdentityKey,
    relay::{RelayIndex, RelayMessage, RelayRefusal},
};

use super::{RelayName, RelayRoute};
use crate::{
    fib::{NetworkSlot, PeerSlot},
    path::{is_stream, way::RelaySlot},
};
use asking::Asking;
use client::Client;

/// A relay that refuses is left in peace for this long: one that has just started refuses until it knows that it can be
/// reached.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// One that does not answer, for this long: it may be the only one, and what was asked and answered just got lost.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// Between pings of a relay that answers: below the shortest common NAT timeout, 30 s.
const PING_EVERY: Duration = Duration::from_secs(25);
/// Before a ping is repeated if the round trip is not known yet, and how many unanswered ones are enough: a relay that dies
/// is missed after 1.2 seconds.
pub(super) const PING_AGAIN: Duration = Duration::from_millis(500);
const MISSES: usize = 4;
/// A controller may be there for streams only, which take time to open.
const MISSES_BEFORE_STREAM: usize = 2 * MISSES;
/// Between two pings for peers that do not answer.
const CHECK_PAUSE: Duration = Duration::from_secs(1);
/// After this many questions without an answer, the first of which goes at once, another relay is looked for.
const DOUBTFUL: u32 = 2;
/// Unanswered pings over UDP after which a stream is tried besides.
const MISSED_OVER_UDP: usize = 1;
/// A channel that is wanted once more is asked for once more, if it was not in this time: the relay may have lost it, or the
/// peer may have come meanwhile.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// Channels through one relay.
const MAX_CHANNELS: usize = 128;

/// What became of an input.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) say: Vec<RelayMessage>,
    pub(super) frames: Vec<(SocketAddr, Vec<u8>)>,
    /// It answered, and does not any more.
    pub(super) fell_silent: bool,
    /// Over UDP it does not answer.
    pub(super) wants_stream: bool,
    /// The stream by which it does not answer any more.
    pub(super) silent_stream: Option<SocketAddr>,
    /// The relay works from now on, or no longer.
    pub(super) came_or_went: bool,
    pub(super) channel_changed: Option<PeerSlot>,
    pub(super) routes_changed: bool,
}

#[derive(Debug)]
enum Stage {
    Asking(Asking),
    Client(Client),
    Refused {
        until: Instant,
        /// It said nothing at all.
        was_silent: bool,
    },
}

#[derive(Debug)]
pub(super) struct Channel {
    peer: IdentityKey,
    circuit: Option<RelayIndex>,
    asking: Option<Asking>,
    asked_at: Instant,
}

/// What there is between this node and one relay.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) network: NetworkSlot,
    pub(super) name: RelayName,
    pub(super) is_warm: bool,
    /// If not warm: when it is left.
    pub(super) wanted_until: Instant,
    pub(super) channels: BTreeMap<PeerSlot, Channel>,
    /// Peers that are reached by it now.
    users: BTreeSet<PeerSlot>,
    /// A stream to the relay, if there is one.
    stream: Option<SocketAddr>,
    stage: Stage,
}

impl Session {
    pub(super) const fn new(
        network: NetworkSlot,
        name: RelayName,
        now: Instant,
        wanted_until: Instant,
    ) -> Self {
        Self {
            network,
            name,
            is_warm: false,
            wanted_until,
            channels: BTreeMap::new(),
            users: BTreeSet::new(),
            stream: None,
            stage: Stage::Asking(Asking::now(now)),
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(&self.stage, Stage::Client(client) if client.is_up)
    }

    pub(super) fn is_refusing(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Refused { until, .. } if now < until)
    }

    /// Whether it has had time to answer a question, and did not.
    pub(super) const fn is_doubtful(&self) -> bool {
        matches!(&self.stage, Stage::Asking(asking) if asking.asked >= DOUBTFUL)
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Client(client) => client.round_trip.smoothed(),
            Stage::Asking(_) | Stage::Refused { .. } => None,
        }
    }

    pub(super) fn channel(&self, peer: PeerSlot) -> Option<RelayIndex> {
        self.channels.get(&peer)?.circuit
    }

    pub(super) fn route(&self, slot: RelaySlot) -> Option<RelayRoute> {
        match &self.stage {
            Stage::Client(client) => Some(RelayRoute {
                slot,
                at: client.at(),
                also: client.stream.map(|_| client.udp),
                index: client.index,
                key: client.key.clone(),
            }),
            Stage::Asking(_) | Stage::Refused { .. } => None,
        }
    }

    /// Whether frames for it go by a stream, because it does not answer over UDP.
    pub(super) const fn is_on_stream(&self) -> bool {
        matches!(&self.stage, Stage::Client(client) if client.stream.is_some())
    }

    /// The same, or by a member's lane that goes by a stream, if only for a moment.
    pub(super) fn is_by_stream(&self) -> bool {
        matches!(&self.stage, Stage::Client(client) if is_stream(client.at()))
    }

    /// There is a stream to the relay, or none any more.
    pub(super) fn set_stream(&mut self, stream: Option<SocketAddr>, now: Instant) -> Step {
        let mut step = Step::default();
        let is_new = stream.is_some() && self.stream != stream;
        self.stream = stream;
        match &mut self.stage {
            Stage::Client(client) if is_new || client.stream != stream => {
                client.use_stream(stream, now);
                client.sent.clear();
                step.frames.push(client.ping(now));
                step.routes_changed = true;
            }
            Stage::Refused { .. } if is_new => self.begin_anew(&mut step, now),
            Stage::Client(_) | Stage::Asking(_) | Stage::Refused { .. } => {}
        }
        step
    }

    /// The lane to a member that relays goes elsewhere: so do frames for it.
    pub(super) fn handle_moved(&mut self, at: SocketAddr, now: Instant) -> Step {
        let mut step = Step::default();
        if let Stage::Client(client) = &mut self.stage
            && client.udp != at
        {
            client.udp = at;
            client.sent.clear();
            step.frames.push(client.ping(now));
            step.routes_changed = true;
        }
        step
    }

    /// The relay can be asked from now on.
    pub(super) fn handle_session_up(&mut self, now: Instant) -> Step {
        let mut step = Step::default();
        match self.stage {
            Stage::Asking(_)
            | Stage::Refused {
                was_silent: true, ..
            } => self.begin_anew(&mut step, now),
            // What was asked a moment ago may have got lost.
            Stage::Client(_) => {
                let under_way = self
                    .channels
                    .values_mut()
                    .filter_map(|it| it.asking.as_mut());
                under_way.for_each(|asking| *asking = Asking::now(now));
            }
            Stage::Refused { .. } => {}
        }
        step
    }

    /// Whether nobody wants it any more, and nothing needs to be remembered of it.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Refused { until, .. } => now >= until,
            Stage::Asking(_) | Stage::Client(_) => {
                !self.is_warm && self.users.is_empty() && now >= self.wanted_until
            }
        }
    }

    /// A peer is reached by it from now on, or no longer.
    pub(super) fn note_use(&mut self, peer: PeerSlot, is_used: bool) {
        if is_used {
            self.users.insert(peer);
        } else {
            self.users.remove(&peer);
        }
    }

    /// Forgets a peer that is no member any more.
    pub(super) fn forget_peer(&mut self, peer: PeerSlot) {
        self.channels.remove(&peer);
        self.users.remove(&peer);
    }

    /// It is not left before, at least.
    pub(super) fn keep_until(&mut self, end: Instant) {
        self.wanted_until = self.wanted_until.max(end);
    }

    pub(super) fn want_channel(&mut self, peer: PeerSlot, key: IdentityKey, now: Instant) {
        if self.channels.len() >= MAX_CHANNELS && !self.channels.contains_key(&peer) {
            // Whoever was asked for longest ago can be asked for again.
            let oldest = self.channels.iter().min_by_key(|(_, held)| held.asked_at);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.channels.remove(&oldest);
            }
        }
        let channel = self.channels.entry(peer).or_insert(Channel {
            peer: key,
            circuit: None,
            asking: Some(Asking::now(now)),
            asked_at: now,
        });
        let since = now.saturating_duration_since(channel.asked_at);
        if channel.asking.is_none() && since >= OPEN_AGAIN {
            channel.asking = Some(Asking::now(now));
        }
    }

    /// Pings now, unless that is being done.
    pub(super) fn check(&mut self, now: Instant) {
        if let Stage::Client(client) = &mut self.stage
            && client.sent.is_empty()
        {
            client.next_ping = now;
        }
    }

    /// The same, unless it was done a moment ago: a peer does not answer by it.
    pub(super) fn doubt(&mut self, now: Instant) {
        let Stage::Client(client) = &self.stage else {
            return;
        };
        let pinged = client.pinged_at;
        if pinged.is_none_or(|at| now.saturating_duration_since(at) >= CHECK_PAUSE) {
            self.check(now);
        }
    }

    pub(super) fn handle_message(
        &mut self,
        message: &RelayMessage,
        at: Option<SocketAddr>,
        now: Instant,
    ) -> Step {
        let mut step = Step::default();
        match message {
            RelayMessage::Grant { index, key } => {
                let is_known =
                    matches!(&self.stage, Stage::Client(client) if client.index == *index);
                let is_refused = matches!(self.stage, Stage::Refused { .. });
                if let Some(at) = at.filter(|_| !is_known && !is_refused) {
                    self.begin_anew(&mut step, now);
                    let mut client = Client::new(*index, key.clone(), at, now);
                    client.use_stream(self.stream, now);
                    self.stage = Stage::Client(client);
                    step.routes_changed = true;
                }
            }
            RelayMessage::Opened { peer, channel } => {
                if let Some((slot, held)) = self.channel_to(peer) {
                    held.asking = None;
                    if held.circuit.replace(*channel) != Some(*channel) {
                        step.channel_changed = Some(slot);
                    }
                }
            }
            RelayMessage::Refused {
                reason: RelayRefusal::NotAClient,
                ..
            } => self.begin_anew(&mut step, now),
            RelayMessage::Refused {
                peer: Some(peer), ..
            } => {
                if let Some((slot, held)) = self.channel_to(peer) {
                    held.asking = None;
                    if held.circuit.take().is_some() {
                        step.channel_changed = Some(slot);
                    }
                }
            }
            RelayMessage::Refused { peer: None, .. } | RelayMessage::Farewell => {
                self.refuse(&mut step, false, now);
            }
            RelayMessage::Ask | RelayMessage::Open { .. } => {}
        }
        step
    }

    pub(super) fn handle_pong(&mut self, counter: u64, now: Instant) -> Step {
        let mut step = Step::default();
        let Stage::Client(client) = &mut self.stage else {
            return step;
        };
        if client.trial == Some(counter) {
            // UDP passes again. The newest ping says where this node is.
            self.stream = None;
            client.use_stream(None, now);
            step.frames.push(client.ping(now));
            step.routes_changed = true;
            return step;
        }
        let Some(&(_, sent)) = client.sent.iter().find(|(number, _)| *number == counter) else {
            return step;
        };
        client
            .round_trip
            .measured(now.saturating_duration_since(sent));
        client.sent.clear();
        client.next_ping = now + PING_EVERY;
        if !std::mem::replace(&mut client.is_up, true) {
            step.came_or_went = true;
            self.ask_for_channels(&mut step, now);
        }
        step
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let is_kept = self.is_warm || !self.users.is_empty();
        let leave = (!is_kept).then_some(self.wanted_until);
        let stage = match &self.stage {
            Stage::Asking(asking) => asking.next_at,
            Stage::Client(client) => {
                let trial = client.try_udp_at.unwrap_or(client.next_ping);
                client.next_ping.min(trial)
            }
            Stage::Refused { until, .. } => return Some(*until),
        };
        let channels = self.channels.values().filter_map(|channel| {
            // Nothing is asked of a relay that does not answer.
            channel
                .asking
                .filter(|_| self.is_up())
                .map(|asking| asking.next_at)
        });
        channels.chain([stage]).chain(leave).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Step {
        let mut step = Step::default();
        match &mut self.stage {
            Stage::Asking(asking) if asking.is_due(now) => {
                if asking.is_in_vain() {
                    self.refuse(&mut step, true, now);
                } else {
                    asking.asked(now);
                    step.say.push(RelayMessage::Ask);
                }
            }
            Stage::Client(client) if client.next_ping <= now => {
                let is_controller = matches!(self.name, RelayName::Controller(_));
                let misses = if is_controller && client.is_up && client.stream.is_none() {
                    MISSES_BEFORE_STREAM
                } else {
                    MISSES
                };
                if client.sent.len() >= misses {
                    // Where no ping ever came back, frames do not pass, whatever the relay says.
                    step.silent_stream = self.stream.take();
                    step.wants_stream = step.silent_stream.is_some();
                    if client.is_up {
                        step.fell_silent = true;
                        self.begin_anew(&mut step, now);
                    } else {
                        self.refuse(&mut step, true, now);
                    }
                } else {
                    step.wants_stream =
                        client.stream.is_none() && client.sent.len() >= MISSED_OVER_UDP;
                    step.frames.push(client.ping(now));
                }
            }
            Stage::Client(client) if client.try_udp_at.is_some_and(|at| at <= now) => {
                client.try_udp(&mut step, now);
            }
            Stage::Asking(_) | Stage::Client(_) | Stage::Refused { .. } => {}
        }
        if self.is_up() {
            self.ask_for_channels(&mut step, now);
        }
        step
    }

    fn ask_for_channels(&mut self, step: &mut Step, now: Instant) {
        for channel in self.channels.values_mut() {
            let Some(asking) = channel.asking.as_mut().filter(|asking| asking.is_due(now)) else {
                continue;
            };
            if asking.is_in_vain() {
                channel.asking = None;
                continue;
            }
            asking.asked(now);
            channel.asked_at = now;
            step.say.push(RelayMessage::Open { peer: channel.peer });
        }
    }

    fn channel_to(&mut self, peer: &IdentityKey) -> Option<(PeerSlot, &mut Channel)> {
        let found = self
            .channels
            .iter_mut()
            .find(|(_, held)| held.peer == *peer);
        found.map(|(slot, held)| (*slot, held))
    }

    /// The relay has forgotten this node, or is gone: ask again, for what is wanted of it too.
    fn begin_anew(&mut self, step: &mut Step, now: Instant) {
        step.came_or_went = self.is_up();
        step.routes_changed = true;
        self.stage = Stage::Asking(Asking::now(now));
        for channel in self.channels.values_mut() {
            channel.circuit = None;
            channel.asking = Some(Asking::now(now));
        }
    }

    fn refuse(&mut self, step: &mut Step, was_silent: bool, now: Instant) {
        step.came_or_went = self.is_up();
        step.routes_changed = true;
        self.is_warm = false;
        self.stage = Stage::Refused {
            until: now + if was_silent { SILENT_FOR } else { REFUSED_FOR },
            was_silent,
        };
        for channel in self.channels.values_mut() {
            channel.circuit = None;
        }
    }
}
