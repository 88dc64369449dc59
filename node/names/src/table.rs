//! Which names there are, and what becomes of a question.
//!
//! Names are compared as DNS does, without regard to case. An id always works where a name cannot: `web.h1.<network id>`,
//! `web.<node address>.home`. A name that is no DNS label, or that two bear (two networks of this node, two members of a
//! network), answers for neither: sending packets to the wrong one of two would be worse than no answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use tombolo_proto::id::{NetworkId, NodeId};

use crate::Answer;

/// Names that networks may bear and names may not end in, because the rest of the world's do. Country codes (two letters)
/// come on top. A network of such a name is reached by its id.
const TAKEN: [&str; 14] = [
    "arpa",
    "biz",
    "com",
    "edu",
    "gov",
    "info",
    "int",
    "invalid",
    "local",
    "localhost",
    "mil",
    "net",
    "onion",
    "org",
];

/// A network that this node is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its id.
    pub network: NetworkId,
    /// Its name.
    pub name: String,
    /// This node.
    pub me: NodeId,
    /// All members, this node included.
    pub members: Vec<Member>,
}

/// A member of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its address as a node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its own addresses, the one to ask first.
    pub addresses: Vec<IpAddr>,
    /// Prefixes behind it: where its containers are.
    pub prefixes: Vec<IpNet>,
}

impl Member {
    /// Whether an address lies behind the member, so that it may speak for it.
    #[must_use]
    pub fn carries(&self, address: &IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(address))
    }
}

/// A container on this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Docker's name for it.
    pub name: String,
    /// All its addresses, in whatever networks.
    pub addresses: Vec<IpAddr>,
}

/// Who asks, by the source address, which the overlay and the firewall vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// This host: may ask everything.
    Host,
    /// A container of this host: everything but the other networks.
    Container(NetworkId),
    /// Another member: this host's own names in this network.
    Member(NetworkId),
}

/// A question for another member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errand {
    /// In which network.
    pub network: NetworkId,
    /// Whose container.
    pub node: NodeId,
    /// The container's name.
    pub container: String,
}

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Answer it.
    Answer(Answer),
    /// Ask the member.
    Ask(Errand),
    /// Ask the host's resolvers.
    Forward,
}

/// All names of this node's networks and of its own containers.
#[derive(Debug, Default)]
pub struct Table {
    zones: BTreeMap<NetworkId, Known>,
    labels: BTreeMap<String, Option<NetworkId>>,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Known {
    zone: Zone,
    /// Where in `zone.members`; none for a name that several bear.
    members: BTreeMap<String, Option<usize>>,
    addresses: BTreeSet<IpAddr>,
    containers: BTreeMap<String, Option<Vec<IpAddr>>>,
}

impl Table {
    /// Sorts out what is there.
    #[must_use]
    pub fn new(zones: Vec<Zone>, containers: &[Container]) -> Self {
        let mut table = Self::default();
        for zone in zones {
            match label(&zone.name) {
                Some(label) if !is_taken(&label) => add(&mut table.labels, label, zone.network),
                _ => table.problems.push(format!(
                    "names cannot end in the network name {:?}: use the network id {} in its place",
                    zone.name, zone.network
                )),
            }
            table
                .zones
                .insert(zone.network, Known::new(zone, containers));
        }
        for (label, _) in table.labels.iter().filter(|(_, found)| found.is_none()) {
            table.problems.push(format!(
                "several networks of this node are called {label}: use their ids in names"
            ));
        }
        for network in table.zones.keys() {
            let id = network.to_string();
            table.labels.insert(id, Some(*network));
        }
        table
    }

    /// What keeps networks from being named, one line each.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Who asks from an address; none for strangers.
    #[must_use]
    pub fn asker(&self, source: IpAddr) -> Option<Asker> {
        let find = |is_it: &dyn Fn(&Known) -> bool| {
            let mut known = self.zones.iter();
            known.find_map(|(network, known)| is_it(known).then_some(*network))
        };
        let mine = |known: &Known| known.me().is_some_and(|me| me.addresses.contains(&source));
        if find(&mine).is_some() {
            return Some(Asker::Host);
        }
        let behind_me = |known: &Known| known.me().is_some_and(|me| me.carries(&source));
        find(&behind_me)
            .map(Asker::Container)
            .or_else(|| find(&|known| known.addresses.contains(&source)).map(Asker::Member))
    }

