//! Prefixes behind members.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{config::RouteMode, id::NodeId};

json! {
    /// A prefix behind a member.
    pub struct Route {
        /// 8 hex digits.
        pub id: String,
        /// Without host bits.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub target: IpNet,
        /// The member it is behind: its node address.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub via: NodeId,
        /// The name of that member.
        pub via_name: String,
        /// `single` or `failover`.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub mode: RouteMode,
        /// Lower wins among members with the same prefix.
        pub metric: u32,
        /// Whether it is in force.
        pub state: RouteState,
        /// Whether it is a default route, `0.0.0.0/0` or `::/0`: nodes use it where their owner says `allow-default=on`.
        #[serde(default)]
        pub default_route: bool,
        /// What was asked for, if it had host bits that were cut off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub normalized_from: Option<IpNet>,
    }

    /// Adds a route.
    #[serde(deny_unknown_fields)]
    pub struct NewRoute {
        /// The prefix; host bits are cut off.
        pub target: String,
        /// A member: its node address, one of its addresses, or its name.
        pub via: String,
        /// `single` (default) or `failover`.
        #[serde(default = "single")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub mode: RouteMode,
        /// Lower wins among members with the same prefix.
        #[serde(default)]
        pub metric: u32,
    }

    /// Changes or approves a route.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct RoutePatch {
        /// `active` approves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub state: Option<RouteState>,
        /// `single` or `failover`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub mode: Option<RouteMode>,
        /// Lower wins among members with the same prefix.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub metric: Option<u32>,
    }

    /// Allocates a container subnet from the network's subnet pools and routes it.
    #[serde(deny_unknown_fields)]
    pub struct NewSubnet {
        /// Length of the prefix.
        pub size: u8,
        /// What it is for; written to the audit log.
        #[serde(default)]
        pub name: String,
    }
}

/// Whether a route is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// In force.
    Active,
    /// Waits for approval.
    Pending,
    /// Its member is deauthorised.
    Suspended,
}

const fn single() -> RouteMode {
    RouteMode::Single
}
