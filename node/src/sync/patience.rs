//! How long a controller may be silent before it counts as dead.
//!
//! A dead one has to be left within seconds. One that has more to do than it can is silent too, and is only burdened more
//! by nodes that leave and come back: each new connection costs it as much as a thousand signs of life. So when silences
//! follow each other soon, more often than controllers die, each is borne twice as long as the one before.

use std::time::{Duration, Instant};

/// What is borne at first. Silence is counted from the last sign of life that was sent, and those are nine tenths of a second
/// apart: with time to connect, a move to another controller takes less than 3 seconds.
const FIRST: Duration = Duration::from_millis(1350);
/// What is borne at first where there is no other controller to move to: half as many signs of life.
const FIRST_ALONE: Duration = Duration::from_secs(3);
/// What is borne at most: controllers give up after 30 seconds themselves.
const LONGEST: Duration = Duration::from_secs(24);
/// After so long without a silence too long, the next one is a first one.
const CALM: Duration = Duration::from_secs(60);
/// Silences that may follow a first one and are borne no longer: several controllers may die, or one that was just moved to.
const TOLERATED: u32 = 2;
/// Signs of life that fit into a silence that is borne: so many and a half.
const SIGNS: u32 = 3;

/// A node's patience with the controllers of one authority.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    silence: Duration,
    lost: Option<Instant>,
    repeated: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silence: FIRST,
            lost: None,
            repeated: 0,
        }
    }
}

impl Patience {
    /// The same, with a controller that is the only one, or with one of several.
    #[must_use]
    pub fn with(self, is_alone: bool) -> Self {
        if !is_alone {
            return self;
        }
        Self {
            silence: self.silence.max(FIRST_ALONE),
            ..self
        }
    }

    /// The longest silence of the next connection.
    #[must_use]
    pub const fn silence(&self) -> Duration {
        self.silence
    }

    /// How often the next connection has to show a sign of life.
    #[must_use]
    pub fn sign_of_life(&self) -> Duration {
        self.silence * 2 / SIGNS
    }

    /// A connection was given up because of its silence.
    pub fn handle_lost(&mut self, now: Instant) {
        let is_repeated = self
            .lost
            .is_some_and(|before| now.saturating_duration_since(before) < CALM + self.silence);
        self.repeated = if is_repeated { self.repeated + 1 } else { 0 };
        self.silence = match self.repeated {
            0..=TOLERATED => FIRST,
            _ => (self.silence * 2).min(LONGEST),
        };
        self.lost = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_dies_once_is_left_as_fast_as_ever_the_next_time() {
        let mut patience = Patience::default();
        let start = Instant::now();

        patience.handle_lost(start);
        assert_eq!(patience.silence(), FIRST);
        patience.handle_lost(start + Duration::from_secs(3600));

        assert_eq!(patience.silence(), FIRST);
        assert_eq!(patience.sign_of_life(), Duration::from_millis(900));
    }

    #[test]
    fn controllers_that_are_silent_again_and_again_get_more_time_up_to_a_bound() {
        let mut patience = Patience::default();
        let mut now = Instant::now();
        let mut borne = Vec::new();
        for _ in 0..9 {
            now += Duration::from_secs(10);
            patience.handle_lost(now);
            borne.push(patience.silence().as_millis());
        }

        assert_eq!(
            borne,
            [1350, 1350, 1350, 2700, 5400, 10800, 21600, 24000, 24000]
        );
        assert!(patience.silence() < Duration::from_secs(30));
    }

    #[test]
    fn the_only_controller_is_given_more_time_and_asked_less() {
        let patience = Patience::default().with(true);

        assert_eq!(patience.silence(), Duration::from_secs(3));
        assert_eq!(patience.sign_of_life(), Duration::from_secs(2));
        assert_eq!(Patience::default().with(false).silence(), FIRST);
    }

    #[test]
    fn patience_ends_when_nothing_was_lost_for_a_while() {
        let mut patience = Patience::default();
        let start = Instant::now();
        for seconds in [0, 1, 2, 4, 7, 13] {
            patience.handle_lost(start + Duration::from_secs(seconds));
        }
        assert_eq!(patience.silence(), FIRST * 8);

        patience.handle_lost(start + Duration::from_secs(13) + CALM + FIRST * 8);

        assert_eq!(patience.silence(), FIRST);
    }
}
