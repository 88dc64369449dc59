//! `controller apply`: a network as a file says. What the file does not mention stays as it is.

use std::{fs, net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};
use tombolo_proto::{
    api::{
        Member, MemberPatch, Network, NetworkPatch, NetworkSettings, NewNetwork, NewRoute, Route,
        RoutePatch,
    },
    config::{Ipv4Range, RouteMode},
    id::NodeId,
};

use super::{Client, Failure, Output, client::network_path, table::Table};
use crate::config::one_line;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: String,
    v4: Option<String>,
    #[serde(default)]
    v4_pools: Vec<String>,
    subnet_pools: Option<Vec<String>>,
    v6_modes: Option<Vec<tombolo_proto::config::V6Mode>>,
    mtu: Option<u16>,
    private: Option<bool>,
    member_routes: Option<tombolo_proto::api::MemberRoutes>,
    #[serde(default)]
    members: Vec<DeclaredMember>,
    #[serde(default)]
    routes: Vec<DeclaredRoute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredMember {
    node: NodeId,
    name: Option<String>,
    authorized: Option<bool>,
    addresses: Option<Vec<IpAddr>>,
    tags: Option<Vec<String>>,
    relay: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredRoute {
    target: String,
    via: String,
    mode: Option<RouteMode>,
    metric: Option<u32>,
}

/// One difference between the file and the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Difference {
    what: String,
    now: String,
    wanted: String,
}

/// A difference and the request that removes it.
struct Step {
    differences: Vec<Difference>,
    request: Request,
}

enum Request {
    Settings(NetworkPatch),
    Member(NodeId, MemberPatch),
    AddRoute(NewRoute),
    UpdateRoute(String, RoutePatch),
}

pub(super) fn run(
    path: &Path,
    dry_run: bool,
    client: &Client,
    out: &Output,
) -> Result<(), Failure> {
    let text = fs::read_to_string(path)
        .map_err(|cause| Failure::Usage(format!("cannot read {}: {cause}", path.display())))?;
    let declared: Declared = toml::from_str(&text).map_err(|error| {
        let cause = one_line(&error, &text);
        Failure::Usage(format!("{} is wrong: {cause}", path.display()))
    })?;
    let mut all = Vec::new();
    let networks: Vec<Network> = client.all("/networks")?;
    let known = networks
        .into_iter()
        .find(|network| network.name.eq_ignore_ascii_case(&declared.name));
    let network = match known {
        Some(network) => {
            let steps = settings(&declared, &network)?;
            carry_out(steps, &network, dry_run, client, &mut all)?;
            Some(network)
        }
        None => {
            let new = creation(&declared)?;
            let what = format!("network {}", declared.name);
            all.push(difference(&what, "", "created"));
            if dry_run {
                None
            } else {
                Some(client.post("/networks", &new)?)
            }
        }
    };
    let members: Vec<Member> = match &network {
        Some(network) => client.all(&format!("{}/members", network_path(network.id)))?,
        None => Vec::new(),
    };
    let mut steps = Vec::new();
    for wanted in &declared.members {
        steps.extend(member(wanted, &members, network.is_some())?);
    }
    let routes = network.as_ref().map_or(&[][..], |network| &network.routes);
    for wanted in &declared.routes {
        steps.extend(route(wanted, routes, &members, &declared.members));
    }
    match &network {
        Some(network) => carry_out(steps, network, dry_run, client, &mut all)?,
        None => all.extend(steps.into_iter().flat_map(|step| step.differences)),
    }
    out.list(&all, |all| {
        Table::new(
            ["WHAT", "NOW", "WANTED"],
            all.iter().map(|difference| {
                [
                    difference.what.clone(),
                    difference.now.clone(),
                    difference.wanted.clone(),
                ]
            }),
        )
    });
    Ok(())
}

