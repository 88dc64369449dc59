//! Domain values as the API shows them, and API requests as domain values.

use std::collections::BTreeSet;

use ipnet::IpNet;
use tombolo_domain::{
    command::{MemberPatch, SettingsPatch},
    managed_route::{self, RouteState},
    member::Member,
    network::{Found, Network},
    prefix::TypedPrefix,
    settings::{MemberRoutes, V4Plan},
};
use tombolo_proto::{
    api,
    id::{Mtu, NetworkId},
    key::IdentityKey,
    link::HostPort,
    links::{Link, LinkReport},
};

use super::Problem;
use crate::networks::Networks;

pub(super) fn network_id(text: &str) -> Result<NetworkId, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("{text:?} is not a network id: {error}")))
}

/// Where controllers are found.
pub(super) fn endpoints(endpoints: &[HostPort]) -> Vec<String> {
    endpoints.iter().map(ToString::to_string).collect()
}

pub(super) fn network(network: &Network, networks: &Networks) -> api::Network {
    let settings = network.settings();
    api::Network {
        id: network.id(),
        name: settings.name.to_string(),
        private: settings.private,
        mtu: settings.mtu.0,
        v4_pools: settings.v4.ranges().to_vec(),
        on_link: settings.v4.on_link().iter().copied().collect(),
        subnet_pools: settings.subnet_pools.iter().copied().collect(),
        member_routes: match settings.member_routes {
            MemberRoutes::Approve => api::MemberRoutes::Approve,
            MemberRoutes::Auto => api::MemberRoutes::Auto,
            MemberRoutes::Off => api::MemberRoutes::Off,
        },
        v6_modes: settings.v6_modes.iter().copied().collect(),
        routes: network
            .routes()
            .map(|route| self::route(network, route))
            .collect(),
        revision: network.revision().0,
        join_link: networks.join_link(network.id(), None),
    }
}

pub(super) fn route(network: &Network, route: &managed_route::Route) -> api::Route {
    let via = network
        .member(&route.via)
        .expect("the store keeps no route without its member");
    api::Route {
        id: route.id.to_string(),
        target: route.target,
        via: via.node,
        via_name: via.name.to_string(),
        mode: route.mode,
        metric: route.metric,
        state: match route.state {
            RouteState::Active => api::RouteState::Active,
            RouteState::Pending => api::RouteState::Pending,
            RouteState::Suspended => api::RouteState::Suspended,
        },
        default_route: route.target.prefix_len() == 0,
        normalized_from: None,
    }
}

/// A member as it is configured, without what its node reports.
pub(super) fn member(network: &Network, found: Found<'_>) -> api::Member {
    match found {
        Found::Member(member) => known_member(network, member),
        Found::Request(request) => api::Member {
            node: request.node,
            identity: request.identity,
            name: request.name.to_string(),
            authorized: false,
            online: false,
            addresses: Vec::new(),
            prefix: None,
            routes: Vec::new(),
            tags: Vec::new(),
            relay: false,
            version: None,
            enforces_rules: false,
            last_seen: None,
            expires_at: None,
            clashes: Vec::new(),
            links: None,
        },
    }
}

fn known_member(network: &Network, member: &Member) -> api::Member {
    api::Member {
        node: member.node,
        identity: member.identity,
        name: member.name.to_string(),
        authorized: member.is_authorized(),
        online: false,
        addresses: network.addresses_of(member).into_iter().collect(),
        prefix: network.prefix_of(member.node),
        routes: routes_via(network, &member.identity),
        tags: member.tags.iter().cloned().collect(),
        relay: member.relay,
        version: None,
        enforces_rules: false,
        last_seen: None,
        expires_at: member.is_authorized().then_some(member.not_after.0),
        clashes: Vec::new(),
        links: None,
    }
}

/// A report of links in short.
pub(super) fn link_counts(report: &LinkReport) -> api::LinkCounts {
    let is_direct = |link: &&Link| link.way.relay().is_none();
    let direct = report.links.iter().filter(is_direct).count();
    let by_tcp = report.links.iter().filter(|link| link.way.is_by_tcp());
    let mut latencies: Vec<u32> = report
        .links
        .iter()
        .filter_map(|link| link.latency)
        .collect();
    latencies.sort_unstable();
    api::LinkCounts {
        direct: direct as u64,
        relayed: (report.links.len() - direct) as u64,
        by_tcp: by_tcp.count() as u64,
        latency_us: latencies.get(latencies.len() / 2).copied(),
        sent: report.sent,
        received: report.received,
    }
}

fn routes_via(network: &Network, via: &IdentityKey) -> Vec<api::Route> {
    network
        .routes()
        .filter(|route| route.via == *via)
        .map(|route| self::route(network, route))
        .collect()
}

/// New settings. `on_link` is what the network has now: ranges may lie in it.
pub(super) fn settings_patch(
    name: Option<&str>,
    v4: Option<&str>,
    settings: &api::NetworkSettings,
    current: &V4Plan,
) -> Result<SettingsPatch, Problem> {
    Ok(SettingsPatch {
        name: name.map(str::parse).transpose()?,
        private: settings.private,
        mtu: settings.mtu.map(Mtu),
        v4: v4_plan(v4, settings, current)?,
        subnet_pools: settings.subnet_pools.as_deref().map(prefixes).transpose()?,
        v6_modes: settings
            .v6_modes
            .as_ref()
            .map(|modes| modes.iter().copied().collect()),
        member_routes: settings.member_routes.map(|routes| match routes {
            api::MemberRoutes::Approve => MemberRoutes::Approve,
            api::MemberRoutes::Auto => MemberRoutes::Auto,
            api::MemberRoutes::Off => MemberRoutes::Off,
        }),
    })
}

fn v4_plan(
    v4: Option<&str>,
    settings: &api::NetworkSettings,
    current: &V4Plan,
) -> Result<Option<V4Plan>, Problem> {
    let prefix = v4
        .map(|text| text.parse::<TypedPrefix>()?.v4())
        .transpose()?;
    let plan = match (prefix, &settings.v4_pools) {
        (None, None) => return Ok(None),
        (Some(prefix), None) => V4Plan::whole(prefix)?,
        (Some(prefix), Some(ranges)) => V4Plan::new(ranges.clone(), BTreeSet::from([prefix]))?,
        (None, Some(ranges)) => {
            let still_used = current.on_link().iter().copied().filter(|prefix| {
                ranges
                    .iter()
                    .any(|range| prefix.contains(&range.start) && prefix.contains(&range.end))
            });
            V4Plan::new(ranges.clone(), still_used.collect())?
        }
    };
    Ok(Some(plan))
}

fn prefixes(texts: &[String]) -> Result<BTreeSet<IpNet>, Problem> {
    texts
        .iter()
        .map(|text| Ok(text.parse::<TypedPrefix>()?.prefix))
        .collect()
}

pub(super) fn member_patch(patch: &api::MemberPatch) -> Result<MemberPatch, Problem> {
    Ok(MemberPatch {
        authorized: patch.authorized,
        name: patch.name.as_deref().map(str::parse).transpose()?,
        addresses: patch
            .addresses
            .as_ref()
            .map(|addresses| addresses.iter().copied().collect()),
        tags: patch
            .tags
            .as_ref()
            .map(|tags| tags.iter().cloned().collect()),
        relay: patch.relay,
    })
}
