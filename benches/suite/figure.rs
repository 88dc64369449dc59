//! The figures: what a number of the results is, in which unit, and whether more of it is better.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// UDP at a packet size and a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UdpLoad {
    /// Payload in bytes.
    pub bytes: u16,
    /// Thousand packets per second offered; as many as the sender can, if none.
    pub offered_kpps: Option<u16>,
}

impl UdpLoad {
    /// 64 bytes at 30,000 packets per second: below the limit of every peer, so that its cost per packet shows.
    pub const SMALL_30K: Self = Self::new(64, Some(30));
    /// 64 bytes at 60,000 packets per second: about what most peers can carry.
    pub const SMALL_60K: Self = Self::new(64, Some(60));
    /// 64 bytes, as many as the sender can.
    pub const SMALL_OVERLOAD: Self = Self::new(64, None);
    /// All that are measured.
    pub const ALL: [Self; 5] = [
        Self::SMALL_30K,
        Self::SMALL_60K,
        Self::SMALL_OVERLOAD,
        Self::new(1200, Some(30)),
        Self::new(1200, None),
    ];

    const fn new(bytes: u16, offered_kpps: Option<u16>) -> Self {
        Self {
            bytes,
            offered_kpps,
        }
    }
}

/// `udp64_30k`, `udp64_overload`: part of the identifiers of figures.
impl fmt::Display for UdpLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offered_kpps {
            Some(kpps) => write!(f, "udp{}_{kpps}k", self.bytes),
            None => write!(f, "udp{}_overload", self.bytes),
        }
    }
}

/// A kind of figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// One TCP flow from A to B.
    Tcp,
    /// One TCP flow from B to A.
    TcpReverse,
    /// Four TCP flows, summed.
    TcpFour,
    /// One TCP flow over IPv6.
    TcpIpv6,
    /// A TCP flow in each direction at once, summed.
    TcpBothWays,
    /// Segments that one TCP flow had to send again.
    TcpRetransmits,
    /// CPU time of the daemons on both sides for one TCP flow.
    DaemonCpuPerGbit,
    /// CPU time of the whole machine for one TCP flow, iperf3 included.
    MachineCpuPerGbit,
    /// Packets that arrive.
    UdpRate(UdpLoad),
    /// Packets that do not.
    UdpLoss(UdpLoad),
    /// CPU time of the daemons on both sides for one packet that arrives, at a load that they can carry.
    DaemonCpuPerPacket(UdpLoad),
    /// Ping with nothing else going on.
    PingIdle(Statistic),
    /// Ping beside a TCP flow that takes all it can.
    PingLoaded(Statistic),
    /// From the start of the second daemon to the first answer.
    FirstPing,
    /// Resident memory of the larger daemon before any test.
    MemoryBefore,
    /// The same after all tests.
    MemoryAfter,
}

/// What of many round-trip times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statistic {
    /// Half are faster.
    Median,
    /// Arithmetic mean.
    Average,
    /// 99 of 100 are faster.
    P99,
}

impl Statistic {
    const ALL: [Self; 3] = [Self::Median, Self::Average, Self::P99];

    const fn name(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::Average => "average",
            Self::P99 => "p99",
        }
    }
}

