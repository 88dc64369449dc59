//! Members, and how they reach each other.

use std::net::IpAddr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::Route;
use crate::{id::NodeId, key::IdentityKey};

json! {
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
        /// Those of all these that it reaches by TCP, because no UDP passes.
        #[serde(default)]
        pub by_tcp: u64,
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
        /// What carries it.
        #[serde(default)]
        pub carrier: LinkCarrier,
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
        /// Authorised members that may not relay, at most 100. List members with `relay=false` to see all.
        pub others: Vec<MemberRelay>,
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

    /// A member as a relay.
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
        /// Members that it relays for now, in this network alone; null if it has not told within the last minute and a half,
        /// or is of a version that does not tell.
        #[serde(default)]
        pub clients: Option<u64>,
        /// Bytes that it relayed since it started, in this network alone; null likewise.
        #[serde(default)]
        pub bytes: Option<u64>,
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
}

/// What carries the frames to a peer, or to the relay in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkCarrier {
    /// As it should be.
    #[default]
    Udp,
    /// Where no UDP passes.
    Tcp,
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
