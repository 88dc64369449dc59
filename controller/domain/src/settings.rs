//! What all members of a network share, and which values of it make sense.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net};
use tombolo_proto::{
    config::{Ipv4Range, V6Mode},
    id::Mtu,
    rules::AccessRules,
};

use crate::{address_pool::usable_bounds, name::Name, refusal::Refusal};

/// Most pools of one network: they travel to every member.
const MAX_POOLS: usize = 32;

/// The settings of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Short name, unique on a controller.
    pub name: Name,
    /// Whether joining needs authorisation.
    pub private: bool,
    /// Largest inner packet.
    pub mtu: Mtu,
    /// IPv4 ranges and the prefixes around them.
    pub v4: V4Plan,
    /// Ranges for container subnets.
    pub subnet_pools: BTreeSet<IpNet>,
    /// Automatic IPv6 layouts.
    pub v6_modes: BTreeSet<V6Mode>,
    /// What happens to routes that members ask for.
    pub member_routes: MemberRoutes,
    /// What members take from each other. Set through [`crate::command::Command::SetRules`] only.
    pub rules: AccessRules,
}

/// What happens to a route that a member asks for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemberRoutes {
    /// It waits for approval.
    #[default]
    Approve,
    /// It is active at once, unless it overlaps another member's.
    Auto,
    /// It is refused.
    Off,
}

impl Settings {
    /// Settings of a new network: private, 6PLANE on, container subnets from 10.240.0.0/12.
    #[must_use]
    pub fn new(name: Name) -> Self {
        let subnet_pool = Ipv4Net::new(Ipv4Addr::new(10, 240, 0, 0), 12).expect("12 is within 32");
        Self {
            name,
            private: true,
            mtu: Mtu::DEFAULT,
            v4: V4Plan::default(),
            subnet_pools: BTreeSet::from([subnet_pool.into()]),
            v6_modes: BTreeSet::from([V6Mode::SixPlane]),
            member_routes: MemberRoutes::default(),
            rules: AccessRules::default(),
        }
    }

    /// Checks what one setting alone cannot tell.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.mtu < Mtu::MIN || self.mtu > Mtu::MAX {
            return Err(Refusal::Mtu(self.mtu.0));
        }
        if self.subnet_pools.len() > MAX_POOLS {
            return Err(Refusal::TooManyPools(MAX_POOLS));
        }
        for pool in &self.subnet_pools {
            if !is_routable(pool) || pool.prefix_len() == 0 {
                return Err(Refusal::NotRoutable(*pool));
            }
            for prefix in self.v4.on_link() {
                if crate::prefix::overlap(pool, &IpNet::V4(*prefix)) {
                    return Err(Refusal::SubnetPoolOverlapsPool {
                        subnet_pool: *pool,
                        pool: *prefix,
                    });
                }
            }
        }
        Ok(())
    }
}

/// IPv4 ranges that addresses are assigned from, each within a prefix that is reached through the overlay as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct V4Plan {
    ranges: Vec<Ipv4Range>,
    on_link: BTreeSet<Ipv4Net>,
}

impl V4Plan {
    /// One pool that is all of `prefix`.
    pub fn whole(prefix: Ipv4Net) -> Result<Self, Refusal> {
        let (start, end) = usable_bounds(prefix).ok_or(Refusal::PoolTooSmall(prefix))?;
        Self::new(vec![Ipv4Range { start, end }], BTreeSet::from([prefix]))
    }

    /// Pools that are parts of prefixes. A range outside all of `on_link` gets the smallest prefix around it.
    pub fn new(
        mut ranges: Vec<Ipv4Range>,
        mut on_link: BTreeSet<Ipv4Net>,
    ) -> Result<Self, Refusal> {
        ranges.sort();
        if ranges.len() > MAX_POOLS || on_link.len() > MAX_POOLS {
            return Err(Refusal::TooManyPools(MAX_POOLS));
        }
        for range in &ranges {
            if range.start > range.end {
                return Err(Refusal::RangeReversed(range.start, range.end));
            }
            let covered =
                |prefix: &Ipv4Net| prefix.contains(&range.start) && prefix.contains(&range.end);
            if !on_link.iter().any(covered) {
                on_link.insert(smallest_around(*range));
            }
        }
        if let Some([one, two]) = ranges
            .array_windows()
            .find(|[one, two]| one.end >= two.start)
        {
            return Err(Refusal::RangesOverlap(*one, *two));
        }
        for prefix in &on_link {
            if usable_bounds(*prefix).is_none() {
                return Err(Refusal::PoolTooSmall(*prefix));
            }
            if !is_routable(&IpNet::V4(*prefix)) || prefix.prefix_len() < 4 {
                return Err(Refusal::NotRoutable(IpNet::V4(*prefix)));
            }
        }
        for (one, two) in pairs(&on_link) {
            if one.contains(two) || two.contains(one) {
                return Err(Refusal::PoolsOverlap(*one, *two));
            }
        }
        Ok(Self { ranges, on_link })
    }

    /// The ranges that addresses are assigned from.
    #[must_use]
    pub fn ranges(&self) -> &[Ipv4Range] {
        &self.ranges
    }

    /// The prefixes around them.
    #[must_use]
    pub const fn on_link(&self) -> &BTreeSet<Ipv4Net> {
        &self.on_link
    }

    /// Whether a member may have this address: within a prefix, neither its network nor its broadcast address.
    #[must_use]
    pub fn admits(&self, address: Ipv4Addr) -> bool {
        self.on_link
            .iter()
            .filter_map(|prefix| usable_bounds(*prefix))
            .any(|(first, last)| first <= address && address <= last)
    }
}

/// Whether a prefix can mean machines elsewhere: not loopback, link-local, multicast or unspecified. The default routes
/// can.
#[must_use]
pub fn is_routable(prefix: &IpNet) -> bool {
    if prefix.prefix_len() == 0 {
        return true;
    }
    const NEVER: [(IpAddr, u8); 9] = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),
        (IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
        (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
        (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
        (IpAddr::V4(Ipv4Addr::BROADCAST), 32),
        (IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 128),
        (IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128),
        (
            IpAddr::V6(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)),
            10,
        ),
        (
            IpAddr::V6(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)),
            8,
        ),
    ];
    NEVER
        .iter()
        .filter_map(|(address, length)| IpNet::new(*address, *length).ok())
        .all(|never| !never.trunc().contains(prefix))
}

fn smallest_around(range: Ipv4Range) -> Ipv4Net {
    let common = (range.start.to_bits() ^ range.end.to_bits()).leading_zeros() as u8;
    Ipv4Net::new(range.start, common.min(30))
        .expect("30 is within 32")
        .trunc()
}

fn pairs(set: &BTreeSet<Ipv4Net>) -> impl Iterator<Item = (&Ipv4Net, &Ipv4Net)> {
    set.iter()
        .enumerate()
        .flat_map(|(position, one)| set.iter().skip(position + 1).map(move |two| (one, two)))
}
