//! Relays, as those see them who need one: which there are, which two are kept warm, and the channels through them.
//!
//! A relay is a member, spoken to on a lane, or a controller, spoken to on its connection. This node asks to be its
//! client, is given an index and a key, and pings it from then on (`session`). Two relays are kept warm, the nearest
//! that work, so that others can reach this node through them; which ones it tells in its endpoint announcements, where a
//! member that relays stands as one of its addresses in the overlay. No datagram goes there: older nodes leave it out.
//!
//! A channel to a peer is asked for when the peer does not answer: at the relays that it announced, at the replica that it
//! is connected to, and at this node's own; where none of them helps, at further members (`spare`). It may as well be a relay
//! that is gone, so they are pinged then; otherwise pings are rare. Once there is a channel, [`crate::path::way::Way::Relay`] is a way to the peer
//! like any other. What comes in by a relay says on which channel, and is answered there.
//!
//! A relay that does not answer over UDP is reached by a stream of TCP that the shell keeps, and tried over UDP meanwhile.
//!
//! This machine sends nothing itself: `Output` says what is to be said.

mod choice;
mod session;
mod spare;
mod streams;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_proto::{
    key::IdentityKey,
    relay::{RelayIndex, RelayKey, RelayMessage},
};

use crate::{
    fib::{NetworkSlot, PeerSlot},
    path::way::{Circuit, RelaySlot, Way},
};
pub(crate) use choice::Candidate;
use choice::{CHOOSE_ANOTHER, CHOOSE_SOON};
use session::{Session, Step};

/// Relays that are kept warm in each network: the second takes over when the first dies.
pub(crate) const WARM: usize = 2;
/// Most relays of one network at once, warm ones included: those of peers that are wanted now.
const MAX_SESSIONS: usize = 32;
/// A relay that is not warm is left when nobody has wanted a peer through it for this long.
const LEAVE_AFTER: Duration = Duration::from_secs(180);
/// Who a relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RelayName {
    /// A member of the network.
    Member(IdentityKey),
    /// A replica of the network's authority, by its key.
    Controller(IdentityKey),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Say this to a relay on the authenticated channel to it.
    Say {
        network: NetworkSlot,
        relay: RelayName,
        message: RelayMessage,
    },
    /// Send this frame to a relay.
    Frame { to: SocketAddr, frame: Vec<u8> },
    /// Over UDP a relay does not answer, or by the stream that there was.
    StreamWanted {
        network: NetworkSlot,
        relay: RelayName,
        silent: Option<SocketAddr>,
    },
    /// The ways to a peer by relays have changed.
    Ways(PeerSlot),
    /// Other relays are warm than before.
    Warm(NetworkSlot),
    /// The fast path is to know other relays.
    Routes,
    /// A relay answered, and does not any more: so may its member not.
    Silent {
        network: NetworkSlot,
        relay: RelayName,
    },
}

/// What the fast path needs to send by a relay and to take what comes from it.
#[derive(Debug, Clone)]
pub(crate) struct RelayRoute {
    pub(crate) slot: RelaySlot,
    pub(crate) at: SocketAddr,
    /// Where its frames may come from besides.
    pub(crate) also: Option<SocketAddr>,
    pub(crate) index: RelayIndex,
    pub(crate) key: RelayKey,
}

/// All relays of a node.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    /// By slot. Slots are given out again.
    sessions: Vec<Option<Session>>,
    by_name: BTreeMap<(NetworkSlot, RelayName), RelaySlot>,
    choose_at: BTreeMap<NetworkSlot, Instant>,
    outputs: VecDeque<Output>,
}

impl Relays {
    /// Begins to look for relays in a network.
    pub(crate) fn add_network(&mut self, network: NetworkSlot, now: Instant) {
        self.choose_at.insert(network, now + CHOOSE_SOON);
    }

    pub(crate) fn remove_network(&mut self, network: NetworkSlot) {
        self.choose_at.remove(&network);
        for slot in self.slots_of(network) {
            self.drop_session(slot);
        }
    }

    /// A peer is no member any more: neither a relay nor at the other end of a channel.
    pub(crate) fn remove_peer(
        &mut self,
        network: NetworkSlot,
        peer: PeerSlot,
        key: IdentityKey,
        now: Instant,
    ) {
        self.remove_relay(network, key, now);
        for session in self.sessions.iter_mut().flatten() {
            session.forget_peer(peer);
        }
    }

    /// A member may not relay any more. Another one is looked for at once.
    pub(crate) fn remove_relay(&mut self, network: NetworkSlot, key: IdentityKey, now: Instant) {
        if let Some(&slot) = self.by_name.get(&(network, RelayName::Member(key))) {
            self.drop_session(slot);
            let choose_at = self.choose_at.entry(network);
            choose_at.and_modify(|at| *at = (*at).min(now));
        }
    }

