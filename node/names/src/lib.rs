//! Names of members and containers: what there is, who may ask, and what is answered.
//!
//! `<host>.<network>` is a member, `<container>.<host>.<network>` a container on its host. Only names whose last label is a
//! network of this node are its own business; every other question goes to the host's own resolvers. A member answers for its own
//! containers alone, so a name of another host costs one question to that member, never two.
//!
//! | module | what it is |
//! |---|---|
//! | [`table`] | which names there are, and what becomes of a question |
//! | [`message`] | DNS messages; the only file that knows their format |
//! | [`cache`] | what other members have answered |
//! | [`resolv_conf`] | the host's own resolvers |

pub mod cache;
pub mod message;
pub mod resolv_conf;
pub mod table;

use std::net::IpAddr;

/// Seconds that an answer may be kept: a container that is made anew has another address.
pub const TTL: u32 = 5;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `A`
    V4,
    /// `AAAA`
    V6,
}

impl Family {
    /// Whether an address is of this family.
    #[must_use]
    pub const fn has(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name exists, with these addresses of any family, or none.
    Addresses(Vec<IpAddr>),
    /// The name does not exist (`NXDOMAIN`).
    NoSuchName,
    /// Not for who asks (`REFUSED`).
    Refused,
    /// Whoever knows does not answer (`SERVFAIL`).
    Failed,
}
