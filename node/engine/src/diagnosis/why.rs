//! Why a member is reached, or not: the questions in the order of a packet's way, each with its answer.
//!
//! This node's own standing -> is the other a member -> does a route lead there -> is there a session -> by which path ->
//! what size passes -> what was dropped. The first answer that explains why nothing arrives is the conclusion.

mod relayed;

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

use super::{Finding, ago, doctor::Obstacle};
use crate::{control::PeerStatus, path::way::Way};
pub use relayed::{Because, Ends};

/// Where this node stands in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A member, with a controller or without.
    Member {
        /// Whether a controller is connected.
        is_connected: bool,
    },
    /// Waits to be authorised.
    Pending,
    /// No controller has answered yet.
    Requesting,
    /// Refused or removed.
    Denied,
    /// There is no such network.
    NotFound,
}

/// Who is meant.
#[derive(Debug, Clone)]
pub enum Target {
    /// This node.
    Myself,
    /// Nobody that the directory knows.
    Nobody,
    /// Somebody who was removed.
    Removed,
    /// Somebody whose certificate has expired.
    Expired,
    /// A member.
    Member(Box<PeerStatus>),
}

/// The route that leads to an address behind a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its prefix.
    pub prefix: IpNet,
    /// Whether it is installed on this host.
    pub is_installed: bool,
    /// Why it is not, and what mends it.
    pub clash: Option<Obstacle>,
}

/// A way to the member, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where it leads, in words.
    pub place: String,
    /// How long ago the member was last asked there.
    pub tried: Option<Duration>,
    /// How long ago it last answered.
    pub answered: Option<Duration>,
    /// Smoothed round-trip time.
    pub latency: Option<Duration>,
}

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What was typed.
    pub asked: String,
    /// How the member is called in sentences.
    pub name: String,
    /// The network's id.
    pub network: String,
    /// Its MTU.
    pub mtu: u16,
    /// This node in the network.
    pub standing: Standing,
    /// The other.
    pub target: Target,
    /// The way to the address, if it is one behind the member.
    pub route: Option<Route>,
    /// Where this node is seen.
    pub own_endpoints: Vec<SocketAddr>,
    /// What this node knows of the NATs in between, if anything.
    pub nat: Option<String>,
    /// Who relays, in words, if the path is relayed.
    pub relay: Option<String>,
    /// What decides whether there can be a direct path.
    pub ends: Ends,
    /// Every way to the member that is known, the one in use first.
    pub candidates: Vec<Candidate>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// In one sentence.
    pub conclusion: String,
    /// Whether packets get there.
    pub is_reachable: bool,
    /// Everything that was looked at.
    pub steps: Vec<Finding>,
}

/// Answers every question that can be answered.
#[must_use]
pub fn explain(facts: &Facts) -> Explanation {
    let mut steps = vec![own_standing(facts)];
    if !matches!(facts.standing, Standing::Member { .. }) {
        return concluded(facts, steps);
    }
    steps.push(membership(facts));
    let Target::Member(peer) = &facts.target else {
        return concluded(facts, steps);
    };
    steps.extend(facts.route.as_ref().map(route));
    steps.push(session(facts, peer));
    steps.push(path(facts, peer));
    steps.extend(facts.candidates.iter().map(candidate));
    if peer.way.is_some() {
        steps.push(size(facts, peer));
    }
    steps.extend(drops(peer));
    concluded(facts, steps)
}

fn concluded(facts: &Facts, steps: Vec<Finding>) -> Explanation {
    let obstacle = steps
        .iter()
        .find(|step| step.health == super::Health::Broken);
    let is_myself = matches!(facts.target, Target::Myself);
    let conclusion = match (obstacle, &facts.target) {
        (Some(obstacle), _) => format!("{} is not reached: {}", facts.name, obstacle.said),
        (None, Target::Member(peer)) => format!("{} is reached {}", facts.name, way(facts, peer)),
        (None, _) => steps
            .last()
            .map(|step| step.said.clone())
            .unwrap_or_default(),
    };
    Explanation {
        conclusion,
        is_reachable: obstacle.is_none() && !is_myself,
        steps,
    }
}

