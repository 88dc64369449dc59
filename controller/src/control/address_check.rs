//! The memory-hard check of node addresses: a few at a time, off the async threads, once per identity.

use std::{sync::Arc, thread};

use dashmap::DashMap;
use tokio::sync::Semaphore;
use tombolo_proto::{
    address::{self, Cost},
    id::NodeId,
    key::IdentityKey,
};

/// Remembered answers; forgotten all at once when there are more, which costs a millisecond each to find again.
const REMEMBERED: usize = 65_536;

/// Checks at a time: one for each core, and no more than these, at 2 MiB each.
const AT_ONCE: usize = 8;

#[derive(Debug)]
pub(super) struct AddressCheck {
    turn: Arc<Semaphore>,
    known: DashMap<IdentityKey, Option<NodeId>>,
}

impl Default for AddressCheck {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            turn: Arc::new(Semaphore::new(cores.min(AT_ONCE))),
            known: DashMap::new(),
        }
    }
}

impl AddressCheck {
    /// The node address of a key, or none if it has none.
    pub(super) async fn of(&self, identity: IdentityKey) -> Option<NodeId> {
        if let Some(known) = self.known.get(&identity) {
            return *known;
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        let node = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            address::of(&identity, Cost::Node)
        })
        .await
        .ok()?;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(identity, node);
        node
    }
}
