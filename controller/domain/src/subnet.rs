//! Container subnets: the first free piece of the network's subnet pools.

use ipnet::{IpNet, Ipv4Net};

use crate::{network::Network, prefix::overlap, refusal::Refusal};

/// A /16 holds more containers than a host runs.
pub const SHORTEST: u8 = 16;
/// What a member may take by itself: a bridge carries 1,023 ports at most and usually far fewer, and others want some too.
pub const SHORTEST_FOR_MEMBER: u8 = 24;
/// A /29 holds a gateway and five containers; shorter ranges are not worth a route.
pub const LONGEST: u8 = 29;

/// The first prefix of this length that overlaps no route, waiting ones included.
pub(crate) fn first_free(network: &Network, length: u8) -> Result<IpNet, Refusal> {
    if !(SHORTEST..=LONGEST).contains(&length) {
        return Err(Refusal::SubnetLength(length));
    }
    let v4_pools = network
        .settings()
        .subnet_pools
        .iter()
        .filter_map(|pool| match pool {
            IpNet::V4(pool) => Some(*pool),
            IpNet::V6(_) => None,
        });
    for pool in v4_pools {
        if let Some(free) = first_free_in(network, pool, length) {
            return Ok(IpNet::V4(free));
        }
    }
    Err(Refusal::NoSubnetLeft(length))
}

/// Walks the pool, jumping over what is taken: as many steps as there are routes, at most.
fn first_free_in(network: &Network, pool: Ipv4Net, length: u8) -> Option<Ipv4Net> {
    let step = 1u64 << (32 - u32::from(length));
    let end = u64::from(pool.broadcast().to_bits());
    let mut at = u64::from(pool.network().to_bits());
    while at + step - 1 <= end {
        let start = u32::try_from(at).ok()?;
        let candidate = Ipv4Net::new(start.into(), length).ok()?;
        let blocking = network
            .routes()
            .filter(|route| route.target.prefix_len() != 0)
            .find(|route| overlap(&route.target, &IpNet::V4(candidate)));
        let Some(IpNet::V4(blocking)) = blocking.map(|route| route.target) else {
            return Some(candidate);
        };
        at = (u64::from(blocking.broadcast().to_bits()) + 1).next_multiple_of(step);
    }
    None
}
