//! What is new here goes on: to a few peers at once, and by digests to all neighbours.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rand::{Rng as _, rngs::StdRng, seq::IteratorRandom as _};
use tombolo_proto::{
    gossip::{Gossiped, Root, Shelf},
    id::Version,
    key::IdentityKey,
};

use super::{Gossip, REPEATS};

/// Peers that get what is new at once: with three, all but a twentieth of a large network have it after a few steps, and
/// digests reach the rest.
const FAN_OUT: usize = 3;
/// More than this is not sent unasked: digests go out, and whoever lacks something asks for it.
const MAX_UNASKED: usize = 16;
/// What is not a removal waits so long at most before it is passed on: often a controller tells everybody meanwhile.
const MAX_WAIT: Duration = Duration::from_millis(400);

/// Documents that are new here and have not been passed on.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) documents: BTreeSet<(Shelf, IdentityKey)>,
    pub(super) roots: BTreeSet<Root>,
    /// Whoever told us needs no telling.
    pub(super) from: BTreeSet<IdentityKey>,
    pub(super) due: Option<Instant>,
}

impl Gossip {
    /// Takes note of what is to be passed on: removals and roots at once, the rest a moment later.
    pub(super) fn pass_on(
        &mut self,
        documents: Vec<(Shelf, IdentityKey)>,
        is_urgent: bool,
        from: Option<IdentityKey>,
        rng: &mut StdRng,
        now: Instant,
    ) {
        if let Some(entry) = from.and_then(|from| self.peers.get_mut(&from)) {
            entry.was_useful();
        }
        let is_urgent = is_urgent
            || documents
                .iter()
                .any(|(shelf, _)| *shelf == Shelf::Revocations);
        self.news.documents.extend(documents);
        self.news.from.extend(from);
        let due = if is_urgent {
            now
        } else {
            now + rng.random_range(MAX_WAIT / 4..=MAX_WAIT)
        };
        self.news.due = Some(self.news.due.map_or(due, |earlier| earlier.min(due)));
    }

    pub(super) fn fan_out(&mut self, rng: &mut StdRng, now: Instant) {
        let news = std::mem::take(&mut self.news);
        let ignorant = self
            .peers
            .keys()
            .filter(|key| !news.from.contains(*key) && !self.agrees(key))
            .copied();
        let chosen = ignorant.choose_multiple(rng, FAN_OUT);
        let count = news.documents.len() + news.roots.len();
        if count <= MAX_UNASKED {
            for peer in chosen {
                let roots = news.roots.iter().filter_map(|root| self.root(*root));
                let documents = news
                    .documents
                    .iter()
                    .filter_map(|(shelf, key)| self.document(*shelf, key));
                let documents: Vec<Gossiped> = roots.chain(documents).collect();
                self.answer(peer, documents, rng, now);
            }
        }
        let told: Vec<IdentityKey> = self
            .peers
            .iter()
            .filter(|(key, peer)| peer.is_fan || self.is_standing(key))
            .map(|(key, _)| *key)
            .collect();
        for peer in told {
            if let Some(entry) = self.peers.get_mut(&peer) {
                // Many at once would be a burst; the first is due now.
                entry.hurry(
                    REPEATS,
                    now + rng.random_range(Duration::ZERO..=MAX_WAIT / 4),
                );
            }
        }
    }
}

/// Which of keyring and network document are newer than before.
pub(super) fn newer_roots(before: (Version, Version), after: (Version, Version)) -> BTreeSet<Root> {
    let keyring = (after.0 > before.0).then_some(Root::Keyring);
    let network = (after.1 > before.1).then_some(Root::Network);
    keyring.into_iter().chain(network).collect()
}
