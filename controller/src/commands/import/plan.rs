//! From what ZeroTier's controller kept to what is asked of this one. No I/O.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value, json};
use tombolo_domain::{address_pool::usable_bounds, name::Name};
use tombolo_proto::id::{Mtu, NetworkId, NodeId};

use super::{Item, directory::Old};
use crate::api::{Fields, accepts_ip};

/// What a network of ZeroTier has unless somebody chose otherwise: no choice to carry over.
const DEFAULT_MTU: u64 = 2800;

/// A name for each network: its own as far as it is usable here, and with the end of its id where two have the same.
pub(super) fn names(networks: &[Old]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let name = |old: &Old| {
        let number = format!("{:06x}", old.id.number());
        let own = old.fields.text("name").and_then(Name::suggested);
        let name = own.map_or_else(|| format!("zerotier-{number}"), |name| name.to_string());
        if taken.insert(name.to_ascii_lowercase()) {
            return name;
        }
        let short: String = name.chars().take(56).collect();
        format!("{short}-{number}")
    };
    networks.iter().map(name).collect()
}

/// What the network shall be, without routes via members; and what cannot be carried over.
pub(super) fn network(old: &Old, name: &str) -> (Value, Vec<Item>) {
    let mut left = Vec::new();
    let mut leave = |what: &str, why: &str| {
        left.push(Item::new(format!("network {name}: {what}"), "leave", why));
    };
    let fields = &old.fields;
    let on_link = on_link(fields);
    let mut pools: Vec<(Ipv4Addr, Ipv4Addr)> = Vec::new();
    let is_on = fields
        .modes("v4AssignMode", &["zt"])
        .is_some_and(|modes| !modes.is_empty());
    for pool in fields.objects("ipAssignmentPools").unwrap_or_default() {
        let (start, end) = (pool.text("ipRangeStart"), pool.text("ipRangeEnd"));
        let what = format!("pool {}-{}", start.unwrap_or("?"), end.unwrap_or("?"));
        let address = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let (Some(start), Some(end)) = (address(start), address(end)) else {
            leave(
                &what,
                "IPv6 addresses follow from the network's modes, not from pools",
            );
            continue;
        };
        let is_routed = |prefix: &Ipv4Net| prefix.contains(&start) && prefix.contains(&end);
        if !is_on {
            leave(
                &what,
                "v4AssignMode is off, so nothing was assigned from it",
            );
        } else if !on_link.iter().any(is_routed) {
            leave(
                &what,
                "no route without `via` covers it, so nothing was assigned from it",
            );
        } else {
            pools.push((start, end));
        }
    }
    pools.sort();
    let modes = fields
        .modes("v6AssignMode", &["6plane", "rfc4193"])
        .unwrap_or_default();
    if !modes.is_empty() {
        leave(
            "IPv6 addresses",
            "they follow from network id and node addresses as before, and those are new",
        );
    }
    leave_the_rest(fields, &mut leave);
    let mut wanted = Map::new();
    wanted.insert("name".to_owned(), json!(name));
    wanted.insert(
        "private".to_owned(),
        json!(fields.flag("private").unwrap_or(true)),
    );
    match fields.number("mtu") {
        None | Some(DEFAULT_MTU) => {}
        Some(mtu) => {
            let nearest = mtu.clamp(Mtu::MIN.0.into(), Mtu::MAX.0.into());
            wanted.insert("mtu".to_owned(), json!(nearest));
        }
    }
    wanted.insert(
        "v6AssignMode".to_owned(),
        json!({ "6plane": modes.contains(&"6plane"), "rfc4193": modes.contains(&"rfc4193"), "zt": false }),
    );
    let pool =
        |(start, end): &(Ipv4Addr, Ipv4Addr)| json!({ "ipRangeStart": start, "ipRangeEnd": end });
    wanted.insert(
        "ipAssignmentPools".to_owned(),
        pools.iter().map(pool).collect(),
    );
    let route = |prefix: &Ipv4Net| json!({ "target": prefix, "via": null });
    wanted.insert("routes".to_owned(), on_link.iter().map(route).collect());
    (Value::Object(wanted), left)
}

/// What a network of ZeroTier may have and one of this controller has not, where it is in use.
fn leave_the_rest(fields: &Fields, leave: &mut impl FnMut(&str, &str)) {
    let has_some = |name| fields.list(name).is_some_and(|list| !list.is_empty());
    if fields.list("rules").is_some_and(|rules| !accepts_ip(rules)) {
        leave(
            "rules",
            "rules of ZeroTier have no counterpart: until you write access rules (`tombolo-controller rule`), every member reaches every other",
        );
    }
    if has_some("capabilities") || has_some("tags") {
        leave(
            "capabilities and tags",
            "write access rules by tag: `tombolo-controller rule`",
        );
    }
    if fields.flag("ssoEnabled") == Some(true) {
        leave(
            "single sign-on",
            "members are authorised by an administrator or a join token",
        );
    }
    for route in fields.objects("routes").unwrap_or_default() {
        let target = route.text("target").unwrap_or("?");
        let why = match (route.text("via"), target.parse::<IpNet>()) {
            (Some(_), _) => continue,
            (None, Ok(IpNet::V4(prefix))) if usable_bounds(prefix).is_some() => continue,
            (None, Ok(IpNet::V4(_))) => "it is too small for any member to have an address in it",
            (None, Ok(IpNet::V6(_))) => "IPv6 prefixes follow from the network's modes",
            (None, Err(_)) => "this is no prefix",
        };
        leave(&format!("route {target}"), why);
    }
}

