//! How long an answer takes, and for how long one is waited for.

use std::time::Duration;

/// A ping that is not answered in this time or three round trips is missed.
pub(crate) const MIN_PATIENCE: Duration = Duration::from_millis(300);
/// However long round trips take, a ping is missed after this.
pub(crate) const MAX_PATIENCE: Duration = Duration::from_secs(3);

/// A round-trip time, once there was an answer; smoothed as TCP does it (RFC 6298).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundTrip(Option<Duration>);

impl RoundTrip {
    pub(crate) const UNKNOWN: Self = Self(None);

    pub(crate) const fn smoothed(self) -> Option<Duration> {
        self.0
    }

    /// How long to wait for an answer; as short as it gets while nothing is known.
    pub(crate) fn patience(self) -> Duration {
        (self.0.unwrap_or_default() * 3).clamp(MIN_PATIENCE, MAX_PATIENCE)
    }

    /// An answer came after this time. Later than patience lasts, it counts as that late and no later: on a stream of TCP
    /// whatever a cut held up arrives after it, and says how long the cut was. So TCP leaves out what it has repeated
    /// (Karn's algorithm, RFC 6298 section 3); but a way that has really become slower shows in nothing else.
    pub(crate) fn measured(&mut self, sample: Duration) {
        self.0 = Some(match self.0 {
            Some(smoothed) => (smoothed * 7 + sample.min(self.patience())) / 8,
            None => sample,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn answers_that_a_cut_held_up_hardly_change_patience() {
        let mut round_trip = RoundTrip::UNKNOWN;
        round_trip.measured(MILLI * 20);

        for late in [5_000, 4_800, 4_600, 4_400] {
            round_trip.measured(MILLI * late);
        }

        assert!(round_trip.patience() <= MIN_PATIENCE * 3 / 2);
    }

    #[test]
    fn a_way_that_has_become_slower_is_known_as_such_by_and_by() {
        let mut round_trip = RoundTrip::UNKNOWN;
        round_trip.measured(MILLI * 20);

        let answers = (1..).find(|_| {
            round_trip.measured(MILLI * 600);
            round_trip.patience() >= MILLI * 1500
        });

        assert!(answers.is_some_and(|answers| answers <= 20), "{answers:?}");
    }
}
