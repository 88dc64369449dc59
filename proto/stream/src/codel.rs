//! Controlled delay (CoDel, RFC 8289): which frames to leave out so that a queue does not stand.
//!
//! A queue that fills for a moment and empties again is good: it takes bursts. One in which everything waits for long all the
//! time only delays. So what counts is whether the least wait within an interval was too long. While it is, frames are left
//! out, the one that has waited longest first, and ever more often: TCP inside takes the hint, the sooner the older the frame.

use std::time::{Duration, Instant};

/// A standing wait that is borne: a few milliseconds by RFC 8289, and here as much as one batch takes on a slow line.
const TARGET: Duration = Duration::from_millis(15);
/// For how long the wait must stand (RFC 8289 section 4.2: the longest usual round trip).
const INTERVAL: Duration = Duration::from_millis(100);

/// What is remembered of one queue.
#[derive(Debug, Default)]
pub(crate) struct Codel {
    /// If the wait is too long: until when that is borne.
    borne_until: Option<Instant>,
    dropping: Option<Dropping>,
    /// The last time of dropping: when it was to go on, how often it had been done by then and when that began.
    last: Option<Dropping>,
}

#[derive(Debug, Clone, Copy)]
struct Dropping {
    next: Instant,
    count: u32,
    /// What `count` was when it began.
    first: u32,
}

impl Dropping {
    /// The more often, the sooner again: TCP's throughput falls with the root of its loss.
    fn after(moment: Instant, count: u32, first: u32) -> Self {
        Self {
            next: moment + INTERVAL.div_f64(f64::from(count.max(1)).sqrt()),
            count,
            first,
        }
    }
}

impl Codel {
    /// Whether to leave out the frame that has waited longest, for so long. `is_last`: behind it hardly anything waits.
    pub(crate) fn drops(&mut self, waited: Duration, is_last: bool, now: Instant) -> bool {
        if !self.stands(waited, is_last, now) {
            self.last = self.dropping.take().or(self.last);
            return false;
        }
        let next = match self.dropping {
            Some(dropping) if now < dropping.next => return false,
            Some(Dropping { next, count, first }) => Dropping::after(next, count + 1, first),
            None => {
                // Soon after the last time it goes on about where it was.
                let count = self.last.map_or(1, |last| {
                    let is_recent = now.saturating_duration_since(last.next) < 16 * INTERVAL;
                    let more = last.count - last.first;
                    if is_recent && more > 1 { more } else { 1 }
                });
                Dropping::after(now, count, count)
            }
        };
        self.dropping = Some(next);
        true
    }

    fn stands(&mut self, waited: Duration, is_last: bool, now: Instant) -> bool {
        if waited < TARGET || is_last {
            self.borne_until = None;
            return false;
        }
        now >= *self.borne_until.get_or_insert(now + INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_that_drains_passes_whole() {
        let mut line = Line::new();
        for _ in 0..90 {
            line.arrive();
        }

        let sent = (0..90).filter(|_| line.send(MILLI)).count();

        assert_eq!(sent, 90);
    }

    #[test]
    fn what_comes_faster_than_it_goes_is_thinned_out_ever_more() {
        let mut line = Line::new();
        let mut dropped = Vec::new();
        for _ in 0..10 {
            let before = line.dropped;
            for _ in 0..500 {
                line.arrive();
                line.arrive_now_and_then();
                line.send(MILLI);
            }
            dropped.push(line.dropped - before);
        }

        assert!(dropped[0] > 0 && dropped[9] > dropped[0] * 3, "{dropped:?}");
    }

    #[test]
    fn a_sender_that_takes_the_hint_soon_waits_no_longer_than_is_borne() {
        let mut line = Line::new();
        // As TCP: a window that grows by one in each round trip and is halved by a loss.
        let (mut window, mut hints) = (100, 0);
        let mut waits = Vec::new();
        for _ in 0..20_000 {
            while line.queue.len() < window {
                line.arrive();
            }
            let before = line.dropped;
            line.send(MILLI);
            waits.push(line.waited);
            if line.dropped > before {
                window = (window / 2).max(2);
                hints += 1;
            } else if line.sent.is_multiple_of(20) {
                window += 1;
            }
        }
        waits.drain(..2_000);
        waits.sort_unstable();

        let median = waits[waits.len() / 2];
        assert!(median <= TARGET * 2 && hints > 10, "{median:?} {hints}");
    }

    #[test]
    fn the_last_ones_are_never_left_out_however_long_they_waited() {
        let mut codel = Codel::default();
        let mut now = Line::new().now;
        for _ in 0..1000 {
            now += MILLI * 50;
            assert!(!codel.drops(MILLI * 500, true, now));
        }
    }

    /// Takes a frame in a millisecond.
    struct Line {
        codel: Codel,
        queue: VecDeque<Instant>,
        now: Instant,
        arrived: usize,
        sent: usize,
        dropped: usize,
        waited: Duration,
    }

    impl Line {
        #[expect(
            clippy::disallowed_methods,
            reason = "any instant will do to count from"
        )]
        fn new() -> Self {
            Self {
                codel: Codel::default(),
                queue: VecDeque::new(),
                now: Instant::now(),
                arrived: 0,
                sent: 0,
                dropped: 0,
                waited: Duration::ZERO,
            }
        }

        fn arrive(&mut self) {
            self.queue.push_back(self.now);
            self.arrived += 1;
        }

        /// One in ten more.
        fn arrive_now_and_then(&mut self) {
            if self.arrived.is_multiple_of(10) {
                self.arrive();
            }
        }

        /// Whether there was something to send.
        fn send(&mut self, takes: Duration) -> bool {
            self.now += takes;
            while let Some(since) = self.queue.pop_front() {
                self.waited = self.now - since;
                if !self
                    .codel
                    .drops(self.waited, self.queue.is_empty(), self.now)
                {
                    self.sent += 1;
                    return true;
                }
                self.dropped += 1;
            }
            false
        }
    }
}
