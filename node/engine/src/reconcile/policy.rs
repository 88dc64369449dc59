//! Default routes, and what keeps the underlay out of them.
//!
//! A default route into the overlay must not carry the overlay's own datagrams. So it stands in a table of its own
//! ([`DEFAULT_TABLE`]), and rules say who looks there, as `wg-quick` does it:
//!
//! | rule | for |
//! |---|---|
//! | from an address of the host's other interfaces: the main table | answers to who calls the host there: SSH is not locked out |
//! | all: the main table, its default routes apart | networks that the host knows a way to, the overlay's own among them |
//! | all without [`MARK`]: our table | everything else, unless it is the overlay's own |
//!
//! Where the TUN device is gone, so is the table's route, and lookups go on to the main table.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{ROUTE_PROTOCOL, Route, RouteTarget};

/// The routing table of our default routes: has the number of [`ROUTE_PROTOCOL`], so that there is one to remember.
pub const DEFAULT_TABLE: u8 = ROUTE_PROTOCOL;
/// The firewall mark on everything that goes by the underlay. It shares no bit with the marks of kube-proxy (bits 14 and
/// 15), Cilium (8 to 11), the CNI plugins (7 and 13) and Tailscale (16 to 23).
pub const MARK: u32 = 0x1050;
/// Of the rule that comes first. Those that people make go before ours, and the main table's own (32766) after.
const FIRST_PRIORITY: u32 = 32_700;
/// The kernel's main table.
const MAIN_TABLE: u8 = 254;

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// That of a prefix.
    #[must_use]
    pub const fn of_prefix(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

/// A policy rule of ours. In the order in which they are looked at, which is also the one to add them in: the one that
/// leads into the overlay last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What has this source goes by the main table.
    From(IpAddr),
    /// What the main table has more than a default route for goes by it.
    Specific(Family),
    /// What has no mark of ours goes by our table.
    Unmarked(Family),
}

impl Rule {
    /// Rules are looked at by ascending priority.
    #[must_use]
    pub const fn priority(&self) -> u32 {
        match self {
            Self::From(_) => FIRST_PRIORITY,
            Self::Specific(_) => FIRST_PRIORITY + 1,
            Self::Unmarked(_) => FIRST_PRIORITY + 2,
        }
    }

    /// Which addresses it is about.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::From(address) => Family::of(address),
            Self::Specific(family) | Self::Unmarked(family) => *family,
        }
    }

    /// The table that it leads to.
    #[must_use]
    pub const fn table(&self) -> u8 {
        match self {
            Self::From(_) | Self::Specific(_) => MAIN_TABLE,
            Self::Unmarked(_) => DEFAULT_TABLE,
        }
    }
}

impl Route {
    /// The table that it stands in.
    #[must_use]
    pub fn table(&self) -> u8 {
        if is_default(&self.prefix) {
            DEFAULT_TABLE
        } else {
            MAIN_TABLE
        }
    }
}

/// Whether a prefix is all of its family.
#[must_use]
pub fn is_default(prefix: &IpNet) -> bool {
    prefix.prefix_len() == 0
}

/// The families that have a default route into the overlay.
#[must_use]
pub fn default_families(routes: &BTreeSet<Route>) -> BTreeSet<Family> {
    routes
        .iter()
        .filter(|route| is_default(&route.prefix) && route.target != RouteTarget::Unreachable)
        .map(|route| Family::of_prefix(&route.prefix))
        .collect()
}

/// The rules that go with these routes on a host that has `addresses` on its other interfaces. None without a default
/// route.
#[must_use]
pub fn rules(routes: &BTreeSet<Route>, addresses: &BTreeSet<IpAddr>) -> BTreeSet<Rule> {
    let families = default_families(routes);
    let own = addresses
        .iter()
        .filter(|address| families.contains(&Family::of(address)));
    let leading = families
        .iter()
        .flat_map(|family| [Rule::Specific(*family), Rule::Unmarked(*family)]);
    own.copied().map(Rule::From).chain(leading).collect()
}
