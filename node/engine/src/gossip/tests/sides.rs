//! Two nodes, and what they say to each other.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};
use tombolo_proto::{
    gossip::{GossipMessage, Gossiped, MAX_MESSAGE},
    id::{Revision, Version},
    key::IdentityKey,
};

use super::{
    NOW,
    documents::{Change, a_digest, a_directory, endpoint, identity, now},
};
use crate::{
    gossip::{Gossip, Output, digests::versions},
    membership::Directory,
};

/// One node, as far as gossip is concerned.
pub(super) struct Side {
    pub(super) me: IdentityKey,
    pub(super) gossip: Gossip,
    pub(super) directory: Directory,
    pub(super) rng: StdRng,
    pub(super) kept: BTreeSet<IdentityKey>,
    pub(super) outputs: Vec<Output>,
}

impl Side {
    pub(super) fn new(number: u16, changes: &[Change]) -> Self {
        let me = identity(60_000 + number);
        let mut rng = StdRng::seed_from_u64(u64::from(number));
        let mut directory = a_directory();
        let _ = directory.accept(changes.iter().map(Change::signed).collect());
        let mut gossip = Gossip::new(me);
        gossip.set_directory(&directory, None, NOW, &mut rng, now());
        Self {
            me,
            gossip,
            directory,
            rng,
            kept: BTreeSet::new(),
            outputs: Vec::new(),
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.gossip.handle_timeout(&mut self.rng, now);
        self.collect();
    }

    pub(super) fn collect(&mut self) {
        while let Some(output) = self.gossip.poll_output() {
            match output {
                Output::Keep(key) => {
                    self.kept.insert(key);
                }
                Output::LetGo(ref key) => {
                    self.kept.remove(key);
                }
                Output::Send { .. } | Output::Received { .. } | Output::Seen(_) => {
                    self.outputs.push(output);
                }
            }
        }
    }

    pub(super) fn sent(&mut self) -> Vec<GossipMessage> {
        self.collect();
        let outputs = std::mem::take(&mut self.outputs);
        let message = |output| match output {
            Output::Send { message, .. } => Some(message),
            Output::Received { .. } | Output::Keep(_) | Output::LetGo(_) | Output::Seen(_) => None,
        };
        outputs.into_iter().filter_map(message).collect()
    }

    pub(super) fn sees(&mut self, peer: IdentityKey, seen: SocketAddr, now: Instant) {
        let message = GossipMessage::Digest(a_digest(Some(seen)));
        self.gossip
            .handle_message(peer, message, Some(endpoint()), &mut self.rng, now);
    }

    pub(super) fn seen(&mut self) -> Vec<Vec<SocketAddr>> {
        self.collect();
        let outputs = std::mem::take(&mut self.outputs);
        let seen = |output| match output {
            Output::Seen(seen) => Some(seen),
            Output::Send { .. } | Output::Received { .. } | Output::Keep(_) | Output::LetGo(_) => {
                None
            }
        };
        outputs.into_iter().filter_map(seen).collect()
    }
}

/// Two nodes with a session and nobody else.
pub(super) struct Pair {
    pub(super) sides: [Side; 2],
    pub(super) now: Instant,
    pub(super) bytes: usize,
}

impl Pair {
    pub(super) fn new(ours: &[Change], theirs: &[Change]) -> Self {
        let mut pair = Self {
            sides: [Side::new(1, ours), Side::new(2, theirs)],
            now: now(),
            bytes: 0,
        };
        let [first, second] = [pair.sides[0].me, pair.sides[1].me];
        for (side, peer) in pair.sides.iter_mut().zip([second, first]) {
            side.gossip.handle_session_up(peer, &mut side.rng, pair.now);
        }
        pair
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let next = self
                .sides
                .iter()
                .filter_map(|side| side.gossip.poll_timeout())
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                return;
            };
            self.now = self.now.max(next);
            for side in &mut self.sides {
                side.tick(self.now);
            }
        }
    }

    pub(super) fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            for number in 0..2 {
                self.sides[number].collect();
                let from = self.sides[number].me;
                for output in std::mem::take(&mut self.sides[number].outputs) {
                    is_quiet = false;
                    match output {
                        Output::Send { message, .. } => {
                            assert!(message.encoded_len() <= MAX_MESSAGE, "{message:?}");
                            self.bytes += message.encoded_len();
                            self.deliver(1 - number, from, message);
                        }
                        Output::Received { from, documents } => self.take(number, from, documents),
                        Output::Keep(_) | Output::LetGo(_) | Output::Seen(_) => {}
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    pub(super) fn deliver(&mut self, to: usize, from: IdentityKey, message: GossipMessage) {
        let side = &mut self.sides[to];
        side.gossip
            .handle_message(from, message, Some(endpoint()), &mut side.rng, self.now);
    }

    pub(super) fn take(&mut self, number: usize, from: IdentityKey, documents: Vec<Gossiped>) {
        let side = &mut self.sides[number];
        if side
            .directory
            .accept_brought(documents, &side.me, NOW)
            .accepted
            .changed
        {
            side.gossip
                .set_directory(&side.directory, Some(from), NOW, &mut side.rng, self.now);
        }
    }
}

/// What counts of a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) certs: Vec<(IdentityKey, Revision)>,
    pub(super) removals: Vec<(IdentityKey, Revision)>,
    pub(super) network: Version,
}

pub(super) fn view(directory: &Directory) -> View {
    let certs = directory.certs_in_force();
    let removals = directory.revocations();
    View {
        certs: certs.map(|(key, serial)| (*key, serial)).collect(),
        removals: removals.map(|(key, revision)| (*key, revision)).collect(),
        network: versions(directory).1,
    }
}
