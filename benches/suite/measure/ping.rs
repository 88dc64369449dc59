//! Round-trip times.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    figure::{Figure, Statistic},
    lab::Side,
    process::{Interrupt, Process},
};

/// An overlay that has not answered by then does not work.
const FIRST_ANSWER: Duration = Duration::from_secs(20);

/// Round-trip times in milliseconds, the fastest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundTrips(Vec<f64>);

impl RoundTrips {
    fn parse(output: &str) -> Self {
        let mut times: Vec<f64> = output
            .lines()
            .filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse().ok())
            .collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// One statistic.
    #[must_use]
    pub fn get(&self, statistic: Statistic) -> f64 {
        let last = self.0.len() - 1;
        match statistic {
            Statistic::Median => self.0[last / 2],
            Statistic::Average => self.0.iter().sum::<f64>() / self.0.len() as f64,
            // The nearest rank: of 100 the 99th.
            Statistic::P99 => self.0[(self.0.len() * 99).div_ceil(100) - 1],
        }
    }

    /// All statistics.
    #[must_use]
    pub fn figures(&self, figure: impl Fn(Statistic) -> Figure) -> Vec<(Figure, f64)> {
        [Statistic::Median, Statistic::Average, Statistic::P99]
            .map(|statistic| (figure(statistic), self.get(statistic)))
            .to_vec()
    }
}

/// Sends this many pings at this interval.
///
/// # Errors
/// When most of them are not answered.
pub fn series(
    from: &Side,
    to: IpAddr,
    count: u32,
    interval: Duration,
    interrupt: &Interrupt,
) -> Result<RoundTrips> {
    // Without -W ping waits 10 s for the last answer; lost pings show in the count.
    let script = format!(
        "ping -n -c {count} -i {} -W 1 {to} || true",
        interval.as_secs_f64()
    );
    let output = from
        .start(&script)?
        .finish(interval * count + Duration::from_secs(15), interrupt)?;
    let times = RoundTrips::parse(&output);
    ensure!(
        times.0.len() * 2 > count as usize,
        "only {} of {count} pings were answered",
        times.0.len()
    );
    Ok(times)
}

/// Pings until there is an answer.
#[derive(Debug)]
pub struct FirstPing {
    pings: Process,
    start: SystemTime,
}

impl FirstPing {
    /// Begins just before there is anything to answer, or even an interface.
    ///
    /// # Errors
    /// When ping cannot be started.
    pub fn start(from: &Side, to: IpAddr) -> Result<Self> {
        // With -w, -c counts answers: one ping every 2 ms until the first of them, or until there is no way to send any.
        let pings = format!("until ping -n -q -c 1 -w 20 -i 0.002 {to}; do sleep 0.002; done");
        Ok(Self {
            pings: from.start(&format!("{{ {pings}; }} >ping 2>&1; date +%s.%N"))?,
            start: SystemTime::now(),
        })
    }

    /// Seconds from the start to the first answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn wait(self, interrupt: &Interrupt) -> Result<f64> {
        let said = self
            .pings
            .finish(FIRST_ANSWER, interrupt)
            .context("no ping was answered")?;
        let end: f64 = said
            .trim()
            .parse()
            .with_context(|| format!("date said {said}"))?;
        Ok(end - self.start.duration_since(UNIX_EPOCH)?.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred_is_the_p99() {
        let output: String = (1..=100)
            .rev()
            .map(|n| format!("64 bytes from 10.0.0.1: icmp_seq={n} ttl=64 time={n}.5 ms\n"))
            .collect();
        let times = RoundTrips::parse(&output);
        assert_eq!(times.get(Statistic::P99), 99.5);
        assert_eq!(times.get(Statistic::Median), 50.5);
        assert_eq!(times.get(Statistic::Average), 51.0);
    }

    #[test]
    fn only_answers_count() {
        let output = "PING 10.0.0.1\n64 bytes from 10.0.0.1: time=0.25 ms\nrtt min/avg/max/mdev = 0.25/0.25/0.25/0 ms\n";
        assert_eq!(RoundTrips::parse(output), RoundTrips(vec![0.25]));
    }
}
