//! Who is connected, and what they have to hear. Serves stored blobs, never signs.
//!
//! Each connection has a bounded queue. One that does not keep up is closed: it comes back and synchronises, which
//! costs less than remembering what it missed.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use tokio::sync::{broadcast, mpsc};
use tombolo_proto::{
    api::Event,
    config::EndpointAnnouncement,
    control::{RendezvousOutcome, Standing},
    id::{NetworkId, Revision},
    key::IdentityKey,
    signed::Signed,
};

use crate::telling::Portion;

/// Messages that wait for one node: a burst of changes, not a backlog.
const QUEUE: usize = 256;
/// Of these places, rendezvous leave so many to news: other nodes shall not cost a node its connection.
const KEPT_FOR_NEWS: usize = QUEUE / 2;
/// Events that a reader of the event stream may lag behind.
const EVENTS: usize = 256;

/// What a connection is told.
#[derive(Debug, Clone)]
pub(crate) enum Push {
    /// What all who follow a network are told.
    Portion(NetworkId, Arc<Portion>),
    /// The node's own standing changed.
    Standing(NetworkId, Standing),
    /// Another member cannot reach the node, and asks to be called here.
    Rendezvous(NetworkId, IdentityKey, Signed<EndpointAnnouncement>),
    /// A newer connection of the same node took over.
    Superseded,
    /// There is a newer keyring.
    Keyring,
    /// This replica cannot reach the store: connect to another.
    Stranded,
}

#[derive(Debug)]
struct Connected {
    serial: u64,
    queue: mpsc::Sender<Push>,
    networks: HashSet<NetworkId>,
}

/// All connections of this replica.
#[derive(Debug)]
pub struct Registry {
    nodes: DashMap<IdentityKey, Connected>,
    subscribers: DashMap<NetworkId, HashSet<IdentityKey>>,
    serials: AtomicU64,
    events: broadcast::Sender<Event>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            nodes: DashMap::new(),
            subscribers: DashMap::new(),
            serials: AtomicU64::new(0),
            events: broadcast::channel(EVENTS).0,
        }
    }
}

/// A connection's place in the registry, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    registry: Arc<Registry>,
    identity: IdentityKey,
    serial: u64,
}

impl Registry {
    /// Registers a connection; an older one of the same node is superseded.
    pub(crate) fn enter(self: &Arc<Self>, identity: IdentityKey) -> (Place, mpsc::Receiver<Push>) {
        let (queue, pushes) = mpsc::channel(QUEUE);
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let fresh = Connected {
            serial,
            queue,
            networks: HashSet::new(),
        };
        if let Some(old) = self.nodes.insert(identity, fresh) {
            // A full queue closes the old connection as well: its sender is dropped here.
            let _ = old.queue.try_send(Push::Superseded);
            self.unsubscribe(&identity, &old.networks);
        }
        let place = Place {
            registry: Arc::clone(self),
            identity,
            serial,
        };
        (place, pushes)
    }

    fn unsubscribe(&self, identity: &IdentityKey, networks: &HashSet<NetworkId>) {
        for network in networks {
            if let Some(mut subscribers) = self.subscribers.get_mut(network) {
                subscribers.remove(identity);
            }
            self.subscribers
                .remove_if(network, |_, subscribers| subscribers.is_empty());
        }
    }

    /// Whether a node is connected to this replica now.
    #[must_use]
    pub fn is_online(&self, identity: &IdentityKey) -> bool {
        self.nodes.contains_key(identity)
    }

    /// How many nodes are connected now.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.nodes.len()
    }

    /// The stream of changes.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn tell(&self, network: NetworkId, revision: Option<Revision>, kind: &str) {
        // Nobody listening is no error.
        let _ = self.events.send(Event {
            network,
            revision: revision.map(|revision| revision.0),
            kind: kind.to_owned(),
        });
    }

    /// How many are connected and follow the network.
    pub(crate) fn follower_count(&self, network: NetworkId) -> usize {
        self.subscribers
            .get(&network)
            .map_or(0, |subscribers| subscribers.len())
    }

    /// Who is connected and follows the network.
    pub(crate) fn followers(&self, network: NetworkId) -> Vec<IdentityKey> {
        self.subscribers
            .get(&network)
            .map(|subscribers| subscribers.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Tells every connection.
    pub(crate) fn publish_to_all(&self, push: &Push) {
        let connected: Vec<IdentityKey> = self.nodes.iter().map(|node| *node.key()).collect();
        for identity in connected {
            self.push(&identity, push.clone());
        }
    }

    /// Tells every connection that follows the network.
    pub(crate) fn publish(&self, network: NetworkId, push: &Push) {
        for identity in self.followers(network) {
            self.push(&identity, push.clone());
        }
    }

    /// Tells one node, if it is connected. One whose queue is full loses its connection.
    pub(crate) fn push(&self, identity: &IdentityKey, push: Push) {
        let full = self.nodes.get(identity).and_then(|node| {
            let sent = node.queue.try_send(push);
            matches!(sent, Err(mpsc::error::TrySendError::Full(_))).then_some(node.serial)
        });
        if let Some(serial) = full {
            tracing::debug!(%identity, "node does not keep up: closing its connection");
            self.leave(identity, serial);
        }
    }

    /// Has `callee` call the member that made this announcement, if it is connected here and follows the network.
    pub(crate) fn introduce(
        &self,
        network: NetworkId,
        callee: &IdentityKey,
        caller: IdentityKey,
        announcement: Signed<EndpointAnnouncement>,
    ) -> RendezvousOutcome {
        let Some(node) = self.nodes.get(callee) else {
            return RendezvousOutcome::NotHere;
        };
        if !node.networks.contains(&network) {
            return RendezvousOutcome::NotHere;
        }
        let push = Push::Rendezvous(network, caller, announcement);
        if node.queue.capacity() <= KEPT_FOR_NEWS || node.queue.try_send(push).is_err() {
            return RendezvousOutcome::Busy;
        }
        RendezvousOutcome::Told
    }

    fn leave(&self, identity: &IdentityKey, serial: u64) {
        let left = self
            .nodes
            .remove_if(identity, |_, node| node.serial == serial);
        if let Some((identity, node)) = left {
            self.unsubscribe(&identity, &node.networks);
            for network in node.networks {
                self.tell(network, None, "online");
            }
        }
    }
}

impl Place {
    /// Whether no newer connection of the same node has taken it over.
    pub(crate) fn is_current(&self) -> bool {
        self.registry
            .nodes
            .get(&self.identity)
            .is_none_or(|node| node.serial == self.serial)
    }

    /// From now on the connection hears of this network.
    pub(crate) fn follow(&self, network: NetworkId) {
        if let Some(mut node) = self.registry.nodes.get_mut(&self.identity)
            && node.serial == self.serial
        {
            let fresh = node.networks.insert(network);
            self.registry
                .subscribers
                .entry(network)
                .or_default()
                .insert(self.identity);
            if fresh {
                self.registry.tell(network, None, "online");
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.leave(&self.identity, self.serial);
    }
}
