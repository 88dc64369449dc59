//! What the daemon tells about itself: what travels over its socket and what `--json` prints are the same.

pub mod diagnosis;
pub mod docker;
pub mod rules;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tombolo_proto::{
    id::{NetworkId, NodeId},
    key::IdentityKey,
};

/// `node id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdReport {
    /// Node address.
    pub node: NodeId,
    /// Identity key.
    pub public_key: IdentityKey,
}

/// `node status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Node address.
    pub node: NodeId,
    /// Version of the daemon.
    pub version: String,
    /// UDP port of the data sockets.
    pub port: u16,
    /// Where state is kept.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
    /// Where this node has announced that it can be reached.
    pub endpoints: Vec<SocketAddr>,
    /// What NATs in front of this node do.
    #[serde(default)]
    pub nat: NatsReport,
    /// What is wrong with the host or the daemon as a whole, one line each.
    pub warnings: Vec<String>,
    /// How packets are moved.
    pub forwarding: ForwardingReport,
    /// Where names are answered; none where that is switched off.
    pub names: Option<Vec<IpAddr>>,
    /// What this node carries between other members.
    #[serde(default)]
    pub relayed: RelayedReport,
    /// Packets dropped on behalf of no peer in particular, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// The joined networks.
    pub networks: Vec<NetworkReport>,
}

/// What a node carries between other members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayedReport {
    /// Members that it does so for, now.
    pub clients: u64,
    /// Frames so far.
    pub frames: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Frames dropped because a member, or all of them, sent more than they may.
    pub over_budget: u64,
}

/// The NATs in front of a node; none of a family in which nobody has seen it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatsReport {
    /// Towards IPv4.
    pub ipv4: Option<NatReport>,
    /// Towards IPv6.
    pub ipv6: Option<NatReport>,
    /// Where the router lets everybody in to this node, because it was asked to.
    #[serde(default)]
    pub mapped_port: Option<SocketAddr>,
    /// The same over TCP, for those to which no UDP passes.
    #[serde(default)]
    pub mapped_tcp_port: Option<SocketAddr>,
}

/// What a NAT does, in the words of RFC 4787: `endpoint-independent`, `address-dependent`, `address-and-port-dependent`, or
/// `unknown` as long as it cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatReport {
    /// How outer ports are given; `none` where there is no NAT.
    pub mapping: String,
    /// What is let in, by a NAT or a firewall.
    pub filtering: String,
    /// How many observers the mapping was seen by.
    pub observers: usize,
}

/// What the forwarding threads have to work with on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardingReport {
    /// Threads per direction, TUN queues per network, and sockets per address family.
    pub queues: usize,
    /// Whether the CPU has AES instructions.
    pub cpu_aes: bool,
    /// Whether trains of datagrams are sent in one call (`UDP_SEGMENT`).
    pub udp_gso: bool,
    /// Whether the kernel hands over trains of datagrams (`UDP_GRO`).
    pub udp_gro: bool,
}

/// One network of this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// Network id.
    pub id: NetworkId,
    /// Its name, once known.
    pub name: Option<String>,
    /// Where this node stands.
    pub status: NetworkStatus,
    /// This node's addresses.
    pub addresses: Vec<IpAddr>,
    /// This node's /80 for containers.
    pub prefix: Option<IpNet>,
    /// The TUN's name.
    pub interface: String,
    /// Super-packets that the kernel exchanges with the TUN, as `ethtool` names them; none if every packet goes alone.
    pub offload: Vec<String>,
    /// Largest packet.
    pub mtu: Option<u16>,
    /// What is not installed on this host because something is in its way, and what.
    pub clashes: Vec<String>,
    /// What is not installed because the owner of this host has not allowed it.
    #[serde(default)]
    pub not_taken: Vec<NotTaken>,
    /// What the access rules do here; null if there is nothing to enforce.
    #[serde(default)]
    pub rules: Option<rules::RulesReport>,
    /// Signs that a key which signs documents is in other hands.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// The controller that this node is connected to.
    pub controller: Option<String>,
    /// What the connection to it goes by: `udp`, or `tcp` where no UDP passes.
    #[serde(default)]
    pub carrier: Option<String>,
    /// Through whom this node can be reached where nothing leads to it directly, nearest first.
    #[serde(default)]
    pub relays: Vec<RelayReport>,
    /// What keeps the network from working, and what to do.
    pub problem: Option<String>,
    /// Whether routes to public prefixes may be installed.
    pub allow_global: bool,
    /// Whether default routes may be installed.
    pub allow_default: bool,
}

