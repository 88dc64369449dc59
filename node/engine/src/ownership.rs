//! Who owns which prefix in one network: the one table behind both outbound routing and the inbound source check.
//!
//! Everything a live certificate names counts: the member's addresses, its /80 and its routes. The longest prefix that
//! contains an address decides. Outbound, a packet goes to one of the owners of that prefix: the one with the lowest metric,
//! then the lowest key, of those that are not away ([`crate::fib`]); inbound, the sender must be among them. This node's own prefixes are in the table as well, so that nobody else's shorter prefix covers them: a
//! packet to them is not sent, and one that claims to be from them is not taken.
//!
//! A default route stands for everything else that can be anywhere, on hosts whose owner allowed it: on others its member
//! owns no more than without it, so nobody becomes able to send them packets in the name of the whole Internet. It is no
//! place inside the overlay: peers are reached at addresses that it covers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use tombolo_proto::{config::MemberCert, id::Mtu, key::IdentityKey};

use crate::{fib::PeerSlot, prefix_table::PrefixTable};

/// Prefixes of one network and their owners. Immutable.
#[derive(Debug)]
pub struct Ownership {
    prefixes: PrefixTable<Holding>,
    /// Of IPv4, and of IPv6: who gets what nobody else owns.
    defaults: [Option<Holding>; 2],
    /// Peers that own a prefix together with others.
    sharing: BTreeSet<PeerSlot>,
    mtu: Mtu,
}

/// Who owns one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    /// Whether this node is an owner itself: then nobody gets packets.
    is_mine: bool,
    /// Who may send from it, besides this node; the first gets the packets as long as it is there.
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
        let mut sharing = BTreeSet::new();
        let mut defaults = [None, None];
        let prefixes = claims
            .into_iter()
            .filter_map(|(prefix, claims)| Some((prefix, Holding::new(claims, &slot)?)))
            .inspect(|(_, holding)| {
                if let [_, _, ..] = holding.next_hops() {
                    sharing.extend(holding.next_hops());
                }
            })
            .filter_map(|(prefix, holding)| match prefix.prefix_len() {
                0 => {
                    defaults[usize::from(prefix.addr().is_ipv6())] = Some(holding);
                    None
                }
                1.. => Some((prefix, holding)),
            })
            .collect();
        Self {
            prefixes,
            defaults,
            sharing,
            mtu,
        }
    }

    /// The same on a host whose owner allows no default routes.
    #[must_use]
    pub fn without_defaults(self) -> Self {
        Self {
            defaults: [None, None],
            ..self
        }
    }

    fn lookup(&self, address: IpAddr) -> Option<&Holding> {
        let longer = self.prefixes.lookup(address);
        longer.or_else(|| {
            let default = self.defaults[usize::from(address.is_ipv6())].as_ref()?;
            is_anywhere(address).then_some(default)
        })
    }

    /// The peer that packets to `destination` go to, if it is there.
    #[must_use]
    pub fn next_hop(&self, destination: IpAddr) -> Option<PeerSlot> {
        self.next_hops(destination).first().copied()
    }

    /// The peers that packets to `destination` may go to, in the order that all members agree on.
    #[must_use]
    pub fn next_hops(&self, destination: IpAddr) -> &[PeerSlot] {
        let holding = self.lookup(destination);
        holding.map(Holding::next_hops).unwrap_or_default()
    }

    /// The first of them that is not away; if all are, the first.
    #[must_use]
    pub fn next_hop_present(
        &self,
        destination: IpAddr,
        away: &BTreeSet<PeerSlot>,
    ) -> Option<PeerSlot> {
        let hops = self.next_hops(destination);
        let present = hops.iter().find(|hop| !away.contains(hop));
        present.or(hops.first()).copied()
    }

    /// Whether a peer owns a prefix together with others.
    pub(crate) fn is_shared_by(&self, peer: PeerSlot) -> bool {
        self.sharing.contains(&peer)
    }

    /// Whether an address is inside the overlay: a member's, or behind one, this node included. What only a default route
    /// leads to is not.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        self.prefixes.lookup(address).is_some()
    }

    /// Who gets what is sent to an address inside the overlay; nobody gets what is outside.
    pub(crate) fn next_hop_inside(&self, address: IpAddr) -> Option<PeerSlot> {
        self.next_hop(address).filter(|_| self.covers(address))
    }

    /// Whether `peer` may send from `source`.
    #[must_use]
    pub fn may_send_from(&self, peer: PeerSlot, source: IpAddr) -> bool {
        match self.lookup(source).map(|holding| &holding.owners) {
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
        let is_mine = claims.first()?.owner == Owner::Me;
        let owners: Vec<PeerSlot> = claims
            .iter()
            .filter(|claim| claim.owner == Owner::Peer)
            .filter_map(|claim| slot(&claim.key))
            .collect();
        if owners.is_empty() && !is_mine {
            return None;
        }
        let owners = match owners[..] {
            [only] => Owners::One(only),
            _ => Owners::Several(owners.into()),
        };
        Some(Self { is_mine, owners })
    }

    fn next_hops(&self) -> &[PeerSlot] {
        match &self.owners {
            _ if self.is_mine => &[],
            Owners::One(owner) => std::slice::from_ref(owner),
            Owners::Several(owners) => owners,
        }
    }
}

/// Whether an address may be that of a machine anywhere, so that a default route leads there: not one that means a single
/// link or host, or many (RFC 6890).
fn is_anywhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_multicast() || v4.is_broadcast() || v4.is_link_local() || is_own_host(address))
        }
        IpAddr::V6(v6) => {
            !(v6.is_multicast() || v6.is_unicast_link_local() || is_own_host(address))
        }
    }
}

fn is_own_host(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
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
