//! Networks.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::Route;
use crate::{
    config::{Ipv4Range, V6Mode},
    id::NetworkId,
};

json! {
    /// A network.
    pub struct Network {
        /// 16 hex digits.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub id: NetworkId,
        /// Short name.
        pub name: String,
        /// Whether joining needs authorisation.
        pub private: bool,
        /// Largest inner packet in bytes.
        pub mtu: u16,
        /// Ranges that addresses are assigned from.
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<AddressRange>))]
        pub v4_pools: Vec<Ipv4Range>,
        /// Prefixes that are reached through the overlay as a whole.
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
        pub on_link: Vec<Ipv4Net>,
        /// Ranges that container subnets are allocated from.
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
        pub subnet_pools: Vec<IpNet>,
        /// What happens to routes that members ask for themselves.
        pub member_routes: MemberRoutes,
        /// Automatic IPv6 layouts.
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["6plane", "rfc4193"])))]
        pub v6_modes: Vec<V6Mode>,
        /// Prefixes behind members.
        pub routes: Vec<Route>,
        /// Counts changes.
        pub revision: u64,
        /// What `node join` takes: id, authority key and controllers.
        pub join_link: String,
    }

    /// How many belong to a network.
    pub struct NetworkSummary {
        /// Members, authorised or not.
        pub members: u64,
        /// Those of them that are connected to a controller now.
        pub online: u64,
        /// Nodes that wait for authorisation.
        pub waiting: u64,
        /// Inner bytes per second that members sent, as they told of late.
        #[serde(default)]
        pub sent: u64,
        /// Inner bytes per second that members received, as they told of late.
        #[serde(default)]
        pub received: u64,
    }

    /// Creates a network.
    #[serde(deny_unknown_fields)]
    pub struct NewNetwork {
        /// Short name, unique on this controller.
        pub name: String,
        /// One IPv4 prefix that is pool and on-link route at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub v4: Option<String>,
        /// Everything else.
        #[serde(flatten)]
        pub settings: NetworkSettings,
    }

    /// Changes a network.
    #[serde(deny_unknown_fields)]
    pub struct NetworkPatch {
        /// Short name, unique on this controller.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<String>,
        /// One IPv4 prefix that is pool and on-link route at once; replaces all pools.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub v4: Option<String>,
        /// Everything else.
        #[serde(flatten)]
        pub settings: NetworkSettings,
    }

    /// Settings of a network that have defaults.
    #[derive(Default)]
    pub struct NetworkSettings {
        /// Whether joining needs authorisation; true by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub private: Option<bool>,
        /// Largest inner packet in bytes; 1400 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub mtu: Option<u16>,
        /// Ranges that addresses are assigned from; replaces all pools. A range outside the on-link prefixes gets the
        /// smallest prefix around it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<AddressRange>>))]
        pub v4_pools: Option<Vec<Ipv4Range>>,
        /// Ranges that container subnets are allocated from; 10.240.0.0/12 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub subnet_pools: Option<Vec<String>>,
        /// What happens to routes that members ask for themselves; `approve` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub member_routes: Option<MemberRoutes>,
        /// Automatic IPv6 layouts; `["6plane"]` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
        pub v6_modes: Option<Vec<V6Mode>>,
    }

    /// An inclusive range of IPv4 addresses.
    pub struct AddressRange {
        /// First address.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub start: Ipv4Addr,
        /// Last address.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub end: Ipv4Addr,
    }
}

/// What happens to routes that members ask for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberRoutes {
    /// They wait for approval.
    Approve,
    /// They are active at once, unless they overlap another member's.
    Auto,
    /// They are refused.
    Off,
}
