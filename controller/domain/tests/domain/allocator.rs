//! Addresses: unique, in the pool, the same on every replica, and none out of reach.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use proptest::prelude::*;
use tombolo_domain::address_pool::{AddressPool, PoolFull};
use tombolo_proto::{config::Ipv4Range, id::NodeId};

fn a_node() -> impl Strategy<Value = NodeId> {
    (1u64..0xfe_ffff_ffff).prop_filter_map("reserved", NodeId::new)
}

fn a_prefix() -> impl Strategy<Value = Ipv4Net> {
    (any::<u32>(), 22u8..=30).prop_map(|(bits, length)| {
        Ipv4Net::new(bits.into(), length)
            .expect("a length within 32")
            .trunc()
    })
}

fn whole(prefix: Ipv4Net) -> AddressPool {
    let range = Ipv4Range {
        start: prefix.network(),
        end: prefix.broadcast(),
    };
    AddressPool::new(&[range], &BTreeSet::from([prefix]))
}

proptest! {
    #[test]
    fn every_usable_address_is_given_out_exactly_once_and_then_the_pool_is_full(
        prefix in a_prefix(), nodes in proptest::collection::vec(a_node(), 1023),
    ) {
        let pool = whole(prefix);
        let mut taken = BTreeSet::new();
        for node in nodes.iter().take(pool.size() as usize) {
            let address = pool.allocate(|it| taken.contains(it), *node).expect("there is room");
            prop_assert!(taken.insert(address));
        }

        let usable: BTreeSet<Ipv4Addr> = prefix.hosts().collect();
        prop_assert_eq!(&taken, &usable);
        prop_assert_eq!(pool.allocate(|it| taken.contains(it), nodes[0]), Err(PoolFull(pool.size())));
    }

    #[test]
    fn the_answer_depends_on_nothing_but_pool_taken_and_node(
        prefix in a_prefix(), node in a_node(), taken in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let base = prefix.network().to_bits();
        let taken: Vec<Ipv4Addr> = taken.iter().map(|low| (base + u32::from(*low)).into()).collect();
        let forwards: BTreeSet<_> = taken.iter().copied().collect();
        let backwards: BTreeSet<_> = taken.iter().rev().copied().collect();

        let first = whole(prefix).allocate(|it| forwards.contains(it), node);
        let second = whole(prefix).allocate(|it| backwards.contains(it), node);

        prop_assert_eq!(&first, &second);
        if let Ok(address) = first {
            prop_assert!(prefix.contains(&address) && !forwards.contains(&address));
            prop_assert!(address != prefix.network() && address != prefix.broadcast());
        }
    }

    #[test]
    fn any_free_address_is_found_however_few_are_left(
        prefix in a_prefix(), node in a_node(), pick in any::<prop::sample::Index>(),
    ) {
        let usable: Vec<Ipv4Addr> = prefix.hosts().collect();
        let free = *pick.get(&usable);
        let taken: BTreeSet<_> = usable.iter().copied().filter(|address| *address != free).collect();

        prop_assert_eq!(whole(prefix).allocate(|it| taken.contains(it), node), Ok(free));
    }

    #[test]
    fn several_pools_are_used_to_the_last_address(
        starts in proptest::collection::btree_set(0u8..32, 1..5), nodes in proptest::collection::vec(a_node(), 64),
    ) {
        let on_link = BTreeSet::from(["10.0.0.0/24".parse::<Ipv4Net>().expect("a prefix")]);
        let ranges: Vec<Ipv4Range> = starts
            .iter()
            .map(|start| Ipv4Range {
                start: Ipv4Addr::new(10, 0, 0, start * 8),
                end: Ipv4Addr::new(10, 0, 0, start * 8 + 7),
            })
            .collect();
        let pool = AddressPool::new(&ranges, &on_link);
        let mut taken = BTreeSet::new();
        for node in nodes.iter().take(pool.size() as usize) {
            taken.insert(pool.allocate(|it| taken.contains(it), *node).expect("there is room"));
        }

        prop_assert_eq!(taken.len() as u64, pool.size());
        prop_assert!(taken.iter().all(|address| ranges.iter().any(|r| r.start <= *address && *address <= r.end)));
    }
}
