//! What is remembered of one peer that has a session, and what it may make this node do.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_proto::gossip::{Digest, Gossiped};

use super::parts::Assembly;
use crate::budget::Budget;

/// Messages sent in answer to one peer: 150 kB in a burst, then 76 kB/s. A directory of ten thousand takes a minute.
const ANSWERS: (u32, Duration) = (128, Duration::from_millis(15));
/// Documents of one peer whose signatures are checked: 200 a second are one or two hundredths of a core.
const CHECKS: (u32, Duration) = (512, Duration::from_millis(5));
/// Digests and comparisons of one peer that are looked at.
const QUESTIONS: (u32, Duration) = (32, Duration::from_millis(250));
/// Before this node asks the same peer for more; doubled as long as it has nothing of use.
const PULL_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PULL_PAUSE: Duration = Duration::from_secs(30);

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// The last it said.
    pub(super) digest: Option<Digest>,
    /// Where it sees this node.
    pub(super) seen: Option<SocketAddr>,
    /// Whether this node is one of its standing neighbours.
    pub(super) is_fan: bool,
    /// When it gets a digest next, if it is a standing neighbour or hurried.
    pub(super) compare_at: Instant,
    /// When to ask it for more.
    pub(super) pull_at: Option<Instant>,
    hurried: u8,
    pulled_at: Option<Instant>,
    not_before: Option<Instant>,
    pull_pause: Duration,
    assembly: Option<Assembly>,
    answers: Budget,
    checks: Budget,
    questions: Budget,
}

impl Peer {
    pub(super) fn new(compare_at: Instant) -> Self {
        Self {
            digest: None,
            seen: None,
            is_fan: false,
            compare_at,
            pull_at: None,
            hurried: 0,
            pulled_at: None,
            not_before: None,
            pull_pause: PULL_PAUSE,
            assembly: None,
            answers: Budget::default(),
            checks: Budget::default(),
            questions: Budget::default(),
        }
    }

    /// It is to have digests soon, and several if it does not come to agree.
    pub(super) fn hurry(&mut self, repeats: u8, at: Instant) {
        self.hurried = repeats;
        self.compare_at = self.compare_at.min(at);
    }

    pub(super) const fn is_hurried(&self) -> bool {
        self.hurried > 0
    }

    /// One digest less to come; none if it agrees.
    pub(super) const fn calm(&mut self, agrees: bool) {
        self.hurried = if agrees {
            0
        } else {
            self.hurried.saturating_sub(1)
        };
    }

    pub(super) fn may_answer(&mut self, now: Instant) -> bool {
        self.answers.spend(ANSWERS.0, ANSWERS.1, now)
    }

    pub(super) fn may_have_checked(&mut self, now: Instant) -> bool {
        self.checks.spend(CHECKS.0, CHECKS.1, now)
    }

    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        self.questions.spend(QUESTIONS.0, QUESTIONS.1, now)
    }

    /// It had something that is new here: more may follow.
    pub(super) const fn was_useful(&mut self) {
        self.pull_pause = PULL_PAUSE;
    }

    /// What it has may all be of use now: it is to be asked as if for the first time.
    pub(super) const fn ask_anew(&mut self, now: Instant) {
        self.pulled_at = None;
        self.not_before = None;
        self.pull_pause = PULL_PAUSE;
        self.pull_at = Some(now);
    }

    /// It is not to be asked before `at`.
    pub(super) fn pull_not_before(&mut self, at: Instant) {
        self.not_before = Some(at);
    }

    /// Whether to ask it now; if not, [`Self::pull_at`] is when.
    pub(super) fn may_pull(&mut self, now: Instant) -> bool {
        let next = self
            .pulled_at
            .map(|at| at + self.pull_pause)
            .max(self.not_before);
        if let Some(at) = next.filter(|at| now < *at) {
            self.pull_at = Some(at);
            return false;
        }
        self.pull_at = Some(now + self.pull_pause);
        if self.pulled_at.replace(now).is_some() {
            self.pull_pause = (self.pull_pause * 2).min(LONGEST_PULL_PAUSE);
        }
        true
    }

    pub(super) fn assemble(
        &mut self,
        document: u32,
        index: u8,
        count: u8,
        bytes: Vec<u8>,
    ) -> Option<Gossiped> {
        Assembly::take(&mut self.assembly, document, index, count, bytes)
    }
}
