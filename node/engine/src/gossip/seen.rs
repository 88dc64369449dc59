//! Where peers see this node: what it needs to know to say where it is, when no controller can tell it.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{Gossip, Output};

/// Places where peers see this node that are passed on.
const MAX_SEEN: usize = 4;

impl Gossip {
    /// An address counts if two peers name it, or the only one that names any.
    pub(super) fn count_seen(&mut self) {
        let mut votes: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for seen in self.peers.values().filter_map(|peer| peer.seen) {
            *votes.entry(seen).or_default() += 1;
        }
        let voters: usize = votes.values().sum();
        if voters == 0 {
            return;
        }
        let mut counted: Vec<(usize, SocketAddr)> = votes
            .into_iter()
            .filter(|(_, count)| *count >= 2 || voters == 1)
            .map(|(seen, count)| (count, seen))
            .collect();
        counted.sort_by_key(|(count, seen)| (std::cmp::Reverse(*count), *seen));
        let seen: Vec<SocketAddr> = counted
            .into_iter()
            .map(|(_, seen)| seen)
            .take(MAX_SEEN)
            .collect();
        if seen != self.seen && !seen.is_empty() {
            self.seen.clone_from(&seen);
            self.outbox.push_back(Output::Seen(seen));
        }
    }
}
