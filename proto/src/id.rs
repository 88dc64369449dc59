//! Identifiers, each a type of its own: the same bits in two roles never mix.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Why a piece of text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The text does not have the right number of hex digits.
    #[error("expected {expected} hex digits")]
    NotHex {
        /// Number of digits wanted.
        expected: usize,
    },
    /// The value is one that is never given out.
    #[error("this value is reserved")]
    Reserved,
}

/// Node address: 40 bits, written as 10 lower-case hex digits.
///
/// It is a name, not an authentication: everything that decides keys on the full identity key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

impl NodeId {
    const BITS: u32 = 40;

    /// Takes 40 bits; `None` for wider values, zero, and anything that starts with `ff` (both reserved).
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value == 0 || value >> Self::BITS != 0 || value >> 32 == 0xff {
            None
        } else {
            Some(Self(value))
        }
    }

    /// The 40 bits, right-aligned.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(parse_hex(text, 10)?).ok_or(ParseIdError::Reserved)
    }
}

/// Network id: 64 bits, written as 16 lower-case hex digits: the authority's address followed by a 24-bit number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId(u64);

impl NetworkId {
    /// Joins an authority and a number; `None` if the number is zero or wider than 24 bits.
    #[must_use]
    pub const fn new(authority: NodeId, number: u32) -> Option<Self> {
        if number == 0 || number >> 24 != 0 {
            None
        } else {
            Some(Self(authority.0 << 24 | number as u64))
        }
    }

    /// Takes the 64 bits as they are; `None` if the authority or the number is not a valid one.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        let Some(authority) = NodeId::new(bits >> 24) else {
            return None;
        };
        Self::new(authority, (bits & 0xff_ffff) as u32)
    }

    /// The 64 bits.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The authority that may sign for this network.
    #[must_use]
    pub const fn authority(self) -> NodeId {
        NodeId(self.0 >> 24)
    }

    /// The network's number within its authority, 1 to 2^24 - 1.
    #[must_use]
    pub const fn number(self) -> u32 {
        (self.0 & 0xff_ffff) as u32
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NetworkId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bits(parse_hex(text, 16)?).ok_or(ParseIdError::Reserved)
    }
}

fn parse_hex(text: &str, digits: usize) -> Result<u64, ParseIdError> {
    let all_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() != digits || !all_hex {
        return Err(ParseIdError::NotHex { expected: digits });
    }
    u64::from_str_radix(text, 16).map_err(|_| ParseIdError::NotHex { expected: digits })
}

macro_rules! text_in_json_bits_on_the_wire {
    ($type:ident, $from_bits:path) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?
                        .parse()
                        .map_err(D::Error::custom)
                } else {
                    let bits = u64::deserialize(deserializer)?;
                    $from_bits(bits).ok_or_else(|| D::Error::custom(ParseIdError::Reserved))
                }
            }
        }
    };
}

text_in_json_bits_on_the_wire!(NodeId, NodeId::new);
text_in_json_bits_on_the_wire!(NetworkId, NetworkId::from_bits);

/// Raised only by revoking a replica key with the root key: whatever an old key signed is older than the next epoch.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// A network's change counter. A member certificate's serial is the revision that issued it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// The order of documents: a later epoch beats any revision.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Version {
    /// Compared first.
    pub epoch: Epoch,
    /// Compared within one epoch.
    pub revision: Revision,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.revision.0)
    }
}

/// Chosen at random by the receiver of a lane; the sender writes it into every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneIndex(pub u32);

/// Wall-clock time in whole seconds since 1970-01-01 UTC. Used only in signed documents and reports.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

/// Largest inner packet in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mtu(pub u16);

impl Mtu {
    /// 1500 (Ethernet) - 40 (IPv6) - 8 (UDP) - 32 (lane header and tag) - 12 (relay header) = 1408, rounded down.
    pub const DEFAULT: Self = Self(1400);
    /// RFC 8200 section 5: every IPv6 link carries at least this.
    pub const MIN: Self = Self(1280);
    /// Jumbo frames of 9000 bytes less the same overhead, rounded down.
    pub const MAX: Self = Self(8900);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_node_addresses_are_refused() {
        assert_eq!(NodeId::new(0), None);
        assert_eq!(NodeId::new(0xff_0000_0001), None);
        assert_eq!(NodeId::new(1 << 40), None);
        assert_eq!("ff00000001".parse::<NodeId>(), Err(ParseIdError::Reserved));
    }

    #[test]
    fn a_network_id_is_authority_and_number() {
        let id: NetworkId = "8056c2e21c000001".parse().expect("a valid id");
        assert_eq!(id.authority().to_string(), "8056c2e21c");
        assert_eq!(id.number(), 1);
        assert_eq!(NetworkId::new(id.authority(), 0), None);
    }

    #[test]
    fn signs_and_short_text_are_not_hex() {
        assert!("+056c2e21c000001".parse::<NetworkId>().is_err());
        assert!("8056c2e21c00001".parse::<NetworkId>().is_err());
    }
}
