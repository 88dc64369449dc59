//! What is measured: which peers, under which circumstances, how often and how long.

use serde::{Deserialize, Serialize};

use crate::{
    figure::UdpLoad,
    measure::IDLE_PING_INTERVAL,
    peer::{self, Peer},
};

/// Segmentation offloads of the veth pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offloads {
    /// As the kernel creates a veth: super-packets cross it whole, which favours whoever makes them.
    AsCreated,
    /// Off: the kernel cuts super-packets into single ones before they cross, as for a plain network card.
    Off,
}

/// Where threads run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Everything of side A on core 0, everything of side B on core 1.
    Pinned,
    /// Wherever the scheduler likes.
    Free,
}

/// The circumstances of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Variant {
    /// Offloads of the veth pair.
    pub offloads: Offloads,
    /// Placement of threads.
    pub placement: Placement,
}

impl Variant {
    /// In the order in which they are measured and shown.
    pub const ALL: [Self; 4] = [
        Self::new(Offloads::AsCreated, Placement::Pinned),
        Self::new(Offloads::AsCreated, Placement::Free),
        Self::new(Offloads::Off, Placement::Pinned),
        Self::new(Offloads::Off, Placement::Free),
    ];

    const fn new(offloads: Offloads, placement: Placement) -> Self {
        Self {
            offloads,
            placement,
        }
    }

    /// In words.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match (self.offloads, self.placement) {
            (Offloads::AsCreated, Placement::Pinned) => "veth as created, pinned",
            (Offloads::AsCreated, Placement::Free) => "veth as created, scheduler free",
            (Offloads::Off, Placement::Pinned) => "veth offloads off, pinned",
            (Offloads::Off, Placement::Free) => "veth offloads off, scheduler free",
        }
    }
}

/// One thing to do with a peer that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Pings with nothing else going on.
    PingIdle,
    /// One TCP flow from A to B, with the CPU time it takes.
    Tcp,
    /// One TCP flow from B to A, with pings beside it.
    TcpReverse,
    /// Four TCP flows.
    TcpFour,
    /// One TCP flow over IPv6.
    TcpIpv6,
    /// One TCP flow in each direction at once.
    TcpBothWays,
    /// UDP at a fixed load, or as much as the sender can.
    Udp(UdpLoad),
}

/// A whole run.
#[derive(Debug)]
pub struct Plan {
    /// `full` or `quick`: the name of the results.
    pub name: &'static str,
    /// Who is measured.
    pub peers: Vec<&'static dyn Peer>,
    /// Under which circumstances.
    pub variants: Vec<Variant>,
    /// How often everything is repeated.
    pub rounds: u32,
    /// Length of a TCP test.
    pub tcp_seconds: u32,
    /// Length of a UDP test.
    pub udp_seconds: u32,
    /// How many pings on an idle overlay.
    pub pings: u32,
    /// TCP congestion control of both sides.
    pub congestion_control: String,
    /// Whether every task is done, or only the ones that tell most.
    pub thorough: bool,
}

impl Task {
    /// The identifier in JSON.
    #[must_use]
    pub fn id(self) -> String {
        match self {
            Self::PingIdle => "ping_idle".to_owned(),
            Self::Tcp => "tcp_a_to_b".to_owned(),
            Self::TcpReverse => "tcp_b_to_a_and_ping".to_owned(),
            Self::TcpFour => "tcp_4_flows".to_owned(),
            Self::TcpIpv6 => "tcp_ipv6".to_owned(),
            Self::TcpBothWays => "tcp_both_ways".to_owned(),
            Self::Udp(load) => load.to_string(),
        }
    }
}

/// What one session takes beside its tasks: a peer is brought up and down, and a Tombolo joins a network before.
const AROUND: f64 = 1.8;
/// What a test takes beside its length.
const BESIDE: f64 = 0.15;

impl Plan {
    /// Everything.
    #[must_use]
    pub fn full() -> Self {
        Self {
            name: "full",
            peers: peer::ALL.to_vec(),
            variants: Variant::ALL.to_vec(),
            rounds: 5,
            tcp_seconds: 2,
            udp_seconds: 1,
            pings: 200,
            congestion_control: String::new(),
            thorough: true,
        }
    }

    /// Under three minutes: the peers that are ahead in some figure, and the figures that tell most.
    #[must_use]
    pub fn quick() -> Self {
        const PEERS: [&str; 4] = ["raw", "tombolo", "wireguard-go", "boringtun"];
        Self {
            name: "quick",
            peers: peer::ALL
                .iter()
                .copied()
                .filter(|peer| PEERS.contains(&peer.name()))
                .collect(),
            variants: Variant::ALL[..3].to_vec(),
            rounds: 2,
            thorough: false,
            ..Self::full()
        }
    }

    /// About how long a session takes.
    #[must_use]
    pub fn seconds(&self, variant: Variant) -> f64 {
        let each = |task| match task {
            Task::PingIdle => IDLE_PING_INTERVAL.as_secs_f64() * f64::from(self.pings),
            Task::Tcp | Task::TcpReverse | Task::TcpFour | Task::TcpIpv6 | Task::TcpBothWays => {
                f64::from(self.tcp_seconds)
            }
            Task::Udp(_) => f64::from(self.udp_seconds),
        };
        let tasks = self.tasks(variant);
        AROUND
            + tasks
                .into_iter()
                .map(|task| BESIDE + each(task))
                .sum::<f64>()
    }

    /// What is done under these circumstances.
    #[must_use]
    pub fn tasks(&self, variant: Variant) -> Vec<Task> {
        match (variant.offloads, self.thorough) {
            (Offloads::AsCreated, true) => {
                let mut tasks = vec![
                    Task::PingIdle,
                    Task::Tcp,
                    Task::TcpReverse,
                    Task::TcpFour,
                    Task::TcpIpv6,
                    Task::TcpBothWays,
                ];
                // Where the scheduler is free, one load below every limit and one above must do.
                let loads = UdpLoad::ALL.into_iter().filter(|load| {
                    variant.placement == Placement::Pinned || *load != UdpLoad::SMALL_60K
                });
                tasks.extend(loads.map(Task::Udp));
                tasks
            }
            (Offloads::AsCreated, false) if variant.placement == Placement::Free => {
                vec![Task::Tcp, Task::TcpReverse]
            }
            (Offloads::AsCreated, false) => vec![
                Task::PingIdle,
                Task::Tcp,
                Task::TcpReverse,
                Task::Udp(UdpLoad::SMALL_30K),
                Task::Udp(UdpLoad::SMALL_OVERLOAD),
            ],
            (Offloads::Off, true) => vec![Task::Tcp, Task::Udp(UdpLoad::SMALL_OVERLOAD)],
            (Offloads::Off, false) => vec![Task::Tcp],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_run_is_over_within_55_minutes_and_a_quick_one_within_three() {
        let minutes = |plan: Plan| {
            let once: f64 = plan.variants.iter().map(|of| plan.seconds(*of)).sum();
            once * f64::from(plan.rounds) * plan.peers.len() as f64 / 60.0
        };

        assert!(minutes(Plan::full()) < 55.0, "{}", minutes(Plan::full()));
        assert!(minutes(Plan::quick()) < 3.0, "{}", minutes(Plan::quick()));
    }
}