/// The prefixes of routes without `via`.
fn on_link(fields: &Fields) -> BTreeSet<Ipv4Net> {
    let routes = fields.objects("routes").unwrap_or_default();
    let own = routes.iter().filter(|route| route.text("via").is_none());
    own.filter_map(|route| route.text("target")?.parse::<Ipv4Net>().ok())
        .map(|prefix| prefix.trunc())
        .filter(|prefix| usable_bounds(*prefix).is_some())
        .collect()
}

/// A member in messages.
pub(super) fn title(node: NodeId, fields: &Fields) -> String {
    let name = fields.text("name").map(|name| format!(" ({name})"));
    format!("member {node}{}", name.unwrap_or_default())
}

/// Where a member is on its way.
pub(super) enum Moved {
    /// Nothing to do, or nothing yet.
    Is(Item),
    /// It is this node now, and shall be as it was.
    Wants(NodeId, Value),
}

pub(super) fn member(old: &Old, node: NodeId, fields: &Fields, new: Option<NodeId>) -> Moved {
    let what = title(node, fields);
    if fields.flag("authorized") != Some(true) {
        return Moved::Is(Item::new(what, "leave", "it was not authorised"));
    }
    let Some(new) = new else {
        let detail = format!(
            "keys differ, so it joins anew: run `tombolo join` there, then repeat this with --member {node}=ITS-NEW-ADDRESS"
        );
        return Moved::Is(Item::new(what, "wait", detail));
    };
    let mut wanted = Map::new();
    wanted.insert("authorized".to_owned(), json!(true));
    if let Some(name) = fields.text("name").and_then(Name::suggested) {
        wanted.insert("name".to_owned(), json!(name.to_string()));
    }
    let on_link = on_link(&old.fields);
    let kept: BTreeSet<Ipv4Addr> = addresses(fields)
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .filter(|address| on_link.iter().any(|prefix| prefix.contains(address)))
        .collect();
    if !kept.is_empty() {
        wanted.insert("ipAssignments".to_owned(), json!(kept));
    }
    Moved::Wants(new, Value::Object(wanted))
}

fn addresses(fields: &Fields) -> impl Iterator<Item = IpAddr> {
    let sent = fields.list("ipAssignments").unwrap_or_default();
    let bare = |text: &str| text.split('/').next()?.parse().ok();
    sent.iter().filter_map(Value::as_str).filter_map(bare)
}

/// Routes via members that have moved; and what becomes of the others.
pub(super) fn routes(old: &Old, moved: &BTreeSet<NodeId>) -> (Vec<Value>, Vec<Item>) {
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for route in old.fields.objects("routes").unwrap_or_default() {
        let (Some(target), Some(via)) = (route.text("target"), route.text("via")) else {
            continue;
        };
        let what = format!("route {target} via {via}");
        let Ok(prefix) = target.parse::<IpNet>() else {
            later.push(Item::new(what, "leave", "this is no prefix"));
            continue;
        };
        let has_it = |fields: &Fields| addresses(fields).any(|address| via.parse() == Ok(address));
        let owner = old.members.iter().find(|(_, fields)| has_it(fields));
        match owner {
            None => later.push(Item::new(what, "leave", "no member had this address")),
            Some((node, _)) if moved.contains(node) => {
                now.push(json!({ "target": prefix.trunc(), "via": via }));
            }
            Some((node, fields)) => {
                let detail = format!("comes with {}", title(*node, fields));
                later.push(Item::new(what, "wait", detail));
            }
        }
    }
    (now, later)
}

/// Fields that differ from what is there.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    fields: Map<String, Value>,
    told: Vec<String>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) const fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// In short, for people.
    pub(super) fn told(&self) -> String {
        self.told.join("; ")
    }

    fn put(&mut self, name: &str, wanted: Value) {
        self.told.push(format!("{name} {wanted}"));
        self.fields.insert(name.to_owned(), wanted);
    }
}

/// What differs from `shown` where `wanted` says something. Routes via members stay.
pub(super) fn changes(shown: &Value, wanted: &Value) -> Changes {
    let mut changes = Changes::default();
    let fields = wanted.as_object().into_iter().flatten();
    for (name, value) in fields {
        if name == "routes" {
            let on_link = |list: &Value| {
                let list = list.as_array().cloned().unwrap_or_default();
                let (bare, via): (Vec<Value>, Vec<Value>) =
                    list.into_iter().partition(|route| route["via"].is_null());
                (set(&bare), via)
            };
            let ((is, via), (shall, _)) = (on_link(&shown[name]), on_link(value));
            if is != shall {
                let all = value.as_array().into_iter().flatten().cloned().chain(via);
                changes.put(name, all.collect());
            }
        } else if shown[name] != *value {
            changes.put(name, value.clone());
        }
    }
    changes
}

/// The routes that are not there yet, beside those that are.
pub(super) fn more_routes(shown: &Value, wanted: &[Value]) -> Changes {
    let mut changes = Changes::default();
    let there = shown["routes"].as_array().cloned().unwrap_or_default();
    let missing: Vec<Value> = wanted
        .iter()
        .filter(|route| !there.contains(route))
        .cloned()
        .collect();
    if !missing.is_empty() {
        changes
            .told
            .push(format!("routes added: {}", Value::from(missing.clone())));
        let all = there.into_iter().chain(missing).collect();
        changes.fields.insert("routes".to_owned(), all);
    }
    changes
}

fn set(values: &[Value]) -> BTreeSet<String> {
    values.iter().map(ToString::to_string).collect()
}

/// The id of a network that was made.
pub(super) fn id_of(made: &Value) -> Option<NetworkId> {
    made["id"].as_str()?.parse().ok()
}
