//! Which container networks cannot be in the overlay. Every refusal is a sentence that says what to do.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::{
    labels,
    situation::{
        ContainerNetwork, FirewallBackend, LocalPrefix, Membership, Situation, Subnet, overlap,
    },
};

/// The subnet of `docker0` on every Docker host.
const DOCKER_DEFAULT: &str = "172.17.0.0/16";
/// Length of the subnets that are suggested and allocated.
pub const SUBNET_LENGTH: u8 = 24;

/// Why a container network is not in the overlay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its variant means")]
pub enum Refusal {
    #[error(
        "Docker runs rootless here: its bridges are out of this host's reach; run Docker as root, or publish ports instead"
    )]
    Rootless,
    #[error(
        "{name} is a network of the driver {driver}, and only bridge networks can be published; for macvlan and ipvlan publish the LAN they are on: `tombolo route add PREFIX`"
    )]
    NotABridge { name: String, driver: String },
    #[error(
        "{0} is internal, so Docker gives its containers no route to the overlay: make one that reaches the overlay only with `tombolo docker create NAME --internal`"
    )]
    Internal(String),
    #[error("{0} has no subnet: nothing can be routed to it")]
    NoSubnet(String),
    #[error(
        "{name} drops routed packets: Docker from 28 on protects it and its nftables rules cannot be overridden; make it again: docker network create -o {}={mode} -o {}={mode} … {name}",
        labels::GATEWAY_MODES[0], labels::GATEWAY_MODES[1], mode = labels::UNPROTECTED
    )]
    Protected { name: String },
    #[error(
        "{DOCKER_DEFAULT} cannot be routed: every Docker host starts with it{}; make a network of your own with `tombolo docker create app`, or set \"bip\": \"{free}\" in /etc/docker/daemon.json and restart docker", among(.others)
    )]
    EveryHostHasIt { others: Vec<String>, free: String },
    #[error(
        "{prefix} overlaps {range}, where the members of the overlay have their addresses: choose another subnet"
    )]
    OverlapsMembers { prefix: IpNet, range: IpNet },
    #[error(
        "{prefix} is routed to {member} already: choose another subnet on one of the two hosts"
    )]
    Taken { prefix: IpNet, member: String },
    #[error(
        "{prefix} overlaps {}, which this host reaches through {}: choose another subnet with --subnet or --ipv6-subnet", .local.prefix, .local.link
    )]
    OverlapsLocal { prefix: IpNet, local: LocalPrefix },
    #[error(
        "{prefix} contains {address}, this node's own address: take a part of the /80, such as {part}, or make {address} the gateway"
    )]
    TakesOwnAddress {
        prefix: IpNet,
        address: IpAddr,
        part: IpNet,
    },
    #[error(
        "{prefix} overlaps {range} of the network on {link}: choose another subnet for one of the two"
    )]
    OverlapsOverlay {
        prefix: IpNet,
        range: IpNet,
        link: String,
    },
    #[error("{prefix} is wanted by {other} too: choose another subnet for one of the two")]
    Twice { prefix: IpNet, other: String },
    #[error("this node is not a member of network {0}: `tombolo join` it, or correct the label")]
    NotAMember(String),
}

fn among(others: &[String]) -> String {
    if others.is_empty() {
        String::new()
    } else {
        format!(", and {} publishes it already", others.join(", "))
    }
}

/// Whether `docker` can be in the overlay, and if so which prefixes the controller has to route to this member.
pub fn admit(
    situation: &Situation,
    docker: &ContainerNetwork,
    membership: &Membership,
    force: bool,
) -> Result<Vec<IpNet>, Refusal> {
    if situation.engine.rootless {
        return Err(Refusal::Rootless);
    }
    let name = docker.name.clone();
    if docker.driver != "bridge" {
        let driver = docker.driver.clone();
        return Err(Refusal::NotABridge { name, driver });
    }
    if docker.internal {
        return Err(Refusal::Internal(name));
    }
    if docker.subnets.is_empty() {
        return Err(Refusal::NoSubnet(name));
    }
    if is_protected(situation, docker) {
        return Err(Refusal::Protected { name });
    }
    let mut routes = Vec::new();
    for subnet in &docker.subnets {
        if !force && is_docker_default(&subnet.prefix) {
            return Err(every_host_has_it(situation, membership));
        }
        check_subnet(situation, membership, subnet, Some(&docker.bridge()))?;
        let own = (membership.network, subnet.prefix);
        if !needs_no_route(membership, &subnet.prefix) || situation.memory.asked.contains(&own) {
            routes.push(subnet.prefix);
        }
    }
    Ok(routes)
}

