//! A simulated NAT, in the words of RFC 4787: how it maps and what it lets in. Mappings last as long as the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

/// What a NAT does.
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

/// One NAT with one public address.
#[derive(Debug)]
pub struct SimNat {
    kind: NatKind,
    public: IpAddr,
    next_port: u16,
    /// Outer port by inner socket and, if symmetric, destination.
    ports: BTreeMap<(SocketAddr, Option<SocketAddr>), u16>,
    sent: BTreeSet<(u16, SocketAddr)>,
}

impl SimNat {
    /// A NAT that has translated nothing yet.
    #[must_use]
    pub const fn new(kind: NatKind, public: IpAddr) -> Self {
        Self {
            kind,
            public,
            next_port: 40_000,
            ports: BTreeMap::new(),
            sent: BTreeSet::new(),
        }
    }

    /// Where a datagram from inside seems to come from.
    pub fn outbound(&mut self, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        let destination = (self.kind == NatKind::Symmetric).then_some(to);
        let next_port = &mut self.next_port;
        let port = *self.ports.entry((from, destination)).or_insert_with(|| {
            *next_port += 1;
            *next_port
        });
        self.sent.insert((port, to));
        SocketAddr::new(self.public, port)
    }

    /// Whom a datagram from outside reaches.
    #[must_use]
    pub fn inbound(&self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        if to.ip() != self.public {
            return None;
        }
        let is_open = match self.kind {
            NatKind::FullCone => true,
            NatKind::AddressRestricted => self
                .sent
                .iter()
                .any(|(port, other)| *port == to.port() && other.ip() == from.ip()),
            NatKind::PortRestricted | NatKind::Symmetric => self.sent.contains(&(to.port(), from)),
        };
        let (inner, _) = self.ports.iter().find(|(_, port)| **port == to.port())?;
        is_open.then_some(inner.0)
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

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an endpoint")
    }
}
