//! JSON of the web API: what a controller answers and accepts under `/api/v1`.
//!
//! Times are seconds since 1970-01-01 UTC. Unknown fields in a request are refused, so that a misspelt one never goes
//! unnoticed; clients ignore unknown fields in answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Derives what every answer and request needs.
macro_rules! json {
    ($($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* })*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        $(#[$meta])*
        pub struct $name { $($body)* }
    )*};
}

mod access;
mod members;
mod networks;
mod replicas;
mod routes;
mod rules;
mod telling;

pub use access::{
    CreatedToken, JoinToken, NewJoinToken, NewToken, NewUser, Role, Token, User, UserPatch,
};
pub use members::{
    ControllerRelay, LinkCarrier, LinkCounts, LinkPath, Member, MemberLinks, MemberPatch,
    MemberRelay, NetworkRelays, PeerLink,
};
pub use networks::{
    AddressRange, MemberRoutes, Network, NetworkPatch, NetworkSettings, NetworkSummary, NewNetwork,
};
pub use replicas::{
    Keyring, KeyringDraft, KeyringEdit, LastBackup, Replica, ReplicaState, SignedKeyring, Status,
};
pub use routes::{NewRoute, NewSubnet, Route, RoutePatch, RouteState};
pub use rules::{AccessRule, AccessRules};
pub use telling::{
    AuditEntry, AuditHead, CreatedWebhook, Event, NewWebhook, Webhook, WebhookDelivery,
    WebhookPatch, WebhookTest,
};

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items, in a stable order.
    pub items: Vec<T>,
    /// Give this as `after` to get the next page; null on the last one.
    pub next: Option<String>,
}

json! {
    /// RFC 9457: what every error answers, as `application/problem+json`.
    pub struct Problem {
        /// A stable name of the problem.
        #[serde(rename = "type")]
        pub kind: String,
        /// The HTTP status in words.
        pub title: String,
        /// The HTTP status.
        pub status: u16,
        /// What is wrong and what to do.
        pub detail: String,
        /// A stable name of the refusal, where `type` names only its sort.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub code: Option<String>,
        /// What `detail` speaks of, by name.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub values: BTreeMap<String, String>,
    }
}
