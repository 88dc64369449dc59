//! Finding out what a peer has that is not here, and telling a peer what it asks for.

use std::time::Instant;

use rand::{Rng as _, rngs::StdRng};
use tombolo_proto::{
    config::DirectoryEntry,
    gossip::{GossipMessage, Gossiped, KeyPrefix, Line, MAX_LISTED, MAX_WANTED, Root, Shelf},
    key::IdentityKey,
};

use super::{Gossip, Output, parts, versions};

/// Buckets listed in answer to one comparison: a thousand documents of a network of ten thousand.
const MAX_LISTINGS: usize = 24;

impl Gossip {
    /// Asks a peer for what it seems to have, if it is time to.
    pub(super) fn pull(&mut self, peer: IdentityKey, now: Instant) {
        let agrees = self.agrees(&peer);
        let Some(directory) = &self.directory else {
            return;
        };
        let (keyring, network) = versions(directory);
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let Some(digest) = entry.digest.filter(|_| !agrees) else {
            entry.pull_at = None;
            return;
        };
        if !entry.may_pull(now) {
            return;
        }
        let mut questions = Vec::new();
        if digest.keyring > keyring {
            questions.push(GossipMessage::WantRoot(Root::Keyring));
        }
        if digest.network > network {
            questions.push(GossipMessage::WantRoot(Root::Network));
        }
        // Documents of another epoch are no use before its keyring, and of no use to us after it.
        if digest.keyring.epoch == keyring.epoch {
            let differing = Shelf::ALL
                .into_iter()
                .zip(digest.shelves)
                .filter(|(shelf, theirs)| self.catalogue.stock(*shelf).digest() != *theirs);
            questions.extend(differing.map(|(shelf, _)| GossipMessage::Compare {
                shelf,
                buckets: self.catalogue.stock(shelf).hashes(),
            }));
        }
        for question in questions {
            self.send(peer, question);
        }
    }

    pub(super) fn handle_compare(
        &mut self,
        peer: IdentityKey,
        shelf: Shelf,
        buckets: &[u8],
        rng: &mut StdRng,
        now: Instant,
    ) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let stock = self.catalogue.stock(shelf);
        let Some(mut differing) = stock.differing(buckets).filter(|_| entry.may_ask(now)) else {
            return;
        };
        // From a random one on: a bucket that cannot be settled must not hold up the others.
        if !differing.is_empty() {
            let start = rng.random_range(0..differing.len());
            differing.rotate_left(start);
        }
        let ranges = differing
            .into_iter()
            .flat_map(|number| stock.listings(number))
            .filter(|range| !range.lines.is_empty())
            .take(MAX_LISTINGS);
        for range in ranges.collect::<Vec<_>>() {
            if !self.may_answer(peer, now) {
                return;
            }
            self.send(
                peer,
                GossipMessage::Listing {
                    shelf,
                    first: range.first,
                    last: range.last,
                    lines: range.lines,
                },
            );
        }
    }

    pub(super) fn handle_listing(
        &mut self,
        peer: IdentityKey,
        shelf: Shelf,
        lines: &[Line],
        now: Instant,
    ) {
        if lines.len() > MAX_LISTED || !self.may_answer(peer, now) {
            return;
        }
        let keys = self.catalogue.stock(shelf).newer(lines);
        if !keys.is_empty() {
            self.send(peer, GossipMessage::Want { shelf, keys });
        }
    }

    pub(super) fn handle_want(
        &mut self,
        peer: IdentityKey,
        shelf: Shelf,
        keys: &[KeyPrefix],
        rng: &mut StdRng,
        now: Instant,
    ) {
        if keys.len() > MAX_WANTED {
            return;
        }
        let documents = keys
            .iter()
            .flat_map(|prefix| self.catalogue.stock(shelf).keys(*prefix))
            .take(MAX_WANTED)
            .filter_map(|key| self.document(shelf, &key));
        self.answer(peer, documents.collect(), rng, now);
    }

    /// Sends documents, as many as the peer's budget allows.
    pub(super) fn answer(
        &mut self,
        peer: IdentityKey,
        documents: Vec<Gossiped>,
        rng: &mut StdRng,
        now: Instant,
    ) {
        for message in parts::pack(documents, || rng.random()) {
            if !self.may_answer(peer, now) {
                return;
            }
            self.send(peer, message);
        }
    }

    fn may_answer(&mut self, peer: IdentityKey, now: Instant) -> bool {
        self.peers
            .get_mut(&peer)
            .is_some_and(|entry| entry.may_answer(now))
    }

    fn send(&mut self, to: IdentityKey, message: GossipMessage) {
        self.outbox.push_back(Output::Send {
            to,
            message,
            expects_answer: false,
        });
    }

    // What there is.

    pub(super) fn root(&self, root: Root) -> Option<Gossiped> {
        let directory = self.directory.as_ref()?;
        Some(match root {
            Root::Keyring => Gossiped::Keyring(directory.signed_keyring().clone()),
            Root::Network => {
                Gossiped::Entry(DirectoryEntry::Network(directory.signed_doc()?.clone()))
            }
        })
    }

    pub(super) fn document(&self, shelf: Shelf, key: &IdentityKey) -> Option<Gossiped> {
        let directory = self.directory.as_ref()?;
        Some(match shelf {
            Shelf::Revocations => Gossiped::Entry(DirectoryEntry::Revocation(
                directory.signed_revocation(key)?.clone(),
            )),
            Shelf::Members => {
                Gossiped::Entry(DirectoryEntry::Member(directory.signed_cert(key)?.clone()))
            }
            Shelf::Endpoints => Gossiped::Endpoints {
                identity: *key,
                announcement: self.announcements.get(key)?.signed.clone(),
            },
        })
    }
}
