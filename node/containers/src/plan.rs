//! Which container networks are in the overlay, with which routes and which openings in the firewall.

use std::collections::BTreeSet;

use ipnet::IpNet;
use tombolo_proto::id::NetworkId;

use crate::{
    firewall::{Masquerade, Opening},
    guard::{self, Refusal},
    labels,
    situation::{ContainerNetwork, Membership, Situation, overlap},
};

/// What there should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// One for every Docker network that is in the overlay or should be, in Docker's order.
    pub entries: Vec<Entry>,
    /// Prefixes that the controller is to route to this member.
    pub routes: BTreeSet<(NetworkId, IpNet)>,
}

/// A Docker network that somebody wants in the overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Docker's name for it.
    pub name: String,
    /// Which overlay network; none if the label does not name one.
    pub network: Option<NetworkId>,
    /// Who wants it.
    pub by: By,
    /// What is to be let through, or why it is not in the overlay.
    pub opening: Result<Opening, Refusal>,
}

/// Who wants a container network in the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `node docker create`.
    Tombolo,
    /// The label on it.
    Label,
    /// `node docker publish`.
    Command,
}

impl By {
    /// As in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tombolo => "tombolo",
            Self::Label => "label",
            Self::Command => "command",
        }
    }
}

impl Plan {
    /// All openings, in order.
    pub fn openings(&self) -> impl Iterator<Item = &Opening> {
        self.entries
            .iter()
            .filter_map(|entry| entry.opening.as_ref().ok())
    }

    /// The entry of a Docker network.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// Decides on every Docker network.
pub fn plan(situation: &Situation) -> Plan {
    let mut plan = Plan::default();
    for docker in &situation.networks {
        let Some((wanted, by)) = wanted(situation, docker) else {
            continue;
        };
        let mut entry = Entry {
            name: docker.name.clone(),
            network: wanted.parse().ok(),
            by,
            opening: Err(Refusal::NotAMember(wanted)),
        };
        let membership = entry.network.and_then(|id| situation.membership(id));
        if let Some(membership) = membership {
            entry.opening = admit(situation, docker, membership, &plan).map(|routes| {
                let network = membership.network;
                plan.routes
                    .extend(routes.into_iter().map(|route| (network, route)));
                opening(docker, membership, by)
            });
        }
        if entry.opening.is_err() {
            plan.routes.extend(asked_before(situation, docker));
        }
        plan.entries.push(entry);
    }
    plan
}

/// What was asked for when the network was still fine. A route that needed approval is not given up because an address of
/// the host has changed for a while.
fn asked_before<'s>(
    situation: &'s Situation,
    docker: &'s ContainerNetwork,
) -> impl Iterator<Item = (NetworkId, IpNet)> {
    let is_its = |prefix: &IpNet| docker.subnets.iter().any(|subnet| subnet.prefix == *prefix);
    let asked = situation.memory.asked.iter().copied();
    asked.filter(move |(_, prefix)| is_its(prefix))
}

/// Which overlay network somebody wants `docker` in, and who.
fn wanted(situation: &Situation, docker: &ContainerNetwork) -> Option<(String, By)> {
    if let Some(label) = docker.labels.get(labels::NETWORK) {
        let by = if docker.is_managed() {
            By::Tombolo
        } else {
            By::Label
        };
        return Some((label.clone(), by));
    }
    let publication = situation.memory.published.get(&docker.name)?;
    Some((publication.network.to_string(), By::Command))
}

fn admit(
    situation: &Situation,
    docker: &ContainerNetwork,
    membership: &Membership,
    so_far: &Plan,
) -> Result<Vec<IpNet>, Refusal> {
    let publication = situation.memory.published.get(&docker.name);
    let force = publication.is_some_and(|publication| publication.force);
    let routes = guard::admit(situation, docker, membership, force)?;
    for subnet in &docker.subnets {
        let prefix = subnet.prefix;
        let twice = so_far
            .openings()
            .find(|other| other.subnets.iter().any(|other| overlap(other, &prefix)));
        if let Some(other) = twice {
            let other = other.bridge.clone();
            return Err(Refusal::Twice { prefix, other });
        }
    }
    Ok(routes)
}

fn opening(docker: &ContainerNetwork, membership: &Membership, by: By) -> Opening {
    let masquerade = match by {
        By::Tombolo if docker.has(labels::MASQUERADE, "false") => Masquerade::Off,
        By::Tombolo => Masquerade::Ours,
        By::Label | By::Command => {
            let off = docker.options.get(labels::DOCKER_MASQUERADE);
            if off.is_some_and(|value| value == "false") {
                Masquerade::Off
            } else {
                Masquerade::Dockers
            }
        }
    };
    Opening {
        bridge: docker.bridge(),
        link: membership.link.clone(),
        subnets: docker.subnets.iter().map(|subnet| subnet.prefix).collect(),
        masquerade,
        internal: by == By::Tombolo && docker.has(labels::INTERNAL, "true"),
    }
}
