//! What can be asked of a network.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use tombolo_proto::{
    config::{RouteMode, V6Mode},
    id::{Mtu, UnixSeconds},
    key::IdentityKey,
    rules::{Action, Rule},
};

use crate::{
    managed_route::{RouteId, RouteState},
    member::Request,
    name::Name,
    settings::{MemberRoutes, V4Plan},
};

/// A wish, to be decided on.
#[derive(Debug, Clone)]
pub enum Command {
    /// Change the settings.
    Configure(SettingsPatch),
    /// Replace the access rules.
    SetRules {
        /// For what no rule matches.
        default: Action,
        /// In order, members named by name, node address or key.
        rules: Vec<Rule<String>>,
    },
    /// A node asks to join.
    Join {
        /// What it says of itself.
        request: Request,
        /// Whether it showed a valid join token.
        granted: bool,
    },
    /// Change a member, or authorise a request.
    UpdateMember {
        /// Which.
        identity: IdentityKey,
        /// What becomes different.
        patch: MemberPatch,
    },
    /// Delete a member or a request.
    RemoveMember(IdentityKey),
    /// Route a prefix to a member.
    AddRoute(RouteWish),
    /// Route a free piece of the subnet pools to a member.
    AllocateSubnet {
        /// Id of the new route.
        id: RouteId,
        /// Behind whom.
        via: IdentityKey,
        /// Length of the prefix.
        length: u8,
        /// Lower wins.
        metric: u32,
        /// Who asks.
        author: Author,
    },
    /// Change or approve a route.
    UpdateRoute {
        /// Which.
        id: RouteId,
        /// What becomes different.
        patch: RoutePatch,
    },
    /// Delete a route.
    RemoveRoute(RouteId),
    /// A member no longer wants a prefix that it asked for.
    WithdrawRoute {
        /// Which member.
        identity: IdentityKey,
        /// Which prefix.
        prefix: IpNet,
    },
    /// Several things at once, or none of them; each is decided on what those before it leave.
    Together(Vec<Self>),
    /// Issue anew what has lived more than half of its life, and forget requests made before the given time.
    Upkeep {
        /// Older requests go.
        requests_since: UnixSeconds,
    },
}

/// New values for some settings.
#[derive(Debug, Clone, Default)]
pub struct SettingsPatch {
    /// Short name.
    pub name: Option<Name>,
    /// Whether joining needs authorisation.
    pub private: Option<bool>,
    /// Largest inner packet.
    pub mtu: Option<Mtu>,
    /// IPv4 ranges and the prefixes around them.
    pub v4: Option<V4Plan>,
    /// Ranges for container subnets.
    pub subnet_pools: Option<BTreeSet<IpNet>>,
    /// Automatic IPv6 layouts.
    pub v6_modes: Option<BTreeSet<V6Mode>>,
    /// What happens to routes that members ask for.
    pub member_routes: Option<MemberRoutes>,
}

/// New values for some of a member's fields.
#[derive(Debug, Clone, Default)]
pub struct MemberPatch {
    /// Let in or put out.
    pub authorized: Option<bool>,
    /// Short name.
    pub name: Option<Name>,
    /// All addresses it shall have. Its automatic IPv6 addresses may stand among them; without an IPv4 address in it,
    /// one is assigned.
    pub addresses: Option<BTreeSet<IpAddr>>,
    /// Words that access rules refer to.
    pub tags: Option<BTreeSet<String>>,
    /// Whether it may forward sealed frames for others.
    pub relay: Option<bool>,
}

/// A route somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteWish {
    /// Id of the new route.
    pub id: RouteId,
    /// Without host bits.
    pub target: IpNet,
    /// Behind whom.
    pub via: IdentityKey,
    /// Whether others may carry the same prefix.
    pub mode: RouteMode,
    /// Lower wins.
    pub metric: u32,
    /// Who asks.
    pub author: Author,
}

/// Who asks for a route or a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// An administrator: the route is active at once.
    Admin,
    /// The member itself: the network's setting decides. A subnet from the pools needs no approval unless members may
    /// not publish routes at all.
    Member,
}

/// New values for some of a route's fields.
#[derive(Debug, Clone, Default)]
pub struct RoutePatch {
    /// Approve, or put back to waiting.
    pub state: Option<RouteState>,
    /// Whether others may carry the same prefix.
    pub mode: Option<RouteMode>,
    /// Lower wins.
    pub metric: Option<u32>,
}
