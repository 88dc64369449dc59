//! Who owns which prefix in one network: the one table behind both outbound routing and the inbound source check.
//!
//! Everything a live certificate names counts: the member's addresses, its /80 and its routes. The longest prefix that
//! contains an address decides. Outbound, a packet goes to one of the owners of that prefix; inbound, the sender must be
//! among them. This node's own prefixes are in the table as well, so that nobody else's shorter prefix covers them: a
//! packet to them is not sent, and one that claims to be from them is not taken.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use tombolo_proto::{config::MemberCert, id::Mtu, key::IdentityKey};

use crate::{fib::PeerSlot, prefix_table::PrefixTable};

/// Prefixes of one network and their owners. Immutable.
#[derive(Debug)]
pub struct Ownership {
    prefixes: PrefixTable<Holding>,
    mtu: Mtu,
}

/// Who owns one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    /// Who gets packets; `None` if this node is an owner itself.
    next_hop: Option<PeerSlot>,
    /// Who may send from it, besides this node.
    owners: Owners,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owners {
    One(PeerSlot),
    /// Failover routes, and prefixes of this node (then possibly nobody else).
    Several(Box<[PeerSlot]>),
}

/// A claim on a prefix. Ordered so that the smallest gets the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// This node first: it never sends what is its own.
    owner: Owner,
    metric: u32,
    key: IdentityKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Me,
    Peer,
}

impl Ownership {
    /// `slot` gives the slot of every member but `me`. Members without one own nothing.
    pub fn new<'a>(
        members: impl Iterator<Item = &'a MemberCert>,
        me: IdentityKey,
        mtu: Mtu,
        slot: impl Fn(&IdentityKey) -> Option<PeerSlot>,
    ) -> Self {
        let mut claims = BTreeMap::<IpNet, Vec<Claim>>::new();
        for cert in members {
            let owner = if cert.identity == me {
                Owner::Me
            } else {
                Owner::Peer
            };
            for (prefix, metric) in prefixes_of(cert) {
                claims.entry(prefix).or_default().push(Claim {
                    owner,
                    metric,
                    key: cert.identity,
                });
            }
        }
        let prefixes = claims
            .into_iter()
            .filter_map(|(prefix, claims)| Some((prefix, Holding::new(claims, &slot)?)))
            .collect();
        Self { prefixes, mtu }
    }

    /// The peer that packets to `destination` go to.
    #[must_use]
    pub fn next_hop(&self, destination: IpAddr) -> Option<PeerSlot> {
        self.prefixes.lookup(destination)?.next_hop
    }

    /// Whether `peer` may send from `source`.
    #[must_use]
    pub fn may_send_from(&self, peer: PeerSlot, source: IpAddr) -> bool {
        match self.prefixes.lookup(source).map(|holding| &holding.owners) {
            Some(Owners::One(owner)) => *owner == peer,
            Some(Owners::Several(owners)) => owners.contains(&peer),
            None => false,
        }
    }

    /// Largest inner packet of the network.
    #[must_use]
    pub const fn mtu(&self) -> Mtu {
        self.mtu
    }
}

impl Holding {
    fn new(
        mut claims: Vec<Claim>,
        slot: &impl Fn(&IdentityKey) -> Option<PeerSlot>,
    ) -> Option<Self> {
        claims.sort_unstable();
        let mine = claims.first()?.owner == Owner::Me;
        let owners: Vec<PeerSlot> = claims
            .iter()
            .filter(|claim| claim.owner == Owner::Peer)
            .filter_map(|claim| slot(&claim.key))
            .collect();
        let next_hop = if mine { None } else { Some(*owners.first()?) };
        let owners = match owners[..] {
            [only] => Owners::One(only),
            _ => Owners::Several(owners.into()),
        };
        Some(Self { next_hop, owners })
    }
}

/// Everything a certificate lets its member send from, with the metric among owners of the same prefix. What belongs to
/// the member itself comes before any route of another to the same prefix.
pub fn prefixes_of(cert: &MemberCert) -> impl Iterator<Item = (IpNet, u32)> {
    let addresses = cert
        .addresses
        .iter()
        .map(|&address| (IpNet::from(address), 0));
    let prefix = cert.prefix.map(|prefix| (IpNet::V6(prefix), 0));
    let routes = cert.routes.iter().map(|route| (route.prefix, route.metric));
    addresses.chain(prefix).chain(routes)
}

#[cfg(test)]
mod tests;