fn carry_out(
    steps: Vec<Step>,
    network: &Network,
    dry_run: bool,
    client: &Client,
    all: &mut Vec<Difference>,
) -> Result<(), Failure> {
    let path = network_path(network.id);
    for step in steps {
        if !dry_run {
            match step.request {
                Request::Settings(patch) => drop(client.patch::<Network>(&path, &patch)?),
                Request::Member(node, patch) => {
                    drop(client.patch::<Member>(&format!("{path}/members/{node}"), &patch)?);
                }
                Request::AddRoute(new) => {
                    drop(client.post::<Route>(&format!("{path}/routes"), &new)?);
                }
                Request::UpdateRoute(id, patch) => {
                    drop(client.patch::<Route>(&format!("{path}/routes/{id}"), &patch)?);
                }
            }
        }
        all.extend(step.differences);
    }
    Ok(())
}

fn creation(declared: &Declared) -> Result<NewNetwork, Failure> {
    Ok(NewNetwork {
        name: declared.name.clone(),
        v4: declared.v4.clone(),
        settings: NetworkSettings {
            private: declared.private,
            mtu: declared.mtu,
            v4_pools: ranges(declared)?,
            subnet_pools: declared.subnet_pools.clone(),
            member_routes: declared.member_routes,
            v6_modes: declared.v6_modes.clone(),
        },
    })
}

fn settings(declared: &Declared, network: &Network) -> Result<Vec<Step>, Failure> {
    let mut found = Differences::default();
    let mut patch = NetworkPatch {
        name: None,
        v4: None,
        settings: NetworkSettings::default(),
    };
    let now_v4 = shown(&network.on_link);
    if let Some(v4) = &declared.v4
        && found.note("v4", &now_v4, v4)
    {
        patch.v4 = Some(v4.clone());
    }
    if let Some(wanted) = ranges(declared)? {
        let text = |ranges: &[Ipv4Range]| {
            let texts = ranges
                .iter()
                .map(|range| format!("{}-{}", range.start, range.end));
            shown(&sorted(texts))
        };
        if found.note("v4_pools", &text(&network.v4_pools), &text(&wanted)) {
            patch.settings.v4_pools = Some(wanted);
            patch.v4.clone_from(&declared.v4);
        }
    }
    if let Some(wanted) = &declared.subnet_pools {
        let now = shown(&sorted(
            network.subnet_pools.iter().map(ToString::to_string),
        ));
        if found.note(
            "subnet_pools",
            &now,
            &shown(&sorted(wanted.iter().cloned())),
        ) {
            patch.settings.subnet_pools = Some(wanted.clone());
        }
    }
    if let Some(wanted) = &declared.v6_modes {
        let text = |modes: &[_]| shown(&sorted(modes.iter().map(json)));
        if found.note("v6_modes", &text(&network.v6_modes), &text(wanted)) {
            patch.settings.v6_modes = Some(wanted.clone());
        }
    }
    if let Some(wanted) = declared.mtu
        && found.note("mtu", &network.mtu.to_string(), &wanted.to_string())
    {
        patch.settings.mtu = Some(wanted);
    }
    if let Some(wanted) = declared.private
        && found.note("private", &network.private.to_string(), &wanted.to_string())
    {
        patch.settings.private = Some(wanted);
    }
    if let Some(wanted) = declared.member_routes
        && found.note(
            "member_routes",
            &json(&network.member_routes),
            &json(&wanted),
        )
    {
        patch.settings.member_routes = Some(wanted);
    }
    Ok(found.step(Request::Settings(patch)))
}

