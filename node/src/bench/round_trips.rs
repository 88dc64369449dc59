//! What to say of many round trips.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Round trips in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoundTrips {
    /// The shortest.
    pub min: f64,
    /// Half of them were shorter.
    pub median: f64,
    /// 99 of 100 were shorter; the longest, if there were not a hundred.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// How many there were.
    pub samples: usize,
}

impl RoundTrips {
    /// Sums up; `None` if there was no answer at all.
    #[must_use]
    pub fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let ranked = |percent: usize| {
            let rank = (samples.len() * percent).div_ceil(100).max(1);
            samples
                .get(rank - 1)
                .map(|sample| sample.as_secs_f64() * 1e3)
        };
        Some(Self {
            min: ranked(0)?,
            median: ranked(50)?,
            p99: ranked(99)?,
            max: ranked(100)?,
            samples: samples.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sorted_samples() {
        let samples = (1..=200).rev().map(Duration::from_millis).collect();

        let said = RoundTrips::of(samples).expect("there are samples");

        assert_eq!((said.min, said.median), (1.0, 100.0));
        assert_eq!((said.p99, said.max, said.samples), (198.0, 200.0, 200));
    }

    #[test]
    fn few_samples_are_their_own_summary() {
        let one = RoundTrips::of(vec![Duration::from_millis(7)]).expect("there is one");

        assert_eq!(
            (one.min, one.median, one.p99, one.max),
            (7.0, 7.0, 7.0, 7.0)
        );
        assert_eq!(RoundTrips::of(Vec::new()), None);
    }
}
