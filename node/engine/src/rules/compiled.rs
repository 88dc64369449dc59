//! The rules of a network as one receiving member needs them: only those for it, with senders as slots.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use tombolo_proto::{
    config::MemberCert,
    key::IdentityKey,
    rules::{AccessRules, Action, Party, Ports, Protocol, Rule},
};

use super::packet::Segment;
use crate::fib::PeerSlot;

/// What the rules say of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) action: Action,
    /// Which rule it was, from 0; `None` for the default.
    pub(super) rule: Option<usize>,
}

/// Everything that can be worked out before a packet comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    default: Action,
    rules: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Place among all rules of the network, from 0.
    place: usize,
    action: Action,
    protocol: Protocol,
    ports: Vec<Ports>,
    from: Senders,
    /// Empty if everything of this member is meant.
    to: Vec<IpNet>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Senders {
    anybody: bool,
    /// Each in ascending order. Rules with the same tag share one list.
    members: Vec<Arc<[PeerSlot]>>,
    prefixes: Vec<IpNet>,
}

impl Compiled {
    /// For the member with the certificate `me`. `slot` gives the slot of every other member.
    pub(super) fn new<'a>(
        rules: &AccessRules,
        me: &MemberCert,
        members: impl Iterator<Item = &'a MemberCert>,
        slot: impl Fn(&IdentityKey) -> Option<PeerSlot>,
    ) -> Self {
        let tags = tagged(rules, members, &slot);
        let lines = rules.rules.iter().enumerate().filter_map(|(place, rule)| {
            Some(Line {
                place,
                action: rule.action,
                protocol: rule.protocol,
                ports: rule.ports.clone(),
                to: destinations(rule, me)?,
                from: Senders::of(rule, &tags, &slot),
            })
        });
        Self {
            default: rules.default,
            rules: lines.collect(),
        }
    }

    /// The first rule that matches decides. Where the port cannot be known, in a later fragment or behind a header cut
    /// short, a rule that asks for it denies: what it would say is unknown.
    pub(super) fn judge(&self, peer: PeerSlot, segment: &Segment) -> Verdict {
        let protocol = Protocol::of(segment.protocol);
        let port = segment.port();
        for line in &self.rules {
            let is_meant = line.protocol == Protocol::Any || line.protocol == protocol;
            if !is_meant || !line.is_between(peer, segment) {
                continue;
            }
            let action = match port {
                _ if line.ports.is_empty() => line.action,
                Some(port) if line.ports.iter().any(|range| range.contains(port)) => line.action,
                Some(_) => continue,
                None => Action::Deny,
            };
            return Verdict {
                action,
                rule: Some(line.place),
            };
        }
        Verdict {
            action: self.default,
            rule: None,
        }
    }
}

impl Line {
    fn is_between(&self, peer: PeerSlot, segment: &Segment) -> bool {
        let is_to = self.to.is_empty() || contain(&self.to, segment.destination);
        is_to && self.from.include(peer, segment.source)
    }
}

impl Senders {
    fn of(
        rule: &Rule,
        tags: &BTreeMap<&str, Arc<[PeerSlot]>>,
        slot: &impl Fn(&IdentityKey) -> Option<PeerSlot>,
    ) -> Self {
        let mut senders = Self {
            anybody: rule.from.is_empty(),
            ..Self::default()
        };
        for party in &rule.from {
            match party {
                Party::Tag(tag) => senders.members.extend(tags.get(tag.as_str()).cloned()),
                Party::Member(key) => senders.members.extend(slot(key).map(|slot| [slot].into())),
                Party::Prefix(prefix) => senders.prefixes.push(*prefix),
            }
        }
        senders
    }

    fn include(&self, peer: PeerSlot, source: IpAddr) -> bool {
        self.anybody
            || self
                .members
                .iter()
                .any(|slots| slots.binary_search(&peer).is_ok())
            || contain(&self.prefixes, source)
    }
}

/// Who has which of the tags that rules ask senders for.
fn tagged<'a, 'r>(
    rules: &'r AccessRules,
    members: impl Iterator<Item = &'a MemberCert>,
    slot: &impl Fn(&IdentityKey) -> Option<PeerSlot>,
) -> BTreeMap<&'r str, Arc<[PeerSlot]>> {
    let asked = rules.rules.iter().flat_map(|rule| &rule.from);
    let mut tags: BTreeMap<&str, Vec<PeerSlot>> = asked
        .filter_map(|party| match party {
            Party::Tag(tag) => Some((tag.as_str(), Vec::new())),
            Party::Member(_) | Party::Prefix(_) => None,
        })
        .collect();
    if !tags.is_empty() {
        for cert in members {
            for tag in &cert.tags {
                if let Some(slots) = tags.get_mut(tag.as_str()) {
                    slots.extend(slot(&cert.identity));
                }
            }
        }
    }
    tags.into_iter()
        .map(|(tag, mut slots)| {
            slots.sort_unstable();
            (tag, slots.into())
        })
        .collect()
}

/// The addresses a rule protects here: empty for all of them, `None` if it is for others only.
fn destinations(rule: &Rule, me: &MemberCert) -> Option<Vec<IpNet>> {
    let is_me = |party: &Party| match party {
        Party::Tag(tag) => me.tags.contains(tag),
        Party::Member(key) => *key == me.identity,
        Party::Prefix(_) => false,
    };
    if rule.to.is_empty() || rule.to.iter().any(is_me) {
        return Some(Vec::new());
    }
    let prefixes: Vec<IpNet> = rule
        .to
        .iter()
        .filter_map(|party| match party {
            Party::Prefix(prefix) => Some(*prefix),
            Party::Tag(_) | Party::Member(_) => None,
        })
        .collect();
    (!prefixes.is_empty()).then_some(prefixes)
}

fn contain(prefixes: &[IpNet], address: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(&address))
}
