//! Access rules: what this member takes from its peers.
//!
//! The receiver judges, after the check that the sender may use its source address. Rules are for what begins a flow: what
//! this host began lets answers in, and errors about its packets (`flows`). Without rules there is no [`Guard`], and the
//! fast path asks once for nothing.
//!
//! A change of rules counts at once, also for flows that are under way: what a peer began is judged anew with its next
//! packet. What this host began goes on.
//!
//! Of a fragmented datagram the first fragment is judged and the later ones follow it. One that comes before the first, or
//! behind a first one that was refused, is refused if any rule that could match asks for a port.

mod compiled;
mod flows;
mod packet;
mod stopped;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Instant,
};

use tombolo_proto::{
    config::MemberCert,
    key::IdentityKey,
    rules::{AccessRules, Action, Party, Rule},
};

use crate::{counters::DropReason, fib::PeerSlot};
use compiled::Compiled;
use flows::Flows;
use packet::{Kind, Segment};
use stopped::Stopped;
pub use stopped::StoppedFlow;

/// Judges what comes in on one network. Immutable but for what it remembers of flows.
#[derive(Debug)]
pub struct Guard {
    compiled: Compiled,
    /// Counts changes of `compiled`: what was allowed before the last is judged anew.
    generation: u32,
    default: Action,
    flows: Arc<Flows>,
    stopped: Stopped,
}

/// What a guard does, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardStatus {
    /// For what no rule matches.
    pub default: Action,
    /// Every rule's text and how many packets it stopped, in order.
    pub rules: Vec<(String, u64)>,
    /// How many packets no rule allowed.
    pub stopped_by_default: u64,
    /// Flows under way.
    pub flows: usize,
    /// Flows stopped lately and how many seconds ago, newest first.
    pub lately: Vec<(StoppedFlow, u32)>,
}

impl Guard {
    /// The guard for these rules, at the member with the certificate `me`; `None` if they leave nothing to judge. Flows and
    /// counters of the previous guard live on. `seed` is random.
    pub fn new<'a>(
        rules: &AccessRules,
        me: &MemberCert,
        members: impl Iterator<Item = &'a MemberCert>,
        slot: impl Fn(&IdentityKey) -> Option<PeerSlot>,
        previous: Option<&Self>,
        seed: [u64; 2],
        now: Instant,
    ) -> Option<Self> {
        if rules.is_open() {
            return None;
        }
        let members: Vec<&MemberCert> = members.collect();
        let compiled = Compiled::new(rules, me, members.iter().copied(), slot);
        let generation = match previous {
            Some(previous) if previous.compiled == compiled => previous.generation,
            Some(previous) => previous.generation.wrapping_add(1),
            None => 0,
        };
        let flows = match previous {
            Some(previous) => Arc::clone(&previous.flows),
            None => Arc::new(Flows::new(seed, now)),
        };
        Some(Self {
            compiled,
            generation,
            default: rules.default,
            flows,
            stopped: Stopped::new(
                texts(rules, &members),
                rules.default,
                previous.map(|previous| &previous.stopped),
            ),
        })
    }

    /// Tells the time, which the fast path has none of: at least once a second while packets flow.
    pub fn set_time(&self, now: Instant) {
        self.flows.set_time(now);
    }

    /// Notes a packet, or a super-packet, that this host sends.
    pub fn sent(&self, packet: &[u8]) {
        if let Some(segment) = Segment::read(packet) {
            self.flows.sent(&segment);
        }
    }

    /// Whether a packet of `peer`, whose source has been checked, may be delivered. What is stopped is counted by rule; the
    /// reason is for the peer's counters.
    pub fn admit(&self, peer: PeerSlot, packet: &[u8]) -> Result<(), DropReason> {
        let Some(segment) = Segment::read(packet) else {
            return Err(DropReason::NotIp);
        };
        if self.flows.know(peer, self.generation, &segment) {
            self.flows.begins_datagram(peer, self.generation, &segment);
            return Ok(());
        }
        let verdict = self.compiled.judge(peer, &segment);
        match verdict.action {
            Action::Allow => {
                self.flows.allowed(peer, self.generation, &segment);
                self.flows.begins_datagram(peer, self.generation, &segment);
                Ok(())
            }
            Action::Deny => {
                let now = self.flows.seconds();
                self.stopped.count(verdict.rule, peer, &segment, now);
                let is_later = matches!(segment.kind, Kind::Later { .. });
                Err(if is_later {
                    DropReason::Fragment
                } else {
                    DropReason::AccessRule
                })
            }
        }
    }

    /// For people.
    #[must_use]
    pub fn status(&self) -> GuardStatus {
        let mut rules: Vec<(String, u64)> = self
            .stopped
            .by_rule()
            .map(|(text, packets)| (text.to_owned(), packets))
            .collect();
        let (_, stopped_by_default) = rules.pop().unwrap_or_default();
        let now = self.flows.seconds();
        let lately = self.stopped.lately().into_iter();
        GuardStatus {
            default: self.default,
            rules,
            stopped_by_default,
            flows: self.flows.count(),
            lately: lately
                .map(|flow| {
                    let ago = now.saturating_sub(flow.seen);
                    (flow, ago)
                })
                .collect(),
        }
    }
}

/// The rules as people read them: members by name, and those that are gone by key.
fn texts(rules: &AccessRules, members: &[&MemberCert]) -> Vec<String> {
    let parties = rules
        .rules
        .iter()
        .flat_map(|rule| rule.from.iter().chain(&rule.to));
    let is_named: BTreeSet<&IdentityKey> = parties
        .filter_map(|party| match party {
            Party::Member(key) => Some(key),
            Party::Tag(_) | Party::Prefix(_) => None,
        })
        .collect();
    let named = members
        .iter()
        .filter(|cert| is_named.contains(&cert.identity));
    let names: BTreeMap<IdentityKey, &str> = named
        .map(|cert| (cert.identity, cert.name.as_str()))
        .collect();
    let name = |key: IdentityKey| {
        let name = names.get(&key).filter(|name| !name.is_empty());
        Ok::<_, Infallible>(name.map_or_else(|| key.to_string(), |name| (*name).to_owned()))
    };
    let rules = rules.rules.iter().cloned();
    rules
        .filter_map(|rule| rule.rename_members(name).ok())
        .map(|rule: Rule<String>| rule.to_string())
        .collect()
}

#[cfg(test)]
mod tests;
