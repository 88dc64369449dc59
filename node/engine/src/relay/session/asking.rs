//! A question to a relay, repeated until it is answered or in vain.

use std::time::{Duration, Instant};

/// Before a question is repeated; doubles, up to the longest: where much is lost, whoever waits for a peer waits for this.
const ASK_PAUSE: Duration = Duration::from_millis(250);
const ASK_PAUSE_AT_MOST: Duration = Duration::from_secs(1);
/// Questions without an answer after which the relay counts as one that does not answer.
const ASKS: u32 = 5;

/// A question under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) next_at: Instant,
    pub(super) asked: u32,
}

impl Asking {
    pub(super) const fn now(now: Instant) -> Self {
        Self {
            next_at: now,
            asked: 0,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_at <= now
    }

    pub(super) fn asked(&mut self, now: Instant) {
        let pause = ASK_PAUSE * 2u32.saturating_pow(self.asked);
        self.next_at = now + pause.min(ASK_PAUSE_AT_MOST);
        self.asked += 1;
    }

    pub(super) const fn is_in_vain(&self) -> bool {
        self.asked >= ASKS
    }
}
