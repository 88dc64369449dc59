//! How many connections there may be: in all, from one source, and before a source has shown that its address is its
//! own.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use dashmap::DashMap;
use ipnet::Ipv6Net;

/// Connections in all: each costs some tens of kilobytes.
const MAX_CONNECTIONS: usize = 16_384;
/// Connections from one IPv4 address or IPv6 /64: a site behind one address, not one host gone wild.
const MAX_PER_SOURCE: usize = 512;
/// With more handshakes than this under way, sources prove their address first.
const HANDSHAKES_WITHOUT_PROOF: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Limits {
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    sources: DashMap<IpAddr, usize>,
}

pub(super) enum Admission {
    Accept(Ticket),
    Retry,
    Refuse,
}

/// A connection's share of the limits, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    limits: Arc<Limits>,
    source: IpAddr,
    established: AtomicBool,
}

impl Limits {
    pub(super) fn admit(self: &Arc<Self>, source: IpAddr, validated: bool) -> Admission {
        let source = block(source);
        if !validated && self.handshakes.load(Ordering::Relaxed) >= HANDSHAKES_WITHOUT_PROOF {
            return Admission::Retry;
        }
        let from_source = self.sources.get(&source).map_or(0, |count| *count);
        if self.connections.load(Ordering::Relaxed) >= MAX_CONNECTIONS
            || from_source >= MAX_PER_SOURCE
        {
            return Admission::Refuse;
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        *self.sources.entry(source).or_default() += 1;
        Admission::Accept(Ticket {
            limits: Arc::clone(self),
            source,
            established: AtomicBool::new(false),
        })
    }
}

impl Ticket {
    /// The handshake is over.
    pub(super) fn established(&self) {
        if !self.established.swap(true, Ordering::Relaxed) {
            self.limits.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.established();
        self.limits.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut count) = self.limits.sources.get_mut(&self.source) {
            *count = count.saturating_sub(1);
        }
        self.limits
            .sources
            .remove_if(&self.source, |_, count| *count == 0);
    }
}

/// What counts as one source: an IPv4 address or an IPv6 /64.
pub(crate) fn block(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let block = Ipv6Net::new(address, 64).expect("64 is within 128");
            IpAddr::V6(block.network())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_take_every_place_and_gives_its_places_back() {
        let limits = Arc::new(Limits::default());
        let source: IpAddr = "192.0.2.1".parse().expect("an address");

        let tickets: Vec<_> = (0..MAX_PER_SOURCE)
            .map(|_| limits.admit(source, true))
            .collect();

        assert!(matches!(limits.admit(source, true), Admission::Refuse));
        let other = "192.0.2.2".parse().expect("an address");
        assert!(matches!(limits.admit(other, true), Admission::Accept(_)));
        drop(tickets);
        assert!(matches!(limits.admit(source, true), Admission::Accept(_)));
    }

    #[test]
    fn with_many_handshakes_under_way_sources_prove_their_address() {
        let limits = Arc::new(Limits::default());
        let source: IpAddr = "192.0.2.1".parse().expect("an address");
        let _tickets: Vec<_> = (0..HANDSHAKES_WITHOUT_PROOF)
            .map(|_| limits.admit(source, false))
            .collect();

        assert!(matches!(limits.admit(source, false), Admission::Retry));
        assert!(matches!(limits.admit(source, true), Admission::Accept(_)));
    }
}
