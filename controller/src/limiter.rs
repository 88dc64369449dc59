//! Budgets by source: so many at once and so many a second, for a bounded number of sources.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Sources remembered; beyond that, those whose budget is full again are forgotten, and new ones wait.
const MAX_SOURCES: usize = 16_384;

/// A token bucket per source.
#[derive(Debug)]
pub(crate) struct Limiter<S> {
    per_second: u32,
    burst: u32,
    buckets: HashMap<S, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<S: Eq + Hash> Limiter<S> {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second,
            burst,
            buckets: HashMap::new(),
        }
    }

    /// Takes one of the source's; whether there was one.
    pub(crate) fn allows(&mut self, source: S, now: Instant) -> bool {
        if self.buckets.len() >= MAX_SOURCES && !self.buckets.contains_key(&source) {
            self.forget_quiet(now);
            if self.buckets.len() >= MAX_SOURCES {
                return false;
            }
        }
        let burst = f64::from(self.burst);
        let bucket = self.buckets.entry(source).or_insert(Bucket {
            tokens: burst,
            at: now,
        });
        let earned = now.duration_since(bucket.at).as_secs_f64() * f64::from(self.per_second);
        bucket.tokens = (bucket.tokens + earned).min(burst);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    fn forget_quiet(&mut self, now: Instant) {
        let full_after = Duration::from_secs(u64::from(self.burst.div_ceil(self.per_second)));
        self.buckets
            .retain(|_, bucket| now.duration_since(bucket.at) < full_after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_burst_and_then_its_rate_whatever_others_do() {
        let mut limiter = Limiter::new(2, 10);
        let now = Instant::now();

        assert_eq!((0..100).filter(|_| limiter.allows(1, now)).count(), 10);
        assert!(limiter.allows(2, now));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| limiter.allows(1, later)).count(), 2);
    }

    #[test]
    fn sources_beyond_what_is_remembered_wait_until_others_have_been_quiet() {
        let mut limiter = Limiter::new(1, 2);
        let now = Instant::now();
        for source in 0..MAX_SOURCES {
            assert!(limiter.allows(source, now));
        }

        assert!(!limiter.allows(MAX_SOURCES, now));
        assert!(limiter.allows(MAX_SOURCES, now + Duration::from_secs(2)));
    }
}
