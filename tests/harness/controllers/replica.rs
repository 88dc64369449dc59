//! One replica: what it has in memory, and what it tells the nodes that are connected to it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use tombolo_domain::{member::Member, network::Network};
use tombolo_proto::{
    config::{DirectoryEntry, EndpointAnnouncement, Keyring},
    control::{DIRECTORY_CHUNK, Standing, ToNode},
    id::{NetworkId, Version},
    key::{IdentityKey, IdentitySecret},
    signed::Signed,
};

use super::{
    Wish,
    signing::{SignedDocument, above},
    store::{Commit, Place, Store},
};
use crate::world::Name;

/// The network as a replica saw it last.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) network: Arc<Network>,
    pub(super) sequence: u64,
}

/// A connected node.
#[derive(Debug)]
struct Follower {
    identity: IdentityKey,
    /// What it holds, once it has asked for the directory.
    holds: Option<Version>,
}

/// One replica. Everything but its key dies with it.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) secret: IdentitySecret,
    pub(super) address: SocketAddr,
    pub(super) is_up: bool,
    pub(super) reaches_store: bool,
    /// How often it was started.
    pub(super) life: u64,
    pub(super) keyring: (Keyring, Signed<Keyring>),
    /// What those who are connected were told last.
    pub(super) told: Option<Known>,
    blobs: BTreeMap<Place, SignedDocument>,
    announced: BTreeMap<IdentityKey, u64>,
    followers: BTreeMap<Name, Follower>,
    pub(super) wishes: VecDeque<Wish>,
    pub(super) in_work: Option<(Wish, Commit, Arc<Network>)>,
    pub(super) outbox: VecDeque<(Name, ToNode)>,
}

impl Replica {
    pub(super) fn new(
        secret: IdentitySecret,
        address: SocketAddr,
        keyring: (Keyring, Signed<Keyring>),
    ) -> Self {
        Self {
            secret,
            address,
            is_up: true,
            reaches_store: true,
            life: 0,
            keyring,
            told: None,
            blobs: BTreeMap::new(),
            announced: BTreeMap::new(),
            followers: BTreeMap::new(),
            wishes: VecDeque::new(),
            in_work: None,
            outbox: VecDeque::new(),
        }
    }

    pub(super) fn kill(&mut self) {
        *self = Self {
            is_up: false,
            reaches_store: self.reaches_store,
            life: self.life + 1,
            ..Self::new(self.secret.clone(), self.address, self.keyring.clone())
        };
    }

    /// Whether the keyring that it holds names it.
    pub(super) fn is_admitted(&self) -> bool {
        self.keyring.0.replicas.contains(&self.secret.public())
    }

    /// Takes the store's keyring and passes it on. A new epoch has documents of its own; a replica that it does not name
    /// serves nobody any more.
    pub(super) fn take_keyring(&mut self, store: &Store) {
        if store.keyring().0.version <= self.keyring.0.version {
            return;
        }
        self.keyring = store.keyring().clone();
        let followers: Vec<Name> = self.followers.keys().copied().collect();
        for node in &followers {
            self.say(*node, ToNode::Keyring(self.keyring.1.clone()));
        }
        self.blobs.clear();
        if !self.is_admitted() {
            self.followers.clear();
            return;
        }
        self.keep(&store.above(Version::default()));
        for node in followers {
            if let Some(held) = self.followers[&node].holds {
                self.synchronize(node, held, Some(store));
            }
        }
    }

    pub(super) fn enter(&mut self, node: Name, identity: IdentityKey) {
        let holds = None;
        self.followers.insert(node, Follower { identity, holds });
    }

    pub(super) fn leave(&mut self, node: Name) {
        self.followers.remove(&node);
    }

    pub(super) fn say(&mut self, node: Name, message: ToNode) {
        self.outbox.push_back((node, message));
    }

    pub(super) fn say_standing(&mut self, node: Name, network: NetworkId, standing: Standing) {
        if standing != Standing::Member
            && let Some(follower) = self.followers.get_mut(&node)
        {
            follower.holds = None;
        }
        self.say(node, ToNode::Status { network, standing });
    }

    /// Sends everything above `have`, from the store or, while it is away, as it was last seen there.
    pub(super) fn synchronize(&mut self, node: Name, have: Version, store: Option<&Store>) {
        if let Some(store) = store {
            self.take_keyring(store);
        }
        let Some(identity) = self.followers.get(&node).map(|node| node.identity) else {
            return;
        };
        let known = match store {
            Some(store) => Some((Arc::clone(store.network()), store.above(have))),
            None => self
                .told
                .as_ref()
                .map(|told| (Arc::clone(&told.network), self.above(have))),
        };
        let Some((network, documents)) = known else {
            return;
        };
        let standing = standing(&network, &identity);
        if standing != Standing::Member {
            self.say_standing(node, network.id(), standing);
            return;
        }
        let upto = self.version(&network);
        self.send_directory(node, network.id(), &documents, upto);
        let announcements = store.map(|store| store.announcements().clone());
        for (other, (_, announcement)) in announcements.unwrap_or_default() {
            if other != identity {
                let network = network.id();
                self.say(
                    node,
                    ToNode::Endpoints {
                        network,
                        identity: other,
                        announcement,
                    },
                );
            }
        }
    }

