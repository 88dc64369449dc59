//! What a tool for ZeroTier controllers sends, as commands to a network.
//!
//! Tools send whole objects back with one field changed, so a field that says what is there already asks for nothing; and
//! lists are replaced as a whole.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;
use tombolo_domain::{
    command::{Author, Command, MemberPatch, RoutePatch, RouteWish, SettingsPatch},
    managed_route::{Route, RouteId, RouteState},
    name::{Name, NameError},
    network::{Found, Network},
    prefix,
    refusal::Refusal,
    settings::{Settings, V4Plan},
};
use tombolo_proto::{
    config::{Ipv4Range, RouteMode, V6Mode},
    id::{Mtu, NetworkId},
    key::IdentityKey,
};

use super::{loose::Fields, shape, shape::RouteShape};
use crate::networks::ChangeError;

const SIXPLANE: &str = "6plane";
const RFC4193: &str = "rfc4193";
const ASSIGN: &str = "zt";
/// Frames that an overlay of IP packets carries: IPv4, ARP, IPv6 (IEEE 802 EtherTypes).
const ETHERTYPES: [u64; 3] = [0x0800, 0x0806, 0x86dd];

/// The settings of a network that is to be made. What is not sent is as at a new network of ZeroTier: no addresses.
pub(super) fn new_network(id: NetworkId, fields: &Fields) -> Result<Settings, ChangeError> {
    let name = fields
        .text("name")
        .and_then(Name::suggested)
        .map_or_else(|| format!("network-{:06x}", id.number()).parse(), Ok)
        .map_err(Refusal::from)?;
    let blank = Settings {
        v6_modes: BTreeSet::new(),
        ..Settings::new(name)
    };
    let patch = settings(&Network::new(id, blank.clone()), fields)?;
    let routes = wanted_routes(fields).unwrap_or_default();
    if let Some(via) = routes.iter().find_map(|route| route.via) {
        return Err(nobody_has(via));
    }
    Ok(Settings {
        private: patch.private.unwrap_or(blank.private),
        mtu: patch.mtu.unwrap_or(blank.mtu),
        v4: patch.v4.unwrap_or(blank.v4),
        subnet_pools: patch.subnet_pools.unwrap_or(blank.subnet_pools),
        v6_modes: patch.v6_modes.unwrap_or(blank.v6_modes),
        member_routes: blank.member_routes,
        name: blank.name,
        rules: blank.rules,
    })
}

/// What has to become different so that a network is as `fields` say.
pub(super) fn network(network: &Network, fields: &Fields) -> Result<Command, ChangeError> {
    let (removed, added) = routes(network, fields)?;
    let settings = SettingsPatch {
        name: new_name(fields, network.settings().name.as_str())?,
        ..settings(network, fields)?
    };
    let mut commands = removed;
    commands.push(Command::Configure(settings));
    commands.extend(added);
    Ok(Command::Together(commands))
}

/// Everything but the name.
fn settings(network: &Network, fields: &Fields) -> Result<SettingsPatch, ChangeError> {
    check_rules(network, fields)?;
    let current = network.settings();
    let modes = fields.modes("v6AssignMode", &[SIXPLANE, RFC4193]);
    let v4 = v4_plan(network, fields)?;
    Ok(SettingsPatch {
        name: None,
        private: fields.flag("private"),
        // As ZeroTier does: the nearest that works.
        mtu: fields.number("mtu").map(|mtu| {
            let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
            Mtu(mtu.clamp(Mtu::MIN.0, Mtu::MAX.0))
        }),
        subnet_pools: v4.as_ref().map(|plan| beside(&current.subnet_pools, plan)),
        v4,
        v6_modes: modes.map(|modes| {
            let mode = |mode| match mode {
                SIXPLANE => V6Mode::SixPlane,
                _ => V6Mode::Rfc4193,
            };
            modes.into_iter().map(mode).collect()
        }),
        member_routes: None,
    })
}

/// A name that is not the present one, made usable.
fn new_name(fields: &Fields, current: &str) -> Result<Option<Name>, ChangeError> {
    let Some(text) = fields.text("name").filter(|text| *text != current) else {
        return Ok(None);
    };
    let unusable = || NameError::Form(text.chars().take(80).collect());
    let name = Name::suggested(text).ok_or_else(unusable);
    Ok(Some(name.map_err(Refusal::from)?))
}

