//! Which frame counters were seen under one key (after RFC 6479): a ring of 64-bit words that slides with the highest
//! counter, so that sliding clears whole words.

/// How far a frame may lag behind the newest and still be taken: several 64 KiB bursts of several flows, reordered by
/// parallel queues.
pub const WINDOW: u64 = 8192;

const WORD_BITS: u64 = 64;
/// One word more than the window holds: the newest word is only partly in use.
const WORDS: usize = (WINDOW / WORD_BITS) as usize + 1;

/// What a counter turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Above all before it.
    Newest,
    /// Late but within the window and not seen before.
    Late,
    /// Seen before, or too old to tell.
    Replayed,
}

/// The counters seen under one key.
#[derive(Debug, Clone)]
pub struct ReplayWindow {
    /// One above the highest counter seen.
    next: u64,
    words: [u64; WORDS],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self {
            next: 0,
            words: [0; WORDS],
        }
    }
}

impl ReplayWindow {
    /// Counters below this one are too old to be taken.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.next.saturating_sub(WINDOW)
    }

    /// Takes note of the counter of an authenticated frame. `counter` must be below `u64::MAX`.
    #[must_use]
    pub fn mark(&mut self, counter: u64) -> Seen {
        if counter < self.floor() {
            return Seen::Replayed;
        }
        let newest = counter >= self.next;
        if newest {
            self.slide_to(counter);
        }
        let bit = 1 << (counter % WORD_BITS);
        let word = self.word(counter / WORD_BITS);
        if *word & bit != 0 {
            return Seen::Replayed;
        }
        *word |= bit;
        if newest { Seen::Newest } else { Seen::Late }
    }

    fn slide_to(&mut self, counter: u64) {
        let target = counter / WORD_BITS;
        // The word that holds the highest counter so far stays; with none so far, all words are clear already.
        let first = self.next.saturating_sub(1) / WORD_BITS + 1;
        for number in first.max(target.saturating_sub(WORDS as u64 - 1))..=target {
            *self.word(number) = 0;
        }
        self.next = counter + 1;
    }

    fn word(&mut self, number: u64) -> &mut u64 {
        &mut self.words[(number % WORDS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_is_taken_once_and_the_window_is_exactly_as_wide_as_promised() {
        let mut window = ReplayWindow::default();

        assert_eq!(window.mark(WINDOW), Seen::Newest);
        assert_eq!(window.mark(WINDOW), Seen::Replayed);
        assert_eq!(window.mark(1), Seen::Late);
        assert_eq!(window.mark(0), Seen::Replayed);
    }

    #[test]
    fn a_leap_forgets_everything_before_the_window() {
        let mut window = ReplayWindow::default();
        for counter in 0..200 {
            assert_eq!(window.mark(counter), Seen::Newest);
        }

        assert_eq!(window.mark(1 << 40), Seen::Newest);

        assert_eq!(window.mark(199), Seen::Replayed);
        assert_eq!(window.mark((1 << 40) - WINDOW + 1), Seen::Late);
        assert_eq!(window.mark((1 << 40) - WINDOW), Seen::Replayed);
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_remembering_everything(steps in prop::collection::vec(a_step(), 1..400)) {
            let mut window = ReplayWindow::default();
            let mut naive = Naive::default();
            let mut position = 0u64;
            for step in steps {
                position = position.saturating_add_signed(step);
                prop_assert_eq!(window.mark(position), naive.mark(position), "at {}", position);
            }
        }
    }

    #[derive(Default)]
    struct Naive(BTreeSet<u64>);

    impl Naive {
        fn mark(&mut self, counter: u64) -> Seen {
            let highest = self.0.last().copied();
            let too_old = highest.is_some_and(|highest| counter + WINDOW <= highest);
            if too_old || !self.0.insert(counter) {
                return Seen::Replayed;
            }
            if highest.is_none_or(|highest| counter > highest) {
                Seen::Newest
            } else {
                Seen::Late
            }
        }
    }

    fn a_step() -> impl Strategy<Value = i64> {
        prop_oneof![
            6 => -3i64..5,
            2 => -200i64..200,
            1 => -9000i64..9000,
            1 => 0i64..1 << 33,
        ]
    }
}
