//! Virtual time: it passes only when a test says so.

use std::time::{Duration, Instant};

use tombolo_proto::id::UnixSeconds;

/// When virtual time begins, for documents.
const EPOCH: UnixSeconds = UnixSeconds(1_800_000_000);

/// A clock that stands still until it is moved.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    now: Instant,
    /// What an operator's hand or a time server did to the wall clock.
    step: i64,
}

impl Default for Clock {
    fn default() -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            step: 0,
        }
    }
}

impl Clock {
    /// The present.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// How much time has passed.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Moves on to `to`, never back.
    pub fn advance_to(&mut self, to: Instant) {
        self.now = self.now.max(to);
    }

    /// What the wall clock shows.
    #[must_use]
    pub fn wall(&self) -> UnixSeconds {
        let shown = EPOCH.0 + self.elapsed().as_secs();
        UnixSeconds(shown.saturating_add_signed(self.step))
    }

    /// Steps the wall clock alone.
    pub const fn step_wall(&mut self, seconds: i64) {
        self.step += seconds;
    }
}
