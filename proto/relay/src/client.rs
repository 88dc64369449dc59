//! One client of a relay.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use tombolo_proto::relay::{RelayIndex, RelayKey, RelayMessage};

use crate::{Outlet, bucket::Bucket};

/// What the relay and a client share, where the client is, and what it may still send.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) index: RelayIndex,
    pub(crate) key: RelayKey,
    pub(crate) bucket: Bucket,
    /// Bytes that were forwarded for it.
    pub(crate) carried: AtomicU64,
    place: RwLock<Place>,
    heard: AtomicBool,
}

#[derive(Debug, Default)]
struct Place {
    outlet: Option<Outlet>,
    /// Counter of the newest ping, one up.
    next: u64,
}

impl Client {
    pub(crate) fn new(index: RelayIndex, key: RelayKey, rate: u64) -> Self {
        Self {
            index,
            key,
            bucket: Bucket::full(rate),
            carried: AtomicU64::new(0),
            place: RwLock::default(),
            heard: AtomicBool::new(false),
        }
    }

    pub(crate) fn grant(&self) -> RelayMessage {
        RelayMessage::Grant {
            index: self.index,
            key: self.key.clone(),
        }
    }

    pub(crate) fn outlet(&self) -> Option<Outlet> {
        let place = self.place.read().unwrap_or_else(PoisonError::into_inner);
        place.outlet
    }

    /// A ping that authenticated: the client is at `from`, unless the ping is an old one.
    pub(crate) fn take_ping(&self, counter: u64, from: Outlet) -> bool {
        let mut place = self.place.write().unwrap_or_else(PoisonError::into_inner);
        if counter < place.next || counter == u64::MAX {
            return false;
        }
        place.next = counter + 1;
        place.outlet = Some(from);
        self.heard.store(true, Relaxed);
        true
    }

    /// The client is at `outlet` no more.
    pub(crate) fn leave(&self, outlet: Outlet) {
        let mut place = self.place.write().unwrap_or_else(PoisonError::into_inner);
        if place.outlet == Some(outlet) {
            place.outlet = None;
        }
    }

    /// Whether it has pinged at all: it has got its grant.
    pub(crate) fn has_pinged(&self) -> bool {
        let place = self.place.read().unwrap_or_else(PoisonError::into_inner);
        place.next > 0
    }

    /// Whether it has pinged since this was last asked.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard.swap(false, Relaxed)
    }
}
