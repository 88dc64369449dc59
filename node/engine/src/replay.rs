//! Which frame counters were seen under one key, without a lock: any number of threads may mark at once.
//!
//! A ring of words, each of which says for one block of 32 counters which of them were seen. A word names its block, so
//! a word that still holds an older block is replaced together with its name, in one atomic step, and nothing ever has to
//! be cleared, however far the counters leap. The block of a word only rises and a bit of a block is only ever set; so no
//! counter is taken twice, in whatever order threads get to mark.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far a frame may lag behind the newest and still be taken: several 64 KiB bursts of several flows, reordered by
/// parallel queues.
pub const WINDOW: u64 = 8192;

/// Counters from here on are refused: the number of a block has 32 bits.
pub const LIMIT: u64 = BLOCK << 32;

/// Counters per word; its other half is the number of the block.
const BLOCK: u64 = 32;
/// One word more than the window holds: the newest word is only partly in use.
const WORDS: usize = (WINDOW / BLOCK) as usize + 1;

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
#[derive(Debug)]
pub struct ReplayWindow {
    /// One above the highest counter seen.
    next: AtomicU64,
    /// `block << 32 | counters of the block that were seen`.
    words: [AtomicU64; WORDS],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }
}

impl ReplayWindow {
    /// Counters below this one are too old to be taken.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.next.load(Relaxed).saturating_sub(WINDOW)
    }

    /// Whether no counter was ever taken.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.next.load(Relaxed) == 0
    }

    /// Takes note of the counter of an authenticated frame.
    ///
    /// The operations may be relaxed: that a counter is taken once is decided by one exchange of one word, and nothing
    /// else that a thread reads depends on it.
    #[must_use]
    pub fn mark(&self, counter: u64) -> Seen {
        if counter < self.floor() || counter >= LIMIT || !self.take(counter) {
            return Seen::Replayed;
        }
        // Reading first spares late frames the exchange.
        let is_newest = counter >= self.next.load(Relaxed)
            && self.next.fetch_max(counter + 1, Relaxed) <= counter;
        if is_newest { Seen::Newest } else { Seen::Late }
    }

    /// Sets the counter's bit; `false` if it was set, or its word has gone on to a later block.
    fn take(&self, counter: u64) -> bool {
        let block = counter / BLOCK;
        let bit = 1 << (counter % BLOCK);
        let word = &self.words[(block % WORDS as u64) as usize];
        let mut current = word.load(Relaxed);
        loop {
            let seen = match (current >> 32).cmp(&block) {
                std::cmp::Ordering::Less => block << 32,
                std::cmp::Ordering::Equal => current,
                std::cmp::Ordering::Greater => return false,
            };
            if seen & bit != 0 {
                return false;
            }
            match word.compare_exchange_weak(current, seen | bit, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(changed) => current = changed,
            }
        }
    }
}

#[cfg(test)]
mod tests;
