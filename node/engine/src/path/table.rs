//! All ways to one peer: what pings have said of each, which one is in use, and which to ask next.

use std::time::{Duration, Instant};

use super::{Rank, way::Way};
use crate::round_trip::{MAX_PATIENCE, RoundTrip};

mod entry;

use entry::{Path, TRIAL_EVERY};

/// Ways kept per peer: the eight that it may announce, two relays, and some places where it was seen.
const MAX_PATHS: usize = 16;
/// Others than the way in use that are kept warm: one may share its fate.
const STANDBYS: usize = 2;
/// Between pings on the way in use and on standbys, while data flows. Below the shortest common NAT timeout.
const WARM_EVERY: Duration = Duration::from_secs(10);
/// A standby that has answered within two of those is one.
const WARM_FOR: Duration = Duration::from_secs(25);
/// Between pings to a way that never answered: it may come to life, and may as well be a stranger.
const SEEK_EVERY: Duration = Duration::from_secs(60);
/// After a session came up, the best that answers is taken without a trial.
const SETTLING: Duration = Duration::from_secs(1);
/// A ping that comes this soon after another tells nothing new.
const ASKED_JUST_NOW: Duration = Duration::from_millis(150);

/// Where the peer was heard although it is reached elsewhere.
#[derive(Debug, Clone, Copy)]
struct Roam {
    to: Way,
    noticed: Instant,
    /// Since when the way in use has been asked what has become of it.
    asked: Option<Instant>,
    sign: Sign,
}

/// What was heard from elsewhere. The more it means, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sign {
    /// A ping: the peer may only be keeping a standby warm.
    Ping,
    /// What the peer sends by the way that it uses.
    Use,
}

/// A way to fall back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standby {
    pub(crate) way: Way,
    pub(crate) round_trip: Option<Duration>,
}

/// What became of a way, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) way: Way,
    /// When the peer was last asked there.
    pub(crate) tried_at: Option<Instant>,
    /// When it last answered.
    pub(crate) answered_at: Option<Instant>,
    pub(crate) round_trip: Option<Duration>,
}

/// All ways to one peer.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    paths: Vec<Path>,
    current: Option<Way>,
    roam: Option<Roam>,
    settles_until: Option<Instant>,
    /// Whether the peer chooses by which relay both send.
    is_led: bool,
}

impl Paths {
    /// `is_led` is whether the peer chooses by which relay both send, where there are several.
    pub(crate) fn new(is_led: bool) -> Self {
        Self {
            is_led,
            ..Self::default()
        }
    }

    /// Where the peer may be, besides where it was heard, and by which relays it can be reached. A relay that is not named
    /// any more passes nothing on.
    pub(crate) fn set_announced(&mut self, ways: &[Way]) {
        for path in &mut self.paths {
            path.is_announced = ways.contains(&path.way);
        }
        let current = self.current;
        self.paths.retain(|path| {
            let is_direct = path.way.endpoint().is_some();
            path.is_announced
                || path.answered_at.is_some() && is_direct
                || Some(path.way) == current
        });
        for &way in ways {
            self.learn(way, true);
        }
    }

    /// The way in use.
    pub(crate) const fn current(&self) -> Option<Way> {
        self.current
    }

    /// Uses a way from now on. The one that is left has to prove itself anew.
    pub(crate) fn take(&mut self, way: Way) {
        self.learn(way, false);
        let left = self.current.filter(|left| *left != way);
        if let Some(path) = self.paths.iter_mut().find(|path| Some(path.way) == left) {
            path.answers = 0;
        }
        self.current = Some(way);
        self.roam = None;
    }

    /// The way in use was silent for too long, since all were `asked`. Those that did not answer then either are not
    /// proven any more: they may have gone with it.
    pub(crate) fn note_broken(&mut self, asked: Instant, now: Instant) {
        self.roam = None;
        let current = self.current;
        for path in &mut self.paths {
            if Some(path.way) == current {
                path.broke_at = Some(now);
            }
            if !path.has_answered_since(asked) {
                path.answers = 0;
            }
        }
    }

