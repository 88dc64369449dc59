//! JSON of the web API: what a controller answers and accepts under `/api/v1`.
//!
//! Times are seconds since 1970-01-01 UTC. Unknown fields in a request are refused, so that a misspelt one never goes
//! unnoticed; clients ignore unknown fields in answers.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Ipv4Range, RouteMode, V6Mode},
    id::{NetworkId, NodeId},
    key::IdentityKey,
};

/// Derives what every answer and request needs.
macro_rules! json {
    ($($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* })*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        $(#[$meta])*
        pub struct $name { $($body)* }
    )*};
}

mod rules;

pub use rules::{AccessRule, AccessRules};

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

    /// A member, or a node that waits for authorisation.
    pub struct Member {
        /// 10 hex digits.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub node: NodeId,
        /// Its full public key.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub identity: IdentityKey,
        /// Short name, unique in the network.
        pub name: String,
        /// Whether it may take part.
        pub authorized: bool,
        /// Whether it is connected to a controller now.
        pub online: bool,
        /// Assigned and automatic addresses; none before authorisation.
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
        pub addresses: Vec<IpAddr>,
        /// Its /80, if the network has 6PLANE on.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub prefix: Option<Ipv6Net>,
        /// Prefixes behind it.
        pub routes: Vec<Route>,
        /// Words that access rules refer to.
        pub tags: Vec<String>,
        /// Whether it may forward sealed frames for others.
        pub relay: bool,
        /// Its software, as it says.
        pub version: Option<String>,
        /// Whether it says that it enforces access rules. Otherwise, or before it was ever connected, it lets in what they
        /// would stop, and takes no settings with rules.
        #[serde(default)]
        pub enforces_rules: bool,
        /// When it was last connected.
        pub last_seen: Option<u64>,
        /// Until when its certificate counts.
        pub expires_at: Option<u64>,
        /// Routes and pools that clash with networks of its host, a sentence each.
        pub clashes: Vec<String>,
        /// How it reaches its peers; null if it told nothing of late.
        #[serde(default)]
        pub links: Option<LinkCounts>,
    }

    /// How a member reaches its peers, in short.
    pub struct LinkCounts {
        /// Peers that it reaches straight.
        pub direct: u64,
        /// Peers that it reaches by a relay.
        pub relayed: u64,
        /// The median of its round-trip times in microseconds.
        pub latency_us: Option<u32>,
        /// Inner bytes per second that it sent.
        pub sent: u64,
        /// Inner bytes per second that it received.
        pub received: u64,
    }

    /// How a member reaches its peers.
    pub struct MemberLinks {
        /// The member.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub node: NodeId,
        /// When it told this.
        pub told_at: u64,
        /// Inner bytes per second that it sent.
        pub sent: u64,
        /// Inner bytes per second that it received.
        pub received: u64,
        /// The peers it has a session with: at most 256, those with the most traffic.
        pub links: Vec<PeerLink>,
    }

    /// The way to a peer.
    pub struct PeerLink {
        /// The peer.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub node: NodeId,
        /// `direct` or `relay`.
        pub path: LinkPath,
        /// The member that relays; null if it is a controller, or if the path is direct.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub via: Option<NodeId>,
        /// Round-trip time in microseconds, once it was measured.
        pub latency_us: Option<u32>,
    }

    /// Who relays in a network, and how much it is needed.
    pub struct NetworkRelays {
        /// Controllers: they relay for members of every network.
        pub controllers: Vec<ControllerRelay>,
        /// Links that go by a controller, whichever.
        pub controller_links: u64,
        /// How many authorised members may relay.
        pub members_allowed: u64,
        /// Of those, at most 100: the ones that most links go by, then the ones that are online. List members with
        /// `relay=true` to see all.
        pub members: Vec<MemberRelay>,
    }

    /// A controller as a relay.
    pub struct ControllerRelay {
        /// Its signing key.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub key: IdentityKey,
        /// Where it says that nodes reach it.
        pub endpoints: Vec<String>,
        /// Whether it has reached the store within half a minute.
        pub alive: bool,
        /// Whether it is the one that answers.
        pub this: bool,
        /// Members that it relays for now, of all networks.
        pub clients: u64,
        /// Bytes that it relayed since it started, of all networks.
        pub bytes: u64,
    }

    /// A member that may relay.
    pub struct MemberRelay {
        /// The member.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub node: NodeId,
        /// Its name.
        pub name: String,
        /// Whether it is connected to a controller now.
        pub online: bool,
        /// Links that go by it.
        pub links: u64,
    }

    /// Changes a member, or authorises a request.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct MemberPatch {
        /// Let in or put out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub authorized: Option<bool>,
        /// Short name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<String>,
        /// All IPv4 addresses it shall have; none: one is assigned. Its automatic IPv6 addresses are accepted and
        /// mean nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
        pub addresses: Option<Vec<IpAddr>>,
        /// Words that access rules refer to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tags: Option<Vec<String>>,
        /// Whether it may forward sealed frames for others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub relay: Option<bool>,
    }

    /// A prefix behind a member.
    pub struct Route {
        /// 8 hex digits.
        pub id: String,
        /// Without host bits.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub target: IpNet,
        /// The member it is behind: its node address.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub via: NodeId,
        /// The name of that member.
        pub via_name: String,
        /// `single` or `failover`.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub mode: RouteMode,
        /// Lower wins among members with the same prefix.
        pub metric: u32,
        /// Whether it is in force.
        pub state: RouteState,
        /// What was asked for, if it had host bits that were cut off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub normalized_from: Option<IpNet>,
    }

    /// Adds a route.
    #[serde(deny_unknown_fields)]
    pub struct NewRoute {
        /// The prefix; host bits are cut off.
        pub target: String,
        /// A member: its node address, one of its addresses, or its name.
        pub via: String,
        /// `single` (default) or `failover`.
        #[serde(default = "single")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub mode: RouteMode,
        /// Lower wins among members with the same prefix.
        #[serde(default)]
        pub metric: u32,
    }

    /// Changes or approves a route.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct RoutePatch {
        /// `active` approves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub state: Option<RouteState>,
        /// `single` or `failover`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub mode: Option<RouteMode>,
        /// Lower wins among members with the same prefix.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub metric: Option<u32>,
    }

    /// Allocates a container subnet from the network's subnet pools and routes it.
    #[serde(deny_unknown_fields)]
    pub struct NewSubnet {
        /// Length of the prefix.
        pub size: u8,
        /// What it is for; written to the audit log.
        #[serde(default)]
        pub name: String,
    }

    /// Creates a join token.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct NewJoinToken {
        /// How many nodes may join with it; 1 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub uses: Option<u32>,
        /// Seconds until it expires; an hour by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires_in: Option<u64>,
    }

    /// A join token, as far as it can be shown later.
    pub struct JoinToken {
        /// Names the token.
        pub id: String,
        /// How many more nodes may join with it.
        pub uses_left: u32,
        /// When it was made.
        pub created_at: u64,
        /// When it expires.
        pub expires_at: u64,
    }

    /// Creates an API token.
    #[serde(deny_unknown_fields)]
    pub struct NewToken {
        /// What it is for.
        pub name: String,
        /// Up to 64 of `read` (reading only), `write` (deciding on members, routes and join tokens) and `admin`
        /// (everything), each alone or for one network, as in `read:8056c2e21c000001`.
        pub scopes: Vec<String>,
        /// Seconds until it expires; never by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires_in: Option<u64>,
    }

    /// An API token, as far as it can be shown later.
    pub struct Token {
        /// Names the token.
        pub id: String,
        /// What it is for.
        pub name: String,
        /// What it may do.
        pub scopes: Vec<String>,
        /// When it was made.
        pub created_at: u64,
        /// When it expires; null if never.
        pub expires_at: Option<u64>,
        /// When it was last used, to the minute; null if never.
        #[serde(default)]
        pub last_used_at: Option<u64>,
    }

    /// A new token's secret, shown once.
    pub struct CreatedToken {
        /// Names the token.
        pub id: String,
        /// The secret.
        pub token: String,
        /// For join tokens: the complete link for `node join`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub join_link: Option<String>,
    }

    /// Somebody who may sign in to the panel.
    pub struct User {
        /// Names the user.
        pub id: String,
        /// What is typed to sign in.
        pub name: String,
        /// What they may do in every network, and with the controller itself.
        pub role: Role,
        /// What they may do beyond that, by network id.
        #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Role>))]
        pub networks: BTreeMap<NetworkId, Role>,
        /// Whether they can sign in with a password; otherwise only with an account at an identity provider.
        pub has_password: bool,
        /// When it was made.
        pub created_at: u64,
    }

    /// Creates a user.
    #[serde(deny_unknown_fields)]
    pub struct NewUser {
        /// What is typed to sign in: unique, written like the name of a network.
        pub name: String,
        /// 10 to 256 characters. Without one they sign in with their account at the identity provider: the one that is
        /// called the same there.
        #[serde(default)]
        pub password: Option<String>,
        /// What they may do in every network, and with the controller itself; `none` by default.
        #[serde(default)]
        pub role: Role,
        /// What they may do beyond that, by network id.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Role>))]
        pub networks: BTreeMap<NetworkId, Role>,
    }

    /// Changes a user.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct UserPatch {
        /// A new password; ends every session of the user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub password: Option<String>,
        /// What they may do in every network, and with the controller itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub role: Option<Role>,
        /// What they may do beyond that, by network id; replaces all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, Role>>))]
        pub networks: Option<BTreeMap<NetworkId, Role>>,
    }

    /// One line of the audit log. Each line's hash covers the line and the hash before it.
    pub struct AuditEntry {
        /// Its place: 1 for the first line, then one more each.
        pub id: u64,
        /// When.
        pub at: u64,
        /// Who: `user <name>`, `token <id>`, `node <address>` or `controller`.
        pub actor: String,
        /// What was done.
        pub action: String,
        /// In which network.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub network: Option<NetworkId>,
        /// To what.
        pub subject: String,
        /// What it was before, as far as it changed; null if it was not there.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        pub before: Option<serde_json::Value>,
        /// What it is now, as far as it changed; null if it is gone.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        pub after: Option<serde_json::Value>,
        /// SHA-256 over the line and the hash before it: hexadecimal.
        #[serde(default)]
        pub hash: String,
    }

    /// The end of the audit log: whoever notes it can tell later whether the log was rewritten.
    #[derive(Default)]
    pub struct AuditHead {
        /// The place of the last line; 0 before the first.
        pub id: u64,
        /// Its hash: hexadecimal.
        pub hash: String,
        /// The place of the last line that was forgotten on purpose; 0 if none was. The next line is the first there is.
        #[serde(default)]
        pub forgotten_id: u64,
        /// Its hash, with which the next line is verified.
        #[serde(default)]
        pub forgotten_hash: String,
    }

    /// Somebody who is told of changes by HTTP.
    pub struct Webhook {
        /// Names the webhook.
        pub id: String,
        /// Where messages go.
        pub url: String,
        /// Which events, as the event stream calls them; all if there are none.
        pub events: Vec<String>,
        /// Only of this network.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub network: Option<NetworkId>,
        /// When it was made.
        pub created_at: u64,
        /// When a message was taken last.
        pub delivered_at: Option<u64>,
        /// Since when no message was taken; null if the last one was.
        pub failing_since: Option<u64>,
        /// Why.
        pub last_error: Option<String>,
        /// Since when it is told nothing: it was turned off, was gone, or took nothing for three days.
        pub disabled_at: Option<u64>,
        /// How many messages wait.
        pub waiting: u64,
    }

    /// Creates a webhook.
    #[serde(deny_unknown_fields)]
    pub struct NewWebhook {
        /// Where messages go: http or https, without user and password. Redirections are not followed.
        pub url: String,
        /// Which events: `changed`, `requests`, `deleted`, `online`; all by default.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub events: Vec<String>,
        /// Only of the network with this id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub network: Option<String>,
    }

    /// A new webhook's secret, shown once.
    pub struct CreatedWebhook {
        /// Names the webhook.
        pub id: String,
        /// What messages are signed with: `whsec_` and base64.
        pub secret: String,
    }

    /// Changes a webhook.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct WebhookPatch {
        /// Where messages go.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub url: Option<String>,
        /// Which events; none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub events: Option<Vec<String>>,
        /// Whether it is told anything. What waited when it was turned off is not told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub enabled: Option<bool>,
    }

    /// An attempt to send a message to a webhook.
    pub struct WebhookDelivery {
        /// Names the attempt.
        pub id: String,
        /// Names the message: the same in every attempt to send it.
        pub message: String,
        /// What it tells; null for a test.
        pub event: Option<Event>,
        /// When it was sent.
        pub at: u64,
        /// 1 for the first attempt.
        pub attempt: u64,
        /// Whether it was taken.
        pub delivered: bool,
        /// What the receiver answered, if it did.
        pub status: Option<u16>,
        /// What was wrong, if it was not taken.
        pub error: Option<String>,
    }

    /// How a message that is sent once, and not again by itself, was taken.
    pub struct WebhookTest {
        /// Whether it was.
        pub delivered: bool,
        /// What the receiver answered, if it did.
        pub status: Option<u16>,
        /// What is wrong, if it was not taken.
        pub error: Option<String>,
    }

    /// The controller itself.
    pub struct Status {
        /// Program version.
        pub version: String,
        /// The authority's address, the first 10 digits of every network id.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub authority: NodeId,
        /// The authority's root key.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub authority_key: IdentityKey,
        /// This replica's key.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub replica_key: IdentityKey,
        /// Where nodes find controllers.
        pub endpoints: Vec<String>,
        /// How many networks there are.
        pub networks: u64,
        /// How many nodes are connected now.
        pub connected_nodes: u64,
        /// Whether the keyring names this replica. Until it does, it serves no nodes and changes nothing.
        #[serde(default)]
        pub admitted: bool,
        /// The epoch of every live document; a revoked replica ends one.
        #[serde(default)]
        pub epoch: u64,
        /// Where everything is kept: `sqlite` or `postgres`.
        #[serde(default)]
        pub store: String,
        /// For how long the store has not answered; null while it does. Answers may be out of date by that much.
        #[serde(default)]
        pub store_unreachable_seconds: Option<u64>,
        /// Seconds since it started.
        pub uptime: u64,
    }

    /// The keyring, and every replica that registered.
    pub struct Keyring {
        /// Ended by every revocation of a replica.
        pub epoch: u64,
        /// Counts keyrings.
        pub revision: u64,
        /// The key that signs keyrings.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub root_key: IdentityKey,
        /// Where nodes find controllers.
        pub endpoints: Vec<String>,
        /// Replicas, in the order in which they registered.
        pub replicas: Vec<Replica>,
        /// The keyring as nodes get it: hexadecimal.
        pub signed: String,
    }

    /// A controller of this authority.
    pub struct Replica {
        /// Its signing key.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub key: IdentityKey,
        /// Whether it may sign.
        pub state: ReplicaState,
        /// Where it says that nodes reach it.
        pub endpoints: Vec<String>,
        /// Its software.
        pub version: String,
        /// Whether it has reached the store within half a minute.
        pub alive: bool,
        /// Whether it is the one that answers.
        pub this: bool,
    }

    /// What shall become different in the keyring: one of the three.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct KeyringEdit {
        /// These replicas may sign as well.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
        pub admit: Vec<IdentityKey>,
        /// So may every replica that waits.
        #[serde(default)]
        pub admit_pending: bool,
        /// This one may not any more, and nothing that it ever signed counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub revoke: Option<IdentityKey>,
    }

    /// A keyring for the root key to sign.
    pub struct KeyringDraft {
        /// Whether it says anything that the one in force does not.
        pub differs: bool,
        /// The keyring without signature: hexadecimal.
        pub body: String,
    }

    /// A keyring that the root key signed.
    #[serde(deny_unknown_fields)]
    pub struct SignedKeyring {
        /// The keyring with its signature: hexadecimal.
        pub signed: String,
    }

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

    /// A change, as the event stream tells it.
    pub struct Event {
        /// In which network.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub network: NetworkId,
        /// The network's revision after the change, if it has one.
        pub revision: Option<u64>,
        /// `changed`, `requests` (waiting nodes), `deleted`, `online` (a node came or went), or `links` (members told
        /// how they reach each other).
        pub kind: String,
    }
}

/// What somebody may do; each includes those before it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing.
    #[default]
    None,
    /// Read.
    Viewer,
    /// Decide on members, routes and join tokens.
    Operator,
    /// Everything: settings, creation and deletion of networks; with that role everywhere, users and API tokens too.
    Admin,
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

/// How a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkPath {
    /// Straight.
    Direct,
    /// By a relay.
    Relay,
}

/// Whether a replica may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// The keyring names it.
    Admitted,
    /// It waits for `controller keyring add`.
    Pending,
    /// It was revoked and never comes back.
    Revoked,
}

/// Whether a route is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// In force.
    Active,
    /// Waits for approval.
    Pending,
    /// Its member is deauthorised.
    Suspended,
}

const fn single() -> RouteMode {
    RouteMode::Single
}
