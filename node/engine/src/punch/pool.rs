//! What all attempts of a node share: what is known of its own NATs, sockets, and budgets.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::SOCKETS;
use crate::{budget::Budgets, fib::PeerSlot, nat::Mapping, path::way::SocketSlot};

/// Sockets besides the one that all peers share: one attempt's, and those that sessions were made on.
pub const MAX_SOCKETS: usize = SOCKETS + 128;
/// Attempts under way.
const MAX_ATTEMPTS: usize = 4;
/// Attempts towards one address at once, and one per this long after.
const ATTEMPT_BURST: u32 = 4;
const ATTEMPT_REFILL: Duration = Duration::from_secs(120);

/// What attempts share.
#[derive(Debug)]
pub(crate) struct Puncher {
    /// Of this node's NAT towards IPv4, and IPv6.
    mapping: [Mapping; 2],
    towards: Budgets,
    active: BTreeSet<PeerSlot>,
    free: Vec<SocketSlot>,
}

impl Puncher {
    pub(crate) fn new(towards: Budgets) -> Self {
        Self {
            mapping: [Mapping::Unknown; 2],
            towards,
            active: BTreeSet::new(),
            free: (0..MAX_SOCKETS as u16).rev().map(SocketSlot).collect(),
        }
    }

    pub(crate) const fn set_mapping(&mut self, mapping: [Mapping; 2]) {
        self.mapping = mapping;
    }

    /// What this node's own NAT does, in this address's family.
    pub(crate) const fn mapping_towards(&self, address: IpAddr) -> Mapping {
        let [v4, v6] = self.mapping;
        if address.is_ipv4() { v4 } else { v6 }
    }

    /// Whether an attempt towards an address may begin now; counts it.
    pub(crate) fn may_punch(&mut self, peer: PeerSlot, towards: IpAddr, now: Instant) -> bool {
        let may = self.active.len() < MAX_ATTEMPTS
            && self
                .towards
                .spend(towards, ATTEMPT_BURST, ATTEMPT_REFILL, now);
        if may {
            self.active.insert(peer);
        }
        may
    }

    pub(crate) fn ended(&mut self, peer: PeerSlot) {
        self.active.remove(&peer);
    }

    /// Peers towards which attempts are under way.
    pub(crate) fn active(&self) -> impl Iterator<Item = PeerSlot> {
        self.active.iter().copied()
    }

    /// Whether there are sockets enough for an attempt.
    pub(crate) fn has_sockets(&self) -> bool {
        self.free.len() >= SOCKETS
    }

    pub(crate) fn take_sockets(&mut self) -> Vec<SocketSlot> {
        let rest = self.free.len().saturating_sub(SOCKETS);
        self.free.split_off(rest)
    }

    pub(crate) fn give_back(&mut self, socket: SocketSlot) {
        self.free.push(socket);
    }
}
