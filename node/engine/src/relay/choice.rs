//! Which relays are kept warm: the nearest that work.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{LEAVE_AFTER, Output, RelayName, Relays, WARM, session::Session};
use crate::fib::NetworkSlot;

/// Until the first look at the choice, and the next after a relay came or went.
pub(super) const CHOOSE_SOON: Duration = Duration::from_secs(1);
/// The same after one has fallen silent: it is asked once more first.
pub(super) const CHOOSE_ANOTHER: Duration = Duration::from_millis(300);
/// Between looks while there are too few relays, and otherwise.
const CHOOSE_AGAIN: Duration = Duration::from_secs(2);
const CHOOSE_EVERY: Duration = Duration::from_secs(30);
/// A warm relay is given up for one whose round trip is below this part of its own.
const CLEARLY_NEARER: f64 = 0.7;

/// A relay that could be asked, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) relay: RelayName,
    pub(crate) round_trip: Option<Duration>,
}

impl Relays {
    /// Which networks are to be given candidates now ([`Self::choose`]).
    pub(crate) fn to_choose(&self, now: Instant) -> Vec<NetworkSlot> {
        let due = |at: &Instant| *at <= now;
        let due = self.choose_at.iter().filter(|(_, at)| due(at));
        due.map(|(network, _)| *network).collect()
    }

    /// Keeps the nearest relays warm. `candidates` are those that can be asked now.
    pub(crate) fn choose(&mut self, network: NetworkSlot, candidates: &[Candidate], now: Instant) {
        let mut ranked: Vec<(Duration, RelayName)> = candidates
            .iter()
            .filter(|candidate| self.may_answer(network, candidate.relay, now))
            .map(|candidate| (self.distance(network, candidate), candidate.relay))
            .collect();
        // What is warm has a head start, so that two at the same distance do not take turns.
        let before = self.wanted(network);
        for (distance, relay) in &mut ranked {
            if before.contains(relay) {
                *distance = distance.mul_f64(CLEARLY_NEARER);
            }
        }
        ranked.sort_unstable();
        let mut wanted: BTreeSet<RelayName> =
            ranked.iter().take(WARM).map(|(_, relay)| *relay).collect();
        // Relays that work stay until nearer ones do, which may refuse, and although they cannot be asked anything just now.
        let mut working = self.count_up(network, &wanted);
        for relay in before.iter().filter(|relay| self.is_up(network, **relay)) {
            if working < WARM && wanted.insert(*relay) {
                working += 1;
            }
        }
        for relay in before.difference(&wanted) {
            if let Some(session) = self.session_mut(network, *relay) {
                session.is_warm = false;
                session.wanted_until = now + LEAVE_AFTER;
            }
        }
        for relay in &wanted {
            if let Some(session) = self.ensure(network, *relay, now) {
                session.is_warm = true;
            }
        }
        if before != wanted {
            self.outputs.push_back(Output::Warm(network));
        }
        let pause = if self.are_missing(network) {
            CHOOSE_AGAIN
        } else {
            CHOOSE_EVERY
        };
        self.choose_at.insert(network, now + pause);
    }

    /// The relays of a network that are kept warm and work, nearest first.
    pub(crate) fn warm(&self, network: NetworkSlot) -> Vec<(RelayName, Duration)> {
        let mut warm: Vec<(Duration, RelayName)> = self
            .of(network)
            .filter(|session| session.is_warm && session.is_up())
            .map(|session| (session.round_trip().unwrap_or(Duration::MAX), session.name))
            .collect();
        warm.sort_unstable();
        let warm = warm.into_iter().map(|(distance, name)| (name, distance));
        warm.collect()
    }

    fn count_up(&self, network: NetworkSlot, relays: &BTreeSet<RelayName>) -> usize {
        let up = relays.iter().filter(|relay| self.is_up(network, **relay));
        up.count()
    }

    fn wanted(&self, network: NetworkSlot) -> BTreeSet<RelayName> {
        self.of(network)
            .filter(|session| session.is_warm)
            .map(|session| session.name)
            .collect()
    }

    /// Whether nothing speaks against asking a relay.
    pub(super) fn may_answer(&self, network: NetworkSlot, relay: RelayName, now: Instant) -> bool {
        self.session(network, relay)
            .is_none_or(|session| !session.is_refusing(now) && !session.is_doubtful())
    }

    fn distance(&self, network: NetworkSlot, candidate: &Candidate) -> Duration {
        self.session(network, candidate.relay)
            .and_then(Session::round_trip)
            .or(candidate.round_trip)
            .unwrap_or(Duration::from_secs(10))
    }
}