fn member(
    wanted: &DeclaredMember,
    members: &[Member],
    network_is_there: bool,
) -> Result<Vec<Step>, Failure> {
    let known = members.iter().find(|member| member.node == wanted.node);
    let Some(known) = known else {
        if !network_is_there {
            let what = format!("member {}", wanted.node);
            return Ok(vec![Step {
                differences: vec![difference(&what, "", "has to ask to join first")],
                request: Request::Member(wanted.node, MemberPatch::default()),
            }]);
        }
        return Err(Failure::Conflict(format!(
            "the node {} has not asked to join yet: run `node join` there, then repeat",
            wanted.node
        )));
    };
    let mut found = Differences::of(format!("member {}", wanted.node));
    let mut patch = MemberPatch::default();
    if let Some(authorized) = wanted.authorized
        && found.note(
            "authorized",
            &known.authorized.to_string(),
            &authorized.to_string(),
        )
    {
        patch.authorized = Some(authorized);
    }
    if let Some(name) = &wanted.name
        && found.note("name", &known.name, name)
    {
        patch.name = Some(name.clone());
    }
    if let Some(addresses) = &wanted.addresses {
        let v4 = |addresses: &[IpAddr]| {
            let v4 = addresses.iter().filter(|address| address.is_ipv4());
            shown(&sorted(v4.map(ToString::to_string)))
        };
        if found.note("addresses", &v4(&known.addresses), &v4(addresses)) {
            patch.addresses = Some(addresses.clone());
        }
    }
    if let Some(tags) = &wanted.tags {
        let text = |tags: &[String]| shown(&sorted(tags.iter().cloned()));
        if found.note("tags", &text(&known.tags), &text(tags)) {
            patch.tags = Some(tags.clone());
        }
    }
    if let Some(relay) = wanted.relay
        && found.note("relay", &known.relay.to_string(), &relay.to_string())
    {
        patch.relay = Some(relay);
    }
    Ok(found.step(Request::Member(wanted.node, patch)))
}

fn route(
    wanted: &DeclaredRoute,
    routes: &[Route],
    members: &[Member],
    declared: &[DeclaredMember],
) -> Vec<Step> {
    let target = normalised(&wanted.target);
    let via = node_of(&wanted.via, members, declared);
    let is_it =
        |route: &&Route| route.target.to_string() == target && Some(route.via.to_string()) == via;
    let what = format!("route {target} via {}", wanted.via);
    let Some(known) = routes.iter().find(is_it) else {
        return vec![Step {
            differences: vec![difference(&what, "", "added")],
            request: Request::AddRoute(NewRoute {
                target: wanted.target.clone(),
                via: wanted.via.clone(),
                mode: wanted.mode.unwrap_or(RouteMode::Single),
                metric: wanted.metric.unwrap_or_default(),
            }),
        }];
    };
    let mut found = Differences::of(what);
    let mut patch = RoutePatch::default();
    if let Some(mode) = wanted.mode
        && found.note("mode", &json(&known.mode), &json(&mode))
    {
        patch.mode = Some(mode);
    }
    if let Some(metric) = wanted.metric
        && found.note("metric", &known.metric.to_string(), &metric.to_string())
    {
        patch.metric = Some(metric);
    }
    if known.state == tombolo_proto::api::RouteState::Pending {
        found.note("state", "pending", "active");
        patch.state = Some(tombolo_proto::api::RouteState::Active);
    }
    found.step(Request::UpdateRoute(known.id.clone(), patch))
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

/// What differs between one thing and its declaration.
#[derive(Default)]
struct Differences {
    of: String,
    found: Vec<Difference>,
}

impl Differences {
    fn of(what: String) -> Self {
        Self {
            of: what,
            found: Vec::new(),
        }
    }

    /// Notes a difference, if it is one. Tells whether.
    fn note(&mut self, what: &str, now: &str, wanted: &str) -> bool {
        if now == wanted {
            return false;
        }
        let what = format!("{} {what}", self.of);
        self.found.push(difference(what.trim(), now, wanted));
        true
    }

    fn step(self, request: Request) -> Vec<Step> {
        if self.found.is_empty() {
            return Vec::new();
        }
        vec![Step {
            differences: self.found,
            request,
        }]
    }
}

fn difference(what: &str, now: &str, wanted: &str) -> Difference {
    Difference {
        what: what.to_owned(),
        now: now.to_owned(),
        wanted: wanted.to_owned(),
    }
}

fn ranges(declared: &Declared) -> Result<Option<Vec<Ipv4Range>>, Failure> {
    if declared.v4_pools.is_empty() {
        return Ok(None);
    }
    let ranges = declared
        .v4_pools
        .iter()
        .map(|text| super::network::range(text));
    ranges.collect::<Result<_, _>>().map(Some)
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}

fn shown(values: &[impl ToString]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
