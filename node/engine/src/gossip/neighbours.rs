//! With whom a node keeps a session although nothing flows: some members, chosen by a hash over both identity keys, so
//! that every node has others and together they are one connected graph. Members that say they can be reached from
//! everywhere come before those of which only endpoints are known, and these before the rest. Who cannot be reached rests
//! for a while, and the next in the order takes its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tombolo_proto::key::IdentityKey;

/// Standing neighbours of a node. With four, a random graph of ten thousand nodes is connected, and stays so when a
/// tenth of them die.
pub(super) const STANDING: usize = 4;
/// A session takes two round trips; who has none after this does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// First rest of a member that does not answer; doubled each time.
const REST: Duration = Duration::from_secs(15);
const LONGEST_REST: Duration = Duration::from_secs(240);

/// How likely a member can be reached, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// It says that no translation hides it.
    Public,
    /// It has announced where it is, or was heard somewhere.
    Known,
    /// Nobody knows where it is.
    Unknown,
}

/// What is to be done about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Keep(IdentityKey),
    LetGo(IdentityKey),
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    failures: u32,
}

/// The choice.
#[derive(Debug)]
pub(super) struct Neighbours {
    me: IdentityKey,
    scores: BTreeMap<IdentityKey, u64>,
    /// Since when each is to be a neighbour, or was last seen to be one.
    kept: BTreeMap<IdentityKey, Instant>,
    resting: BTreeMap<IdentityKey, Rest>,
}

impl Neighbours {
    pub(super) const fn new(me: IdentityKey) -> Self {
        Self {
            me,
            scores: BTreeMap::new(),
            kept: BTreeMap::new(),
            resting: BTreeMap::new(),
        }
    }

    /// Who may be chosen from now on.
    pub(super) fn set_members<'a>(&mut self, members: impl Iterator<Item = &'a IdentityKey>) {
        let members: BTreeSet<IdentityKey> = members.copied().collect();
        self.scores.retain(|key, _| members.contains(key));
        self.kept.retain(|key, _| members.contains(key));
        self.resting.retain(|key, _| members.contains(key));
        for key in members {
            if key != self.me {
                let me = &self.me;
                self.scores.entry(key).or_insert_with(|| score(me, &key));
            }
        }
    }

    pub(super) fn is_kept(&self, key: &IdentityKey) -> bool {
        self.kept.contains_key(key)
    }

    /// The underlay has changed: everybody gets another chance.
    pub(super) fn forgive(&mut self) {
        self.resting.clear();
    }

    /// When somebody's rest ends.
    pub(super) fn next_review(&self, now: Instant) -> Option<Instant> {
        let ends = self.resting.values().map(|rest| rest.until);
        ends.filter(|until| *until > now).min()
    }

    /// Chooses anew; with `is_up`, who has a session. A member that is kept is asked for again, so that an attempt that
    /// was given up is repeated.
    pub(super) fn review(
        &mut self,
        is_up: impl Fn(&IdentityKey) -> bool,
        reach: impl Fn(&IdentityKey) -> Reach,
        now: Instant,
    ) -> Vec<Change> {
        for (key, since) in &mut self.kept {
            if is_up(key) {
                *since = now;
                self.resting.remove(key);
            }
        }
        let silent = self
            .kept
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= PATIENCE);
        for (key, _) in silent {
            let failures = self.resting.get(key).map_or(0, |rest| rest.failures);
            let pause = (REST * 2u32.saturating_pow(failures.min(8))).min(LONGEST_REST);
            self.resting.insert(
                *key,
                Rest {
                    until: now + pause,
                    failures: failures + 1,
                },
            );
        }
        let is_resting =
            |key: &IdentityKey| self.resting.get(key).is_some_and(|rest| now < rest.until);
        let mut order: Vec<_> = self
            .scores
            .iter()
            .filter(|(key, _)| !is_resting(key))
            .map(|(key, score)| (reach(key), *score, *key))
            .collect();
        order.sort_unstable();
        let mut filled = 0;
        let mut again = 0;
        let mut chosen = BTreeSet::new();
        for (_, _, key) in order {
            // Who failed before is tried beside those that work, never in their place.
            let is_good = is_up(&key) || !self.resting.contains_key(&key);
            if filled == STANDING {
                break;
            }
            if is_good {
                filled += 1;
            } else if again < STANDING {
                again += 1;
            } else {
                continue;
            }
            chosen.insert(key);
        }
        let mut changes: Vec<Change> = self
            .kept
            .keys()
            .filter(|key| !chosen.contains(*key))
            .map(|key| Change::LetGo(*key))
            .collect();
        self.kept.retain(|key, _| chosen.contains(key));
        for key in chosen {
            let is_new = !self.kept.contains_key(&key);
            self.kept.entry(key).or_insert(now);
            if is_new || !is_up(&key) {
                changes.push(Change::Keep(key));
            }
        }
        changes
    }
}

/// Both ends draw another number for each other: who is chosen need not choose in turn.
fn score(me: &IdentityKey, other: &IdentityKey) -> u64 {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(me.0)
        .chain_update(other.0)
        .finalize()
        .into();
    let (first, _) = hash.split_at(8);
    first
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
