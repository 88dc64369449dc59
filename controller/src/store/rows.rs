//! How domain values stand in columns, and back.

use std::{fmt::Display, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, any::AnyRow};
use tombolo_domain::{
    managed_route::{Route, RouteId, RouteState},
    member::{Member, MemberState, Request},
    name::Name,
    settings::{MemberRoutes, Settings, V4Plan},
};
use tombolo_proto::{
    api::Role,
    config::RouteMode,
    id::{Mtu, Revision, UnixSeconds},
    key::{IdentityKey, TransportKey},
    rules::AccessRules,
};

use super::{StoreError, access_rules};

/// A row holds what this program never writes.
#[derive(Debug, thiserror::Error)]
#[error("the store is damaged: column {column} holds {value:?}; restore a backup")]
pub struct CorruptRow {
    column: &'static str,
    value: String,
}

fn corrupt(column: &'static str, value: impl Into<String>) -> StoreError {
    StoreError::Corrupt(CorruptRow {
        column,
        value: value.into(),
    })
}

pub(super) fn text(row: &AnyRow, column: &'static str) -> Result<String, StoreError> {
    Ok(row.try_get(column)?)
}

/// A column whose text is the value's own text form.
pub(super) fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    let value = text(row, column)?;
    value.parse().map_err(|_| corrupt(column, value))
}

pub(super) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    let value: i64 = row.try_get(column)?;
    T::try_from(value).map_err(|_| corrupt(column, value.to_string()))
}

pub(super) fn json<T: DeserializeOwned>(
    row: &AnyRow,
    column: &'static str,
) -> Result<T, StoreError> {
    let value = text(row, column)?;
    serde_json::from_str(&value).map_err(|_| corrupt(column, value))
}

pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data always becomes JSON")
}

pub(super) fn bytes32(row: &AnyRow, column: &'static str) -> Result<[u8; 32], StoreError> {
    let value: Vec<u8> = row.try_get(column)?;
    value
        .as_slice()
        .try_into()
        .map_err(|_| corrupt(column, format!("{} bytes", value.len())))
}

/// A column that holds the canonical encoding of a document or message.
pub(super) fn encoded<T: Serialize + DeserializeOwned>(
    row: &AnyRow,
    column: &'static str,
) -> Result<T, StoreError> {
    let value: Vec<u8> = row.try_get(column)?;
    tombolo_proto::wire::decode_unbounded(&value)
        .map_err(|error| corrupt(column, error.to_string()))
}

/// A flag. It is read as a number, because the two databases have no type for flags in common.
pub(super) fn flag(row: &AnyRow, column: &'static str) -> Result<bool, StoreError> {
    Ok(number::<i64>(row, column)? != 0)
}

/// Counters are far below 2^63.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn one_of<T: Copy>(
    row: &AnyRow,
    column: &'static str,
    choices: &[(T, &str)],
) -> Result<T, StoreError> {
    let value = text(row, column)?;
    choices
        .iter()
        .find(|(_, word)| *word == value)
        .map(|(choice, _)| *choice)
        .ok_or_else(|| corrupt(column, value))
}

const MEMBER_STATES: [(MemberState, &str); 2] = [
    (MemberState::Authorized, "authorized"),
    (MemberState::Deauthorized, "deauthorized"),
];
const MEMBER_ROUTES: [(MemberRoutes, &str); 3] = [
    (MemberRoutes::Approve, "approve"),
    (MemberRoutes::Auto, "auto"),
    (MemberRoutes::Off, "off"),
];
const ROUTE_MODES: [(RouteMode, &str); 2] = [
    (RouteMode::Single, "single"),
    (RouteMode::Failover, "failover"),
];
const ROUTE_STATES: [(RouteState, &str); 3] = [
    (RouteState::Active, "active"),
    (RouteState::Pending, "pending"),
    (RouteState::Suspended, "suspended"),
];

