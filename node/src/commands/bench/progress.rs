//! How far a measurement is: one line that is written over, on a terminal only.

use std::io::{self, IsTerminal as _, Write as _};

use crate::bench::{
    Plan,
    initiator::{Phase, Progress},
};

/// The line.
#[derive(Debug)]
pub(super) struct ProgressLine {
    plan: Plan,
    is_shown: bool,
}

impl ProgressLine {
    pub(super) fn new(plan: Plan) -> Self {
        let is_shown = io::stderr().is_terminal();
        Self { plan, is_shown }
    }

    pub(super) fn show(&self, progress: Progress) {
        if self.is_shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K{}", self.text(progress));
        }
    }

    pub(super) fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }

    fn text(&self, progress: Progress) -> String {
        let phase = match progress.phase {
            Phase::Idle => return "round trips without load…".to_owned(),
            Phase::Up => "up",
            Phase::Down => "down",
        };
        let seconds = progress.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 {
            progress.bytes as f64 * 8.0 / seconds
        } else {
            0.0
        };
        format!(
            "{phase} {} ({seconds:.0} of {} s)",
            super::rate(rate),
            self.plan.duration().as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_line_says_phase_rate_and_time() {
        let line = ProgressLine {
            plan: Plan::new(1, 10).expect("within the limits"),
            is_shown: false,
        };
        let progress = Progress {
            phase: Phase::Up,
            elapsed: Duration::from_secs(2),
            bytes: 250_000_000,
        };
        assert_eq!(line.text(progress), "up 1.00 Gbit/s (2 of 10 s)");
    }
}
