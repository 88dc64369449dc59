//! Who answers whom, through the overlay or beside it.

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Node, SOON};
use crate::{
    netns::Namespace,
    process::{Process, wait_for},
};

/// Waits until `from` gets an answer from `to`.
///
/// # Panics
/// When none comes.
#[track_caller]
pub fn wait_for_ping(from: &Namespace, to: impl Into<IpAddr>) -> Instant {
    let to = to.into();
    wait_for(&format!("an answer from {to}"), SOON, || {
        answers(from, to).then(Instant::now)
    })
}

/// Waits until everybody has got an answer from everybody.
///
/// # Panics
/// When one never comes.
#[track_caller]
pub fn wait_for_mesh(nodes: &[Node]) {
    for from in nodes {
        for to in nodes {
            if from.host.name != to.host.name {
                wait_for_ping(&from.host.namespace, to.v4());
            }
        }
    }
}

/// Whether one ping is answered within a second.
#[track_caller]
#[must_use]
pub fn answers(from: &Namespace, to: impl Into<IpAddr>) -> bool {
    let to = to.into();
    from.try_run(&format!("ping -n -q -c 1 -W 1 {to}")).code == 0
}

/// Pings that go on in the background.
#[derive(Debug)]
pub struct Pings(Process);

impl Pings {
    /// Starts to ping every 50 ms.
    #[track_caller]
    #[must_use]
    pub fn start(from: &Namespace, to: impl Into<IpAddr>, log: &Path) -> Self {
        Self::start_every(Duration::from_millis(50), from, to, log)
    }

    /// Starts to ping this often.
    #[track_caller]
    #[must_use]
    pub fn start_every(
        interval: Duration,
        from: &Namespace,
        to: impl Into<IpAddr>,
        log: &Path,
    ) -> Self {
        let to = to.into().to_string();
        let interval = interval.as_secs_f64().to_string();
        let mut command = from.command("ping");
        command.args(["-n", "-D", "-i", &interval, "-W", "1", &to]);
        Self(Process::spawn("ping", &mut command, log))
    }

    /// How many answers there were so far.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.times().len()
    }

    /// When the answers came, in seconds since the epoch.
    #[must_use]
    pub fn times(&self) -> Vec<f64> {
        self.0
            .log()
            .lines()
            .filter(|line| line.contains("bytes from"))
            .filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok())
            .collect()
    }

    /// How long answers took, in the order in which they came.
    #[must_use]
    pub fn round_trips(&self) -> Vec<Duration> {
        let log = self.0.log();
        let milliseconds = log.lines().filter_map(|line| {
            let (_, after) = line.split_once("time=")?;
            after.strip_suffix(" ms")?.parse::<f64>().ok()
        });
        milliseconds
            .map(|taken| Duration::from_secs_f64(taken / 1e3))
            .collect()
    }

    /// Ends them; gives how many were sent and answered. What is under way at the end is not counted as lost.
    ///
    /// # Panics
    /// When ping prints no summary.
    #[track_caller]
    #[must_use]
    pub fn stop(mut self) -> (usize, usize) {
        self.0.signal(Signal::INT);
        self.0.wait(SOON);
        let log = self.0.log();
        let summary = log
            .lines()
            .find(|line| line.contains("packets transmitted"))
            .unwrap_or_else(|| panic!("no summary from ping:\n{log}"));
        let mut counts = summary
            .split(", ")
            .filter_map(|part| part.split(' ').next()?.parse().ok());
        let sent = counts.next().expect("a count of what was sent");
        let received = counts.next().expect("a count of what was received");
        // The last one may be on its way when the signal comes.
        (if sent == received + 1 { received } else { sent }, received)
    }
}
