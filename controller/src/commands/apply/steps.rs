//! From what is there to what a file declares: the differences, and the requests that remove them. No I/O.

use std::net::IpAddr;

use tombolo_proto::{
    api::{
        AccessRules, Member, MemberPatch, Network, NetworkPatch, NetworkSettings, NewRoute, Route,
        RoutePatch, RouteState,
    },
    config::RouteMode,
    id::NodeId,
};

use super::{
    declared::{Declared, DeclaredMember, DeclaredRoute},
    differences::{Difference, Differences, difference, json, listed},
};
use crate::commands::{Failure, rule};

/// Differences, and the request that removes them.
pub(super) struct Step {
    pub(super) differences: Vec<Difference>,
    pub(super) request: Request,
}

pub(super) enum Request {
    Settings(NetworkPatch),
    Member(NodeId, MemberPatch),
    AddRoute(NewRoute),
    Rules(AccessRules),
    UpdateRoute(String, RoutePatch),
}

fn step(found: Differences, request: Request) -> Option<Step> {
    let differences = found.found;
    (!differences.is_empty()).then_some(Step {
        differences,
        request,
    })
}

/// What makes the settings of `network` those of the file.
pub(super) fn settings(declared: &Declared, network: &Network) -> Result<Option<Step>, Failure> {
    let mut found = Differences::default();
    let mut v4 = declared
        .v4
        .clone()
        .filter(|v4| found.note("v4", &listed(&network.on_link), &normalised(v4)));
    let ranges = declared.ranges()?;
    let v4_pools = found.field("v4_pools", &network.v4_pools, ranges.as_ref(), |ranges| {
        listed(
            ranges
                .iter()
                .map(|range| format!("{}-{}", range.start, range.end)),
        )
    });
    if v4_pools.is_some() {
        v4.clone_from(&declared.v4);
    }
    let now = listed(&network.subnet_pools);
    let subnet_pools = declared.subnet_pools.clone().filter(|wanted| {
        found.note(
            "subnet_pools",
            &now,
            &listed(wanted.iter().map(|pool| normalised(pool))),
        )
    });
    let settings = NetworkSettings {
        v4_pools,
        subnet_pools,
        v6_modes: found.field(
            "v6_modes",
            &network.v6_modes,
            declared.v6_modes.as_ref(),
            |modes| listed(modes.iter().map(json)),
        ),
        mtu: found.field(
            "mtu",
            &network.mtu,
            declared.mtu.as_ref(),
            ToString::to_string,
        ),
        private: found.field(
            "private",
            &network.private,
            declared.private.as_ref(),
            ToString::to_string,
        ),
        member_routes: found.field(
            "member_routes",
            &network.member_routes,
            declared.member_routes.as_ref(),
            json,
        ),
    };
    let name = None;
    let patch = NetworkPatch { name, v4, settings };
    Ok(step(found, Request::Settings(patch)))
}

/// What makes a member what the file says.
pub(super) fn member(
    wanted: &DeclaredMember,
    members: &[Member],
    network_is_there: bool,
) -> Result<Option<Step>, Failure> {
    let known = members.iter().find(|member| member.node == wanted.node);
    let Some(known) = known else {
        if !network_is_there {
            let what = format!("member {}", wanted.node);
            return Ok(Some(Step {
                differences: vec![difference(&what, "", "has to ask to join first")],
                request: Request::Member(wanted.node, MemberPatch::default()),
            }));
        }
        return Err(Failure::Conflict(format!(
            "the node {} has not asked to join yet: run `tombolo join` there, then repeat",
            wanted.node
        )));
    };
    let mut found = Differences::of(format!("member {}", wanted.node));
    let v4 = |addresses: &Vec<IpAddr>| listed(addresses.iter().filter(|ip| ip.is_ipv4()));
    let patch = MemberPatch {
        authorized: found.field(
            "authorized",
            &known.authorized,
            wanted.authorized.as_ref(),
            ToString::to_string,
        ),
        name: found.field("name", &known.name, wanted.name.as_ref(), Clone::clone),
        addresses: found.field("addresses", &known.addresses, wanted.addresses.as_ref(), v4),
        tags: found.field("tags", &known.tags, wanted.tags.as_ref(), |tags| {
            listed(tags)
        }),
        relay: found.field(
            "relay",
            &known.relay,
            wanted.relay.as_ref(),
            ToString::to_string,
        ),
    };
    Ok(step(found, Request::Member(wanted.node, patch)))
}

/// What makes a route what the file says.
pub(super) fn route(
    wanted: &DeclaredRoute,
    routes: &[Route],
    members: &[Member],
    declared: &[DeclaredMember],
) -> Option<Step> {
    let target = normalised(&wanted.target);
    let via = node_of(&wanted.via, members, declared);
    let is_it =
        |route: &&Route| route.target.to_string() == target && Some(route.via.to_string()) == via;
    let what = format!("route {target} via {}", wanted.via);
    let Some(known) = routes.iter().find(is_it) else {
        return Some(Step {
            differences: vec![difference(&what, "", "added")],
            request: Request::AddRoute(NewRoute {
                target: wanted.target.clone(),
                via: wanted.via.clone(),
                mode: wanted.mode.unwrap_or(RouteMode::Single),
                metric: wanted.metric.unwrap_or_default(),
            }),
        });
    };
    let mut found = Differences::of(what);
    let mut patch = RoutePatch {
        mode: found.field("mode", &known.mode, wanted.mode.as_ref(), json),
        metric: found.field(
            "metric",
            &known.metric,
            wanted.metric.as_ref(),
            ToString::to_string,
        ),
        ..RoutePatch::default()
    };
    if known.state == RouteState::Pending {
        found.note("state", "pending", "active");
        patch.state = Some(RouteState::Active);
    }
    step(found, Request::UpdateRoute(known.id.clone(), patch))
}

/// What makes the access rules those of the file. Order counts, so the difference is told by number.
pub(super) fn rules(wanted: AccessRules, known: &AccessRules) -> Option<Step> {
    let mut found = Differences::of("rule".to_owned());
    found.note(
        "default",
        &known.default.to_string(),
        &wanted.default.to_string(),
    );
    for at in 0..wanted.rules.len().max(known.rules.len()) {
        let text = |rules: &AccessRules| rules.rules.get(at).map(rule::text).unwrap_or_default();
        found.note(&(at + 1).to_string(), &text(known), &text(&wanted));
    }
    step(found, Request::Rules(wanted))
}

/// The node address behind whatever names a member.
fn node_of(via: &str, members: &[Member], declared: &[DeclaredMember]) -> Option<String> {
    let named = |member: &&Member| {
        member.node.to_string() == via
            || member.name.eq_ignore_ascii_case(via)
            || member
                .addresses
                .iter()
                .any(|address| address.to_string() == via)
    };
    let renamed = |member: &&DeclaredMember| member.name.as_deref() == Some(via);
    members
        .iter()
        .find(named)
        .map(|member| member.node.to_string())
        .or_else(|| {
            declared
                .iter()
                .find(renamed)
                .map(|member| member.node.to_string())
        })
}

/// A prefix without its host bits, as the controller keeps it.
fn normalised(prefix: &str) -> String {
    prefix
        .parse::<ipnet::IpNet>()
        .map_or_else(|_| prefix.to_owned(), |parsed| parsed.trunc().to_string())
}
