//! How documents spread among members without a controller, in one network.
//!
//! A node keeps sessions to a few standing neighbours ([`neighbours`]). It compares what it holds with each of them every
//! half minute, and with any peer when a session comes up, by a digest of a hundred bytes. Where digests differ, the
//! side that may lack something asks: first which buckets differ, then which documents in them, then for those that are
//! newer than its own. So ten thousand members cost no more than what is missing.
//!
//! What is new to this node, from a controller or from a peer, it sends to three peers at once, and tells all standing
//! neighbours its new digest, again every second until they agree or have had their chances. Only a change of what this
//! node itself holds makes it send: what comes a second time goes nowhere, so there are no loops.
//!
//! Nothing received is believed here. Documents come out as [`Output::Received`]; the shell verifies them, keeps them on
//! disk and gives the outcome back by [`Gossip::set_directory`] and [`Gossip::set_announcement`]. Everything a peer can
//! make this node do has a budget per peer, answers and signatures to check alike.

mod catalogue;
mod digests;
mod neighbours;
mod news;
mod parts;
mod peers;
mod pull;
mod seen;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use tombolo_proto::{
    config::{DirectoryEntry, EndpointAnnouncement},
    gossip::{GossipMessage, Gossiped, Shelf},
    id::UnixSeconds,
    key::IdentityKey,
    signed::Signed,
};

use crate::membership::Directory;
use catalogue::Catalogue;
use digests::{COMPARE_EVERY, REPEAT_AFTER, REPEATS, spread, versions};
use neighbours::{Change, Neighbours, Reach};
use news::{News, newer_roots};
use peers::Peer;

/// Between looks at the choice of neighbours.
const REVIEW_EVERY: Duration = Duration::from_secs(5);
/// Other sessions that are told when this node has moved.
const MAX_TOLD: usize = 32;
/// Announcements kept, those of members to come included: as many as a large network has members.
const MAX_ANNOUNCED: usize = 16_384;

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send this to a peer that has a session; `expects_answer` if silence means that the peer is gone.
    Send {
        to: IdentityKey,
        message: GossipMessage,
        expects_answer: bool,
    },
    /// Verify, keep, act.
    Received {
        from: IdentityKey,
        documents: Vec<Gossiped>,
    },
    /// Keep a session with this peer, also when idle.
    Keep(IdentityKey),
    /// No more.
    LetGo(IdentityKey),
    /// Peers see this node at other addresses than before.
    Seen(Vec<SocketAddr>),
}

/// An announcement that its maker signed.
#[derive(Debug, Clone)]
struct Announced {
    sequence: u64,
    signed: Signed<EndpointAnnouncement>,
}

/// Gossip about one network.
#[derive(Debug)]
pub(crate) struct Gossip {
    directory: Option<Directory>,
    announcements: BTreeMap<IdentityKey, Announced>,
    catalogue: Catalogue,
    peers: BTreeMap<IdentityKey, Peer>,
    neighbours: Neighbours,
    /// Members that said that they can be reached from everywhere.
    public: BTreeSet<IdentityKey>,
    /// Members of which some endpoint is known.
    known: BTreeSet<IdentityKey>,
    i_am_public: bool,
    seen: Vec<SocketAddr>,
    news: News,
    review_at: Option<Instant>,
    /// The earliest of all that is due; kept because it is asked for far more often than it changes.
    next: Option<Instant>,
    outbox: VecDeque<Output>,
}

