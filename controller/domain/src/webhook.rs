//! Telling others by HTTP: when an attempt that failed is repeated, and when nobody is told any more.

/// Pause after the first attempt that failed; each one after it is three times as long.
const FIRST_PAUSE_SECONDS: u64 = 5;
/// Longest pause.
const LONGEST_PAUSE_SECONDS: u64 = 6 * 3600;
/// A receiver that took nothing for so long is told nothing more: its outage lasted over a weekend.
pub const PATIENCE_SECONDS: u64 = 3 * 24 * 3600;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Taken,
    /// It was not: again later.
    Failed,
    /// The receiver says that it is gone for good.
    Gone,
}

impl Outcome {
    /// What an HTTP status means.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Taken,
            410 => Self::Gone,
            _ => Self::Failed,
        }
    }
}

/// Seconds until the next attempt after `attempts` that failed. `jitter` is random and shortens the pause by up to a
/// fifth, so that those that failed together do not come back together.
#[must_use]
pub fn pause(attempts: u32, jitter: u16) -> u64 {
    let longer = 3_u64.saturating_pow(attempts.saturating_sub(1));
    let full = FIRST_PAUSE_SECONDS
        .saturating_mul(longer)
        .min(LONGEST_PAUSE_SECONDS);
    full - full * u64::from(jitter) / (5 * u64::from(u16::MAX))
}

/// Whether a receiver that failed for so many seconds without taking anything is given up.
#[must_use]
pub const fn is_dead(failing_for: u64) -> bool {
    failing_for >= PATIENCE_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_shortened_by_a_fifth_at_most() {
        let pauses: Vec<u64> = (1..=10).map(|attempts| pause(attempts, 0)).collect();

        assert_eq!(
            pauses,
            [5, 15, 45, 135, 405, 1215, 3645, 10935, 21600, 21600]
        );
        assert_eq!(pause(u32::MAX, 0), LONGEST_PAUSE_SECONDS);
        assert_eq!((pause(3, u16::MAX), pause(9, u16::MAX)), (36, 17280));
    }

    #[test]
    fn a_receiver_has_fifteen_attempts_and_more_before_it_is_given_up() {
        let mut at = 0;
        let mut attempts = 0;
        while !is_dead(at) {
            attempts += 1;
            at += pause(attempts, 0);
        }

        assert!((15..30).contains(&attempts), "{attempts}");
        assert!(!is_dead(PATIENCE_SECONDS - 1));
    }

    #[test]
    fn statuses_mean_what_receivers_mean_by_them() {
        assert_eq!(Outcome::of_status(204), Outcome::Taken);
        assert_eq!(Outcome::of_status(410), Outcome::Gone);
        for status in [301, 302, 400, 404, 429, 500, 503] {
            assert_eq!(Outcome::of_status(status), Outcome::Failed, "{status}");
        }
    }
}
