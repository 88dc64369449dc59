//! Networks and members in the shape in which ZeroTier's controller shows them (version 4 of its API).
//!
//! Fields that mean nothing here have the value that they have at a new network: tools expect them to be there.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value};
use tombolo_domain::{
    managed_route::Route,
    network::{Found, Network},
};
use tombolo_proto::{
    api,
    config::V6Mode,
    control::PROTOCOL,
    id::{NetworkId, NodeId},
    rules::{AccessRules, Action},
};
use utoipa::ToSchema;

/// ZeroTier's controller API that this follows.
pub(super) const API_VERSION: u32 = 4;

/// The node that the controller is, as `/status` of ZeroTier tells.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ZeroTierStatus)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// The first ten digits of every network of this controller.
    #[schema(value_type = String)]
    pub(super) address: NodeId,
    pub(super) public_identity: String,
    /// Milliseconds since 1970.
    pub(super) clock: u64,
    pub(super) online: bool,
    pub(super) tcp_fallback_active: bool,
    pub(super) planet_world_id: u64,
    pub(super) planet_world_timestamp: u64,
    pub(super) version: String,
    pub(super) version_major: i64,
    pub(super) version_minor: i64,
    pub(super) version_rev: i64,
    pub(super) version_build: i64,
    pub(super) config: Config,
}

/// Nothing of it is set here.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ZeroTierConfig)]
pub(super) struct Config {
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
}

/// That this is a controller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ZeroTierController)]
#[serde(rename_all = "camelCase")]
pub(super) struct ControllerStatus {
    pub(super) controller: bool,
    pub(super) api_version: u32,
    /// Milliseconds since 1970.
    pub(super) clock: u64,
    pub(super) database_ready: bool,
}

/// A network.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ZeroTierNetwork)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkShape {
    #[schema(value_type = String)]
    id: NetworkId,
    #[schema(value_type = String)]
    nwid: NetworkId,
    objtype: &'static str,
    name: String,
    /// Milliseconds since 1970; 0 if it is not known.
    pub(super) creation_time: u64,
    private: bool,
    mtu: u16,
    revision: u64,
    /// `zt`: whether there are pools.
    v4_assign_mode: V4AssignMode,
    v6_assign_mode: V6AssignMode,
    ip_assignment_pools: Vec<Pool>,
    /// Prefixes around pools (`via` is null) and managed routes (`via` is an address of the member).
    pub(super) routes: Vec<RouteShape>,
    /// Accepts or drops everything: what becomes of packets that no access rule matches.
    #[schema(value_type = Vec<Object>)]
    rules: Vec<Value>,
    enable_broadcast: bool,
    multicast_limit: u32,
    #[schema(value_type = Vec<Object>)]
    auth_tokens: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    capabilities: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    tags: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    dns: Vec<Value>,
    remote_trace_target: Option<String>,
    remote_trace_level: u32,
    rules_source: &'static str,
    sso_enabled: bool,
    client_id: &'static str,
    authorization_endpoint: &'static str,
}

/// Whether addresses are assigned from the pools.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ZeroTierV4AssignMode)]
struct V4AssignMode {
    zt: bool,
}

/// Which IPv6 addresses members have.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ZeroTierV6AssignMode)]
struct V6AssignMode {
    #[serde(rename = "6plane")]
    sixplane: bool,
    rfc4193: bool,
    zt: bool,
}

/// A range that addresses are assigned from.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ZeroTierPool)]
#[serde(rename_all = "camelCase")]
struct Pool {
    #[schema(value_type = String)]
    ip_range_start: IpAddr,
    #[schema(value_type = String)]
    ip_range_end: IpAddr,
}

/// A prefix and the address of the member that it is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ZeroTierRoute)]
pub(super) struct RouteShape {
    #[schema(value_type = String)]
    pub(super) target: IpNet,
    #[schema(value_type = Option<String>)]
    pub(super) via: Option<IpAddr>,
}

/// A member, or a node that waits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ZeroTierMember)]
#[serde(rename_all = "camelCase")]
pub(super) struct MemberShape {
    #[schema(value_type = String)]
    id: NodeId,
    #[schema(value_type = String)]
    address: NodeId,
    #[schema(value_type = String)]
    nwid: NetworkId,
    objtype: &'static str,
    name: String,
    authorized: bool,
    /// Assigned addresses. The IPv6 ones follow from the network's modes and are not told.
    #[schema(value_type = Vec<String>)]
    ip_assignments: Vec<IpAddr>,
    /// Empty if the node is not known.
    identity: String,
    revision: u64,
    v_major: i64,
    v_minor: i64,
    v_rev: i64,
    v_proto: i64,
    active_bridge: bool,
    no_auto_assign_ips: bool,
    #[schema(value_type = Vec<Object>)]
    tags: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    capabilities: Vec<Value>,
    creation_time: u64,
    last_authorized_time: u64,
    last_deauthorized_time: u64,
    last_authorized_credential_type: Option<String>,
    last_authorized_credential: Option<String>,
    authentication_expiry_time: u64,
    sso_exempt: bool,
    remote_trace_target: Option<String>,
    remote_trace_level: u32,
}