impl Gossip {
    pub(crate) fn new(me: IdentityKey) -> Self {
        Self {
            directory: None,
            announcements: BTreeMap::new(),
            catalogue: Catalogue::default(),
            peers: BTreeMap::new(),
            neighbours: Neighbours::new(me),
            public: BTreeSet::new(),
            known: BTreeSet::new(),
            i_am_public: false,
            seen: Vec::new(),
            news: News::default(),
            review_at: None,
            next: None,
            outbox: VecDeque::new(),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Members with whom a session is kept.
    pub(crate) fn is_standing(&self, peer: &IdentityKey) -> bool {
        self.neighbours.is_kept(peer)
    }

    // What this node holds.

    /// Takes what the shell holds now. `from` is the peer it came from, if it came from a peer.
    pub(crate) fn set_directory(
        &mut self,
        directory: &Directory,
        from: Option<IdentityKey>,
        wall: UnixSeconds,
        rng: &mut StdRng,
        now: Instant,
    ) {
        let roots = self.directory.as_ref().map(versions);
        self.directory = Some(directory.clone());
        let members = directory.members(wall).map(|cert| &cert.identity);
        self.neighbours.set_members(members);
        let mut newer: Vec<(Shelf, IdentityKey)> = Vec::new();
        let revocations = directory
            .revocations()
            .map(|(key, revision)| (*key, revision.0));
        let revoked = self
            .catalogue
            .stock_mut(Shelf::Revocations)
            .set(revocations.collect());
        newer.extend(revoked.into_iter().map(|key| (Shelf::Revocations, key)));
        let certs: BTreeMap<IdentityKey, u64> = directory
            .certs_in_force()
            .map(|(key, revision)| (*key, revision.0))
            .collect();
        self.public.retain(|key| directory.is_member(key));
        self.known.retain(|key| directory.is_member(key));
        let announced: BTreeMap<IdentityKey, u64> = self
            .announcements
            .iter()
            .filter(|(key, _)| certs.contains_key(key))
            .map(|(key, held)| (*key, held.sequence))
            .collect();
        let certified = self.catalogue.stock_mut(Shelf::Members).set(certs);
        newer.extend(certified.into_iter().map(|key| (Shelf::Members, key)));
        let announced = self.catalogue.stock_mut(Shelf::Endpoints).set(announced);
        newer.extend(announced.into_iter().map(|key| (Shelf::Endpoints, key)));
        match roots {
            // From the disk: others will see in the digest what of it is new to them.
            None => self.review_at = Some(now),
            Some(before) => {
                if directory.keyring_version().epoch > before.0.epoch {
                    self.peers.values_mut().for_each(|peer| peer.ask_anew(now));
                }
                let roots = newer_roots(before, versions(directory));
                if !newer.is_empty() || !roots.is_empty() {
                    self.review_at = Some(now);
                    let is_urgent = !roots.is_empty();
                    self.news.roots.extend(roots);
                    self.pass_on(newer, is_urgent, from, rng, now);
                }
            }
        }
        self.schedule();
    }

    /// Takes an announcement that verified. `from` is the peer it came from, if it came from a peer.
    pub(crate) fn set_announcement(
        &mut self,
        identity: IdentityKey,
        sequence: u64,
        signed: Signed<EndpointAnnouncement>,
        from: Option<IdentityKey>,
        rng: &mut StdRng,
        now: Instant,
    ) {
        let is_member = self
            .catalogue
            .stock(Shelf::Members)
            .order(&identity)
            .is_some();
        let is_newer = self
            .announcements
            .get(&identity)
            .is_none_or(|held| held.sequence < sequence);
        let has_room =
            self.announcements.len() < MAX_ANNOUNCED || self.announcements.contains_key(&identity);
        if !is_newer || !has_room {
            return;
        }
        self.announcements
            .insert(identity, Announced { sequence, signed });
        // Whose certificate is still to come is told of when it has.
        if !is_member {
            return;
        }
        self.catalogue
            .stock_mut(Shelf::Endpoints)
            .put(identity, sequence);
        self.set_known(identity);
        self.pass_on(vec![(Shelf::Endpoints, identity)], false, from, rng, now);
        self.schedule();
    }

    /// Some endpoint of a member is known.
    pub(crate) fn set_known(&mut self, identity: IdentityKey) {
        self.known.insert(identity);
    }

    /// Whether this node can be reached at an address that no translation hides.
    pub(crate) const fn set_public(&mut self, public: bool) {
        self.i_am_public = public;
    }

    // Sessions.

    pub(crate) fn handle_session_up(&mut self, peer: IdentityKey, rng: &mut StdRng, now: Instant) {
        self.peers
            .insert(peer, Peer::new(now + spread(COMPARE_EVERY, rng)));
        self.known.insert(peer);
        self.send_digest(peer, None, true);
        self.review_at = Some(now);
        self.schedule();
    }

    pub(crate) fn handle_session_down(&mut self, peer: &IdentityKey, now: Instant) {
        if self.peers.remove(peer).is_some() {
            self.review_at = Some(now);
            self.count_seen();
            self.schedule();
        }
    }

    /// A peer is reached at `endpoint` now, unless it is by a relay: it may want to know that it is seen there.
    pub(crate) fn handle_peer_moved(&mut self, peer: IdentityKey, endpoint: Option<SocketAddr>) {
        if self.peers.contains_key(&peer) {
            self.send_digest(peer, endpoint, false);
        }
    }

    /// The addresses of this host have changed: whoever has a session hears from us, and answers where it sees us.
    pub(crate) fn handle_host_moved(&mut self, now: Instant) {
        self.neighbours.forgive();
        self.review_at = Some(now);
        let others = self
            .peers
            .keys()
            .filter(|key| !self.is_standing(key))
            .take(MAX_TOLD);
        let standing = self.peers.keys().filter(|key| self.is_standing(key));
        let told: Vec<IdentityKey> = standing.chain(others).copied().collect();
        for peer in told {
            if let Some(entry) = self.peers.get_mut(&peer) {
                entry.hurry(REPEATS, now + REPEAT_AFTER);
            }
            self.send_digest(peer, None, true);
        }
        self.schedule();
    }

    // Messages.

    /// Takes a message of a peer that has a session. `from` is where it came from, unless it was by a relay.
    pub(crate) fn handle_message(
        &mut self,
        peer: IdentityKey,
        message: GossipMessage,
        from: Option<SocketAddr>,
        rng: &mut StdRng,
        now: Instant,
    ) {
        match message {
            GossipMessage::Digest(digest) => self.handle_digest(peer, &digest, from, now),
            GossipMessage::Compare { shelf, buckets } => {
                self.handle_compare(peer, shelf, &buckets, rng, now);
            }
            GossipMessage::Listing { shelf, lines, .. } => {
                self.handle_listing(peer, shelf, &lines, now);
            }
            GossipMessage::Want { shelf, keys } => self.handle_want(peer, shelf, &keys, rng, now),
            GossipMessage::WantRoot(root) => {
                let document = self.root(root);
                self.answer(peer, document.into_iter().collect(), rng, now);
            }
            GossipMessage::Documents(documents) => self.receive(peer, documents, now),
            GossipMessage::Part {
                document,
                index,
                count,
                bytes,
            } => {
                let whole = self
                    .peers
                    .get_mut(&peer)
                    .and_then(|entry| entry.assemble(document, index, count, bytes));
                if let Some(document) = whole {
                    self.receive(peer, vec![document], now);
                }
            }
        }
        self.schedule();
    }

    /// Hands documents to the shell, as many as this peer may have checked.
    fn receive(&mut self, peer: IdentityKey, mut documents: Vec<Gossiped>, now: Instant) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        documents
            .retain(|document| !is_held(self.directory.as_ref(), &self.announcements, document));
        documents.retain(|_| entry.may_have_checked(now));
        if !documents.is_empty() {
            self.outbox.push_back(Output::Received {
                from: peer,
                documents,
            });
        }
    }

    // Time.

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn schedule(&mut self) {
        let peers = self.peers.iter().filter_map(|(key, peer)| {
            let is_due = peer.is_hurried() || self.is_standing(key);
            let compare = is_due.then_some(peer.compare_at);
            [compare, peer.pull_at].into_iter().flatten().min()
        });
        self.next = [self.review_at, self.news.due]
            .into_iter()
            .flatten()
            .chain(peers)
            .min();
    }

    pub(crate) fn handle_timeout(&mut self, rng: &mut StdRng, now: Instant) {
        if self.review_at.is_some_and(|at| at <= now) {
            self.review(now);
        }
        if self.news.due.is_some_and(|at| at <= now) {
            self.fan_out(rng, now);
        }
        let due: Vec<IdentityKey> = self
            .peers
            .iter()
            .filter(|(key, peer)| {
                peer.compare_at <= now && (peer.is_hurried() || self.is_standing(key))
            })
            .map(|(key, _)| *key)
            .collect();
        for peer in due {
            self.compare_again(peer, rng, now);
        }
        let pulling: Vec<IdentityKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.pull_at.is_some_and(|at| at <= now))
            .map(|(key, _)| *key)
            .collect();
        for peer in pulling {
            self.pull(peer, now);
        }
        self.schedule();
    }