/// Routes without `via` are the prefixes around the pools. Assignment is on while there are pools: switching it off takes
/// them away, unless the same request sends some.
fn v4_plan(network: &Network, fields: &Fields) -> Result<Option<V4Plan>, ChangeError> {
    let current = &network.settings().v4;
    let pools = fields.objects("ipAssignmentPools");
    let routes = wanted_routes(fields);
    let assign = fields.modes("v4AssignMode", &[ASSIGN]);
    let is_off = assign.as_ref().is_some_and(Vec::is_empty);
    let sends_pools = pools.as_ref().is_some_and(|pools| !pools.is_empty());
    if pools.is_none() && routes.is_none() && !is_off {
        return Ok(None);
    }
    let ranges = match pools {
        Some(pools) => pools.iter().filter_map(range).collect(),
        None => current.ranges().to_vec(),
    };
    let ranges = if is_off && !sends_pools {
        Vec::new()
    } else {
        ranges
    };
    let on_link: BTreeSet<Ipv4Net> = match routes {
        Some(routes) => {
            let managed: BTreeSet<IpNet> = unnamed(network).collect();
            let on_link = routes.iter().filter(|route| route.via.is_none());
            on_link
                .filter(|route| !managed.contains(&route.target))
                .filter_map(|route| match route.target {
                    IpNet::V4(prefix) => Some(prefix),
                    IpNet::V6(_) => None,
                })
                .collect()
        }
        None => current.on_link().clone(),
    };
    Ok(Some(V4Plan::new(ranges, on_link)?))
}

/// Managed routes that are shown without `via`, because the member has no address of their family.
fn unnamed(network: &Network) -> impl Iterator<Item = IpNet> {
    network
        .routes()
        .filter(|route| route.holds_its_prefix())
        .map(|route| shape::route(network, route))
        .filter(|route| route.via.is_none())
        .map(|route| route.target)
}

/// IPv6 addresses follow from the modes, so IPv6 ranges are passed over.
fn range(pool: &Fields) -> Option<Ipv4Range> {
    Some(Ipv4Range {
        start: address(pool.text("ipRangeStart")?)?,
        end: address(pool.text("ipRangeEnd")?)?,
    })
}

fn address(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}

/// Ranges for container subnets give way to pools: whoever uses these tools does not see them.
fn beside(subnet_pools: &BTreeSet<IpNet>, plan: &V4Plan) -> BTreeSet<IpNet> {
    let clashes = |pool: &IpNet| {
        let mut on_link = plan.on_link().iter();
        on_link.any(|prefix| prefix::overlap(pool, &IpNet::V4(*prefix)))
    };
    subnet_pools
        .iter()
        .copied()
        .filter(|pool| !clashes(pool))
        .collect()
}

/// The routes that are sent; what is none is passed over.
fn wanted_routes(fields: &Fields) -> Option<Vec<RouteShape>> {
    let sent = fields.objects("routes")?;
    let route = |route: &Fields| {
        let target: IpNet = route.text("target")?.parse().ok()?;
        Some(RouteShape {
            target: target.trunc(),
            via: route.text("via").and_then(bare_address),
        })
    };
    Some(sent.iter().filter_map(route).collect())
}

/// An address, maybe with the length of a prefix behind it.
fn bare_address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

type Commands = Vec<Command>;