impl Figure {
    /// In the order in which they are shown.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Tcp,
            Self::TcpReverse,
            Self::TcpFour,
            Self::TcpIpv6,
            Self::TcpBothWays,
            Self::TcpRetransmits,
            Self::DaemonCpuPerGbit,
            Self::MachineCpuPerGbit,
        ];
        for load in UdpLoad::ALL {
            all.extend([Self::UdpRate(load), Self::UdpLoss(load)]);
            if load.offered_kpps.is_some() {
                all.push(Self::DaemonCpuPerPacket(load));
            }
        }
        all.extend(Statistic::ALL.map(Self::PingIdle));
        all.extend(Statistic::ALL.map(Self::PingLoaded));
        all.extend([Self::FirstPing, Self::MemoryBefore, Self::MemoryAfter]);
        all
    }

    /// The identifier in JSON.
    #[must_use]
    pub fn id(self) -> String {
        match self {
            Self::Tcp => "tcp_a_to_b".to_owned(),
            Self::TcpReverse => "tcp_b_to_a".to_owned(),
            Self::TcpFour => "tcp_4_flows".to_owned(),
            Self::TcpIpv6 => "tcp_ipv6".to_owned(),
            Self::TcpBothWays => "tcp_both_ways".to_owned(),
            Self::TcpRetransmits => "tcp_retransmits".to_owned(),
            Self::DaemonCpuPerGbit => "daemon_cpu_per_gbit".to_owned(),
            Self::MachineCpuPerGbit => "machine_cpu_per_gbit".to_owned(),
            Self::UdpRate(load) => format!("{load}_rate"),
            Self::UdpLoss(load) => format!("{load}_loss"),
            Self::DaemonCpuPerPacket(load) => format!("{load}_daemon_cpu_per_packet"),
            Self::PingIdle(statistic) => format!("ping_idle_{}", statistic.name()),
            Self::PingLoaded(statistic) => format!("ping_loaded_{}", statistic.name()),
            Self::FirstPing => "first_ping".to_owned(),
            Self::MemoryBefore => "memory_before".to_owned(),
            Self::MemoryAfter => "memory_after".to_owned(),
        }
    }

    /// In words, for tables.
    #[must_use]
    pub fn label(self) -> String {
        let load = |load: UdpLoad| match load.offered_kpps {
            Some(kpps) => format!("UDP {} B at {kpps} kpps", load.bytes),
            None => format!("UDP {} B, overload", load.bytes),
        };
        match self {
            Self::Tcp => "TCP A to B".to_owned(),
            Self::TcpReverse => "TCP B to A".to_owned(),
            Self::TcpFour => "TCP 4 flows".to_owned(),
            Self::TcpIpv6 => "TCP over IPv6".to_owned(),
            Self::TcpBothWays => "TCP both ways, sum".to_owned(),
            Self::TcpRetransmits => "TCP A to B, sent again".to_owned(),
            Self::DaemonCpuPerGbit => "daemon CPU per Gbit".to_owned(),
            Self::MachineCpuPerGbit => "machine CPU per Gbit".to_owned(),
            Self::UdpRate(of) => format!("{}: received", load(of)),
            Self::UdpLoss(of) => format!("{}: lost", load(of)),
            Self::DaemonCpuPerPacket(of) => format!("{}: daemon CPU per packet", load(of)),
            Self::PingIdle(statistic) => format!("ping idle, {}", statistic.name()),
            Self::PingLoaded(statistic) => format!("ping beside TCP, {}", statistic.name()),
            Self::FirstPing => "time to first ping".to_owned(),
            Self::MemoryBefore => "memory before".to_owned(),
            Self::MemoryAfter => "memory after".to_owned(),
        }
    }

    /// The unit.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Tcp | Self::TcpReverse | Self::TcpFour | Self::TcpIpv6 | Self::TcpBothWays => {
                "Mbit/s"
            }
            Self::TcpRetransmits => "segments",
            Self::DaemonCpuPerGbit | Self::MachineCpuPerGbit | Self::FirstPing => "s",
            Self::UdpRate(_) => "kpps",
            Self::UdpLoss(_) => "%",
            Self::DaemonCpuPerPacket(_) => "us",
            Self::PingIdle(_) | Self::PingLoaded(_) => "ms",
            Self::MemoryBefore | Self::MemoryAfter => "MiB",
        }
    }

    /// Which way is better.
    #[must_use]
    pub const fn better(self) -> Better {
        match self {
            Self::Tcp
            | Self::TcpReverse
            | Self::TcpFour
            | Self::TcpIpv6
            | Self::TcpBothWays
            | Self::UdpRate(_) => Better::Higher,
            Self::TcpRetransmits
            | Self::DaemonCpuPerGbit
            | Self::MachineCpuPerGbit
            | Self::UdpLoss(_)
            | Self::DaemonCpuPerPacket(_)
            | Self::PingIdle(_)
            | Self::PingLoaded(_)
            | Self::FirstPing
            | Self::MemoryBefore
            | Self::MemoryAfter => Better::Lower,
        }
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.id())
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Self::all()
            .into_iter()
            .find(|figure| figure.id() == id)
            .ok_or_else(|| D::Error::custom(format_args!("no figure is called {id}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_found_by_its_identifier() {
        for figure in Figure::all() {
            let json = serde_json::to_string(&figure).expect("a string");
            assert_eq!(
                serde_json::from_str::<Figure>(&json).expect("its own"),
                figure
            );
        }
    }
}