    /// What becomes of a question for a name, given as its labels in lower case.
    #[must_use]
    pub fn decide(&self, asker: Asker, labels: &[String]) -> Verdict {
        let refused = Verdict::Answer(Answer::Refused);
        let Some((last, rest)) = labels.split_last() else {
            return forward(asker);
        };
        let network = match self.labels.get(last) {
            Some(Some(network)) => *network,
            Some(None) => return Verdict::Answer(Answer::NoSuchName),
            None => return forward(asker),
        };
        let (Asker::Container(only) | Asker::Member(only)) = asker else {
            return self.decide_in(network, rest, true);
        };
        if only != network {
            return refused;
        }
        self.decide_in(network, rest, matches!(asker, Asker::Container(_)))
    }

    fn decide_in(&self, network: NetworkId, labels: &[String], may_ask_others: bool) -> Verdict {
        let no_such_name = Verdict::Answer(Answer::NoSuchName);
        let Some(known) = self.zones.get(&network) else {
            return no_such_name;
        };
        let Some((host, container)) = labels.split_last() else {
            return Verdict::Answer(Answer::Addresses(Vec::new()));
        };
        let Some(member) = known.member(host) else {
            return no_such_name;
        };
        let is_me = member.node == known.zone.me;
        if !is_me && !may_ask_others {
            return Verdict::Answer(Answer::Refused);
        }
        if container.is_empty() {
            return Verdict::Answer(Answer::Addresses(member.addresses.clone()));
        }
        // Names of containers may have dots.
        let container = container.join(".");
        if !is_me {
            return Verdict::Ask(Errand {
                network,
                node: member.node,
                container,
            });
        }
        match known.containers.get(&container) {
            Some(Some(addresses)) => Verdict::Answer(Answer::Addresses(addresses.clone())),
            Some(None) | None => no_such_name,
        }
    }

    /// Whom an errand leads to.
    #[must_use]
    pub fn target(&self, errand: &Errand) -> Option<&Member> {
        let mut members = self.zones.get(&errand.network)?.zone.members.iter();
        members.find(|member| member.node == errand.node)
    }

    /// This node's own addresses in all networks.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let me = self.zones.values().filter_map(Known::me);
        me.flat_map(|me| me.addresses.iter().copied())
    }

    /// Whether an address lies behind this node in any network.
    #[must_use]
    pub fn carries(&self, address: &IpAddr) -> bool {
        let mut me = self.zones.values().filter_map(Known::me);
        me.any(|me| me.carries(address))
    }
}

impl Known {
    fn new(zone: Zone, containers: &[Container]) -> Self {
        let mut members = BTreeMap::new();
        for (at, member) in zone.members.iter().enumerate() {
            if let Some(label) = label(&member.name) {
                add(&mut members, label, at);
            }
        }
        // Last, so that nobody takes another's address for a name.
        for (at, member) in zone.members.iter().enumerate() {
            members.insert(member.node.to_string(), Some(at));
        }
        let others = zone.members.iter();
        let addresses = others.flat_map(|member| member.addresses.iter().copied());
        let mut known = Self {
            members,
            addresses: addresses.collect(),
            zone,
            containers: BTreeMap::new(),
        };
        let mut named = BTreeMap::new();
        for container in containers {
            let own = container.addresses.iter().copied();
            let own = own.filter(|address| known.me().is_some_and(|me| me.carries(address)));
            let own: Vec<_> = own.collect();
            if !own.is_empty() {
                add(&mut named, container.name.to_ascii_lowercase(), own);
            }
        }
        known.containers = named;
        known
    }

    fn me(&self) -> Option<&Member> {
        let mut members = self.zone.members.iter();
        members.find(|member| member.node == self.zone.me)
    }

    fn member(&self, label: &str) -> Option<&Member> {
        let at = (*self.members.get(label)?)?;
        self.zone.members.get(at)
    }
}

fn forward(asker: Asker) -> Verdict {
    match asker {
        Asker::Host | Asker::Container(_) => Verdict::Forward,
        Asker::Member(_) => Verdict::Answer(Answer::Refused),
    }
}

/// A second bearer of a name makes it nobody's.
fn add<T>(names: &mut BTreeMap<String, Option<T>>, name: String, what: T) {
    names
        .entry(name)
        .and_modify(|found| *found = None)
        .or_insert(Some(what));
}

/// A name as a DNS label: RFC 1123, and underscores, which Docker allows too.
fn label(name: &str) -> Option<String> {
    let is_fine = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_fine.then(|| name.to_ascii_lowercase())
}

fn is_taken(label: &str) -> bool {
    let is_country = label.len() == 2 && label.bytes().all(|byte| byte.is_ascii_lowercase());
    is_country || TAKEN.contains(&label)
}

#[cfg(test)]
pub(crate) mod tests;