/// Routes that a setting of this host keeps out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotTaken {
    /// The setting that is off.
    pub setting: String,
    /// What is not installed for that.
    pub prefixes: Vec<IpNet>,
    /// The command that lets them in.
    pub mend: String,
}

/// A relay that is kept warm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelayReport {
    /// The member that relays; none if it is a controller.
    pub node: Option<NodeId>,
    /// That member's name, or `controller`.
    pub name: String,
    /// Round trip.
    pub latency_ms: f64,
}

/// Where this node stands in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkStatus {
    /// Member, connected to a controller.
    Ok,
    /// Member, running from the cache: no controller answers.
    OfflineOk,
    /// Waiting to be authorised.
    Pending,
    /// No controller has answered yet.
    Requesting,
    /// Refused or removed.
    Denied,
    /// The controller knows no such network.
    NotFound,
}

impl NetworkStatus {
    /// As in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OfflineOk => "offline-ok",
            Self::Pending => "pending",
            Self::Requesting => "requesting",
            Self::Denied => "denied",
            Self::NotFound => "not-found",
        }
    }
}

/// One entry of `node peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Node address.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// In which network.
    pub network: NetworkId,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
    /// How packets reach it.
    pub path: PathReport,
    /// Other ways that work.
    pub standby: Vec<PathReport>,
    /// Round trip.
    pub latency_ms: Option<f64>,
    /// Seconds since the last handshake.
    pub last_handshake: Option<f64>,
    /// What packets are sealed with.
    pub cipher: Option<String>,
    /// What their keys were made from.
    pub key_exchange: Option<String>,
    /// Received from it.
    pub rx_bytes: u64,
    /// Sent to it.
    pub tx_bytes: u64,
    /// Received from it.
    pub rx_packets: u64,
    /// Sent to it.
    pub tx_packets: u64,
    /// Its packets that were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// A way to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReport {
    /// What kind of way.
    pub kind: PathKind,
    /// Its end.
    pub endpoint: Option<SocketAddr>,
    /// The relay.
    pub via: Option<NodeId>,
    /// Largest inner packet that passes undivided.
    pub mtu: Option<u16>,
    /// What carries it from this node: `udp`, or `tcp` where no UDP passes.
    #[serde(default)]
    pub carrier: Option<String>,
}

/// What kind of way leads to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Straight.
    Direct,
    /// Through another node or a controller.
    Relay,
    /// Not at all, at present.
    None,
}

/// One entry of `node routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReport {
    /// The prefix.
    pub prefix: IpNet,
    /// In which network.
    pub network: NetworkId,
    /// The member that it leads to; none for what all members share.
    pub via: Option<NodeId>,
    /// That member's name.
    pub via_name: Option<String>,
    /// Lower wins.
    pub metric: u32,
    /// What became of it on this host.
    pub state: RouteState,
    /// Where it is installed.
    pub interface: Option<String>,
    /// Why it is not installed.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What became of a route on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// In the kernel.
    Installed,
    /// Behind this node itself.
    Own,
    /// Left out: see the network's clashes.
    NotInstalled,
}

/// `node join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinReport {
    /// The network.
    #[serde(flatten)]
    pub network: NetworkReport,
    /// Said once, when a bare network id was believed.
    pub trusted_on_first_use: bool,
}

/// `node leave`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveReport {
    /// Network id.
    pub id: NetworkId,
    /// Whether a controller was told.
    pub controller_told: bool,
}

/// `node route add`, `node route rm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChangeReport {
    /// Which network.
    pub network: NetworkId,
    /// The prefix, without host bits.
    pub prefix: IpNet,
    /// What became of it.
    pub state: RouteChange,
}

/// What became of a route request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteChange {
    /// In force.
    Active,
    /// Waits for approval.
    Pending,
    /// Gone.
    Withdrawn,
}
