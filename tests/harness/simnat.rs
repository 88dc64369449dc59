//! A simulated NAT, in the words of RFC 4787: how it maps, what it lets in, and for how long.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// What a mapping or a filter depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    /// Nothing.
    EndpointIndependent,
    /// The other side's address.
    AddressDependent,
    /// The other side's address and port.
    AddressAndPortDependent,
}

impl Dependence {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::EndpointIndependent,
        Self::AddressDependent,
        Self::AddressAndPortDependent,
    ];
}

/// In which order a NAT gives ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// At random, from 1024 on.
    Random,
    /// One after the other.
    Sequential,
}

/// What a NAT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// What shares a mapping.
    pub mapping: Dependence,
    /// What is let in.
    pub filtering: Dependence,
    /// Which ports are given.
    pub ports: Ports,
    /// How long a mapping lasts after the last datagram from inside.
    pub expiry: Duration,
    /// Whether inner hosts reach each other by the NAT's public address.
    pub hairpin: bool,
    /// Whether it lets no datagram out at all.
    pub blocks: bool,
}

/// The kinds of NAT that have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatKind {
    /// One mapping per inner socket, open to everybody.
    FullCone,
    /// One mapping per inner socket, open to addresses that it has sent to.
    AddressRestricted,
    /// One mapping per inner socket, open to sockets that it has sent to.
    PortRestricted,
    /// A mapping for every destination, open to that destination alone.
    Symmetric,
}

impl From<NatKind> for Behaviour {
    fn from(kind: NatKind) -> Self {
        use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        let (mapping, filtering) = match kind {
            NatKind::FullCone => (EndpointIndependent, EndpointIndependent),
            NatKind::AddressRestricted => (EndpointIndependent, AddressDependent),
            NatKind::PortRestricted => (EndpointIndependent, AddressAndPortDependent),
            NatKind::Symmetric => (AddressAndPortDependent, AddressAndPortDependent),
        };
        Self {
            mapping,
            filtering,
            ports: Ports::Sequential,
            expiry: Duration::from_secs(1_000_000),
            hairpin: false,
            blocks: false,
        }
    }
}

/// One NAT with one public address.
#[derive(Debug)]
pub struct SimNat {
    behaviour: Behaviour,
    public: IpAddr,
    rng: StdRng,
    next_port: u16,
    /// Outer port by inner socket and what the mapping depends on.
    ports: BTreeMap<(SocketAddr, Option<IpAddr>, Option<u16>), u16>,
    mappings: BTreeMap<u16, Mapped>,
    now: Option<Instant>,
}

#[derive(Debug)]
struct Mapped {
    inner: SocketAddr,
    sent: BTreeSet<SocketAddr>,
    used: Option<Instant>,
}

impl SimNat {
    /// A NAT that has translated nothing yet.
    #[must_use]
    pub fn new(behaviour: impl Into<Behaviour>, public: IpAddr) -> Self {
        Self::seeded(behaviour, public, 1)
    }

    /// The same, whose random ports follow from `seed`.
    #[must_use]
    pub fn seeded(behaviour: impl Into<Behaviour>, public: IpAddr, seed: u64) -> Self {
        Self {
            behaviour: behaviour.into(),
            public,
            rng: StdRng::seed_from_u64(seed),
            next_port: 40_000,
            ports: BTreeMap::new(),
            mappings: BTreeMap::new(),
            now: None,
        }
    }

    /// Its address outside.
    #[must_use]
    pub const fn public(&self) -> IpAddr {
        self.public
    }

