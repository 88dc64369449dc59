//! Managed routes: a prefix behind a member. Which ones may stand side by side?
//!
//! | the new prefix | an administrator | the member itself |
//! |---|---|---|
//! | overlaps a pool, a member's address, or the network's automatic IPv6 ranges | refused | refused |
//! | is another member's, both in failover mode | accepted | waits for approval |
//! | is another member's, otherwise | refused | refused |
//! | is a part or a superset of another member's | accepted, the longest wins | waits for approval |
//! | is loopback, link-local, multicast | refused | refused |
//! | is a default route | accepted | waits for approval |
//!
//! The default routes `0.0.0.0/0` and `::/0` overlap everything and nothing: everything else is longer. They, and
//! prefixes of the public internet, are accepted here and used by a node only if its owner opted in.

use core::{fmt, str::FromStr};

use ipnet::IpNet;
use tombolo_proto::{
    config::{CertRoute, RouteMode},
    key::IdentityKey,
    sixplane,
};

use crate::{
    command::Author,
    member::Member,
    network::Network,
    prefix::overlap,
    refusal::Refusal,
    settings::{MemberRoutes, is_routable},
};

/// Most routes one member may have: they travel in its certificate.
pub const MAX_ROUTES_PER_MEMBER: usize = 256;

/// Names a route: chosen at random, written as 8 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Why a text is not a route id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a route id has 8 hex digits")]
pub struct ParseRouteIdError;

impl FromStr for RouteId {
    type Err = ParseRouteIdError;

    fn from_str(text: &str) -> Result<Self, ParseRouteIdError> {
        let all_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.len() != 8 || !all_hex {
            return Err(ParseRouteIdError);
        }
        u32::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| ParseRouteIdError)
    }
}

/// A prefix behind a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub id: RouteId,
    /// Without host bits.
    pub target: IpNet,
    /// The member it is behind.
    pub via: IdentityKey,
    /// Whether others may carry the same prefix.
    pub mode: RouteMode,
    /// Lower wins among members with the same prefix.
    pub metric: u32,
    /// Whether it is in force.
    pub state: RouteState,
    /// Whether the member asked for it itself, and so may withdraw it.
    pub by_member: bool,
}

/// Whether a route is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteState {
    /// In the member's certificate.
    Active,
    /// Asked for by the member, waits for approval; reserves nothing.
    Pending,
    /// Its member is deauthorised; keeps its place until the member comes back or is deleted.
    Suspended,
}

impl Route {
    /// Whether others have to make room for it.
    #[must_use]
    pub fn holds_its_prefix(&self) -> bool {
        self.state != RouteState::Pending
    }

    pub(crate) const fn to_cert(&self) -> CertRoute {
        CertRoute {
            prefix: self.target,
            metric: self.metric,
            mode: self.mode,
        }
    }
}

/// In which state `route` may enter the network (its `state` is not looked at).
pub(crate) fn admit(
    network: &Network,
    via: &Member,
    route: &Route,
    author: Author,
) -> Result<RouteState, Refusal> {
    if !via.is_authorized() {
        return Err(Refusal::ViaNotAuthorized(via.name.clone()));
    }
    // A default route takes what anybody sends to anywhere: nobody gets that by asking.
    let needs_approval = check(network, route)? || route.target.prefix_len() == 0;
    let of_member = network
        .routes()
        .filter(|other| other.via == via.identity && other.id != route.id);
    if of_member.count() >= MAX_ROUTES_PER_MEMBER {
        return Err(Refusal::TooManyRoutes(MAX_ROUTES_PER_MEMBER));
    }
    match (author, network.settings().member_routes) {
        (Author::Admin, _) => Ok(RouteState::Active),
        (Author::Member, MemberRoutes::Off) => Err(Refusal::MemberRoutesOff),
        (Author::Member, MemberRoutes::Auto) if !needs_approval => Ok(RouteState::Active),
        (Author::Member, MemberRoutes::Auto | MemberRoutes::Approve) => Ok(RouteState::Pending),
    }
}

/// Whether `route` may stand beside everything else. Tells whether it overlaps another member's in an accepted way.
pub(crate) fn check(network: &Network, route: &Route) -> Result<bool, Refusal> {
    check_prefix(network, route)?;
    let own_twin = network.routes().find(|other| {
        other.id != route.id && other.via == route.via && other.target == route.target
    });
    if let Some(twin) = own_twin {
        return Err(Refusal::RouteExists {
            target: route.target,
            id: twin.id,
        });
    }
    check_others(network, route)
}

/// Rules against everything that is not a route.
fn check_prefix(network: &Network, route: &Route) -> Result<(), Refusal> {
    let target = route.target;
    if !is_routable(&target) {
        return Err(Refusal::NotRoutable(target));
    }
    if target.prefix_len() == 0 {
        return Ok(());
    }
    for pool in network.settings().v4.on_link() {
        if overlap(&target, &IpNet::V4(*pool)) {
            return Err(Refusal::RouteOverlapsPool {
                target,
                pool: *pool,
            });
        }
    }
    for automatic in [
        sixplane::network(network.id()),
        sixplane::rfc4193_network(network.id()),
    ] {
        if overlap(&target, &IpNet::V6(automatic)) {
            return Err(Refusal::RouteOverlapsAutomatic { target, automatic });
        }
    }
    for member in network.members() {
        if let Some(address) = member
            .addresses
            .iter()
            .find(|address| target.contains(&std::net::IpAddr::V4(**address)))
        {
            return Err(Refusal::RouteCoversMember {
                target,
                address: *address,
                member: member.name.clone(),
            });
        }
    }
    Ok(())
}

/// Rules against other members' routes. Tells whether an accepted overlap is there.
fn check_others(network: &Network, route: &Route) -> Result<bool, Refusal> {
    let mut overlaps_another = false;
    let others = network
        .routes()
        .filter(|other| other.id != route.id && other.via != route.via && other.holds_its_prefix());
    for other in others {
        if other.target == route.target {
            let shared = other.mode == RouteMode::Failover && route.mode == RouteMode::Failover;
            if !shared {
                return Err(Refusal::RouteTaken {
                    target: route.target,
                    member: network.name_of(&other.via),
                });
            }
            overlaps_another = true;
        } else if overlap(&other.target, &route.target)
            && other.target.prefix_len() != 0
            && route.target.prefix_len() != 0
        {
            overlaps_another = true;
        }
    }
    Ok(overlaps_another)
}