    // What is wanted.

    /// A peer does not answer: have channels to it at these relays and at the warm ones, as far as those are there.
    pub(crate) fn want_channels(
        &mut self,
        network: NetworkSlot,
        peer: (PeerSlot, IdentityKey),
        at: impl IntoIterator<Item = RelayName>,
        now: Instant,
    ) {
        let mut relays: BTreeSet<RelayName> = self.up(network).collect();
        relays.extend(at);
        // Whoever is to be reached is no relay on the way there.
        relays.remove(&RelayName::Member(peer.1));
        for relay in relays {
            if self.is_refusing(network, relay, now) {
                continue;
            }
            if let Some(session) = self.ensure(network, relay, now) {
                session.want_channel(peer.0, peer.1, now);
                session.doubt(now);
            }
        }
        self.handle_timeout(now);
    }

    /// Asks all relays whether they are there: this host is elsewhere.
    pub(crate) fn check(&mut self, now: Instant) {
        for session in self.sessions.iter_mut().flatten() {
            session.check(now);
        }
        self.handle_timeout(now);
    }

    // What relays say.

    /// A relay spoke on the authenticated channel. `at` is where its frames go.
    pub(crate) fn handle_message(
        &mut self,
        network: NetworkSlot,
        relay: RelayName,
        message: &RelayMessage,
        at: Option<SocketAddr>,
        now: Instant,
    ) {
        let Some(&slot) = self.by_name.get(&(network, relay)) else {
            return;
        };
        let Some(session) = self.session_at(slot) else {
            return;
        };
        let step = session.handle_message(message, at, now);
        self.note(slot, step, now);
        self.handle_timeout(now);
    }

    /// A pong whose tag was verified.
    pub(crate) fn handle_pong(&mut self, slot: RelaySlot, counter: u64, now: Instant) {
        let Some(session) = self.session_at(slot) else {
            return;
        };
        let step = session.handle_pong(counter, now);
        self.note(slot, step, now);
    }

