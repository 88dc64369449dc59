//! iperf3: a server on side B, clients on side A.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    figure::UdpLoad,
    lab::Side,
    process::{Interrupt, Process},
};

/// What a test may take beyond its length.
const SLACK: Duration = Duration::from_secs(20);
const START: Duration = Duration::from_secs(5);

/// The server, one process for all tests of a peer.
#[derive(Debug)]
pub struct Server(Process);

impl Server {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(on: &Side, interrupt: &Interrupt) -> Result<Self> {
        let process = on.start("exec iperf3 --server --forceflush")?;
        interrupt.wait_for("the iperf3 server", START, || {
            Ok(process.stdout().contains("Server listening").then_some(()))
        })?;
        Ok(Self(process))
    }

    /// Starts it again should it have ended, as it does after some failed tests.
    ///
    /// # Errors
    /// When it does not start.
    pub fn serve(&mut self, on: &Side, interrupt: &Interrupt) -> Result<()> {
        if self.0.ended()?.is_some() {
            *self = Self::start(on, interrupt)?;
        }
        Ok(())
    }
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Flow {
    command: String,
    length: String,
    seconds: u32,
    udp_bytes: Option<u16>,
}

impl Flow {
    /// One TCP flow from A to B.
    #[must_use]
    pub fn tcp(to: IpAddr, seconds: u32, congestion_control: &str) -> Self {
        Self::new(to, seconds, None).with(&format!("--congestion {congestion_control}"))
    }

    /// UDP from A to B.
    #[must_use]
    pub fn udp(to: IpAddr, seconds: u32, load: UdpLoad) -> Self {
        // iperf3 takes a bit rate, of payload; 0 is as much as it can.
        let bits = load
            .offered_kpps
            .map_or(0, |kpps| u64::from(kpps) * 1000 * u64::from(load.bytes) * 8);
        Self::new(to, seconds, Some(load.bytes))
            .with(&format!("--udp --length {} --bitrate {bits}", load.bytes))
    }

    fn new(to: IpAddr, seconds: u32, udp_bytes: Option<u16>) -> Self {
        Self {
            command: format!("iperf3 --json --connect-timeout 3000 --client {to}"),
            length: format!("--time {seconds}"),
            seconds,
            udp_bytes,
        }
    }

    /// From B to A instead.
    #[must_use]
    pub fn reversed(self) -> Self {
        self.with("--reverse")
    }

    /// Several flows at once.
    #[must_use]
    pub fn times(self, count: u8) -> Self {
        self.with(&format!("--parallel {count}"))
    }

    /// So many bytes instead of so long.
    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.length = format!("--bytes {bytes}");
        self
    }

    /// One flow in each direction.
    #[must_use]
    pub fn both_ways(self) -> Self {
        self.with("--bidir")
    }

    fn with(mut self, option: &str) -> Self {
        self.command = format!("{} {option}", self.command);
        self
    }

    /// Begins to send.
    ///
    /// # Errors
    /// When iperf3 cannot be started.
    pub fn start(self, from: &Side) -> Result<Running> {
        Ok(Running {
            process: from.start(&format!("exec {} {}", self.command, self.length))?,
            flow: self,
        })
    }
}

/// A flow that is being sent.
#[derive(Debug)]
pub struct Running {
    process: Process,
    flow: Flow,
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// When iperf3 fails; the message is its own.
    pub fn finish(mut self, interrupt: &Interrupt) -> Result<Outcome> {
        let limit = Duration::from_secs(self.flow.seconds.into()) + SLACK;
        self.process.wait(limit, interrupt, || Ok(()))?;
        let report: Value = serde_json::from_str(&self.process.stdout())
            .with_context(|| format!("iperf3 said {}", self.process.last_words()))?;
        if let Some(error) = report["error"].as_str() {
            bail!("iperf3: {error}");
        }
        Outcome::parse(&report, self.flow.udp_bytes)
            .with_context(|| format!("{} reports something else", self.flow.command))
    }
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Mbit/s of payload at the receivers.
    pub mbit: f64,
    /// How long it took.
    pub seconds: f64,
    /// TCP segments sent again, where the sender tells.
    pub retransmits: Option<f64>,
    /// UDP packets sent.
    pub packets_sent: f64,
    /// UDP packets that arrived.
    pub packets_received: f64,
}

impl Outcome {
    fn parse(report: &Value, udp_bytes: Option<u16>) -> Option<Self> {
        let (sent, received) = (&report["end"]["sum_sent"], &report["end"]["sum_received"]);
        let back = &report["end"]["sum_received_bidir_reverse"];
        let bits =
            received["bits_per_second"].as_f64()? + back["bits_per_second"].as_f64().unwrap_or(0.0);
        // iperf3's own count of lost packets knows nothing of those after the last one that arrived.
        let packets = |side: &Value| Some(side["bytes"].as_f64()? / f64::from(udp_bytes?));
        Some(Self {
            mbit: bits / 1e6,
            seconds: received["seconds"].as_f64()?,
            retransmits: sent["retransmits"].as_f64(),
            packets_sent: packets(sent).unwrap_or(0.0),
            packets_received: packets(received).unwrap_or(0.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_directions_are_summed() {
        let report = json!({"end": {
            "sum_sent": {"retransmits": 3},
            "sum_received": {"bits_per_second": 2e9, "seconds": 4.0},
            "sum_received_bidir_reverse": {"bits_per_second": 1e9},
        }});
        let outcome = Outcome::parse(&report, None).expect("a TCP report");
        assert_eq!((outcome.mbit, outcome.retransmits), (3000.0, Some(3.0)));
    }

    #[test]
    fn a_report_without_figures_is_none() {
        assert_eq!(Outcome::parse(&json!({"end": {}}), None), None);
        assert_eq!(
            Outcome::parse(&json!({"error": "unable to connect"}), Some(64)),
            None
        );
    }

    #[test]
    fn packets_lost_at_the_end_are_lost() {
        let report = json!({"end": {
            "sum_sent": {"bytes": 6400},
            "sum_received": {"bits_per_second": 1e6, "seconds": 1.0, "bytes": 5760},
        }});
        let outcome = Outcome::parse(&report, Some(64)).expect("a UDP report");
        assert_eq!(
            (outcome.packets_sent, outcome.packets_received),
            (100.0, 90.0)
        );
    }
}
