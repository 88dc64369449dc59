//! What a node holds, in a form that two nodes can compare: per shelf the order of each member's document, in buckets
//! by the first byte of the identity key, each with a hash.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use sha2::{Digest as _, Sha256};
use tombolo_proto::{
    gossip::{BUCKET_HASH, BUCKETS, KeyPrefix, Line, MAX_LISTED, Shelf},
    key::IdentityKey,
};

/// A range of keys and everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: KeyPrefix,
    pub(super) last: KeyPrefix,
    pub(super) lines: Vec<Line>,
}

/// One kind of document.
#[derive(Debug, Clone)]
pub(super) struct Stock {
    orders: BTreeMap<IdentityKey, u64>,
    hashes: Vec<[u8; BUCKET_HASH]>,
    digest: [u8; 8],
}

impl Default for Stock {
    fn default() -> Self {
        let mut stock = Self {
            orders: BTreeMap::new(),
            hashes: vec![[0; BUCKET_HASH]; BUCKETS],
            digest: [0; 8],
        };
        stock.hash(&(0..=u8::MAX).collect());
        stock
    }
}

impl Stock {
    /// Replaces everything; says whose documents are new or newer.
    pub(super) fn set(&mut self, orders: BTreeMap<IdentityKey, u64>) -> Vec<IdentityKey> {
        let newer: Vec<IdentityKey> = orders
            .iter()
            .filter(|(key, order)| self.orders.get(*key).is_none_or(|held| held < order))
            .map(|(key, _)| *key)
            .collect();
        let gone = self.orders.keys().filter(|key| !orders.contains_key(*key));
        let touched: BTreeSet<u8> = newer.iter().chain(gone).map(bucket).collect();
        // An order only falls with an epoch, which changes everything.
        let fell = orders
            .iter()
            .any(|(key, order)| self.orders.get(key).is_some_and(|held| held > order));
        self.orders = orders;
        if fell {
            self.hash(&(0..=u8::MAX).collect());
        } else if !touched.is_empty() {
            self.hash(&touched);
        }
        newer
    }

    /// Puts one document there.
    pub(super) fn put(&mut self, key: IdentityKey, order: u64) {
        self.orders.insert(key, order);
        self.hash(&BTreeSet::from([bucket(&key)]));
    }

    pub(super) fn order(&self, key: &IdentityKey) -> Option<u64> {
        self.orders.get(key).copied()
    }

    fn hash(&mut self, touched: &BTreeSet<u8>) {
        for &number in touched {
            let mut hasher = Sha256::new();
            for (key, order) in self.bucket(number) {
                hasher.update(key.0);
                hasher.update(order.to_be_bytes());
            }
            let hash: [u8; 32] = hasher.finalize().into();
            if let Some(place) = self.hashes.get_mut(usize::from(number)) {
                *place = cut(&hash);
            }
        }
        let all: [u8; 32] = Sha256::digest(self.hashes.concat()).into();
        self.digest = cut(&all);
    }

    fn bucket(&self, number: u8) -> impl Iterator<Item = (&IdentityKey, &u64)> {
        let mut first = [0; 32];
        first[0] = number;
        let mut last = [u8::MAX; 32];
        last[0] = number;
        self.orders.range(IdentityKey(first)..=IdentityKey(last))
    }

    pub(super) const fn digest(&self) -> [u8; 8] {
        self.digest
    }

    pub(super) fn hashes(&self) -> Vec<u8> {
        self.hashes.concat()
    }

    /// Buckets whose hash is another than in `theirs`; `None` if that is no list of hashes.
    pub(super) fn differing(&self, theirs: &[u8]) -> Option<Vec<u8>> {
        let (theirs, rest) = theirs.as_chunks::<BUCKET_HASH>();
        if theirs.len() != BUCKETS || !rest.is_empty() {
            return None;
        }
        let pairs = (0..=u8::MAX).zip(self.hashes.iter().zip(theirs));
        Some(
            pairs
                .filter(|(_, (ours, theirs))| ours != theirs)
                .map(|(number, _)| number)
                .collect(),
        )
    }

    /// Everything in a bucket, in as many ranges as messages are needed.
    pub(super) fn listings(&self, number: u8) -> Vec<Range> {
        let lines: Vec<Line> = self
            .bucket(number)
            .map(|(key, order)| Line {
                key: key.into(),
                order: *order,
            })
            .collect();
        let mut first = [0; 8];
        first[0] = number;
        let mut last = [u8::MAX; 8];
        last[0] = number;
        let (mut first, end) = (KeyPrefix(first), KeyPrefix(last));
        let mut ranges = Vec::new();
        let mut rest = lines.as_slice();
        while rest.len() > MAX_LISTED {
            let (lines, others) = rest.split_at(MAX_LISTED);
            let last = lines.last().map_or(first, |line| line.key);
            ranges.push(Range {
                first,
                last,
                lines: lines.to_vec(),
            });
            (first, rest) = (last, others);
        }
        ranges.push(Range {
            first,
            last: end,
            lines: rest.to_vec(),
        });
        ranges
    }

    /// Which of these lines are newer than what is here.
    pub(super) fn newer(&self, lines: &[Line]) -> Vec<KeyPrefix> {
        lines
            .iter()
            .filter(|line| {
                self.keys(line.key)
                    .all(|key| self.orders.get(&key).is_none_or(|held| *held < line.order))
            })
            .map(|line| line.key)
            .collect()
    }

    /// Identities that begin so: one, unless somebody went to great lengths.
    pub(super) fn keys(&self, prefix: KeyPrefix) -> impl Iterator<Item = IdentityKey> {
        let mut first = [0; 32];
        first.split_at_mut(8).0.copy_from_slice(&prefix.0);
        let from = Bound::Included(IdentityKey(first));
        self.orders
            .range((from, Bound::Unbounded))
            .map(|(key, _)| *key)
            .take_while(move |key| KeyPrefix::from(key) == prefix)
    }
}

/// All shelves.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalogue {
    stocks: [Stock; 3],
}

impl Catalogue {
    pub(super) const fn stock(&self, shelf: Shelf) -> &Stock {
        match shelf {
            Shelf::Revocations => &self.stocks[0],
            Shelf::Members => &self.stocks[1],
            Shelf::Endpoints => &self.stocks[2],
        }
    }

    pub(super) const fn stock_mut(&mut self, shelf: Shelf) -> &mut Stock {
        match shelf {
            Shelf::Revocations => &mut self.stocks[0],
            Shelf::Members => &mut self.stocks[1],
            Shelf::Endpoints => &mut self.stocks[2],
        }
    }

    pub(super) fn digests(&self) -> [[u8; 8]; 3] {
        Shelf::ALL.map(|shelf| self.stock(shelf).digest())
    }
}

const fn bucket(key: &IdentityKey) -> u8 {
    key.0[0]
}

fn cut<const LENGTH: usize>(hash: &[u8; 32]) -> [u8; LENGTH] {
    let mut short = [0; LENGTH];
    short.copy_from_slice(hash.split_at(LENGTH).0);
    short
}