/// What has to go before the settings change, and what may come only after that.
fn routes(network: &Network, fields: &Fields) -> Result<(Commands, Commands), ChangeError> {
    let Some(sent) = wanted_routes(fields) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let mut wanted: Vec<(IpNet, IdentityKey)> = Vec::new();
    for route in &sent {
        let Some(via) = route.via else { continue };
        let member = network.by_address(via).ok_or_else(|| nobody_has(via))?;
        let one = (route.target, member.identity);
        if !wanted.contains(&one) {
            wanted.push(one);
        }
    }
    let is_wanted = |route: &Route| {
        let shown = shape::route(network, route);
        wanted.contains(&(route.target, route.via)) || sent.contains(&shown)
    };
    let removed = network
        .routes()
        .filter(|route| route.holds_its_prefix() && !is_wanted(route))
        .map(|route| Command::RemoveRoute(route.id))
        .collect();
    let (mut changed, mut added) = (Vec::new(), Vec::new());
    for (target, via) in &wanted {
        let several = wanted.iter().filter(|(other, _)| other == target).count() > 1;
        let mode = several.then_some(RouteMode::Failover);
        let known = network
            .routes()
            .find(|route| route.target == *target && route.via == *via);
        match known {
            Some(route) => changed.push(Command::UpdateRoute {
                id: route.id,
                patch: RoutePatch {
                    state: (route.state == RouteState::Pending).then_some(RouteState::Active),
                    mode,
                    metric: None,
                },
            }),
            None => added.push(Command::AddRoute(RouteWish {
                id: RouteId(rand::random()),
                target: *target,
                via: *via,
                mode: mode.unwrap_or(RouteMode::Single),
                metric: 0,
                author: Author::Admin,
            })),
        }
    }
    changed.extend(added);
    Ok((removed, changed))
}

fn nobody_has(via: IpAddr) -> ChangeError {
    ChangeError::Unfit(format!(
        "no member has the address {via}: a route goes via an address of a member, so authorise the member first"
    ))
}

/// Rules of ZeroTier have no counterpart, and traffic that somebody wants stopped must not pass because of that.
fn check_rules(network: &Network, fields: &Fields) -> Result<(), ChangeError> {
    let Some(sent) = fields.list("rules") else {
        return Ok(());
    };
    let shown = shape::rules(&network.settings().rules);
    let is_open = network.settings().rules.is_open();
    if sent == shown || (is_open && accepts_ip(sent)) {
        return Ok(());
    }
    Err(ChangeError::Unfit(
        "rules of ZeroTier cannot be carried over: leave `rules` out, and write access rules in the panel, with `tombolo-controller rule`, or to /api/v1/networks/{id}/rules".to_owned(),
    ))
}

/// Whether rules let every IP packet pass: as a new network of ZeroTier has them, or as most panels write them, dropping
/// what is neither IPv4 nor ARP nor IPv6.
pub(crate) fn accepts_ip(rules: &[Value]) -> bool {
    let kind = |rule: &Value| rule["type"].as_str().unwrap_or_default().to_owned();
    let is_other = |rule: &Value| {
        let is_ip = rule["etherType"]
            .as_u64()
            .is_some_and(|kind| ETHERTYPES.contains(&kind));
        let is_chained = rule["or"].as_bool().unwrap_or_default();
        kind(rule) == "MATCH_ETHERTYPE" && is_ip && rule["not"] == true && !is_chained
    };
    let Some((last, before)) = rules.split_last() else {
        return false;
    };
    let drops = match before.split_last() {
        None => true,
        Some((drop, matches)) => {
            // Only a drop of everything else than all three lets them pass.
            let all = ETHERTYPES.iter().all(|wanted| {
                matches
                    .iter()
                    .any(|rule| rule["etherType"].as_u64() == Some(*wanted))
            });
            kind(drop) == "ACTION_DROP" && matches.iter().all(is_other) && all
        }
    };
    kind(last) == "ACTION_ACCEPT" && drops
}

/// What has to become different so that a member is as `fields` say.
pub(super) fn member(
    network: &Network,
    found: Found<'_>,
    fields: &Fields,
) -> Result<MemberPatch, ChangeError> {
    let (name, is_authorized, assigned) = match found {
        Found::Member(member) => (
            member.name.as_str(),
            member.is_authorized(),
            network.addresses_of(member),
        ),
        Found::Request(request) => (request.name.as_str(), false, BTreeSet::new()),
    };
    let name = new_name(fields, name)?;
    let is_v4 = |address: &&IpAddr| address.is_ipv4();
    let addresses = fields.list("ipAssignments").map(|sent| {
        let texts = sent.iter().filter_map(Value::as_str);
        texts.filter_map(bare_address).collect::<BTreeSet<_>>()
    });
    let addresses = addresses.filter(|wanted| !wanted.iter().eq(assigned.iter().filter(is_v4)));
    Ok(MemberPatch {
        authorized: fields
            .flag("authorized")
            .filter(|wanted| *wanted != is_authorized),
        name,
        addresses,
        tags: None,
        relay: None,
    })
}

#[cfg(test)]
mod tests;
