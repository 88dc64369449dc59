//! Retry schedules as values.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};

/// A retry schedule: a list of pauses, then the last one for ever, each with jitter.
///
/// Jitter adds up to a quarter, so that nodes that lost the same thing at once do not come back at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    pauses: &'static [Duration],
    taken: usize,
}

/// How handshakes are repeated: 0.25, 0.5, 1, 2 and 4 s after the first, because a lost datagram must not be felt; then
/// every 5 s for a minute, while the outage may still be a short one; then as rarely as is polite to a host that is gone.
pub const HANDSHAKE: &[Duration] = &[
    Duration::from_millis(250),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
];

/// How often others are asked to have a peer call: about as often as the first handshakes, because a call may be lost like
/// they are, then less and less, but within the 30 s that many NATs keep a mapping (RFC 4787 REQ-5 asks for two minutes).
pub const RENDEZVOUS: &[Duration] = &[
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// How often a stream to a peer that a relay carries for is sought: as UDP is beside a stream, and as rarely in the end.
pub const STREAM: &[Duration] = &[
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(80),
    Duration::from_secs(120),
];

impl Backoff {
    /// The schedule from its start.
    #[must_use]
    pub const fn new(pauses: &'static [Duration]) -> Self {
        Self { pauses, taken: 0 }
    }

    /// How long to wait before the next try.
    pub fn next(&mut self, rng: &mut StdRng) -> Duration {
        let pause = self
            .pauses
            .get(self.taken)
            .or(self.pauses.last())
            .copied()
            .unwrap_or_default();
        self.taken = self.taken.saturating_add(1);
        pause + pause.mul_f64(rng.random_range(0.0..0.25))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn pauses_follow_the_schedule_with_at_most_a_quarter_of_jitter_and_stay_at_the_last() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut backoff = Backoff::new(HANDSHAKE);

        for expected in HANDSHAKE.iter().chain([&Duration::from_secs(60); 20]) {
            let pause = backoff.next(&mut rng);
            assert!(
                pause >= *expected && pause <= expected.mul_f64(1.25),
                "{pause:?}"
            );
        }
    }
}