    // Time.

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let sessions = self.sessions.iter().flatten().filter_map(Session::deadline);
        sessions.chain(self.choose_at.values().copied()).min()
    }

    /// Asks, pings and gives up what is due. Choosing is the caller's, who knows the candidates: [`Self::to_choose`].
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.sessions.len() {
            let slot = RelaySlot(u16::try_from(index).unwrap_or(u16::MAX));
            let Some(session) = self.session_at(slot) else {
                continue;
            };
            if session.is_over(now) {
                self.drop_session(slot);
                continue;
            }
            let step = session.handle_timeout(now);
            self.note(slot, step, now);
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn note(&mut self, slot: RelaySlot, step: Step, now: Instant) {
        let Some(session) = self.session_at(slot) else {
            return;
        };
        let (network, relay) = (session.network, session.name);
        let peers: Vec<PeerSlot> = session.channels.keys().copied().collect();
        if step.routes_changed {
            self.outputs.push_back(Output::Routes);
        }
        for message in step.say {
            self.outputs.push_back(Output::Say {
                network,
                relay,
                message,
            });
        }
        for (to, frame) in step.frames {
            self.outputs.push_back(Output::Frame { to, frame });
        }
        if step.fell_silent {
            self.outputs.push_back(Output::Silent { network, relay });
        }
        if step.wants_stream {
            self.outputs.push_back(Output::StreamWanted {
                network,
                relay,
                silent: step.silent_stream,
            });
        }
        if step.came_or_went {
            let pause = if step.fell_silent {
                CHOOSE_ANOTHER
            } else {
                CHOOSE_SOON
            };
            let soon = now + pause;
            self.choose_at
                .entry(network)
                .and_modify(|at| *at = (*at).min(soon));
            self.outputs.push_back(Output::Warm(network));
            self.outputs.extend(peers.into_iter().map(Output::Ways));
        } else if let Some(peer) = step.channel_changed {
            self.outputs.push_back(Output::Ways(peer));
        }
    }

    // What there is.

    /// The ways to a peer that are open, nearest relay first.
    pub(crate) fn ways(&self, peer: PeerSlot) -> Vec<Way> {
        let mut ways: Vec<(Option<Duration>, Way)> = self
            .sessions
            .iter()
            .zip(0..)
            .filter_map(|(session, slot)| Some((session.as_ref()?, RelaySlot(slot))))
            .filter(|(session, _)| session.is_up())
            .filter_map(|(session, relay)| {
                let circuit = Circuit(session.channel(peer)?.0);
                Some((session.round_trip(), Way::Relay { relay, circuit }))
            })
            .collect();
        ways.sort_unstable_by_key(|(round_trip, way)| (round_trip.unwrap_or(Duration::MAX), *way));
        ways.into_iter().map(|(_, way)| way).collect()
    }

    /// Who the relay in a slot is, and how far.
    pub(crate) fn describe(&self, slot: RelaySlot) -> Option<(RelayName, Option<Duration>)> {
        let session = self.sessions.get(usize::from(slot.0))?.as_ref()?;
        Some((session.name, session.round_trip()))
    }

    /// Who relays on this way.
    pub(crate) fn behind(&self, way: Way) -> Option<RelayName> {
        let Way::Relay { relay, .. } = way else {
            return None;
        };
        self.describe(relay).map(|(name, _)| name)
    }

    /// For the fast path.
    pub(crate) fn routes(&self) -> Vec<RelayRoute> {
        self.sessions
            .iter()
            .zip(0..)
            .filter_map(|(session, slot)| session.as_ref()?.route(RelaySlot(slot)))
            .collect()
    }

    /// Where frames for a relay go, and with which key.
    pub(crate) fn route(&self, slot: RelaySlot) -> Option<RelayRoute> {
        let session = self.sessions.get(usize::from(slot.0))?.as_ref()?;
        session.route(slot)
    }

    // Access.

    fn of(&self, network: NetworkSlot) -> impl Iterator<Item = &Session> {
        self.sessions
            .iter()
            .flatten()
            .filter(move |session| session.network == network)
    }

    fn up(&self, network: NetworkSlot) -> impl Iterator<Item = RelayName> {
        self.of(network)
            .filter(|session| session.is_up())
            .map(|session| session.name)
    }

    /// Whether fewer than are to be kept warm are, and work.
    pub(crate) fn are_missing(&self, network: NetworkSlot) -> bool {
        let warm = self.of(network).filter(|session| session.is_warm);
        warm.filter(|session| session.is_up()).count() < WARM
    }

    fn session(&self, network: NetworkSlot, relay: RelayName) -> Option<&Session> {
        let slot = self.by_name.get(&(network, relay))?;
        self.sessions.get(usize::from(slot.0))?.as_ref()
    }

    fn session_mut(&mut self, network: NetworkSlot, relay: RelayName) -> Option<&mut Session> {
        let slot = *self.by_name.get(&(network, relay))?;
        self.session_at(slot)
    }

    fn session_at(&mut self, slot: RelaySlot) -> Option<&mut Session> {
        self.sessions.get_mut(usize::from(slot.0))?.as_mut()
    }

    fn is_up(&self, network: NetworkSlot, relay: RelayName) -> bool {
        self.session(network, relay).is_some_and(Session::is_up)
    }

    fn is_refusing(&self, network: NetworkSlot, relay: RelayName, now: Instant) -> bool {
        self.session(network, relay)
            .is_some_and(|session| session.is_refusing(now))
    }

    fn slots_of(&self, network: NetworkSlot) -> Vec<RelaySlot> {
        let of = self.by_name.iter().filter(|((of, _), _)| *of == network);
        of.map(|(_, slot)| *slot).collect()
    }

    /// The session with a relay; begun if there is none. `None` if there are too many.
    fn ensure(
        &mut self,
        network: NetworkSlot,
        relay: RelayName,
        now: Instant,
    ) -> Option<&mut Session> {
        if !self.by_name.contains_key(&(network, relay)) {
            if self.slots_of(network).len() >= MAX_SESSIONS {
                return None;
            }
            let free = self.sessions.iter().position(Option::is_none);
            let index = free.unwrap_or(self.sessions.len());
            let slot = RelaySlot(u16::try_from(index).ok()?);
            let session = Session::new(network, relay, now, now + LEAVE_AFTER);
            match self.sessions.get_mut(index) {
                Some(entry) => *entry = Some(session),
                None => self.sessions.push(Some(session)),
            }
            self.by_name.insert((network, relay), slot);
        }
        let session = self.session_mut(network, relay)?;
        session.keep_until(now + LEAVE_AFTER);
        Some(session)
    }

    fn drop_session(&mut self, slot: RelaySlot) {
        let Some(session) = self
            .sessions
            .get_mut(usize::from(slot.0))
            .and_then(Option::take)
        else {
            return;
        };
        self.by_name.remove(&(session.network, session.name));
        if session.is_up() {
            self.outputs.push_back(Output::Say {
                network: session.network,
                relay: session.name,
                message: RelayMessage::Farewell,
            });
        }
        self.outputs
            .extend(session.channels.keys().copied().map(Output::Ways));
        if session.is_warm {
            self.outputs.push_back(Output::Warm(session.network));
            self.choose_at.entry(session.network).and_modify(|at| {
                *at = (*at).min(session.wanted_until);
            });
        }
        self.outputs.push_back(Output::Routes);
    }
}

#[cfg(test)]
mod tests;
