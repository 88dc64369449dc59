//! Longest-prefix match, immutable once built.
//!
//! One hash table per prefix length that occurs, probed from the longest: the cost is the number of distinct lengths
//! (a handful in any real network), not the number of prefixes.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasherDefault,
    net::IpAddr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Maps prefixes to values; looks up the value of the longest prefix that contains an address.
#[derive(Debug, Clone)]
pub struct PrefixTable<V> {
    v4: Vec<Level<u32, V>>,
    v6: Vec<Level<u128, V>>,
}

/// All prefixes of one length.
#[derive(Debug, Clone)]
struct Level<Bits, V> {
    mask: Bits,
    values: HashMap<Bits, V, BuildHasherDefault<FoldHasher>>,
}

impl<V> PrefixTable<V> {
    /// The value of the longest prefix that contains `address`.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<&V> {
        match address {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                self.v4
                    .iter()
                    .find_map(|level| level.values.get(&(bits & level.mask)))
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                self.v6
                    .iter()
                    .find_map(|level| level.values.get(&(bits & level.mask)))
            }
        }
    }
}

impl<V> Default for PrefixTable<V> {
    fn default() -> Self {
        Self {
            v4: Vec::new(),
            v6: Vec::new(),
        }
    }
}

/// Host bits are ignored; of two equal prefixes the last wins.
impl<V> FromIterator<(IpNet, V)> for PrefixTable<V> {
    fn from_iter<I: IntoIterator<Item = (IpNet, V)>>(entries: I) -> Self {
        let mut v4 = BTreeMap::<u8, Level<u32, V>>::new();
        let mut v6 = BTreeMap::<u8, Level<u128, V>>::new();
        for (prefix, value) in entries {
            match prefix {
                IpNet::V4(prefix) => insert_v4(&mut v4, prefix, value),
                IpNet::V6(prefix) => insert_v6(&mut v6, prefix, value),
            }
        }
        Self {
            v4: v4.into_values().rev().collect(),
            v6: v6.into_values().rev().collect(),
        }
    }
}

fn insert_v4<V>(levels: &mut BTreeMap<u8, Level<u32, V>>, prefix: Ipv4Net, value: V) {
    let level = levels.entry(prefix.prefix_len()).or_insert_with(|| Level {
        mask: prefix.netmask().to_bits(),
        values: HashMap::default(),
    });
    level.values.insert(prefix.network().to_bits(), value);
}

fn insert_v6<V>(levels: &mut BTreeMap<u8, Level<u128, V>>, prefix: Ipv6Net, value: V) {
    let level = levels.entry(prefix.prefix_len()).or_insert_with(|| Level {
        mask: prefix.netmask().to_bits(),
        values: HashMap::default(),
    });
    level.values.insert(prefix.network().to_bits(), value);
}

/// Multiplicative hashing of one integer. The keys come from signed certificates, so nobody can choose them to collide;
/// looked-up addresses never enter a table.
#[derive(Debug, Default, Clone)]
struct FoldHasher(u64);

/// 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming, volume 3, section 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl std::hash::Hasher for FoldHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value) * u128::from(GOLDEN);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64(value as u64);
        self.write_u64((value >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_families_do_not_mix() {
        let table = table(&[
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/32",
            "::/0",
            "fc00::/7",
        ]);

        assert_eq!(looked_up(&table, "10.1.2.3"), Some("10.1.2.3/32"));
        assert_eq!(looked_up(&table, "10.1.2.4"), Some("10.1.0.0/16"));
        assert_eq!(looked_up(&table, "192.0.2.1"), Some("0.0.0.0/0"));
        assert_eq!(looked_up(&table, "fd00::1"), Some("fc00::/7"));
        assert_eq!(looked_up(&table, "2001:db8::1"), Some("::/0"));
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(looked_up(&table(&[]), "10.0.0.1"), None);
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_trying_every_prefix(
            prefixes in prop::collection::vec(a_prefix(), 0..40),
            address in prop_oneof![a_v4_address(), a_v6_address()],
        ) {
            let table: PrefixTable<IpNet> = prefixes.iter().map(|prefix| (*prefix, prefix.trunc())).collect();

            let naive = prefixes
                .iter()
                .map(IpNet::trunc)
                .filter(|prefix| prefix.contains(&address))
                .max_by_key(IpNet::prefix_len);

            prop_assert_eq!(table.lookup(address).copied(), naive);
        }
    }

    fn table(prefixes: &[&'static str]) -> PrefixTable<&'static str> {
        prefixes
            .iter()
            .map(|text| (text.parse().expect("a prefix"), *text))
            .collect()
    }

    fn looked_up(table: &PrefixTable<&'static str>, address: &str) -> Option<&'static str> {
        table.lookup(address.parse().expect("an address")).copied()
    }

    // Few distinct bits, so that prefixes nest and addresses hit.
    fn a_v4_address() -> impl Strategy<Value = IpAddr> {
        (0u32..64, 0u32..4).prop_map(|(high, low)| IpAddr::V4((high << 26 | low).into()))
    }

    fn a_v6_address() -> impl Strategy<Value = IpAddr> {
        (0u128..64, 0u128..4).prop_map(|(high, low)| IpAddr::V6((high << 122 | low).into()))
    }

    fn a_prefix() -> impl Strategy<Value = IpNet> {
        prop_oneof![
            (a_v4_address(), 0u8..=32)
                .prop_map(|(address, length)| IpNet::new(address, length).expect("a length")),
            (a_v6_address(), 0u8..=128)
                .prop_map(|(address, length)| IpNet::new(address, length).expect("a length")),
        ]
    }
}
