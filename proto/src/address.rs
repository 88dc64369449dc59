//! Node addresses: the last 5 bytes of a 64-byte Argon2id hash of the identity key, valid only if the first byte of
//! the hash is below 16. The hash makes a wanted address costly to find; it authenticates nobody.

use argon2::{Algorithm, Argon2, Params, Version};

use crate::{
    id::NodeId,
    key::{IdentityKey, Seed},
};

const SALT: &[u8] = b"tombolo-addr-v1";
/// Work condition: one key in sixteen has an address.
const FIRST_BYTE_BELOW: u8 = 16;

/// How dear one hash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// 2 MiB, one pass: a controller checks one per join and must take 200 joins a second.
    Node,
    /// 64 MiB, three passes: checked once per join on the node's side, and a network id rests on it.
    Authority,
}

impl Cost {
    fn params(self) -> Params {
        let (memory_kib, passes) = match self {
            Self::Node => (2 * 1024, 1),
            Self::Authority => (64 * 1024, 3),
        };
        Params::new(memory_kib, passes, 1, Some(64)).expect("within Argon2's limits")
    }
}

/// The address of `key`, or `None` if this key has none (fifteen keys of sixteen).
///
/// Takes milliseconds and memory: call it once per join, and never for many at a time.
#[must_use]
pub fn of(key: &IdentityKey, cost: Cost) -> Option<NodeId> {
    let mut digest = [0; 64];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params())
        .hash_password_into(&key.0, SALT, &mut digest)
        .expect("lengths are within Argon2's limits");
    let [first, .., a, b, c, d, e] = digest;
    if first >= FIRST_BYTE_BELOW {
        return None;
    }
    NodeId::new(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
}

/// Draws seeds until one has an address: 16 on average.
pub fn mine(cost: Cost, mut draw: impl FnMut() -> [u8; 32]) -> (Seed, NodeId) {
    loop {
        let seed = Seed::from_bytes(draw());
        if let Some(node) = of(&seed.identity().public(), cost) {
            return (seed, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mined_seed_has_the_address_it_was_mined_for() {
        let mut counter = 0u8;
        let (seed, node) = mine(Cost::Node, || {
            counter += 1;
            [counter; 32]
        });

        assert_eq!(of(&seed.identity().public(), Cost::Node), Some(node));
    }
}
