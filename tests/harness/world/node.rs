//! One node: an engine, the snapshot it published last, and what the daemon around it would have on disk.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tombolo_engine::{
    control::{Engine, Event},
    fib::{Fib, NetworkSlot},
    membership::{Announcement, Directory},
};
use tombolo_proto::{
    config::EndpointAnnouncement,
    gossip::Gossiped,
    id::{NetworkId, UnixSeconds},
    key::{IdentityKey, Seed},
    signed::Signed,
};

use crate::{clock::Clock, fake_noise::FakeNoise, packets::Message};

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its secret.
    pub seed: Seed,
    /// Where its UDP socket is.
    pub address: SocketAddr,
    /// Its slow path.
    pub engine: Engine,
    /// Its fast path.
    pub fib: Arc<Fib>,
    /// Everything the engine said, except that the snapshot changed.
    pub events: Vec<Event>,
    /// Packets that reached its TUN devices, in order.
    pub delivered: Vec<(NetworkId, Message)>,
    /// Whether it takes no news from controllers: a node that does not cooperate, or hears nothing.
    pub is_deaf: bool,
    pub(super) is_up: bool,
    /// How much time has passed for everybody but this node.
    pub(super) slept: Duration,
    pub(super) asleep_since: Option<Instant>,
    pub(super) noise: FakeNoise,
    pub(super) slots: BTreeMap<NetworkId, NetworkSlot>,
    /// Whether it does nothing about what peers tell it of the network.
    pub ignores_peers: bool,
    /// What it has on disk.
    pub(super) directories: Vec<Directory>,
    pub(super) announcements: BTreeMap<(NetworkId, IdentityKey), Announcement>,
    pub(super) places: Vec<(IdentityKey, SocketAddr)>,
}

impl Node {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> IdentityKey {
        self.seed.identity().public()
    }

    pub(super) fn now(&self, clock: &Clock) -> Instant {
        clock.now() - self.slept
    }

    /// What it has on disk of the first network.
    #[must_use]
    pub fn directory(&self) -> Option<&Directory> {
        self.directories.first()
    }

    /// Where another node has said that it is, in the first network.
    #[must_use]
    pub fn announced_by(&self, other: &Self) -> Vec<SocketAddr> {
        let network = self.directories.first().map(Directory::network);
        network
            .and_then(|network| self.announcements.get(&(network, other.identity())))
            .map(|(document, _)| document.endpoints.clone())
            .unwrap_or_default()
    }

    /// Sets what its wall clock shows to handshakes (of the fake kind).
    pub fn set_handshake_clock(&self, value: u64) {
        self.noise
            .clock
            .store(value, std::sync::atomic::Ordering::Relaxed);
    }
}

/// What the daemon does with what peers bring: verify, keep on disk, act.
impl Node {
    pub(super) fn take_gossip(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
        documents: Vec<Gossiped>,
        wall: UnixSeconds,
        now: Instant,
    ) {
        let me = self.identity();
        let Some(directory) = self
            .directories
            .iter_mut()
            .find(|directory| directory.network() == network)
        else {
            return;
        };
        let brought = directory.accept_brought(documents, &me, wall);
        if brought.accepted.changed {
            self.engine
                .set_gossiped_directory(directory, peer, wall, now);
        }
        for (identity, announcement) in brought.announcements {
            self.take_announcement(network, identity, announcement, Some(peer), now);
        }
    }

    pub(super) fn take_announcement(
        &mut self,
        network: NetworkId,
        identity: IdentityKey,
        announcement: Announcement,
        from: Option<IdentityKey>,
        now: Instant,
    ) {
        let key = (network, identity);
        let is_newer = from.is_none()
            || self
                .announcements
                .get(&key)
                .is_none_or(|(held, _)| held.sequence < announcement.0.sequence);
        if !is_newer {
            return;
        }
        self.announcements.insert(key, announcement.clone());
        if identity != self.identity() {
            let endpoints = announcement.0.endpoints.clone();
            self.engine.set_endpoints(network, identity, endpoints, now);
        }
        self.engine
            .set_announcement(network, identity, announcement, from, now);
    }

    /// Its word on where it is.
    #[must_use]
    pub fn own_announcement(&self, network: NetworkId) -> Option<Signed<EndpointAnnouncement>> {
        let (_, signed) = self.announcements.get(&(network, self.identity()))?;
        Some(signed.clone())
    }

    pub(super) fn take_call(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
        announcement: &Signed<EndpointAnnouncement>,
        now: Instant,
    ) {
        let Ok(said) = announcement.verify(network.into(), |signer| *signer == peer) else {
            return;
        };
        // Not passed on: it may be old.
        let known = self.announcements.get(&(network, peer));
        if known.is_none_or(|(held, _)| held.sequence < said.sequence) {
            self.take_announcement(network, peer, (said, announcement.clone()), None, now);
        }
        self.engine.handle_rendezvous(network, peer, now);
    }

    pub(super) fn announce(
        &mut self,
        network: NetworkId,
        endpoints: Vec<SocketAddr>,
        clock: &Clock,
        now: Instant,
    ) {
        let identity = self.identity();
        let milliseconds = clock.wall().0 * 1_000 + u64::from(clock.elapsed().subsec_millis());
        let last = self
            .announcements
            .get(&(network, identity))
            .map_or(0, |(document, _)| document.sequence);
        let document = EndpointAnnouncement {
            endpoints,
            home: None,
            sequence: milliseconds.max(last + 1),
        };
        let signed = Signed::sign(&document, network.into(), &self.seed.identity());
        self.take_announcement(network, identity, (document, signed), None, now);
    }
}