const ROLES: [(Role, &str); 4] = [
    (Role::None, "none"),
    (Role::Viewer, "viewer"),
    (Role::Operator, "operator"),
    (Role::Admin, "admin"),
];

pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::None => "none",
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

pub(super) fn role_of(row: &AnyRow) -> Result<Role, StoreError> {
    one_of(row, "role", &ROLES)
}

pub(super) const fn member_state(state: MemberState) -> &'static str {
    match state {
        MemberState::Authorized => "authorized",
        MemberState::Deauthorized => "deauthorized",
    }
}

pub(super) const fn member_routes(setting: MemberRoutes) -> &'static str {
    match setting {
        MemberRoutes::Approve => "approve",
        MemberRoutes::Auto => "auto",
        MemberRoutes::Off => "off",
    }
}

pub(super) const fn route_mode(mode: RouteMode) -> &'static str {
    match mode {
        RouteMode::Single => "single",
        RouteMode::Failover => "failover",
    }
}

pub(super) const fn route_state(state: RouteState) -> &'static str {
    match state {
        RouteState::Active => "active",
        RouteState::Pending => "pending",
        RouteState::Suspended => "suspended",
    }
}

fn name(row: &AnyRow) -> Result<Name, StoreError> {
    parsed(row, "name")
}

pub(super) fn settings(row: &AnyRow) -> Result<Settings, StoreError> {
    let v4 = V4Plan::new(json(row, "v4_ranges")?, json(row, "on_link")?)
        .map_err(|refusal| corrupt("v4_ranges", refusal.to_string()))?;
    Ok(Settings {
        name: name(row)?,
        private: flag(row, "private")?,
        mtu: Mtu(number(row, "mtu")?),
        v4,
        subnet_pools: json(row, "subnet_pools")?,
        v6_modes: json(row, "v6_modes")?,
        member_routes: one_of(row, "member_routes", &MEMBER_ROUTES)?,
        rules: rules(row)?,
    })
}

fn rules(row: &AnyRow) -> Result<AccessRules, StoreError> {
    let column = text(row, "access_rules")?;
    access_rules::from_text(&column).ok_or_else(|| corrupt("access_rules", column))
}

/// A member without its addresses, which stand in a table of their own.
pub(super) fn member(row: &AnyRow) -> Result<Member, StoreError> {
    Ok(Member {
        identity: IdentityKey(bytes32(row, "identity")?),
        node: parsed(row, "node")?,
        name: name(row)?,
        transport: TransportKey(bytes32(row, "transport")?),
        transport_epoch: number(row, "transport_epoch")?,
        state: one_of(row, "state", &MEMBER_STATES)?,
        addresses: std::collections::BTreeSet::new(),
        tags: json(row, "tags")?,
        relay: flag(row, "relay")?,
        serial: Revision(number(row, "serial")?),
        issued_at: UnixSeconds(number(row, "issued_at")?),
        not_after: UnixSeconds(number(row, "not_after")?),
    })
}

pub(super) fn request(row: &AnyRow) -> Result<Request, StoreError> {
    Ok(Request {
        identity: IdentityKey(bytes32(row, "identity")?),
        node: parsed(row, "node")?,
        name: name(row)?,
        transport: TransportKey(bytes32(row, "transport")?),
        transport_epoch: number(row, "transport_epoch")?,
        source: parsed(row, "source")?,
        requested_at: UnixSeconds(number(row, "requested_at")?),
    })
}

pub(super) fn route(row: &AnyRow) -> Result<Route, StoreError> {
    Ok(Route {
        id: RouteId(number(row, "id")?),
        target: parsed(row, "target")?,
        via: IdentityKey(bytes32(row, "via")?),
        mode: one_of(row, "mode", &ROUTE_MODES)?,
        metric: number(row, "metric")?,
        state: one_of(row, "state", &ROUTE_STATES)?,
        by_member: flag(row, "by_member")?,
    })
}

pub(super) fn key(value: &impl Display) -> String {
    value.to_string()
}
