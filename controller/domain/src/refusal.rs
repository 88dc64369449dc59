//! Why a command cannot be carried out: what is wrong, and what to do.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tombolo_proto::{
    config::Ipv4Range,
    id::{Mtu, NodeId},
};

use crate::{
    address_pool::PoolFull,
    managed_route::RouteId,
    name::{Name, NameError},
    prefix::PrefixError,
    rules::RuleFault,
};

mod code;

pub use code::Coded;

/// A command refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its variant means")]
pub enum Refusal {
    #[error(
        "the network has no revision left, so somebody has tampered with the store: restore a backup of it"
    )]
    UsedUp,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    #[error("an MTU of {0} does not work: choose {min} to {max}", min = Mtu::MIN.0, max = Mtu::MAX.0)]
    Mtu(u16),
    #[error(
        "{0} is too small for a pool: it needs at least 2 addresses besides network and broadcast, so /30 or shorter"
    )]
    PoolTooSmall(Ipv4Net),
    #[error(
        "{0} cannot be used: loopback, link-local, multicast and reserved ranges never leave a machine"
    )]
    NotRoutable(IpNet),
    #[error("the range {0}-{1} ends before it starts: swap its ends")]
    RangeReversed(Ipv4Addr, Ipv4Addr),
    #[error("the ranges {a}-{b} and {c}-{d} overlap: make them distinct", a = .0.start, b = .0.end, c = .1.start, d = .1.end)]
    RangesOverlap(Ipv4Range, Ipv4Range),
    #[error("the pools {0} and {1} overlap: make them distinct")]
    PoolsOverlap(Ipv4Net, Ipv4Net),
    #[error("a network has at most {0} pools: use fewer, larger ones")]
    TooManyPools(usize),
    #[error(
        "the pool {pool} overlaps the subnet pool {subnet_pool}: choose another range for one of them"
    )]
    SubnetPoolOverlapsPool { subnet_pool: IpNet, pool: Ipv4Net },
    #[error(
        "the pool {pool} overlaps the route {target} via {member}: remove the route first, or choose another pool"
    )]
    PoolOverlapsRoute {
        pool: Ipv4Net,
        target: IpNet,
        member: String,
    },
    #[error(
        "{member} has the address {address}, which is outside the new pools: give it another address first, or keep the range"
    )]
    MemberOutsidePools { member: Name, address: Ipv4Addr },

    #[error("the pool is full: {0}; add a pool, enlarge it, or delete members that are gone")]
    PoolFull(#[from] PoolFull),
    #[error("there is no such member: list members to see who there is")]
    UnknownMember,
    #[error("{0} still waits for authorisation: authorise it first")]
    StillWaiting(NodeId),
    #[error("the name {0} belongs to another member of this network: choose another")]
    NameTaken(Name),
    #[error(
        "the address {address} belongs to {member}: choose another, or take it from that member first"
    )]
    AddressTaken { address: Ipv4Addr, member: Name },
    #[error(
        "the address {0} is in no pool of this network, or is a network or broadcast address: choose one that members can have"
    )]
    AddressOutsidePools(Ipv4Addr),
    #[error(
        "{0} cannot be assigned: IPv6 addresses follow from the network's v6_modes; give IPv4 addresses only"
    )]
    AddressNotAssignable(IpAddr),
    #[error("a member has at most {0} addresses: give fewer")]
    TooManyAddresses(usize),
    #[error(
        "the tag {0:?} is not usable: write 1 to 63 letters, digits, '-', '_', '.' or ':', and at most 32 tags"
    )]
    Tag(String),
    #[error(
        "the node address {0} belongs to another key in this network: the other member has to be deleted first, or this node needs a new identity"
    )]
    NodeAddressTaken(NodeId),
    #[error("another member has the same transport key: this node needs a new identity")]
    TransportKeyTaken,
    #[error(
        "this node was deauthorised: ask an administrator of the network to authorise it again"
    )]
    Deauthorized,
    #[error(
        "too many requests wait for authorisation: try again later, or ask an administrator to decide on them"
    )]
    TooManyRequests,

    #[error("there is no such route: list routes to see their ids")]
    UnknownRoute,
    #[error(
        "the route {target} overlaps the pool {pool}: a member's addresses are reached already; choose a prefix outside the pool"
    )]
    RouteOverlapsPool { target: IpNet, pool: Ipv4Net },
    #[error(
        "the route {target} overlaps {automatic}, the automatic IPv6 range of this network: every member's /80 is routed already"
    )]
    RouteOverlapsAutomatic { target: IpNet, automatic: Ipv6Net },
    #[error(
        "the route {target} covers {address}, the address of {member}: choose a prefix without it"
    )]
    RouteCoversMember {
        target: IpNet,
        address: Ipv4Addr,
        member: Name,
    },
    #[error(
        "{target} is routed via {member} already: choose another subnet on one of the two hosts, or give both routes the mode \"failover\" if both lead to the same machines"
    )]
    RouteTaken { target: IpNet, member: String },
    #[error("{target} is routed via this member already, as route {id}: change or remove that one")]
    RouteExists { target: IpNet, id: RouteId },
    #[error("{0} is not authorised, so nothing can be routed to it: authorise it first")]
    ViaNotAuthorized(Name),
    #[error("a member has at most {0} routes: combine some into a shorter prefix")]
    TooManyRoutes(usize),
    #[error("members of this network may not publish routes: ask an administrator to add it")]
    MemberRoutesOff,
    #[error("the route {0} was added by an administrator: only an administrator can remove it")]
    NotYourRoute(IpNet),
    #[error(
        "a route can be set to \"active\" only; it is suspended while its member is deauthorised, and removed by deleting it"
    )]
    RouteState,
    #[error("the subnet pools have no free /{0}: add a subnet pool, or choose a longer prefix")]
    NoSubnetLeft(u8),
    #[error("a network has at most {max} access rules: use tags and shorter prefixes", max = tombolo_proto::rules::MAX_RULES)]
    TooManyRules,
    #[error(
        "the access rules take more than {max} bytes: give members that are named often a tag",
        max = tombolo_proto::rules::MAX_RULES_BYTES
    )]
    RulesTooLong,
    #[error("access rule {number} ({text}): {fault}")]
    Rule {
        number: usize,
        text: String,
        fault: RuleFault,
    },
    #[error("a container subnet is a /{min} to /{max}: choose a length between", min = crate::subnet::SHORTEST, max = crate::subnet::LONGEST)]
    SubnetLength(u8),
    #[error("a member may ask for a /{min} to /{max}: choose a length between, or ask an administrator", min = crate::subnet::SHORTEST_FOR_MEMBER, max = crate::subnet::LONGEST)]
    MemberSubnetLength(u8),
}