    fn above(&self, have: Version) -> Vec<SignedDocument> {
        above(self.blobs.values(), have)
    }

    fn version(&self, network: &Network) -> Version {
        Version {
            epoch: self.keyring.0.version.epoch,
            revision: network.revision(),
        }
    }

    fn send_directory(
        &mut self,
        node: Name,
        network: NetworkId,
        documents: &[SignedDocument],
        upto: Version,
    ) {
        let entries: Vec<DirectoryEntry> = documents
            .iter()
            .map(|document| document.entry.clone())
            .collect();
        let mut chunks = entries.chunks(DIRECTORY_CHUNK).peekable();
        loop {
            let entries = chunks.next().unwrap_or_default().to_vec();
            let more = chunks.peek().is_some();
            self.say(
                node,
                ToNode::Directory {
                    network,
                    entries,
                    upto,
                    more,
                },
            );
            if !more {
                break;
            }
        }
        if let Some(follower) = self.followers.get_mut(&node) {
            follower.holds = Some(upto);
        }
    }

    /// Tells everybody who is connected what has changed since they were told last; `answered` hears its standing in an
    /// answer of its own.
    pub(super) fn publish(
        &mut self,
        before: &Network,
        after: &Arc<Network>,
        documents: &[SignedDocument],
        answered: Option<Name>,
        store: Option<&Store>,
    ) {
        self.keep(documents);
        let network = after.id();
        let connected: Vec<(Name, IdentityKey)> = self
            .followers
            .iter()
            .map(|(name, follower)| (*name, follower.identity))
            .collect();
        for (node, identity) in &connected {
            let standing = standing(after, identity);
            if Some(*node) != answered && standing != self::standing(before, identity) {
                self.say_standing(*node, network, standing);
            }
        }
        if after.revision() == before.revision() {
            return;
        }
        let (previous, version) = (self.version(before), self.version(after));
        for (node, _) in connected {
            let held = self.followers.get(&node).and_then(|node| node.holds);
            let Some(held) = held.filter(|held| *held < version) else {
                continue;
            };
            if previous > held {
                self.synchronize(node, held, store);
            } else {
                self.send_directory(node, network, documents, version);
            }
        }
    }

    fn keep(&mut self, documents: &[SignedDocument]) {
        for document in documents {
            if let Place::Revocation(identity) = document.place {
                self.blobs.remove(&Place::Member(identity));
            }
            self.blobs.insert(document.place, document.clone());
        }
    }

    /// Looks into the store for what other replicas did.
    pub(super) fn look(&mut self, store: &Store) {
        self.take_keyring(store);
        let now = Known {
            network: Arc::clone(store.network()),
            sequence: store.sequence(),
        };
        let told = self.told.replace(now.clone());
        let have = told
            .as_ref()
            .map_or_else(Version::default, |told| self.version(&told.network));
        match told {
            Some(told) if told.sequence == now.sequence => {}
            Some(told) => {
                let documents = store.above(have);
                self.publish(&told.network, &now.network, &documents, None, Some(store));
            }
            None => self.keep(&store.above(have)),
        }
        for (identity, (sequence, announcement)) in store.announcements() {
            self.pass_on(store.network().id(), *identity, *sequence, announcement);
        }
    }

    /// Passes on an announcement that nobody here was told yet.
    pub(super) fn pass_on(
        &mut self,
        network: NetworkId,
        identity: IdentityKey,
        sequence: u64,
        announcement: &Signed<EndpointAnnouncement>,
    ) {
        let newest = self.announced.entry(identity).or_default();
        if sequence <= *newest {
            return;
        }
        *newest = sequence;
        let others: BTreeSet<Name> = self
            .followers
            .iter()
            .filter(|(_, follower)| follower.holds.is_some() && follower.identity != identity)
            .map(|(name, _)| *name)
            .collect();
        for node in others {
            self.say(
                node,
                ToNode::Endpoints {
                    network,
                    identity,
                    announcement: announcement.clone(),
                },
            );
        }
    }
}

/// Where a node stands in a network.
pub(super) fn standing(network: &Network, identity: &IdentityKey) -> Standing {
    match network.member(identity) {
        Some(member) if Member::is_authorized(member) => Standing::Member,
        None if network.request(identity).is_some() => Standing::Pending,
        Some(_) | None => Standing::Denied {
            reason: "not a member".to_owned(),
        },
    }
}
