//! One way, what pings have said of it, and what it has to show.

use std::time::{Duration, Instant};

use crate::{
    path::{Rank, way::Way},
    round_trip::{MAX_PATIENCE, RoundTrip},
};

/// Between pings on a way that may take over.
pub(super) const TRIAL_EVERY: Duration = Duration::from_secs(1);
/// Answers in a row, without a miss, that show that a better way is good.
pub(super) const TRIAL_ANSWERS: u32 = 5;
/// A direct way that takes over from a relay has a shorter trial: whatever answers twice is better than a detour.
pub(super) const SHORT_TRIAL_EVERY: Duration = Duration::from_millis(250);
pub(super) const SHORT_TRIAL_ANSWERS: u32 = 2;
/// Unless it broke this recently: then it may do so again.
pub(super) const DISTRUST: Duration = Duration::from_secs(60);
/// Of two ways of one rank the other must be faster by a fifth and by this much: less is noise.
const CLEARLY_FASTER: Duration = Duration::from_millis(2);
/// Pings under way on one path; older ones are forgotten.
const MAX_OUTSTANDING: usize = 4;

/// One way.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) way: Way,
    pub(super) is_announced: bool,
    pub(super) round_trip: RoundTrip,
    pub(super) asked_at: Option<Instant>,
    /// When something was last sent there that is answered if somebody is there: for people.
    pub(super) tried_at: Option<Instant>,
    pub(super) answered_at: Option<Instant>,
    /// When the newest ping that was answered was sent: the way worked then.
    pub(super) worked_at: Option<Instant>,
    /// Pings answered since the last miss.
    pub(super) answers: u32,
    /// When it went silent while in use.
    pub(super) broke_at: Option<Instant>,
    pub(super) outstanding: Vec<(u64, Instant)>,
}

/// What a way has to show before it takes over from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    /// Between pings.
    pub(super) pause: Duration,
    /// Answers in a row, without a miss.
    pub(super) answers: u32,
}

impl Path {
    pub(super) const fn new(way: Way, is_announced: bool) -> Self {
        Self {
            way,
            is_announced,
            round_trip: RoundTrip::UNKNOWN,
            asked_at: None,
            tried_at: None,
            answered_at: None,
            worked_at: None,
            answers: 0,
            broke_at: None,
            outstanding: Vec::new(),
        }
    }

    pub(super) fn rank(&self) -> Rank {
        Rank::of(self.way, self.is_announced)
    }

    /// Best first.
    pub(super) fn score(&self) -> (Rank, Duration) {
        (
            self.rank(),
            self.round_trip.smoothed().unwrap_or(MAX_PATIENCE),
        )
    }

    pub(super) fn patience(&self) -> Duration {
        self.round_trip.patience()
    }

    pub(super) fn has_answered_since(&self, moment: Instant) -> bool {
        self.answered_at.is_some_and(|at| at >= moment)
    }

    /// Whether a ping that was sent since then has been answered.
    pub(super) fn has_worked_since(&self, moment: Instant) -> bool {
        self.worked_at.is_some_and(|at| at >= moment)
    }

    pub(super) fn has_answered_within(&self, time: Duration, now: Instant) -> bool {
        self.answered_at
            .is_some_and(|at| now.saturating_duration_since(at) < time)
    }

    pub(super) fn was_asked_within(&self, time: Duration, now: Instant) -> bool {
        self.asked_at
            .is_some_and(|at| now.saturating_duration_since(at) < time)
    }

    /// Whether this is clearly better than `other`.
    pub(super) fn beats(&self, other: &Self) -> bool {
        match (self.round_trip.smoothed(), other.round_trip.smoothed()) {
            (Some(mine), Some(theirs)) if self.rank() == other.rank() => {
                mine + CLEARLY_FASTER <= theirs && mine * 5 <= theirs * 4
            }
            _ => self.rank() < other.rank(),
        }
    }

    /// What this has to show before it takes over from `current`.
    pub(super) fn trial(&self, current: &Self, now: Instant) -> Trial {
        let is_detour = current.rank() >= Rank::Stream && self.rank() < Rank::Stream;
        let broke = self
            .broke_at
            .is_some_and(|at| now.saturating_duration_since(at) < DISTRUST);
        let (pause, answers) = if is_detour && !broke {
            (SHORT_TRIAL_EVERY, SHORT_TRIAL_ANSWERS)
        } else {
            (TRIAL_EVERY, TRIAL_ANSWERS)
        };
        Trial { pause, answers }
    }

    /// Whether a ping of a short while ago is missed.
    pub(super) fn has_missed(&self, now: Instant) -> bool {
        let missed = self.patience()..2 * MAX_PATIENCE;
        let age = |sent: Instant| now.saturating_duration_since(sent);
        self.outstanding
            .iter()
            .any(|(_, sent)| missed.contains(&age(*sent)))
    }

    pub(super) fn ask(&mut self, id: u64, now: Instant) {
        let patience = self.patience();
        let is_missed =
            |(_, sent): &&(u64, Instant)| now.saturating_duration_since(*sent) >= patience;
        if self.outstanding.iter().any(|ping| is_missed(&ping)) {
            self.answers = 0;
        }
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.outstanding.remove(0);
        }
        self.outstanding.push((id, now));
        self.asked_at = Some(now);
        self.tried_at = Some(now);
    }

    pub(super) fn answer(&mut self, position: usize, now: Instant) {
        let (_, sent) = self.outstanding.remove(position);
        // Those before it were lost, or come so late that they tell nothing new.
        self.outstanding.retain(|(_, earlier)| *earlier > sent);
        let taken = now.saturating_duration_since(sent);
        // What a cut held up on a stream arrives at once, and the last of it was held up least.
        if taken < self.patience() || self.outstanding.is_empty() {
            self.round_trip.measured(taken);
        }
        self.answered_at = Some(now);
        self.worked_at = Some(sent);
        self.answers += 1;
    }
}
