//! A map of thousands of entries whose next version costs little: a copy shares everything with the original, and a change
//! copies one shard of it.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use tombolo_proto::{
    id::NodeId,
    key::{IdentityKey, TransportKey},
};

const SHARDS: usize = 256;

/// What a roll can be sorted by.
pub(crate) trait Sharded: Ord + Clone {
    /// A byte that is spread evenly.
    fn shard(&self) -> u8;
}

/// Its first byte: entries of a roll by identity stand in order of identity.
impl Sharded for IdentityKey {
    fn shard(&self) -> u8 {
        self.0[0]
    }
}

impl Sharded for TransportKey {
    fn shard(&self) -> u8 {
        self.0[0]
    }
}

impl Sharded for NodeId {
    fn shard(&self) -> u8 {
        self.get() as u8
    }
}

impl Sharded for Ipv4Addr {
    fn shard(&self) -> u8 {
        self.octets()[3]
    }
}

/// Names mostly differ in their last letters.
impl Sharded for String {
    fn shard(&self) -> u8 {
        self.bytes()
            .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
    }
}

/// The map.
#[derive(Debug)]
pub(crate) struct Roll<K, V>([Arc<BTreeMap<K, V>>; SHARDS]);

impl<K, V> Clone for Roll<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Default for Roll<K, V> {
    fn default() -> Self {
        let empty = Arc::default();
        Self(std::array::from_fn(|_| Arc::clone(&empty)))
    }
}

impl<K: Sharded, V: Clone> Roll<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0[usize::from(key.shard())].get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        Arc::make_mut(&mut self.0[usize::from(key.shard())]).insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        Arc::make_mut(&mut self.0[usize::from(key.shard())]).remove(key)
    }

    /// Shard by shard.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().flat_map(|shard| shard.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_had_and_identities_stand_in_order() {
        let identity = |first: u8, last: u8| {
            let mut bytes = [first; 32];
            bytes[31] = last;
            IdentityKey(bytes)
        };
        let mut roll = Roll::default();
        for (number, key) in [identity(9, 0), identity(1, 7), identity(1, 2)]
            .into_iter()
            .enumerate()
        {
            roll.insert(key, number);
        }
        let copy = roll.clone();

        assert_eq!(roll.remove(&identity(1, 7)), Some(1));
        assert_eq!(roll.insert(identity(200, 0), 3), None);

        assert_eq!(copy.values().copied().collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(roll.values().copied().collect::<Vec<_>>(), [2, 0, 3]);
        assert_eq!(roll.get(&identity(1, 7)), None);
        assert_eq!(copy.get(&identity(1, 7)), Some(&1));
    }
}