    /// What it does.
    #[must_use]
    pub const fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// Time has passed.
    pub fn set_now(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// It forgets everything, as one that is switched off and on.
    pub fn forget(&mut self) {
        self.ports.clear();
        self.mappings.clear();
    }

    /// Where a datagram from inside seems to come from.
    pub fn outbound(&mut self, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        let key = match self.behaviour.mapping {
            Dependence::EndpointIndependent => (from, None, None),
            Dependence::AddressDependent => (from, Some(to.ip()), None),
            Dependence::AddressAndPortDependent => (from, Some(to.ip()), Some(to.port())),
        };
        let known = self.ports.get(&key).copied();
        let port = match known.filter(|port| self.is_alive(*port)) {
            Some(port) => port,
            None => {
                known.map(|port| self.mappings.remove(&port));
                let port = self.free_port();
                self.ports.insert(key, port);
                port
            }
        };
        let mapped = self.mappings.entry(port).or_insert_with(|| Mapped {
            inner: from,
            sent: BTreeSet::new(),
            used: None,
        });
        mapped.sent.insert(to);
        mapped.used = self.now;
        SocketAddr::new(self.public, port)
    }

    /// Whom a datagram from outside reaches.
    #[must_use]
    pub fn inbound(&self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        if to.ip() != self.public || !self.is_alive(to.port()) {
            return None;
        }
        let mapped = self.mappings.get(&to.port())?;
        let is_open = match self.behaviour.filtering {
            Dependence::EndpointIndependent => true,
            Dependence::AddressDependent => mapped.sent.iter().any(|sent| sent.ip() == from.ip()),
            Dependence::AddressAndPortDependent => mapped.sent.contains(&from),
        };
        is_open.then_some(mapped.inner)
    }

    fn is_alive(&self, port: u16) -> bool {
        let age = |used: Option<Instant>| Some(self.now?.saturating_duration_since(used?));
        self.mappings
            .get(&port)
            .is_some_and(|mapped| age(mapped.used).is_none_or(|age| age < self.behaviour.expiry))
    }

    fn free_port(&mut self) -> u16 {
        loop {
            let port = match self.behaviour.ports {
                Ports::Random => self.rng.random_range(1_024..=u16::MAX),
                Ports::Sequential => {
                    self.next_port = self.next_port.checked_add(1).unwrap_or(1_024);
                    self.next_port
                }
            };
            if !self.is_alive(port) {
                self.mappings.remove(&port);
                return port;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_lets_in_what_it_should_and_nothing_else() {
        let (inner, met) = (at("10.0.0.2:9790"), at("192.0.2.1:1"));
        let (same_host, stranger) = (at("192.0.2.1:2"), at("192.0.2.9:1"));
        for (kind, open) in [
            (NatKind::FullCone, [true, true, true]),
            (NatKind::AddressRestricted, [true, true, false]),
            (NatKind::PortRestricted, [true, false, false]),
            (NatKind::Symmetric, [true, false, false]),
        ] {
            let mut nat = SimNat::new(kind, at("198.51.100.1:0").ip());
            let outer = nat.outbound(inner, met);

            let lets_in = [met, same_host, stranger].map(|from| nat.inbound(from, outer));

            assert_eq!(lets_in, open.map(|open| open.then_some(inner)), "{kind:?}");
            let is_symmetric = nat.outbound(inner, stranger) != outer;
            assert_eq!(is_symmetric, kind == NatKind::Symmetric);
        }
    }

    #[test]
    fn a_mapping_ends_when_nothing_was_sent_for_long_enough() {
        let behaviour = Behaviour {
            expiry: Duration::from_secs(30),
            ..NatKind::FullCone.into()
        };
        let mut nat = SimNat::new(behaviour, at("198.51.100.1:0").ip());
        let (inner, met, start) = (at("10.0.0.2:9790"), at("192.0.2.1:1"), Instant::now());
        nat.set_now(start);
        let outer = nat.outbound(inner, met);

        nat.set_now(start + Duration::from_secs(29));
        assert_eq!(nat.inbound(met, outer), Some(inner));
        nat.set_now(start + Duration::from_secs(30));
        assert_eq!(nat.inbound(met, outer), None);
        assert_ne!(nat.outbound(inner, met), outer);
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an endpoint")
    }
}
