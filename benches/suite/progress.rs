//! How far a run has come, and how long it will still take.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::plan::Plan;

/// Of one run. Sessions count by what the plan thinks they take; how far it is off, the sessions so far tell.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    sessions: usize,
    planned: f64,
    done: f64,
}

impl Progress {
    pub(crate) fn new(plan: &Plan, peers: usize) -> Self {
        let once: f64 = plan
            .variants
            .iter()
            .map(|variant| plan.seconds(*variant))
            .sum();
        let often = plan.rounds as usize * peers;
        Self {
            start: Instant::now(),
            sessions: often * plan.variants.len(),
            planned: once * often as f64,
            done: 0.0,
        }
    }

    /// How many sessions there are in all.
    pub(crate) const fn sessions(&self) -> usize {
        self.sessions
    }

    /// A session is over that was planned to take so many seconds.
    pub(crate) fn done(&mut self, planned: f64) {
        self.done += planned;
    }

    fn left(&self, elapsed: Duration) -> f64 {
        let pace = if self.done > 0.0 {
            elapsed.as_secs_f64() / self.done
        } else {
            1.0
        };
        (self.planned - self.done) * pace
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.start.elapsed();
        let clock = |seconds: u64| format!("{}:{:02}", seconds / 60, seconds % 60);
        write!(
            f,
            "{} so far, about {} left",
            clock(elapsed.as_secs()),
            clock(self.left(elapsed) as u64)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_the_pace_so_far() {
        let mut progress = Progress {
            start: Instant::now(),
            sessions: 4,
            planned: 40.0,
            done: 0.0,
        };
        assert_eq!(progress.left(Duration::ZERO), 40.0);

        progress.done(10.0);

        assert_eq!(progress.left(Duration::from_secs(20)), 60.0);
    }
}