fn own_standing(facts: &Facts) -> Finding {
    let network = &facts.network;
    match facts.standing {
        Standing::Member { is_connected: true } => {
            Finding::ok("standing", format!("this node is a member of {network}"))
        }
        Standing::Member {
            is_connected: false,
        } => Finding::warning(
            "standing",
            format!(
                "this node is a member of {network}, but no controller answers: what has changed since is not known"
            ),
            "tombolo status",
        ),
        Standing::Pending => Finding::broken(
            "standing",
            format!("this node waits to be authorised in {network}"),
            format!("tombolo-controller member authorize {network} <this node>"),
        ),
        Standing::Requesting => Finding::broken(
            "standing",
            format!("no controller of {network} has answered yet"),
            "tombolo doctor",
        ),
        Standing::Denied => Finding::broken(
            "standing",
            format!("this node was refused in {network}, or removed from it"),
            "ask the network's administrator",
        ),
        Standing::NotFound => Finding::broken(
            "standing",
            format!("the controller knows no network {network}"),
            format!("tombolo leave {network}"),
        ),
    }
}

fn membership(facts: &Facts) -> Finding {
    let name = &facts.name;
    match &facts.target {
        Target::Myself => Finding::ok("member", format!("{name} is this node")),
        Target::Member(_) => Finding::ok(
            "member",
            format!("{name} is a member with a valid certificate"),
        ),
        Target::Removed => Finding::broken(
            "member",
            format!("{name} was removed from the network"),
            format!(
                "tombolo-controller member authorize {} <node>",
                facts.network
            ),
        ),
        Target::Expired => Finding::broken(
            "member",
            format!("the certificate of {name} has expired, or this host's clock is wrong"),
            "date; tombolo doctor",
        ),
        Target::Nobody => Finding::broken(
            "member",
            format!(
                "no member has the name, node address or address {name}, and no route leads there"
            ),
            "tombolo peers; tombolo routes",
        ),
    }
}

fn route(route: &Route) -> Finding {
    let prefix = route.prefix;
    match (&route.clash, route.is_installed) {
        (_, true) => Finding::ok(
            "route",
            format!("{prefix} leads to it and is installed on this host"),
        ),
        (Some(clash), false) => Finding::broken(
            "route",
            format!(
                "{prefix} leads to it, but is not installed on this host: {}",
                clash.said
            ),
            clash.mend.clone(),
        ),
        (None, false) => Finding::broken(
            "route",
            format!("{prefix} leads to it, but is not installed on this host"),
            "tombolo status",
        ),
    }
}

fn session(facts: &Facts, peer: &PeerStatus) -> Finding {
    let name = &facts.name;
    if peer.way.is_none() && peer.connecting {
        return Finding::broken(
            "session",
            format!("{name} does not answer handshakes"),
            "tombolo status on the other side: is it up, and does its firewall let UDP through?",
        );
    }
    if peer.way.is_none() {
        return Finding::broken(
            "session",
            format!("there is no session with {name}, and nobody has asked for one"),
            format!("tombolo ping {}", peer.node),
        );
    }
    let age = peer.last_handshake.unwrap_or_default();
    let keys = [peer.cipher, peer.key_exchange];
    let keys: Vec<&str> = keys.into_iter().flatten().collect();
    Finding::ok(
        "session",
        format!("keys agreed {} ({})", ago(age), keys.join(", ")),
    )
}

fn path(facts: &Facts, peer: &PeerStatus) -> Finding {
    match peer.way {
        Some(Way::Direct(_) | Way::Through { .. }) => Finding::ok("path", way(facts, peer)),
        Some(Way::Relay { .. }) => Finding::warning(
            "path",
            way(facts, peer),
            Because::of(&facts.ends, peer).mend(),
        ),
        None if peer.candidates.is_empty() => Finding::broken(
            "path",
            format!(
                "nothing is known of where {} is: it has told no controller and no member",
                facts.name
            ),
            "tombolo status on the other side",
        ),
        None => Finding::broken(
            "path",
            format!(
                "tried without an answer: {}{}",
                list(&peer.candidates),
                sides(facts)
            ),
            "tombolo doctor on both sides",
        ),
    }
}

