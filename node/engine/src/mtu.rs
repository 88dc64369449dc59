//! The largest frame that a way to a peer takes, found by asking (RFC 8899, datagram packetization layer path MTU
//! discovery): probes of a size, which the peer answers with a few bytes.
//!
//! Sizes are bytes of lane frames. What carries a frame, UDP and IP or a relay's header, is part of the way and so is
//! part of what is found.
//!
//! 1. A new way is trusted with a frame of the usual size, and asked about it at once.
//! 2. Every question goes out together with one of [`FLOOR`] bytes, which passes wherever handshakes do. An answer to the
//!    small one alone is a *strike*: three in a row, and something on the way swallows large datagrams. No answer at all
//!    says nothing of sizes; whether the peer lives is for others to find out.
//! 3. Below a hole frames are cut to what is known to pass, and the size between is searched: a handful of sizes at once,
//!    then a handful between the largest that passed and the smallest that did not. The size that failed is among the
//!    first ones, so that a wrong verdict costs one round trip.
//! 4. While much data flows the size in use is asked about twice a second, and at once when the peer's side of the
//!    conversation stops: a way may change without a word. An idle way is never asked.
//! 5. Ten minutes after a search that ended below the largest size, the next traffic starts another.

mod ways;

use std::time::{Duration, Instant};

use tombolo_proto::{frame::LANE_OVERHEAD, id::Mtu};

pub(crate) use ways::WayMtus;

/// Smallest frame that is ever asked about: with the 12 bytes of a relay's header it makes a datagram of 1,200 bytes
/// (BASE_PLPMTU of RFC 8899 section 5.1.2), which nothing of a handshake exceeds either.
pub(crate) const FLOOR: u16 = 1200 - 12;
/// What a new way is trusted with: a packet of the usual network over Ethernet.
const USUAL: u16 = Mtu::DEFAULT.0 + LANE_OVERHEAD as u16;
/// Strikes that make a hole; with a tenth of all datagrams lost, chance makes one in a thousand questions.
const STRIKES: u8 = 3;
/// Between questions about the size in use while much data flows: with three strikes a hole is found in about a second.
const CONFIRM_PAUSE: Duration = Duration::from_millis(500);
/// Between such questions when the peer's side of the conversation has stopped.
const SUSPICION_PAUSE: Duration = Duration::from_millis(250);
/// PMTU_RAISE_TIMER of RFC 8899 section 5.1.1.
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// Sizes per question of a search: some 12 KB in one go.
const LADDER: u16 = 8;
/// How often a size of a search is asked about before it counts as too large.
const ATTEMPTS: u8 = 2;
/// A search ends when it knows the size this well.
const PRECISION: u16 = 8;
/// How long an answer may take while nothing is known of the round trip, and at most.
const FIRST_PATIENCE: Duration = Duration::from_millis(400);
const MAX_PATIENCE: Duration = Duration::from_secs(1);
const MIN_PATIENCE: Duration = Duration::from_millis(100);
/// After the small probe's answer, the large one's may still take this long: datagrams overtake each other.
const GRACE: Duration = Duration::from_millis(25);
/// Questions without any answer, each after twice the pause, before the peer is taken for one that knows no probes.
const UNANSWERED: u32 = 6;

/// Bytes sent between two looks that make it worth asking about sizes.
const MUCH: u64 = FLOOR as u64;

/// What a look at the counters showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Bytes of packets to the peer since the last look.
    pub(crate) sent: u64,
    /// Whether packets of the peer came.
    pub(crate) is_answered: bool,
}

/// What is known of one way.
#[derive(Debug)]
pub(crate) struct WayMtu {
    ceiling: u16,
    limit: u16,
    is_proven: bool,
    /// The smallest size that is known not to pass.
    failed: Option<u16>,
    strikes: u8,
    unanswered: u32,
    number: u32,
    round: Option<Round>,
    /// The question to repeat for what was not answered.
    again: Option<Again>,
    due: Option<Instant>,
    raise_at: Option<Instant>,
    asked_at: Option<Instant>,
}

