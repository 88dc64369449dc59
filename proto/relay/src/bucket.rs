//! A token bucket that threads spend from and a timer fills, so that spending needs no clock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A bucket holds half a second's rate.
const HELD: u64 = 2;

/// Bytes that may still be sent.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: u64,
    left: AtomicU64,
}

impl Bucket {
    /// A full bucket that refills with `rate` bytes per second.
    pub(crate) const fn full(rate: u64) -> Self {
        Self {
            rate,
            left: AtomicU64::new(rate / HELD),
        }
    }

    /// Takes `bytes`; whether there were as many.
    pub(crate) fn spend(&self, bytes: u64) -> bool {
        self.left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    /// Time has passed.
    pub(crate) fn refill(&self, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let added = self.rate.saturating_mul(micros) / 1_000_000;
        let most = self.rate / HELD;
        let _ = self.left.fetch_update(Relaxed, Relaxed, |left| {
            Some(left.saturating_add(added).min(most))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let bucket = Bucket::full(4_000);
        assert!(bucket.spend(2_000));
        assert!(!bucket.spend(1));

        bucket.refill(Duration::from_millis(100));

        assert!(bucket.spend(400));
        assert!(!bucket.spend(1));
        bucket.refill(Duration::from_secs(3600));
        assert!(!bucket.spend(2_001));
    }
}