    fn review(&mut self, now: Instant) {
        let reach = |key: &IdentityKey| {
            if self.public.contains(key) {
                Reach::Public
            } else if self.known.contains(key) {
                Reach::Known
            } else {
                Reach::Unknown
            }
        };
        let peers = &self.peers;
        let changes = self
            .neighbours
            .review(|key| peers.contains_key(key), reach, now);
        self.review_at = if changes.is_empty() {
            self.neighbours.next_review(now)
        } else {
            Some(now + REVIEW_EVERY)
        };
        for change in changes {
            self.outbox.push_back(match change {
                Change::Keep(key) => {
                    // Tells a peer that has a session already that it is one of the standing neighbours now.
                    if let Some(entry) = self.peers.get_mut(&key) {
                        entry.compare_at = now;
                    }
                    Output::Keep(key)
                }
                Change::LetGo(key) => Output::LetGo(key),
            });
        }
    }
}

/// Whether exactly this is here already: what comes from several sides is verified once.
fn is_held(
    directory: Option<&Directory>,
    announcements: &BTreeMap<IdentityKey, Announced>,
    document: &Gossiped,
) -> bool {
    let Some(directory) = directory else {
        return false;
    };
    match document {
        Gossiped::Keyring(signed) => signed == directory.signed_keyring(),
        Gossiped::Entry(DirectoryEntry::Network(signed)) => directory.signed_doc() == Some(signed),
        // Whose they are stands in the body, which nobody has verified yet.
        Gossiped::Entry(DirectoryEntry::Member(_) | DirectoryEntry::Revocation(_)) => false,
        Gossiped::Endpoints {
            identity,
            announcement,
        } => announcements
            .get(identity)
            .is_some_and(|held| held.signed == *announcement),
    }
}

#[cfg(test)]
mod tests;
