//! How figures are obtained from a peer that is up.

pub mod cpu;
pub mod iperf;
pub mod ping;

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    figure::{Figure, UdpLoad},
    lab::Lab,
    peer::Overlay,
    plan::{Plan, Task},
    process::Interrupt,
};

use cpu::CpuWatch;
use iperf::{Flow, Server};

/// How long a TCP flow runs before pings beside it count: it fills the queues in less.
const SETTLE: Duration = Duration::from_millis(250);
/// 300 pings in two seconds beside a flow: over five rounds enough for a p99.
const LOADED_PING_INTERVAL: Duration = Duration::from_millis(5);
/// Pings on an idle overlay: above the round-trip time of every peer, and the kernel does not sleep deeply between two.
pub const IDLE_PING_INTERVAL: Duration = Duration::from_millis(2);
/// Sent before anything is measured, so that buffers have grown and caches are warm.
const WARM_UP_BYTES: u64 = 16 << 20;

/// What one task found.
pub type Found = Vec<(Figure, f64)>;

/// A peer that is up on both sides, and an iperf3 server on side B.
#[derive(Debug)]
pub struct Bench<'a> {
    lab: &'a Lab,
    overlay: &'a Overlay,
    interrupt: &'a Interrupt,
    server: Server,
    has_daemons: bool,
}

impl<'a> Bench<'a> {
    /// Starts the server.
    ///
    /// # Errors
    /// When it does not start.
    pub fn new(lab: &'a Lab, overlay: &'a Overlay, interrupt: &'a Interrupt) -> Result<Self> {
        let server = Server::start(&lab.b, interrupt)?;
        Ok(Self {
            lab,
            overlay,
            interrupt,
            server,
            has_daemons: lab.has_daemons(),
        })
    }

    /// Lets a little pass before anything is measured.
    ///
    /// # Errors
    /// When nothing passes.
    pub fn warm_up(&mut self, plan: &Plan) -> Result<()> {
        let v4 = IpAddr::V4(self.overlay.v4[1]);
        let flow = Flow::tcp(v4, plan.tcp_seconds, &plan.congestion_control);
        self.flow(flow.at_most(WARM_UP_BYTES)).map(drop)
    }

    /// Does one task.
    ///
    /// # Errors
    /// When the tools fail or the peer does.
    pub fn task(&mut self, task: Task, plan: &Plan) -> Result<Found> {
        let v4 = IpAddr::V4(self.overlay.v4[1]);
        let tcp = Flow::tcp(v4, plan.tcp_seconds, &plan.congestion_control);
        match task {
            Task::PingIdle => ping::series(
                &self.lab.a,
                v4,
                plan.pings,
                IDLE_PING_INTERVAL,
                self.interrupt,
            )
            .map(|times| times.figures(Figure::PingIdle)),
            Task::Tcp => self.tcp_with_cpu(tcp),
            Task::TcpReverse => self.tcp_with_pings(tcp.reversed(), plan),
            Task::TcpFour => Ok(vec![(Figure::TcpFour, self.flow(tcp.times(4))?.mbit)]),
            Task::TcpBothWays => Ok(vec![(
                Figure::TcpBothWays,
                self.flow(tcp.both_ways())?.mbit,
            )]),
            Task::TcpIpv6 => {
                let address = self.overlay.v6.context("does not carry IPv6")?[1];
                Ok(vec![(
                    Figure::TcpIpv6,
                    self.flow(Flow::tcp(
                        IpAddr::V6(address),
                        plan.tcp_seconds,
                        &plan.congestion_control,
                    ))?
                    .mbit,
                )])
            }
            Task::Udp(load) => self.udp(load, Flow::udp(v4, plan.udp_seconds, load)),
        }
    }

    /// Memory of the larger daemon; nothing where there is none.
    ///
    /// # Errors
    /// When a daemon is gone.
    pub fn memory(&self, figure: Figure) -> Result<Found> {
        let each = self.lab.daemons(crate::process::Process::resident_mib)?;
        Ok(each
            .into_iter()
            .reduce(f64::max)
            .map(|mib| (figure, mib))
            .into_iter()
            .collect())
    }

    fn flow(&mut self, flow: Flow) -> Result<iperf::Outcome> {
        self.server.serve(&self.lab.b, self.interrupt)?;
        flow.start(&self.lab.a)?.finish(self.interrupt)
    }

    fn tcp_with_cpu(&mut self, flow: Flow) -> Result<Found> {
        let watch = CpuWatch::start(self.lab)?;
        let outcome = self.flow(flow)?;
        let used = watch.stop(self.lab)?;
        let gbit = outcome.mbit * outcome.seconds / 1000.0;
        let mut found = vec![
            (Figure::Tcp, outcome.mbit),
            (Figure::MachineCpuPerGbit, used.machine / gbit),
        ];
        found.extend(
            outcome
                .retransmits
                .map(|count| (Figure::TcpRetransmits, count)),
        );
        if self.has_daemons {
            found.push((Figure::DaemonCpuPerGbit, used.daemons / gbit));
        }
        Ok(found)
    }

    fn tcp_with_pings(&mut self, flow: Flow, plan: &Plan) -> Result<Found> {
        self.server.serve(&self.lab.b, self.interrupt)?;
        let running = flow.start(&self.lab.a)?;
        self.interrupt.pause(SETTLE);
        let beside = Duration::from_secs(plan.tcp_seconds.into()) - 2 * SETTLE;
        let count = beside.div_duration_f64(LOADED_PING_INTERVAL) as u32;
        let times = ping::series(
            &self.lab.a,
            IpAddr::V4(self.overlay.v4[1]),
            count,
            LOADED_PING_INTERVAL,
            self.interrupt,
        );
        let outcome = running.finish(self.interrupt)?;
        let mut found = times?.figures(Figure::PingLoaded);
        found.push((Figure::TcpReverse, outcome.mbit));
        Ok(found)
    }

    fn udp(&mut self, load: UdpLoad, flow: Flow) -> Result<Found> {
        let watch = CpuWatch::start(self.lab)?;
        let outcome = self.flow(flow)?;
        let used = watch.stop(self.lab)?;
        let (sent, received) = (outcome.packets_sent, outcome.packets_received);
        ensure!(received > 0.0, "no packet arrived");
        let mut found = vec![
            (Figure::UdpRate(load), received / outcome.seconds / 1e3),
            (Figure::UdpLoss(load), (sent - received) / sent * 100.0),
        ];
        if self.has_daemons && load.offered_kpps.is_some() {
            found.push((
                Figure::DaemonCpuPerPacket(load),
                used.daemons / received * 1e6,
            ));
        }
        Ok(found)
    }
}
