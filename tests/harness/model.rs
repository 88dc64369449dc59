//! Who may talk to whom, worked out as naively as can be: every node's view is a list of members and what they own, and
//! every question is answered by looking through all of it.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use tombolo_proto::key::IdentityKey;

use crate::world::Name;

/// A member as somebody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Breaks ties.
    pub identity: IdentityKey,
    /// What it may send from and is sent, with metrics.
    pub owns: Vec<(IpNet, u32)>,
}

/// What one node believes of the network.
pub type View = BTreeMap<Name, Member>;

/// Everybody's view.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// By node.
    pub views: BTreeMap<Name, View>,
}

impl Model {
    /// Whether a packet that `from` sends with these addresses must arrive at `to`, if both run and the underlay works.
    #[must_use]
    pub fn must_arrive(&self, from: Name, to: Name, source: IpAddr, destination: IpAddr) -> bool {
        let (Some(sender), Some(receiver)) = (self.views.get(&from), self.views.get(&to)) else {
            return false;
        };
        from != to
            && [sender, receiver]
                .iter()
                .all(|view| view.contains_key(&from) && view.contains_key(&to))
            && next_hop(sender, from, destination) == Some(to)
            && owners(receiver, source).contains(&from)
    }

    /// Whether `to` may take a packet that claims to be from `source`, if `from` sent it.
    #[must_use]
    pub fn may_arrive(&self, from: Name, to: Name, source: IpAddr) -> bool {
        self.views
            .get(&to)
            .is_some_and(|view| may_take(view, to, from, source))
    }
}

/// Whether a node with this view may take a packet from `source`, if `from` sent it.
#[must_use]
pub fn may_take(view: &View, me: Name, from: Name, source: IpAddr) -> bool {
    view.contains_key(&me) && view.contains_key(&from) && owners(view, source).contains(&from)
}

/// Whom a node sends a packet to this address to.
#[must_use]
pub fn next_hop(view: &View, me: Name, address: IpAddr) -> Option<Name> {
    let owners = owners(view, address);
    if owners.contains(&me) {
        return None;
    }
    let metric = |name: &Name| {
        claims(view, address)
            .into_iter()
            .filter(|(_, _, owner)| owner == name)
            .max_by_key(|(prefix, ..)| prefix.prefix_len())
            .map(|(_, metric, _)| metric)
    };
    owners
        .into_iter()
        .min_by_key(|name| (metric(name), view[name].identity))
}

/// The owners of the longest prefix that contains `address`.
fn owners(view: &View, address: IpAddr) -> Vec<Name> {
    let claims = claims(view, address);
    let longest = claims.iter().map(|(prefix, ..)| prefix.prefix_len()).max();
    claims
        .into_iter()
        .filter(|(prefix, ..)| Some(prefix.prefix_len()) == longest)
        .map(|(_, _, name)| name)
        .collect()
}

fn claims(view: &View, address: IpAddr) -> Vec<(IpNet, u32, Name)> {
    let mut claims = Vec::new();
    for (name, member) in view {
        for &(prefix, metric) in &member.owns {
            if prefix.contains(&address) {
                claims.push((prefix, metric, *name));
            }
        }
    }
    claims
}