/// A network as a tool sees it.
pub(super) fn network(network: &Network) -> NetworkShape {
    let settings = network.settings();
    NetworkShape {
        id: network.id(),
        nwid: network.id(),
        objtype: "network",
        name: settings.name.to_string(),
        creation_time: 0,
        private: settings.private,
        mtu: settings.mtu.0,
        revision: network.revision().0,
        v4_assign_mode: V4AssignMode {
            zt: !settings.v4.ranges().is_empty(),
        },
        v6_assign_mode: V6AssignMode {
            sixplane: settings.v6_modes.contains(&V6Mode::SixPlane),
            rfc4193: settings.v6_modes.contains(&V6Mode::Rfc4193),
            zt: false,
        },
        ip_assignment_pools: settings
            .v4
            .ranges()
            .iter()
            .map(|range| Pool {
                ip_range_start: range.start.into(),
                ip_range_end: range.end.into(),
            })
            .collect(),
        routes: routes(network),
        rules: rules(&settings.rules),
        enable_broadcast: true,
        multicast_limit: 32,
        auth_tokens: Vec::new(),
        capabilities: Vec::new(),
        tags: Vec::new(),
        dns: Vec::new(),
        remote_trace_target: None,
        remote_trace_level: 0,
        rules_source: "",
        sso_enabled: false,
        client_id: "",
        authorization_endpoint: "",
    }
}

fn routes(network: &Network) -> Vec<RouteShape> {
    let on_link = network.settings().v4.on_link().iter();
    let on_link = on_link.map(|prefix| RouteShape {
        target: IpNet::V4(*prefix),
        via: None,
    });
    let managed = network.routes().filter(|route| route.holds_its_prefix());
    on_link
        .chain(managed.map(|route| self::route(network, route)))
        .collect()
}

/// A managed route: `via` is an address of its family, if the member has one.
pub(super) fn route(network: &Network, route: &Route) -> RouteShape {
    let is_v4 = route.target.addr().is_ipv4();
    let via = network.member(&route.via).and_then(|member| {
        let addresses = network.addresses_of(member);
        addresses
            .into_iter()
            .find(|address| address.is_ipv4() == is_v4)
    });
    RouteShape {
        target: route.target,
        via,
    }
}

/// Access rules cannot be told as rules of ZeroTier; their default can.
pub(super) fn rules(rules: &AccessRules) -> Vec<Value> {
    let action = match rules.default {
        Action::Allow => "ACTION_ACCEPT",
        Action::Deny => "ACTION_DROP",
    };
    vec![serde_json::json!({ "not": false, "or": false, "type": action })]
}

/// A member as it is configured.
pub(super) fn member(network: &Network, found: Found<'_>) -> MemberShape {
    match found {
        Found::Member(member) => MemberShape {
            name: member.name.to_string(),
            authorized: member.is_authorized(),
            ip_assignments: member.addresses.iter().copied().map(IpAddr::V4).collect(),
            identity: identity(member.node, &member.identity),
            revision: member.serial.0,
            ..unknown(network.id(), member.node)
        },
        Found::Request(request) => MemberShape {
            name: request.name.to_string(),
            identity: identity(request.node, &request.identity),
            ..unknown(network.id(), request.node)
        },
    }
}

/// A node that has not asked to join.
pub(super) const fn unknown(network: NetworkId, node: NodeId) -> MemberShape {
    MemberShape {
        id: node,
        address: node,
        nwid: network,
        objtype: "member",
        name: String::new(),
        authorized: false,
        ip_assignments: Vec::new(),
        identity: String::new(),
        revision: 0,
        v_major: -1,
        v_minor: -1,
        v_rev: -1,
        v_proto: -1,
        active_bridge: false,
        no_auto_assign_ips: false,
        tags: Vec::new(),
        capabilities: Vec::new(),
        creation_time: 0,
        last_authorized_time: 0,
        last_deauthorized_time: 0,
        last_authorized_credential_type: None,
        last_authorized_credential: None,
        authentication_expiry_time: 0,
        sso_exempt: false,
        remote_trace_target: None,
        remote_trace_level: 0,
    }
}

impl MemberShape {
    /// With the version that its node reports.
    pub(super) fn reporting(self, member: &api::Member) -> Self {
        let Some(version) = &member.version else {
            return self;
        };
        let [v_major, v_minor, v_rev] = version_numbers(version);
        Self {
            v_major,
            v_minor,
            v_rev,
            v_proto: i64::from(PROTOCOL),
            ..self
        }
    }
}

/// Type 0 of ZeroTier's identities is the address and a key.
pub(super) fn identity(node: NodeId, key: &impl std::fmt::Display) -> String {
    format!("{node}:0:{key}")
}

/// The three numbers of a version, wherever they stand in a text; -1 for each that is not there.
pub(super) fn version_numbers(text: &str) -> [i64; 3] {
    let mut numbers = text
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok());
    [(); 3].map(|()| numbers.next().unwrap_or(-1))
}