/// What sort of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The command makes no sense by itself.
    Invalid,
    /// It clashes with what is there.
    Conflict,
    /// It names something that is not there.
    NotFound,
    /// The one who asks may not.
    Forbidden,
    /// Later, perhaps.
    Busy,
}

impl Refusal {
    /// What sort of refusal it is.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::Name(_)
            | Self::Prefix(_)
            | Self::Mtu(_)
            | Self::PoolTooSmall(_)
            | Self::NotRoutable(_)
            | Self::RangeReversed(..)
            | Self::TooManyPools(_)
            | Self::AddressOutsidePools(_)
            | Self::AddressNotAssignable(_)
            | Self::TooManyAddresses(_)
            | Self::Tag(_)
            | Self::RouteState
            | Self::TooManyRules
            | Self::RulesTooLong
            | Self::Rule {
                fault: RuleFault::Form(_) | RuleFault::TooLong,
                ..
            }
            | Self::SubnetLength(_)
            | Self::MemberSubnetLength(_) => RefusalKind::Invalid,
            Self::RangesOverlap(..)
            | Self::PoolsOverlap(..)
            | Self::SubnetPoolOverlapsPool { .. }
            | Self::PoolOverlapsRoute { .. }
            | Self::MemberOutsidePools { .. }
            | Self::PoolFull(_)
            | Self::StillWaiting(_)
            | Self::NameTaken(_)
            | Self::AddressTaken { .. }
            | Self::NodeAddressTaken(_)
            | Self::TransportKeyTaken
            | Self::RouteOverlapsPool { .. }
            | Self::RouteOverlapsAutomatic { .. }
            | Self::RouteCoversMember { .. }
            | Self::RouteTaken { .. }
            | Self::RouteExists { .. }
            | Self::ViaNotAuthorized(_)
            | Self::TooManyRoutes(_)
            | Self::NoSubnetLeft(_)
            | Self::Rule { .. }
            | Self::UsedUp => RefusalKind::Conflict,
            Self::UnknownMember | Self::UnknownRoute => RefusalKind::NotFound,
            Self::Deauthorized | Self::MemberRoutesOff | Self::NotYourRoute(_) => {
                RefusalKind::Forbidden
            }
            Self::TooManyRequests => RefusalKind::Busy,
        }
    }
}
