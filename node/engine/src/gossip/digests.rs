//! What this node holds, compared with what a peer holds, by digests.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng as _, rngs::StdRng};
use tombolo_proto::{
    gossip::{Digest, GossipMessage},
    id::Version,
    key::IdentityKey,
};

use super::{Gossip, Output};
use crate::{endpoint::is_callable, membership::Directory};

/// Between comparisons with a standing neighbour.
pub(super) const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// Comparisons are spread by this part of the pause, so that nodes that start together do not stay in step.
const SPREAD: u32 = 5;
/// A digest that should change something is repeated after this, and this many times.
pub(super) const REPEAT_AFTER: Duration = Duration::from_secs(1);
pub(super) const REPEATS: u8 = 4;
/// A difference that lasts this long is worth a question; what a peer has at first contact is asked for at once.
const PULL_GRACE: Duration = Duration::from_millis(300);

impl Gossip {
    pub(super) fn handle_digest(
        &mut self,
        peer: IdentityKey,
        digest: &Digest,
        from: Option<SocketAddr>,
        now: Instant,
    ) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if !entry.may_ask(now) {
            return;
        }
        let is_first = entry.digest.replace(*digest).is_none();
        if !is_first {
            // What a controller has told both is under way to the later one: give it a moment.
            entry.pull_not_before(now + PULL_GRACE);
        }
        // A stream shows the other end nothing of where this node is.
        let seen = digest.seen.filter(|seen| is_callable(*seen));
        entry.seen = seen.or(entry.seen);
        entry.is_fan = digest.standing;
        let was_public = self.public.contains(&peer);
        if digest.public != was_public {
            if digest.public {
                self.public.insert(peer);
            } else {
                self.public.remove(&peer);
            }
            self.review_at = Some(now);
        }
        if digest.ask {
            self.send_digest(peer, from, false);
        }
        self.count_seen();
        self.pull(peer, now);
    }

    pub(super) fn compare_again(&mut self, peer: IdentityKey, rng: &mut StdRng, now: Instant) {
        let agrees = self.agrees(&peer);
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let is_repetition = entry.is_hurried();
        entry.calm(agrees);
        entry.compare_at = if entry.is_hurried() {
            now + REPEAT_AFTER
        } else {
            now + spread(COMPARE_EVERY, rng)
        };
        // Whoever has meanwhile said that it holds the same needs no repetition.
        if !(is_repetition && agrees) {
            self.send_digest(peer, None, true);
        }
    }

    pub(super) fn send_digest(&mut self, peer: IdentityKey, seen: Option<SocketAddr>, ask: bool) {
        let Some(directory) = &self.directory else {
            return;
        };
        let (keyring, network) = versions(directory);
        let digest = Digest {
            keyring,
            network,
            shelves: self.catalogue.digests(),
            seen,
            public: self.i_am_public,
            standing: self.is_standing(&peer),
            ask,
        };
        self.outbox.push_back(Output::Send {
            to: peer,
            message: GossipMessage::Digest(digest),
            expects_answer: ask,
        });
    }

    /// Whether the last digest of a peer says that it holds what we hold.
    pub(super) fn agrees(&self, peer: &IdentityKey) -> bool {
        let theirs = self.peers.get(peer).and_then(|peer| peer.digest.as_ref());
        theirs
            .zip(self.directory.as_ref())
            .is_some_and(|(theirs, directory)| {
                (theirs.keyring, theirs.network) == versions(directory)
                    && theirs.shelves == self.catalogue.digests()
            })
    }
}

/// Versions of keyring and network document.
pub(super) fn versions(directory: &Directory) -> (Version, Version) {
    (directory.keyring_version(), directory.doc_version())
}

pub(super) fn spread(pause: Duration, rng: &mut StdRng) -> Duration {
    pause - rng.random_range(Duration::ZERO..=pause / SPREAD)
}
