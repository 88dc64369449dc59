//! Which IPv4 address a member gets: a function of (pools, taken addresses, node address) and of nothing else, so that
//! every replica finds the same one.
//!
//! All usable addresses of all pools stand in one row. The first try is a hash of the node address into that row, then
//! the neighbours are probed one by one, wrapping around. The network and broadcast address of the prefix around a
//! pool are not usable; every other address is reachable.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use tombolo_proto::{config::Ipv4Range, id::NodeId};

/// The pools of a network, cut to their usable addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    usable: Vec<Ipv4Range>,
}

/// Every usable address is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {0} addresses are taken")]
pub struct PoolFull(pub u64);

impl AddressPool {
    /// `ranges` do not overlap; each lies within one of the `on_link` prefixes.
    #[must_use]
    pub fn new(ranges: &[Ipv4Range], on_link: &BTreeSet<Ipv4Net>) -> Self {
        let usable = ranges
            .iter()
            .filter_map(|range| {
                let around = on_link
                    .iter()
                    .find(|prefix| prefix.contains(&range.start))?;
                cut_to_usable(*range, *around)
            })
            .collect();
        Self { usable }
    }

    /// How many addresses can be given out.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.usable.iter().map(length).sum()
    }

    /// The address for `node`, given which are taken.
    pub fn allocate(
        &self,
        is_taken: impl Fn(&Ipv4Addr) -> bool,
        node: NodeId,
    ) -> Result<Ipv4Addr, PoolFull> {
        let size = self.size();
        if size == 0 {
            return Err(PoolFull(0));
        }
        let first = scatter(node.get()) % size;
        (0..size)
            .filter_map(|step| self.nth((first + step) % size))
            .find(|address| !is_taken(address))
            .ok_or(PoolFull(size))
    }

    fn nth(&self, mut position: u64) -> Option<Ipv4Addr> {
        for range in &self.usable {
            if position < length(range) {
                let offset = u32::try_from(position).ok()?;
                return Some(Ipv4Addr::from_bits(range.start.to_bits() + offset));
            }
            position -= length(range);
        }
        None
    }
}

fn cut_to_usable(range: Ipv4Range, around: Ipv4Net) -> Option<Ipv4Range> {
    let (first, last) = usable_bounds(around)?;
    let start = range.start.max(first);
    let end = range.end.min(last);
    (start <= end).then_some(Ipv4Range { start, end })
}

/// First and last address of a prefix that a member may have; `None` if the prefix is too small to have any.
#[must_use]
pub fn usable_bounds(prefix: Ipv4Net) -> Option<(Ipv4Addr, Ipv4Addr)> {
    if prefix.prefix_len() > 30 {
        return None;
    }
    let first = Ipv4Addr::from_bits(prefix.network().to_bits() + 1);
    let last = Ipv4Addr::from_bits(prefix.broadcast().to_bits() - 1);
    Some((first, last))
}

fn length(range: &Ipv4Range) -> u64 {
    u64::from(range.end.to_bits()).saturating_sub(u64::from(range.start.to_bits())) + 1
}

/// The finaliser of SplitMix64: spreads neighbouring node addresses. Frozen, because addresses follow from it.
const fn scatter(value: u64) -> u64 {
    let mixed = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(prefix: &str) -> AddressPool {
        let prefix: Ipv4Net = prefix.parse().expect("a prefix");
        let range = Ipv4Range {
            start: prefix.network(),
            end: prefix.broadcast(),
        };
        AddressPool::new(&[range], &BTreeSet::from([prefix]))
    }

    #[test]
    fn the_first_try_is_frozen() {
        let node = NodeId::new(0x89_e92c_eee5).expect("a valid address");

        let address = pool("172.27.0.0/16").allocate(|_| false, node);

        assert_eq!(address, Ok(Ipv4Addr::new(172, 27, 150, 185)));
    }

    #[test]
    fn network_and_broadcast_are_not_usable() {
        assert_eq!(pool("10.0.0.0/30").size(), 2);
        assert_eq!(pool("10.0.0.0/24").size(), 254);
        assert_eq!(pool("10.0.0.0/31").size(), 0);
    }

    #[test]
    fn a_full_pool_says_how_large_it_is() {
        let node = NodeId::new(1).expect("a valid address");
        let taken = BTreeSet::from([Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)]);

        assert_eq!(
            pool("10.0.0.0/30").allocate(|it| taken.contains(it), node),
            Err(PoolFull(2))
        );
    }
}
