//! The memory-hard check of node addresses: one at a time, off the async threads, once per identity.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::Semaphore;
use tombolo_proto::{
    address::{self, Cost},
    id::NodeId,
    key::IdentityKey,
};

/// Remembered answers; forgotten all at once when there are more, which costs a millisecond each to find again.
const REMEMBERED: usize = 65_536;

#[derive(Debug)]
pub(super) struct AddressCheck {
    turn: Arc<Semaphore>,
    known: DashMap<IdentityKey, Option<NodeId>>,
}

impl Default for AddressCheck {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
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
