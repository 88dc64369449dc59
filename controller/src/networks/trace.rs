//! What the audit log says of a change: everything it touched, as it was and as it is, without what stayed the same.

use serde_json::{Map, Value, json};
use tombolo_domain::{
    change::Change,
    managed_route::{Route, RouteState},
    member::{Member, Request},
    network::Network,
    settings::{MemberRoutes, Settings},
};

use crate::store::Trace;

/// Longest text of one side: the renewal of every certificate of a large network is told by its number only.
const MAX_LENGTH: usize = 16 * 1024;

/// What `changes` did on their way from `before` to `after`.
pub(super) fn of(before: &Network, after: &Network, changes: &[Change]) -> Trace {
    let (mut old, mut new) = (Sides::default(), Sides::default());
    for change in changes {
        let (kind, name, mut was, mut is) = match change {
            Change::Settings(_) => (
                "settings",
                None,
                Some(settings(before.settings())),
                Some(settings(after.settings())),
            ),
            Change::RequestPut(Request { identity, node, .. }) => (
                "requests",
                Some(node.to_string()),
                before.request(identity).map(request),
                after.request(identity).map(request),
            ),
            Change::RequestRemoved(identity) => {
                let Some(gone) = before.request(identity) else {
                    continue;
                };
                (
                    "requests",
                    Some(gone.node.to_string()),
                    Some(request(gone)),
                    None,
                )
            }
            Change::MemberPut(Member { identity, node, .. }) => (
                "members",
                Some(node.to_string()),
                before.member(identity).map(member),
                after.member(identity).map(member),
            ),
            Change::MemberRemoved(identity) => {
                let Some(gone) = before.member(identity) else {
                    continue;
                };
                (
                    "members",
                    Some(gone.node.to_string()),
                    Some(member(gone)),
                    None,
                )
            }
            Change::RoutePut(Route { id, .. }) => (
                "routes",
                Some(id.to_string()),
                before.route(*id).map(|known| route(before, known)),
                after.route(*id).map(|known| route(after, known)),
            ),
            Change::RouteRemoved(id) => {
                let Some(gone) = before.route(*id) else {
                    continue;
                };
                (
                    "routes",
                    Some(id.to_string()),
                    Some(route(before, gone)),
                    None,
                )
            }
        };
        if let (Some(Value::Object(was)), Some(Value::Object(is))) = (&mut was, &mut is) {
            keep_differences(was, is);
        }
        old.put(kind, name.as_deref(), was);
        new.put(kind, name.as_deref(), is);
    }
    Trace {
        before: old.text(),
        after: new.text(),
    }
}

/// A new network.
pub(super) fn made(network: &Network) -> Trace {
    Trace::made(&json!({ "settings": settings(network.settings()) }))
}

/// A network that is gone.
pub(super) fn removed(network: &Network) -> Trace {
    Trace::removed(&json!({
        "settings": settings(network.settings()),
        "members": network.members().count(),
        "routes": network.routes().count(),
    }))
}

/// One side of what changed.
#[derive(Default)]
struct Sides(Map<String, Value>);

impl Sides {
    fn put(&mut self, kind: &str, name: Option<&str>, value: Option<Value>) {
        let Some(value) = value else { return };
        let Some(name) = name else {
            self.0.insert(kind.to_owned(), value);
            return;
        };
        let of_kind = self.0.entry(kind).or_insert_with(|| json!({}));
        if let Value::Object(of_kind) = of_kind {
            of_kind.insert(name.to_owned(), value);
        }
    }

    fn text(self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let text = Value::Object(self.0.clone()).to_string();
        if text.len() <= MAX_LENGTH {
            return Some(text);
        }
        let counts: Map<String, Value> = self
            .0
            .iter()
            .map(|(kind, of_kind)| {
                let count = of_kind.as_object().map_or(1, Map::len);
                (kind.clone(), json!({ "count": count }))
            })
            .collect();
        Some(Value::Object(counts).to_string())
    }
}

fn keep_differences(was: &mut Map<String, Value>, is: &mut Map<String, Value>) {
    let same: Vec<String> = was
        .iter()
        .filter(|(field, value)| is.get(*field) == Some(value))
        .map(|(field, _)| field.clone())
        .collect();
    for field in same {
        was.remove(&field);
        is.remove(&field);
    }
}

fn settings(settings: &Settings) -> Value {
    let rules = settings.rules.rules.iter().map(ToString::to_string);
    let rules: Vec<String> = rules.collect();
    json!({
        "name": settings.name.as_str(),
        "private": settings.private,
        "mtu": settings.mtu.0,
        "v4_pools": settings.v4.ranges(),
        "on_link": settings.v4.on_link(),
        "subnet_pools": settings.subnet_pools,
        "v6_modes": settings.v6_modes,
        "member_routes": match settings.member_routes {
            MemberRoutes::Approve => "approve",
            MemberRoutes::Auto => "auto",
            MemberRoutes::Off => "off",
        },
        "rules_default": settings.rules.default,
        "rules": rules,
    })
}

fn request(request: &Request) -> Value {
    json!({
        "name": request.name.as_str(),
        "identity": request.identity,
        "requested_at": request.requested_at.0,
    })
}

fn member(member: &Member) -> Value {
    json!({
        "name": member.name.as_str(),
        "identity": member.identity,
        "authorized": member.is_authorized(),
        "addresses": member.addresses,
        "tags": member.tags,
        "relay": member.relay,
        "transport_epoch": member.transport_epoch,
        "expires_at": member.not_after.0,
    })
}

fn route(network: &Network, route: &Route) -> Value {
    json!({
        "target": route.target,
        "via": network.member(&route.via).map(|member| member.node),
        "mode": route.mode,
        "metric": route.metric,
        "state": match route.state {
            RouteState::Active => "active",
            RouteState::Pending => "pending",
            RouteState::Suspended => "suspended",
        },
    })
}