/// What is known of the two ends, for whoever wonders why there is no direct path.
fn sides(facts: &Facts) -> String {
    let nat = facts
        .nat
        .as_ref()
        .map(|nat| format!("; {nat}"))
        .unwrap_or_default();
    if facts.own_endpoints.is_empty() {
        return format!("; nobody has told where this node is seen{nat}");
    }
    format!("; this node is seen at {}{nat}", list(&facts.own_endpoints))
}

fn way(facts: &Facts, peer: &PeerStatus) -> String {
    let latency = peer
        .latency
        .map(|latency| format!(", round trip {:.1} ms", latency.as_secs_f64() * 1e3))
        .unwrap_or_default();
    match peer.way {
        Some(Way::Direct(endpoint) | Way::Through { endpoint, .. }) => {
            format!("directly at {endpoint}{latency}")
        }
        Some(Way::Relay { .. }) => {
            let because = Because::of(&facts.ends, peer);
            let reason = match because {
                Because::Silent => format!("{} ({})", because.words(), list(&peer.candidates)),
                Because::UdpBlocked
                | Because::OtherUdpBlocked
                | Because::BothDependent
                | Because::Dependent
                | Because::OtherDependent
                | Because::Unknown => because.words().to_owned(),
            };
            let relay = facts.relay.as_deref().unwrap_or("a relay");
            format!("by {relay}{latency}, because {reason}{}", sides(facts))
        }
        None => "by no path".to_owned(),
    }
}

/// What became of one way. That a way is silent is no fault as long as another answers.
fn candidate(candidate: &Candidate) -> Finding {
    let place = &candidate.place;
    match (candidate.answered, candidate.tried) {
        (Some(answered), _) => {
            let latency = candidate
                .latency
                .map(|latency| format!(" in {:.1} ms", latency.as_secs_f64() * 1e3));
            let latency = latency.unwrap_or_default();
            Finding::ok(
                "candidate",
                format!("{place} answered {}{latency}", ago(answered)),
            )
        }
        (None, Some(tried)) => Finding::unknown(
            "candidate",
            format!("{place} was tried {} and is silent", ago(tried)),
        ),
        (None, None) => Finding::unknown("candidate", format!("{place} was not tried yet")),
    }
}

fn size(facts: &Facts, peer: &PeerStatus) -> Finding {
    let full = facts.mtu;
    match peer.mtu {
        Some(mtu) if mtu >= full => Finding::ok(
            "mtu",
            format!("packets of the full {full} bytes pass undivided"),
        ),
        Some(mtu) => Finding::warning(
            "mtu",
            format!(
                "the way takes {mtu} of {full} bytes: larger packets go in parts, new TCP connections are told"
            ),
            format!(
                "tombolo-controller network set {} --mtu {mtu}, if most members are behind such a way",
                facts.network
            ),
        ),
        None => Finding::unknown(
            "mtu",
            format!("the way has not been asked about sizes; {full} bytes are assumed"),
        ),
    }
}

fn drops(peer: &PeerStatus) -> Option<Finding> {
    if peer.dropped.is_empty() {
        return Some(Finding::ok("drops", "nothing of it was dropped"));
    }
    let said: Vec<String> = peer
        .dropped
        .iter()
        .map(|(reason, count)| format!("{count} {}", explained(reason)))
        .collect();
    Some(Finding::warning(
        "drops",
        format!("dropped so far: {}", said.join("; ")),
        "look again: only growing numbers are a problem",
    ))
}

/// A reason to drop in words.
#[must_use]
pub fn explained(reason: &str) -> String {
    let words = match reason {
        "source_not_allowed" => {
            "from addresses that the member does not own (a route is missing, or it masquerades)"
        }
        "no_route" => "for addresses that nobody owns",
        "replayed" => "frames that came twice or far too late",
        "bad_tag" => "frames that somebody changed on the way",
        "unreachable" => "while no path worked",
        "queue_full" => "while a queue was full",
        "too_big" => "too large for the way even in parts",
        "bad_fragment" => "parts that fit no packet",
        "bad_handshake" => "handshake messages that do not verify",
        "unknown_message" => "messages of another version",
        "rate_limited" => "beyond a rate limit",
        other => return format!("{other} (see the README's list of reasons)"),
    };
    words.to_owned()
}

fn list(endpoints: &[SocketAddr]) -> String {
    let texts: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