    /// A session is up: the way by which it came about is as good as any, until the others have answered.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.settles_until = Some(now + SETTLING);
    }

    /// Ways that there are no more.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(Way) -> bool) {
        self.paths.retain(|path| !is_gone(path.way));
        self.current = self.current.filter(|way| !is_gone(*way));
    }

    fn learn(&mut self, way: Way, is_announced: bool) {
        if self.paths.iter().any(|path| path.way == way) {
            return;
        }
        if self.paths.len() >= MAX_PATHS {
            let current = self.current;
            let worst = self.paths.iter().enumerate();
            let worst = worst
                .filter(|(_, path)| Some(path.way) != current && !path.is_announced)
                .min_by_key(|(_, path)| path.answered_at)
                .map(|(position, _)| position);
            match worst {
                Some(position) => drop(self.paths.remove(position)),
                None => return,
            }
        }
        self.paths.push(Path::new(way, is_announced));
    }

    fn get(&self, way: Way) -> Option<&Path> {
        self.paths.iter().find(|path| path.way == way)
    }

    /// The smoothed round-trip time of the way in use.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.get(self.current?)?.round_trip.smoothed()
    }

    /// How long the way in use may be silent before it is suspected.
    pub(crate) fn patience(&self) -> Duration {
        let current = self.current.and_then(|way| self.get(way));
        current.map_or(RoundTrip::UNKNOWN.patience(), Path::patience)
    }

    /// Every way there is, the one in use first, then best first.
    pub(crate) fn all(&self) -> Vec<Way> {
        let mut paths: Vec<&Path> = self.paths.iter().collect();
        paths.sort_by_key(|path| (Some(path.way) != self.current, path.score()));
        paths.into_iter().map(|path| path.way).collect()
    }

    /// The way in use and those to fall back to.
    pub(crate) fn warm(&self, now: Instant) -> Vec<Way> {
        let standbys = self.standbys(now).into_iter().map(|standby| standby.way);
        self.current.into_iter().chain(standbys).collect()
    }

    /// The ways to fall back to, best first.
    pub(crate) fn standbys(&self, now: Instant) -> Vec<Standby> {
        let mut paths: Vec<&Path> = self.others().collect();
        paths.retain(|path| path.has_answered_within(WARM_FOR, now));
        paths.sort_by_key(|path| path.score());
        let standbys = paths.into_iter().take(STANDBYS).map(|path| Standby {
            way: path.way,
            round_trip: path.round_trip.smoothed(),
        });
        standbys.collect()
    }

    fn others(&self) -> impl Iterator<Item = &Path> {
        let is_other = |path: &&Path| Some(path.way) != self.current;
        self.paths.iter().filter(is_other)
    }

    /// Takes note of a ping that is about to be sent.
    pub(crate) fn ask(&mut self, way: Way, id: u64, now: Instant) {
        self.learn(way, false);
        if let Some(path) = self.paths.iter_mut().find(|path| path.way == way) {
            path.ask(id, now);
        }
        if Some(way) == self.current
            && let Some(roam) = &mut self.roam
        {
            roam.asked.get_or_insert(now);
        }
    }

    /// Takes note of a handshake that begins there.
    pub(crate) fn note_tried(&mut self, way: Way, now: Instant) {
        if let Some(path) = self.paths.iter_mut().find(|path| path.way == way) {
            path.tried_at = Some(now);
        }
    }

    /// What became of every way there is, the one in use first, then best first.
    pub(crate) fn tried(&self) -> Vec<Tried> {
        let all = self.all().into_iter().filter_map(|way| self.get(way));
        let tried = all.map(|path| Tried {
            way: path.way,
            tried_at: path.tried_at,
            answered_at: path.answered_at,
            round_trip: path.round_trip.smoothed(),
        });
        tried.collect()
    }

    /// Whether a way was pinged so recently that another ping would tell nothing new.
    pub(crate) fn was_just_asked(&self, way: Way, now: Instant) -> bool {
        self.get(way)
            .is_some_and(|path| path.was_asked_within(ASKED_JUST_NOW, now))
    }

    /// Takes the answer to a ping of ours; which way it was about.
    pub(crate) fn answer(&mut self, id: u64, now: Instant) -> Option<Way> {
        self.paths.iter_mut().find_map(|path| {
            let position = path.outstanding.iter().position(|(ping, _)| *ping == id)?;
            path.answer(position, now);
            Some(path.way)
        })
    }

    /// Takes a round-trip time that somebody else has measured.
    pub(crate) fn measured(&mut self, way: Way, sample: Duration) {
        if let Some(path) = self.paths.iter_mut().find(|path| path.way == way) {
            path.round_trip.measured(sample);
        }
    }

    /// The peer was heard from a way that is not in use: which ways to ask for it.
    pub(crate) fn roamed(&mut self, to: Way, sign: Sign, now: Instant) -> Vec<Way> {
        let is_standby = self.standbys(now).iter().any(|standby| standby.way == to);
        if sign == Sign::Ping && is_standby {
            return Vec::new();
        }
        self.learn(to, false);
        self.roam = Some(self.noticed(to, sign, now));
        let mut ways = self.undecided(now);
        // A question of its own, if something else is being looked into.
        if sign == Sign::Use && !ways.contains(&to) && !self.was_just_asked(to, now) {
            ways.push(to);
        }
        ways
    }

    /// What is being looked into, now that the peer was heard there.
    fn noticed(&self, to: Way, sign: Sign, now: Instant) -> Roam {
        let age = |roam: &Roam| now.saturating_duration_since(roam.noticed);
        let roam = Roam {
            to,
            noticed: now,
            asked: None,
            sign,
        };
        match self.roam.filter(|before| age(before) < MAX_PATIENCE) {
            Some(before) if before.to == to => Roam {
                sign: before.sign.max(sign),
                ..before
            },
            Some(before) if before.sign > sign => before,
            // The way in use has only just been asked. Whoever is heard from two places by turns is not to have it asked
            // by every packet.
            Some(before) if age(&before) < ASKED_JUST_NOW => Roam { to, sign, ..before },
            Some(_) | None => roam,
        }
    }

    /// Which ways to ask, and to ask again, to find out whether the peer has moved: those that have not answered since. Where
    /// the peer merely asks it is not asked before the way in use has missed: two who answered questions by questions
    /// would never end.
    pub(crate) fn undecided(&self, now: Instant) -> Vec<Way> {
        let Some((roam, current)) = self.roam.zip(self.current.and_then(|way| self.get(way)))
        else {
            return Vec::new();
        };
        let is_there_asked = roam.sign == Sign::Use || current.has_missed(now);
        let is_open = |way: &Way| {
            let path = self.get(*way);
            path.is_some_and(|path| !path.has_worked_since(roam.noticed))
                && !self.was_just_asked(*way, now)
        };
        let there = is_there_asked.then_some(roam.to);
        let ways = [current.way].into_iter().chain(there);
        ways.filter(is_open).collect()
    }

    /// The peer asks on this standby, maybe because it misses this node on the way in use: that one, unless it has been
    /// asked. When the peer leaves it, it is known what has become of it.
    pub(crate) fn doubted(&self, standby: Way, now: Instant) -> Option<Way> {
        let is_standby = self.standbys(now).iter().any(|other| other.way == standby);
        let current = self.get(self.current?)?;
        let is_asked = current.was_asked_within(TRIAL_EVERY, now);
        (is_standby && !is_asked).then_some(current.way)
    }

    /// Whether time alone may decide something.
    pub(crate) const fn is_undecided(&self) -> bool {
        self.roam.is_some()
    }

    /// Which way to change over to for what pings have said, if any.
    pub(crate) fn better(&mut self, now: Instant) -> Option<Way> {
        if let Some(way) = self.follow(now) {
            return Some(way);
        }
        let current = self.get(self.current?)?;
        let settles = self.settles_until.is_some_and(|until| now < until);
        let is_proven = |path: &&Path| {
            path.answered_at.is_some_and(|at| {
                let age = now.saturating_duration_since(at);
                let trial = path.trial(current, now);
                path.answers >= trial.answers && age <= trial.pause + path.patience()
                    || settles && age <= SETTLING
            })
        };
        self.others()
            .filter(|path| path.beats(current) && !(self.is_led && are_relays(path, current)))
            .filter(is_proven)
            .min_by_key(|path| path.score())
            .map(|path| path.way)
    }

    /// Where the peer was heard, if it has moved there, or if it uses that relay and chooses among them.
    fn follow(&mut self, now: Instant) -> Option<Way> {
        let roam = self.roam?;
        if now.saturating_duration_since(roam.noticed) >= 2 * MAX_PATIENCE {
            self.roam = None;
            return None;
        }
        let (current, there) = (self.get(self.current?)?, self.get(roam.to)?);
        let are_relays = are_relays(there, current);
        let is_used = roam.sign == Sign::Use && there.rank() <= current.rank();
        let is_led = is_used && are_relays && self.is_led;
        let is_alive = current.has_worked_since(roam.noticed);
        let waited = roam.asked.map(|at| now.saturating_duration_since(at));
        let is_due = current.has_missed(now)
            || waited.is_some_and(|waited| is_used && !are_relays || waited >= current.patience());
        if there.has_answered_since(roam.noticed) && (is_led || is_due && !is_alive) {
            // What the way that is left has answered before counts no more.
            self.settles_until = None;
            return Some(roam.to);
        }
        if is_alive && !is_led {
            self.roam = None;
        }
        None
    }

    /// The best way other than the one in use that has answered since then.
    pub(crate) fn alive_since(&self, moment: Instant) -> Option<Way> {
        self.others()
            .filter(|path| path.has_answered_since(moment))
            .min_by_key(|path| path.score())
            .map(|path| path.way)
    }

    /// Whether the way in use has answered since then.
    pub(crate) fn is_current_alive_since(&self, moment: Instant) -> bool {
        let current = self.current.and_then(|way| self.get(way));
        current.is_some_and(|path| path.has_answered_since(moment))
    }

    /// Whether any way has answered since then.
    pub(crate) fn has_any_answered_since(&self, moment: Instant) -> bool {
        self.paths
            .iter()
            .any(|path| path.has_answered_since(moment))
    }

    /// Whom to ask now, while data flows.
    pub(crate) fn due(&self, now: Instant) -> Vec<Way> {
        let Some(current) = self.current.and_then(|way| self.get(way)) else {
            return Vec::new();
        };
        let standbys = self.standbys(now);
        let is_relayed = current.rank() >= Rank::Stream;
        let is_due = |path: &&Path| {
            let has_answered = path.answered_at.is_some();
            // On a line that loses much, a miss is no reason to go on by a detour for another ten seconds.
            let is_near = path.answers > 0 || is_relayed && path.has_answered_within(WARM_FOR, now);
            let is_on_trial = path.beats(current) && is_near;
            let is_standby = standbys.iter().any(|standby| standby.way == path.way);
            let is_wanted = path.beats(current) || is_standby || standbys.len() < STANDBYS;
            let is_current = path.way == current.way;
            let pause = if has_answered && is_on_trial && !is_current {
                path.trial(current, now).pause
            } else if is_current || is_relayed || has_answered && is_wanted {
                WARM_EVERY
            } else {
                SEEK_EVERY
            };
            !path.was_asked_within(pause, now)
        };
        self.paths
            .iter()
            .filter(is_due)
            .map(|path| path.way)
            .collect()
    }
}

/// Whether both are relays. Which of those is taken does not depend on the direction, and both sides measure much the same
/// round trips: one side chooses, and the other follows.
fn are_relays(one: &Path, other: &Path) -> bool {
    [one, other].iter().all(|path| path.rank() == Rank::Relay)
}

#[cfg(test)]
mod tests;
