//! What the verbs of `node docker` tell.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tombolo_proto::id::NetworkId;

/// `node docker publish`, and one entry of `node docker ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerNetworkReport {
    /// Docker's name for the network.
    pub name: String,
    /// The bridge's interface.
    pub bridge: String,
    /// Docker's driver.
    pub driver: String,
    /// Largest packet of its containers.
    pub mtu: u16,
    /// Its subnets.
    pub subnets: Vec<SubnetReport>,
    /// The overlay network that it is published in, or is to be.
    pub network: Option<NetworkId>,
    /// Who wants that: `tombolo` (`node docker create`), `label`, or `command` (`node docker publish`).
    pub by: Option<String>,
    /// What became of it.
    pub state: PublicationState,
    /// Why it is not published, and what to do.
    pub problem: Option<String>,
    /// Names of the containers attached to it.
    pub containers: Vec<String>,
    /// Whether Docker's engine and this node's rules let its packets through.
    pub firewall_ok: Option<bool>,
}

/// A subnet of a container network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetReport {
    /// Without host bits.
    pub prefix: IpNet,
    /// The bridge's own address.
    pub gateway: Option<IpAddr>,
}

/// Whether a container network is reached by the members of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationState {
    /// Nobody wants it.
    None,
    /// It is.
    Published,
    /// A route waits to be approved at the controller.
    Pending,
    /// Not yet: no controller has answered so far.
    Asking,
    /// No: see the problem.
    Refused,
}

impl PublicationState {
    /// As in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Published => "published",
            Self::Pending => "pending",
            Self::Asking => "asking",
            Self::Refused => "refused",
        }
    }
}

/// `node docker create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedReport {
    /// The network.
    #[serde(flatten)]
    pub network: ContainerNetworkReport,
    /// Its IPv4 subnet was chosen by the controller.
    pub allocated: bool,
    /// This member's name in the overlay.
    pub member: String,
    /// This member's addresses in the overlay.
    pub addresses: Vec<IpAddr>,
    /// Docker's version and what it filters with.
    pub engine: String,
    /// Rules of ours in iptables and ip6tables, for all networks.
    pub rules: usize,
}

/// `node docker unpublish`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpublishedReport {
    /// Docker's name for the network.
    pub name: String,
}

/// `node docker rm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedReport {
    /// Docker's name for the network.
    pub name: String,
    /// Routes that were given back.
    pub routes: Vec<IpNet>,
    /// Routes that will be given back once a controller is connected.
    pub later: Vec<IpNet>,
    /// Containers that were taken off it.
    pub disconnected: Vec<String>,
}

/// One line of `node docker check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How it is.
    pub level: FindingLevel,
    /// What was looked at, and what is wrong.
    pub what: String,
    /// What to do.
    pub fix: Option<String>,
}

/// How a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingLevel {
    /// As it should be.
    Ok,
    /// Waits for somebody.
    Wait,
    /// Containers are not reached.
    Fail,
}
