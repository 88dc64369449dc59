//! What is told at once and what in portions.
//!
//! A removal, a changed certificate and the network's own document are urgent: every member enforces them. A new member,
//! a renewed certificate and an announcement are not: until it is told, a member merely cannot be talked to. A thousand
//! nodes that join within a minute would otherwise make a million messages. So what can wait is gathered, and told to all
//! nodes of a network in the same portions, within a budget for each node and for all of them together.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tombolo_proto::{
    id::{UnixSeconds, Version},
    key::IdentityKey,
};

use crate::{compile, network::Network};

/// Shortest time between two portions: below what people notice.
const INTERVAL: Duration = Duration::from_millis(100);
/// A portion costs a controller some tens of microseconds for each node: at most an eighth of a core or so.
const INTERVAL_PER_NODE: Duration = Duration::from_micros(250);
/// Bytes per second for one node: a slow line keeps room for what it is there for.
const NODE_BUDGET: usize = 128 << 10;
/// Bytes per second for all nodes of a network on one controller: 134 Mbit/s, which a small server has.
const NETWORK_BUDGET: usize = 16 << 20;
/// What changes more certificates than this at once is a change of the network's settings, and can wait.
const URGENT_CERTIFICATES: usize = 64;

/// How often a portion may go out, and how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time between two portions.
    pub interval: Duration,
    /// Bytes of one portion.
    pub bytes: usize,
}

impl Pace {
    /// With so many nodes listening.
    #[must_use]
    pub fn of(nodes: usize) -> Self {
        let many = u32::try_from(nodes).unwrap_or(u32::MAX);
        let interval = INTERVAL.max(INTERVAL_PER_NODE.saturating_mul(many));
        let per_second = NODE_BUDGET.min(NETWORK_BUDGET / nodes.max(1));
        let bytes = (per_second as u128 * interval.as_millis() / 1000) as usize;
        Self { interval, bytes }
    }
}

/// What waits to be told, oldest first; of each key only the newest.
#[derive(Debug)]
pub struct Waiting<K, T> {
    queue: BTreeMap<u64, (K, usize, T)>,
    places: BTreeMap<K, u64>,
    arrivals: u64,
    not_before: Option<Instant>,
}

impl<K, T> Default for Waiting<K, T> {
    fn default() -> Self {
        Self {
            queue: BTreeMap::new(),
            places: BTreeMap::new(),
            arrivals: 0,
            not_before: None,
        }
    }
}

impl<K: Ord + Clone, T> Waiting<K, T> {
    /// Lets an item of so many bytes wait, in the place of an older one with this key.
    pub fn put(&mut self, key: K, bytes: usize, item: T) {
        self.withdraw(&key);
        self.places.insert(key.clone(), self.arrivals);
        self.queue.insert(self.arrivals, (key, bytes, item));
        self.arrivals += 1;
    }

    /// Forgets an item: it is told already, or not true any more.
    pub fn withdraw(&mut self, key: &K) {
        if let Some(place) = self.places.remove(key) {
            self.queue.remove(&place);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.places.clear();
    }

    /// Everything that waits.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queue.values().map(|(_, _, item)| item)
    }

    /// When the next portion may go out; none if nothing waits.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        (!self.queue.is_empty()).then(|| self.not_before.unwrap_or(now))
    }

    /// The next portion, if it is time: at least one item, and no more than the pace allows.
    #[must_use]
    pub fn portion(&mut self, pace: Pace, now: Instant) -> Vec<T> {
        if self.queue.is_empty() || self.not_before.is_some_and(|at| now < at) {
            return Vec::new();
        }
        self.not_before = Some(now + pace.interval);
        let (mut taken, mut left) = (Vec::new(), pace.bytes);
        while let Some(entry) = self.queue.first_entry() {
            let bytes = entry.get().1;
            if !taken.is_empty() && bytes > left {
                break;
            }
            left = left.saturating_sub(bytes);
            let (key, _, item) = entry.remove();
            self.places.remove(&key);
            taken.push(item);
        }
        taken
    }
}

/// Whose new certificates, of these, are urgent in the step from one network to the next.
#[must_use]
pub fn urgent_certificates(
    certified: &[IdentityKey],
    before: &Network,
    after: &Network,
) -> BTreeSet<IdentityKey> {
    let urgent: BTreeSet<_> = certified
        .iter()
        .filter(|identity| says_something_else(identity, before, after))
        .copied()
        .collect();
    if urgent.len() > URGENT_CERTIFICATES {
        return BTreeSet::new();
    }
    urgent
}

/// Whether there was a certificate, and the new one differs in more than its dates.
fn says_something_else(identity: &IdentityKey, before: &Network, after: &Network) -> bool {
    let said = |network: &Network| {
        let member = network.member(identity)?;
        let mut cert = compile::member_cert(network, member, Version::default());
        (cert.issued_at, cert.not_after) = (UnixSeconds(0), UnixSeconds(0));
        member.is_authorized().then_some(cert)
    };
    let old = said(before);
    old.is_some() && old != said(after)
}