/// Whether a subnet may be put on this host. Its own `bridge`, if it has one already, does not count as an obstacle.
pub fn check_subnet(
    situation: &Situation,
    membership: &Membership,
    subnet: &Subnet,
    bridge: Option<&str>,
) -> Result<(), Refusal> {
    let prefix = subnet.prefix;
    if lies_in_plane(membership, &prefix) {
        if let Some(refusal) = own_address(membership, subnet) {
            return Err(refusal);
        }
    } else if let Some(range) = membership
        .on_link
        .iter()
        .find(|range| overlap(range, &prefix))
    {
        let range = *range;
        return Err(Refusal::OverlapsMembers { prefix, range });
    }
    let mut others = membership.others.iter();
    if let Some((_, member)) = others.find(|(other, _)| *other == prefix) {
        let member = member.clone();
        return Err(Refusal::Taken { prefix, member });
    }
    if let Some((range, link)) = in_other_overlay(situation, membership, &prefix) {
        return Err(Refusal::OverlapsOverlay {
            prefix,
            range,
            link,
        });
    }
    let local = situation.local.iter().find(|local| {
        overlap(&local.prefix, &prefix) && bridge.is_none_or(|bridge| bridge != local.link)
    });
    match local {
        Some(local) => Err(Refusal::OverlapsLocal {
            prefix,
            local: local.clone(),
        }),
        None => Ok(()),
    }
}

/// Where another overlay network of this node has the prefix: a packet to it could go to one of the two only.
fn in_other_overlay(
    situation: &Situation,
    membership: &Membership,
    prefix: &IpNet,
) -> Option<(IpNet, String)> {
    let elsewhere = situation
        .memberships
        .iter()
        .filter(|other| other.network != membership.network);
    elsewhere
        .flat_map(|other| {
            let routed = other.others.iter().map(|(range, _)| range);
            let taken = routed.chain(&other.routes).chain(&other.on_link);
            taken.map(|range| (*range, other.link.clone()))
        })
        .find(|(range, _)| overlap(range, prefix))
}

/// Whether a prefix is routed to this member without anybody asking: it lies in its /80, or behind a route it has.
#[must_use]
pub fn needs_no_route(membership: &Membership, prefix: &IpNet) -> bool {
    lies_in_plane(membership, prefix)
        || membership.routes.iter().any(|route| route.contains(prefix))
}

/// The node's own overlay address inside the subnet is fine only where the bridge has it too.
fn own_address(membership: &Membership, subnet: &Subnet) -> Option<Refusal> {
    let address = membership
        .addresses
        .iter()
        .find(|address| subnet.prefix.contains(*address) && subnet.gateway != Some(**address))?;
    let part = membership
        .plane
        .and_then(|plane| crate::create::slice(plane, 1))
        .map_or(subnet.prefix, IpNet::V6);
    Some(Refusal::TakesOwnAddress {
        prefix: subnet.prefix,
        address: *address,
        part,
    })
}

/// Every member's /80 is routed to it without anybody asking.
fn lies_in_plane(membership: &Membership, prefix: &IpNet) -> bool {
    membership
        .plane
        .is_some_and(|plane| IpNet::V6(plane).contains(prefix))
}

fn is_protected(situation: &Situation, docker: &ContainerNetwork) -> bool {
    let engine = &situation.engine;
    let opened = |is_v6: bool| {
        let mode = docker
            .options
            .get(labels::GATEWAY_MODES[usize::from(is_v6)]);
        mode.is_some_and(|mode| mode == labels::UNPROTECTED)
    };
    engine.guards_bridges()
        && engine.firewall == FirewallBackend::Nftables
        && docker
            .subnets
            .iter()
            .any(|subnet| !opened(subnet.prefix.addr().is_ipv6()))
}

fn is_docker_default(prefix: &IpNet) -> bool {
    DOCKER_DEFAULT.parse() == Ok(*prefix)
}

fn every_host_has_it(situation: &Situation, membership: &Membership) -> Refusal {
    let others = membership
        .others
        .iter()
        .filter(|(prefix, _)| is_docker_default(prefix))
        .map(|(_, member)| member.clone())
        .collect();
    let free = free_subnet(situation, membership).map_or_else(
        || "10.1.0.1/24".to_owned(),
        |free| {
            let bridge = free.hosts().next().unwrap_or(free.network());
            format!("{bridge}/{}", free.prefix_len())
        },
    );
    Refusal::EveryHostHasIt { others, free }
}

/// A subnet that nobody is known to use, to be suggested; the controller decides.
fn free_subnet(situation: &Situation, membership: &Membership) -> Option<Ipv4Net> {
    let others = membership.others.iter().map(|(prefix, _)| prefix);
    let local = situation.local.iter().map(|local| &local.prefix);
    let taken: Vec<&IpNet> = others.chain(&membership.routes).chain(local).collect();
    let pools = membership.pools.iter().filter_map(|pool| match pool {
        IpNet::V4(pool) => Some(pool),
        IpNet::V6(_) => None,
    });
    pools
        .filter_map(|pool| pool.subnets(SUBNET_LENGTH).ok())
        .flatten()
        .find(|free| taken.iter().all(|taken| !overlap(taken, &IpNet::V4(*free))))
}