/// A question to send: one probe of each size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Comes back in answers.
    pub(crate) number: u32,
    /// Bytes of frames.
    pub(crate) sizes: Vec<u16>,
}

/// Purpose, sizes and attempt of a question to come.
type Again = (Purpose, Vec<u16>, u8);

/// A question under way.
#[derive(Debug)]
struct Round {
    purpose: Purpose,
    /// Without [`FLOOR`], in order.
    sizes: Vec<u16>,
    best: Option<u16>,
    is_floor_answered: bool,
    attempt: u8,
    sent: Instant,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Confirm,
    Search,
}

impl WayMtu {
    /// A way that nothing is known of, in a network whose packets have at most `mtu` bytes. Its questions are numbered
    /// from `number`.
    pub(crate) fn new(mtu: Mtu, number: u32, now: Instant) -> Self {
        let ceiling = ceiling(mtu);
        Self {
            ceiling,
            limit: trusted(mtu),
            is_proven: false,
            failed: None,
            strikes: 0,
            unanswered: 0,
            number,
            round: None,
            again: None,
            due: Some(now),
            raise_at: None,
            asked_at: None,
        }
    }

    /// Largest frame to send now.
    pub(crate) const fn limit(&self) -> u16 {
        self.limit
    }

    /// Whether the peer has answered a probe of that size.
    pub(crate) const fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// The network's MTU is another now.
    pub(crate) fn set_mtu(&mut self, mtu: Mtu, now: Instant) {
        if self.ceiling != ceiling(mtu) {
            *self = Self::new(mtu, self.number, now);
        }
    }

