//! What is observed: the Docker engine, its networks, the overlay networks of this node, the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};
use tombolo_proto::id::NetworkId;

use crate::labels;

/// Everything that a decision depends on.
#[derive(Debug, Clone)]
pub struct Situation {
    /// The engine.
    pub engine: Engine,
    /// All of its networks.
    pub networks: Vec<ContainerNetwork>,
    /// Overlay networks whose member this node is.
    pub memberships: Vec<Membership>,
    /// What the host reaches by other means than the overlay, default routes apart.
    pub local: Vec<LocalPrefix>,
    /// What this node remembers.
    pub memory: Memory,
}

/// What is kept across restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Docker networks that `node docker publish` named.
    pub published: BTreeMap<String, Publication>,
    /// Prefixes that this node asked the controller to route to it on behalf of containers.
    pub asked: BTreeSet<(NetworkId, IpNet)>,
}

/// What `node docker publish` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Where to.
    pub network: NetworkId,
    /// Even Docker's default subnet, which every other Docker host has too.
    pub force: bool,
}

/// A Docker engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Such as `20.10.24`.
    pub version: String,
    /// The version of its API that is spoken.
    pub api: String,
    /// Its bridges live in the network namespace of an ordinary user.
    pub rootless: bool,
    /// What it filters with.
    pub firewall: FirewallBackend,
}

/// What Docker filters with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirewallBackend {
    /// iptables and ip6tables; admins have the chain DOCKER-USER.
    Iptables,
    /// A table of its own, whose drops nobody can override.
    Nftables,
}

impl FirewallBackend {
    /// As in texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        }
    }
}

impl Engine {
    /// Whether it knows [`labels::UNPROTECTED`], and drops routed packets where it is not set.
    #[must_use]
    pub fn guards_bridges(&self) -> bool {
        let major = self.version.split('.').next().unwrap_or_default();
        major.parse::<u32>().is_ok_and(|major| major >= 28)
    }
}

/// A Docker network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerNetwork {
    /// Docker's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge` for those that can be published.
    pub driver: String,
    /// Containers have no default route.
    pub internal: bool,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its driver's options.
    pub options: BTreeMap<String, String>,
    /// Names of the containers attached to it.
    pub containers: Vec<String>,
}

/// A subnet of a Docker network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// Without host bits.
    pub prefix: IpNet,
    /// The bridge's own address.
    pub gateway: Option<IpAddr>,
}

impl ContainerNetwork {
    /// The bridge's interface.
    #[must_use]
    pub fn bridge(&self) -> String {
        self.options
            .get(labels::BRIDGE_NAME)
            .filter(|name| !name.is_empty())
            .cloned()
            .unwrap_or_else(|| format!("br-{}", self.id.get(..12).unwrap_or(&self.id)))
    }

    /// Whether `node docker create` made it.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.labels.contains_key(labels::MANAGED)
    }

    /// Whether a label says so.
    #[must_use]
    pub fn has(&self, label: &str, value: &str) -> bool {
        self.labels.get(label).is_some_and(|found| found == value)
    }

    /// Metric of the routes to its subnets.
    #[must_use]
    pub fn metric(&self) -> u32 {
        let set = self.labels.get(labels::METRIC);
        set.and_then(|metric| metric.parse().ok()).unwrap_or(0)
    }

    /// Largest packet of its containers; Docker's default is 1500.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        let set = self.options.get(labels::MTU);
        set.and_then(|mtu| mtu.parse().ok()).unwrap_or(1500)
    }
}

/// An overlay network, as far as containers are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Its id.
    pub network: NetworkId,
    /// The TUN device.
    pub link: String,
    /// Largest packet.
    pub mtu: u16,
    /// This member's name.
    pub member: String,
    /// This member's /80.
    pub plane: Option<Ipv6Net>,
    /// This member's own addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Prefixes that the controller routes to this member.
    pub routes: BTreeSet<IpNet>,
    /// Prefixes behind the other members, and whose they are.
    pub others: Vec<(IpNet, String)>,
    /// Ranges that members' own addresses come from, all families.
    pub on_link: Vec<IpNet>,
    /// Ranges that the controller allocates container subnets from.
    pub pools: Vec<IpNet>,
}

/// A prefix that the host reaches by other means than the overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPrefix {
    /// Through which interface.
    pub link: String,
    /// Without host bits.
    pub prefix: IpNet,
}

impl Situation {
    /// An overlay network by its id.
    #[must_use]
    pub fn membership(&self, network: NetworkId) -> Option<&Membership> {
        self.memberships
            .iter()
            .find(|membership| membership.network == network)
    }

    /// A Docker network by its name.
    #[must_use]
    pub fn container_network(&self, name: &str) -> Option<&ContainerNetwork> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// Metric of the route to a container network's subnet.
    #[must_use]
    pub fn metric(&self, prefix: &IpNet) -> u32 {
        let has = |network: &&ContainerNetwork| {
            let mut subnets = network.subnets.iter();
            subnets.any(|subnet| subnet.prefix == *prefix)
        };
        let owner = self.networks.iter().find(has);
        owner.map_or(0, ContainerNetwork::metric)
    }
}

/// Whether two prefixes share an address.
#[must_use]
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}
