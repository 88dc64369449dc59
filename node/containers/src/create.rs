//! What `node docker create` asks of Docker.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    labels,
    situation::{ContainerNetwork, Membership, Situation, Subnet, overlap},
};

/// Bridges are called this and a number; the number is that of the /96 in the member's /80, too.
const BRIDGE: &str = "tmbbr";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Docker's name for the network.
    pub name: String,
    /// Its IPv6.
    pub v6: V6,
    /// Containers reach the overlay and nothing else.
    pub internal: bool,
    /// Containers reach the world with the host's address.
    pub masquerade: bool,
    /// Metric of its routes.
    pub metric: u32,
}

/// What IPv6 a container network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum V6 {
    /// A /96 of the member's /80, if it has one.
    Automatic,
    /// This.
    Subnet(Ipv6Net),
    /// None.
    Off,
}

/// A network as Docker is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// Its subnets with their gateways.
    pub subnets: Vec<Subnet>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the bridge driver.
    pub options: BTreeMap<String, String>,
}

/// The number of the next bridge: the lowest that no network, interface or route uses.
#[must_use]
pub fn next_number(situation: &Situation, membership: &Membership) -> Option<u16> {
    (1..=u16::MAX).find(|number| {
        let bridge = bridge_name(*number);
        let slice = membership.plane.and_then(|plane| slice(plane, *number));
        let uses = |prefix: &IpNet| slice.is_some_and(|slice| overlap(prefix, &IpNet::V6(slice)));
        let is_taken = |network: &ContainerNetwork| {
            network.bridge() == bridge || network.subnets.iter().any(|net| uses(&net.prefix))
        };
        let is_local = situation
            .local
            .iter()
            .any(|local| local.link == bridge || uses(&local.prefix));
        !is_local && !situation.networks.iter().any(is_taken)
    })
}

/// The interface of a bridge of ours.
#[must_use]
pub fn bridge_name(number: u16) -> String {
    format!("{BRIDGE}{number}")
}

/// The `number`-th /96 of a /80. The node's own address lies in number 0.
#[must_use]
pub(crate) fn slice(plane: Ipv6Net, number: u16) -> Option<Ipv6Net> {
    let start = plane.network().to_bits() | u128::from(number) << 32;
    (plane.prefix_len() == 80 && number > 0)
        .then(|| Ipv6Net::new(Ipv6Addr::from_bits(start), 96).ok())
        .flatten()
}

/// The subnets that the network will have. The first address of each is the bridge's.
#[must_use]
pub fn subnets(membership: &Membership, v6: V6, number: u16, v4: Ipv4Net) -> Vec<Subnet> {
    let v6 = match v6 {
        V6::Automatic => membership.plane.and_then(|plane| slice(plane, number)),
        V6::Subnet(prefix) => Some(prefix),
        V6::Off => None,
    };
    let first_v4 = v4.hosts().next().unwrap_or(v4.network());
    let v4 = Subnet {
        prefix: IpNet::V4(v4),
        gateway: Some(IpAddr::V4(first_v4)),
    };
    let v6 = v6.map(|prefix| Subnet {
        prefix: IpNet::V6(prefix),
        gateway: Some(IpAddr::V6(Ipv6Addr::from_bits(
            prefix.network().to_bits() | 1,
        ))),
    });
    [v4].into_iter().chain(v6).collect()
}

/// What to ask Docker for.
#[must_use]
pub fn spec(
    situation: &Situation,
    membership: &Membership,
    wish: &Wish,
    number: u16,
    subnets: Vec<Subnet>,
) -> NetworkSpec {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut marks = BTreeMap::from([
        pair(labels::NETWORK, &membership.network.to_string()),
        pair(labels::MANAGED, "1"),
    ]);
    if !wish.masquerade {
        marks.extend([pair(labels::MASQUERADE, "false")]);
    }
    if wish.internal {
        marks.extend([pair(labels::INTERNAL, "true")]);
    }
    if wish.metric > 0 {
        marks.extend([pair(labels::METRIC, &wish.metric.to_string())]);
    }
    let mut options = BTreeMap::from([
        pair(labels::BRIDGE_NAME, &bridge_name(number)),
        pair(labels::MTU, &membership.mtu.to_string()),
        pair(labels::DOCKER_MASQUERADE, "false"),
    ]);
    if situation.engine.guards_bridges() {
        options.extend(labels::GATEWAY_MODES.map(|mode| pair(mode, labels::UNPROTECTED)));
    }
    NetworkSpec {
        name: wish.name.clone(),
        subnets,
        labels: marks,
        options,
    }
}

/// Whether a network that is there already is what was asked for.
#[must_use]
pub fn is_as_wished(
    network: &ContainerNetwork,
    membership: &Membership,
    wish: &Wish,
    v4: Option<Ipv4Net>,
) -> bool {
    let has = |prefix: IpNet| network.subnets.iter().any(|net| net.prefix == prefix);
    let has_v6 = network
        .subnets
        .iter()
        .any(|net| net.prefix.addr().is_ipv6());
    let v6_fits = match wish.v6 {
        V6::Automatic => has_v6 == membership.plane.is_some(),
        V6::Subnet(prefix) => has(IpNet::V6(prefix)),
        V6::Off => !has_v6,
    };
    network.is_managed()
        && network.has(labels::NETWORK, &membership.network.to_string())
        && network.has(labels::MASQUERADE, "false") != wish.masquerade
        && network.has(labels::INTERNAL, "true") == wish.internal
        && network.metric() == wish.metric
        && v4.is_none_or(|v4| has(IpNet::V4(v4)))
        && v6_fits
}

/// Subnets that the controller has given this member already and that nothing uses: of a creation that was interrupted, or
/// set aside by an administrator.
#[must_use]
pub fn spare_subnet(situation: &Situation, membership: &Membership, length: u8) -> Option<Ipv4Net> {
    let in_pool = |prefix: &IpNet| membership.pools.iter().any(|pool| pool.contains(prefix));
    let is_used = |prefix: &IpNet| {
        let of_docker = situation
            .networks
            .iter()
            .flat_map(|network| &network.subnets);
        of_docker
            .map(|net| &net.prefix)
            .chain(situation.local.iter().map(|local| &local.prefix))
            .any(|used| overlap(used, prefix))
    };
    membership
        .routes
        .iter()
        .filter(|prefix| in_pool(prefix) && !is_used(prefix))
        .find_map(|prefix| match prefix {
            IpNet::V4(v4) if v4.prefix_len() == length => Some(*v4),
            IpNet::V4(_) | IpNet::V6(_) => None,
        })
}