    /// The way is in use again after another one was: what is known of it may be out of date.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.unanswered = 0;
        self.round = None;
        self.again = None;
        self.due = Some(now);
    }

    /// The peer may be another version of itself since it last answered nothing.
    pub(crate) fn try_again(&mut self, now: Instant) {
        if self.unanswered >= UNANSWERED {
            self.resume(now);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.round.as_ref().map(|round| round.until).or(self.due)
    }

    /// Takes note of what passes.
    pub(crate) fn handle_traffic(&mut self, traffic: Traffic, now: Instant) {
        if traffic.sent < MUCH || self.round.is_some() {
            return;
        }
        if self.raise_at.is_some_and(|at| now >= at) {
            self.raise_at = None;
            self.failed = None;
            self.due = Some(now);
            return;
        }
        let pause = if self.unanswered >= UNANSWERED {
            RAISE_AFTER
        } else if traffic.is_answered {
            CONFIRM_PAUSE
        } else {
            SUSPICION_PAUSE
        };
        let at = self.asked_at.map_or(now, |asked| asked + pause).max(now);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The sizes to ask about now, and the number of the question. `round_trip` is what the way takes, if that is known.
    pub(crate) fn handle_timeout(
        &mut self,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Option<Question> {
        if let Some(round) = self.round.take_if(|round| round.until <= now) {
            self.judge(round, now);
        }
        if self.round.is_some() || self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = None;
        let (purpose, sizes, attempt) = self.again.take().unwrap_or_else(|| self.next_question());
        let patience = round_trip.map_or(FIRST_PATIENCE, |taken| {
            (taken * 2 + GRACE).clamp(MIN_PATIENCE, MAX_PATIENCE)
        });
        self.number = self.number.wrapping_add(1);
        self.asked_at = Some(now);
        let mut asked = sizes.clone();
        asked.push(FLOOR);
        self.round = Some(Round {
            purpose,
            sizes,
            best: None,
            is_floor_answered: false,
            attempt,
            sent: now,
            until: now + patience,
        });
        Some(Question {
            number: self.number,
            sizes: asked,
        })
    }

    fn next_question(&self) -> Again {
        if self.is_proven && self.raise_at.is_none() && self.is_open() {
            (Purpose::Search, ladder(self.limit, self.top()), 1)
        } else {
            (Purpose::Confirm, vec![self.limit], 1)
        }
    }

    fn top(&self) -> u16 {
        self.failed.unwrap_or(self.ceiling)
    }

    /// Whether the largest size may lie above the one in use.
    fn is_open(&self) -> bool {
        match self.failed {
            Some(failed) => failed.saturating_sub(self.limit) > PRECISION,
            None => self.limit < self.ceiling,
        }
    }

    /// The peer got a probe of `size` bytes that belongs to the question `number`.
    pub(crate) fn handle_answer(&mut self, number: u32, size: u16, now: Instant) {
        let Some(round) = self.round.as_mut().filter(|_| number == self.number) else {
            return;
        };
        self.unanswered = 0;
        if size == FLOOR {
            round.is_floor_answered = true;
            let taken = now.saturating_duration_since(round.sent);
            round.until = round.until.min(now + GRACE + taken / 4);
        } else if round.sizes.contains(&size) {
            round.best = round.best.max(Some(size));
        }
        let is_answered = round.best.is_some() && round.best == round.sizes.last().copied();
        if is_answered && let Some(round) = self.round.take() {
            self.judge(round, now);
        }
    }

    /// The kernel refused to send a frame of `size` bytes on this way: its interface takes less.
    pub(crate) fn handle_refused(&mut self, size: u16, now: Instant) {
        if size <= FLOOR {
            return;
        }
        self.failed = Some(self.failed.map_or(size, |failed| failed.min(size)));
        if self.limit >= size {
            self.limit = FLOOR;
            self.is_proven = true;
            self.raise_at = None;
            self.round = None;
            self.again = None;
            self.due = Some(now);
        }
    }

    fn judge(&mut self, round: Round, now: Instant) {
        if round.best.is_none() && !round.is_floor_answered {
            return self.nothing_came(now);
        }
        match round.purpose {
            Purpose::Confirm if round.best.is_some() || self.limit <= FLOOR => self.found(now),
            Purpose::Confirm => self.strike(now),
            Purpose::Search => self.narrow(&round, now),
        }
    }

    fn nothing_came(&mut self, now: Instant) {
        self.unanswered = self.unanswered.saturating_add(1);
        let pause = MIN_PATIENCE * 2u32.saturating_pow(self.unanswered);
        self.due = (self.unanswered < UNANSWERED).then(|| now + pause);
    }

    fn strike(&mut self, now: Instant) {
        self.strikes += 1;
        self.due = Some(now + GRACE);
        if self.strikes >= STRIKES {
            self.strikes = 0;
            self.failed = Some(self.limit);
            self.limit = FLOOR;
            self.is_proven = true;
            self.raise_at = None;
            self.due = Some(now);
        }
    }

    fn narrow(&mut self, round: &Round, now: Instant) {
        let best = round.best.unwrap_or(self.limit);
        self.limit = self.limit.max(best);
        self.failed = self.failed.filter(|failed| *failed > self.limit);
        let missing: Vec<u16> = round
            .sizes
            .iter()
            .copied()
            .filter(|size| *size > best)
            .collect();
        if !missing.is_empty() && round.attempt < ATTEMPTS {
            self.again = Some((Purpose::Search, missing, round.attempt + 1));
            self.due = Some(now);
            return;
        }
        self.failed = missing.first().copied().or(self.failed);
        self.found(now);
    }

    /// The size in use passes.
    fn found(&mut self, now: Instant) {
        self.strikes = 0;
        self.is_proven = true;
        if self.raise_at.is_some() {
            return;
        }
        if self.is_open() {
            self.due = Some(now);
        } else if self.limit < self.ceiling {
            self.raise_at = Some(now + RAISE_AFTER);
        }
    }
}

/// The frame of the largest packet.
fn ceiling(mtu: Mtu) -> u16 {
    mtu.0.saturating_add(LANE_OVERHEAD as u16)
}

/// The largest frame for a way that nothing is known of.
pub(crate) fn trusted(mtu: Mtu) -> u16 {
    ceiling(mtu).min(USUAL)
}

/// Sizes above `from` up to `to`, evenly spread, in order.
fn ladder(from: u16, to: u16) -> Vec<u16> {
    let span = u32::from(to.saturating_sub(from));
    let mut sizes: Vec<u16> = (1..=LADDER)
        .map(|step| from + (span * u32::from(step) / u32::from(LADDER)) as u16)
        .filter(|size| *size > from)
        .collect();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests;
