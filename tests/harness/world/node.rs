//! One node: an engine, the snapshot it published last, and what the daemon around it knows and keeps.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tombolo_engine::{
    control::{Engine, Event},
    fib::{Fib, NetworkSlot},
    membership::{Announcement, Directory},
    path::way::{SocketSlot, Way},
};
use tombolo_proto::{
    config::{EndpointAnnouncement, MAX_ENDPOINTS},
    control::ToController,
    gossip::Gossiped,
    id::{NetworkId, UnixSeconds},
    key::{IdentityKey, IdentitySecret, Seed},
    signed::Signed,
};

use super::{
    diary::Entry,
    disk::{Crash, Disk},
};
use crate::{clock::Clock, fake_noise::FakeNoise, packets::Message};

/// Ports of sockets besides a node's first.
const EXTRA_PORTS: u16 = 20_000;

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its secret.
    pub seed: Seed,
    pub(super) secret: IdentitySecret,
    identity: IdentityKey,
    /// Where its UDP socket is.
    pub address: SocketAddr,
    /// Where else it is: at most one place in each /16, which is how it reaches that /16.
    pub links: Vec<SocketAddr>,
    /// Sockets that it has opened besides.
    pub open_sockets: BTreeSet<SocketSlot>,
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
    /// Whether it does nothing about what peers tell it of the network.
    pub ignores_peers: bool,
    /// By how many seconds its wall clock is wrong.
    pub clock_error: i64,
    /// What the next writing to its disk ends in.
    pub crash: Option<Crash>,
    /// What it has on disk.
    pub disk: Disk,
    pub(super) is_up: bool,
    /// How much time has passed for everybody but this node.
    pub(super) slept: Duration,
    pub(super) asleep_since: Option<Instant>,
    pub(super) noise: FakeNoise,
    pub(super) slots: BTreeMap<NetworkId, NetworkSlot>,
    pub(super) directories: Vec<Directory>,
    pub(super) announcements: BTreeMap<(NetworkId, IdentityKey), Announcement>,
    /// The sequence number of the last announcement that it signed.
    pub(super) said: u64,
    pub(super) places: BTreeMap<IdentityKey, Vec<SocketAddr>>,
    /// Whether a controller said that it is no member, or its directory did.
    pub(super) is_denied: bool,
    /// Parts of a directory that a controller is sending.
    pub(super) incoming: Option<Directory>,
    /// The replica it is connected to.
    pub(super) home: Option<IdentityKey>,
    /// Through which members it can be reached, as their addresses in the overlay.
    pub(super) relays: BTreeMap<NetworkId, Vec<IpAddr>>,
    /// When what older epochs have signed counts no more, however much of the newest one has come.
    pub(super) rollover_ends: Option<Instant>,
    /// What it says to that replica.
    pub(super) outgoing: VecDeque<ToController>,
    pub(super) diary: Vec<Entry>,
    pub(super) wakes_at: Option<Instant>,
}

impl Node {
    /// A node that has nothing on disk but its identity.
    pub(super) fn new(seed: Seed, address: SocketAddr, engine: Engine, noise: FakeNoise) -> Self {
        let secret = seed.identity();
        Self {
            seed,
            identity: secret.public(),
            secret,
            address,
            links: Vec::new(),
            open_sockets: BTreeSet::new(),
            fib: engine.fib(),
            engine,
            events: Vec::new(),
            delivered: Vec::new(),
            is_deaf: false,
            ignores_peers: false,
            clock_error: 0,
            crash: None,
            disk: Disk::default(),
            is_up: true,
            slept: Duration::ZERO,
            asleep_since: None,
            noise,
            slots: BTreeMap::new(),
            directories: Vec::new(),
            announcements: BTreeMap::new(),
            said: 0,
            places: BTreeMap::new(),
            is_denied: false,
            incoming: None,
            home: None,
            rollover_ends: None,
            relays: BTreeMap::new(),
            outgoing: VecDeque::new(),
            diary: Vec::new(),
            wakes_at: None,
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> IdentityKey {
        self.identity
    }

    /// Which of its places a datagram leaves from.
    pub(super) fn source_toward(&self, to: SocketAddr) -> SocketAddr {
        let net = |at: SocketAddr| match at.ip() {
            IpAddr::V4(address) => [address.octets()[0], address.octets()[1]],
            IpAddr::V6(address) => [address.octets()[0], address.octets()[1]],
        };
        let link = self.links.iter().find(|link| net(**link) == net(to));
        link.copied().unwrap_or(self.address)
    }

    /// Whether a datagram to this place reaches it.
    pub(super) fn is_at(&self, place: SocketAddr) -> bool {
        self.address == place || self.links.contains(&place)
    }

    /// Whether it runs.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether it has a TUN device for some network.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.slots.is_empty()
    }

    /// The replica it is connected to.
    #[must_use]
    pub const fn home(&self) -> Option<IdentityKey> {
        self.home
    }

    /// Where a datagram of this node leaves and goes, by a way that the harness has; a socket is opened when first used.
    pub(super) fn sockets_of(&mut self, way: Way) -> Option<(SocketAddr, SocketAddr)> {
        match way {
            Way::Direct(to) => Some((self.source_toward(to), to)),
            Way::Through { socket, endpoint } => {
                self.open_sockets.insert(socket);
                let from = SocketAddr::new(self.address.ip(), EXTRA_PORTS + socket.0);
                Some((from, endpoint))
            }
            Way::Relay { .. } => None,
        }
    }

    /// The way by which a datagram came to one of this node's sockets.
    pub(super) fn way_of(&self, from: SocketAddr, to: SocketAddr) -> Option<Way> {
        if self.is_at(to) {
            return Some(Way::Direct(from));
        }
        let socket = SocketSlot(to.port().checked_sub(EXTRA_PORTS)?);
        let is_here = to.ip() == self.address.ip() && self.open_sockets.contains(&socket);
        is_here.then_some(Way::Through {
            socket,
            endpoint: from,
        })
    }

    pub(super) fn now(&self, clock: &Clock) -> Instant {
        clock.now() - self.slept
    }

    /// What its wall clock shows.
    #[must_use]
    pub fn wall(&self, clock: &Clock) -> UnixSeconds {
        UnixSeconds(clock.wall().0.saturating_add_signed(self.clock_error))
    }

    fn milliseconds(&self, clock: &Clock) -> u64 {
        self.wall(clock).0 * 1_000 + u64::from(clock.elapsed().subsec_millis())
    }

    /// What it holds of the first network.
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

    /// The same node after a restart: its identity, its place, and what is on its disk.
    pub(super) fn reborn(self, engine: Engine) -> Self {
        let kept = self.disk.read();
        let is_older = kept.as_ref().is_some_and(|kept| kept.said != self.said);
        let mut node = Self {
            events: Vec::new(),
            open_sockets: BTreeSet::new(),
            crash: None,
            is_up: true,
            slept: Duration::ZERO,
            asleep_since: None,
            slots: BTreeMap::new(),
            fib: engine.fib(),
            engine,
            incoming: None,
            home: None,
            rollover_ends: None,
            outgoing: VecDeque::new(),
            ..self
        };
        if let Some(kept) = kept {
            node.directories = kept.directories;
            node.is_denied = kept.is_denied;
            node.said = kept.said;
        }
        if is_older {
            node.announcements.clear();
        }
        node
    }

    /// Writes down what it holds. `false` if it dies of it.
    pub(super) fn keep(&mut self) -> bool {
        let crash = self.crash.take();
        if crash != Some(Crash::BeforeWriting) {
            let number = self
                .disk
                .write(self.directories.clone(), self.is_denied, self.said);
            self.diary.push(Entry::Kept(number));
        }
        if crash.is_some() {
            self.is_up = false;
        }
        crash.is_none()
    }
}

/// What the daemon does with what peers bring: verify, keep on disk, act.
impl Node {
    pub(super) fn take_gossip(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
        documents: Vec<Gossiped>,
        clock: &Clock,
    ) {
        let (wall, now) = (self.wall(clock), self.now(clock));
        let me = self.identity();
        self.diary.push(Entry::Brought(documents.clone()));
        // A directory that is coming in from a controller takes the place of ours when it is whole.
        if let Some(incoming) = &mut self.incoming {
            let _ = incoming.accept_brought(documents.clone(), &me, wall);
        }
        let Some(directory) = self
            .directories
            .iter_mut()
            .find(|directory| directory.network() == network)
        else {
            return;
        };
        let brought = directory.accept_brought(documents, &me, wall);
        if brought.accepted.changed {
            if !self.keep() {
                return;
            }
            let directory = self.directories.iter().find(|it| it.network() == network);
            if self.is_member(network, wall)
                && let Some(directory) = directory
            {
                self.engine
                    .set_gossiped_directory(directory, peer, wall, now);
                self.diary.push(Entry::Acted(wall));
            } else {
                self.refresh(network, wall, now);
            }
        }
        for (identity, announcement) in brought.announcements {
            self.take_announcement(network, identity, announcement, Some(peer), clock);
        }
    }

    pub(super) fn take_announcement(
        &mut self,
        network: NetworkId,
        identity: IdentityKey,
        announcement: Announcement,
        from: Option<IdentityKey>,
        clock: &Clock,
    ) {
        let now = self.now(clock);
        let key = (network, identity);
        let is_newer = self
            .announcements
            .get(&key)
            .is_none_or(|(held, _)| held.sequence < announcement.0.sequence);
        if !is_newer {
            return;
        }
        if identity == self.identity && from.is_some() {
            // Others hold a newer word of this node than it remembers: it has to say something newer still.
            self.said = self.said.max(announcement.0.sequence);
            if announcement.0.sequence > self.milliseconds(clock)
                && let Some((own, _)) = self.announcements.remove(&key)
            {
                self.announce(network, own.endpoints, clock);
            }
            return;
        }
        self.announcements.insert(key, announcement.clone());
        if identity != self.identity() {
            self.set_place(network, identity, &announcement.0.endpoints, now);
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
        clock: &Clock,
    ) {
        let Ok(said) = announcement.verify(network.into(), |signer| *signer == peer) else {
            return;
        };
        // Not passed on: it may be old.
        let known = self.announcements.get(&(network, peer));
        if known.is_none_or(|(held, _)| held.sequence < said.sequence) {
            self.take_announcement(network, peer, (said, announcement.clone()), None, clock);
        }
        let now = self.now(clock);
        self.engine.handle_rendezvous(network, peer, now);
    }

    /// Where a peer may be now, best first; where it was before follows.
    pub(super) fn set_place(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
        endpoints: &[SocketAddr],
        now: Instant,
    ) {
        let known = self.places.entry(peer).or_default();
        known.retain(|place| !endpoints.contains(place));
        known.splice(0..0, endpoints.iter().copied());
        known.truncate(MAX_ENDPOINTS);
        self.engine.set_endpoints(network, peer, known.clone(), now);
    }

    /// Where a peer has just been heard comes first.
    pub(super) fn heard_from(&mut self, peer: IdentityKey, endpoint: SocketAddr) {
        let known = self.places.entry(peer).or_default();
        known.retain(|place| *place != endpoint);
        known.insert(0, endpoint);
        known.truncate(MAX_ENDPOINTS);
    }

    pub(super) fn announce(
        &mut self,
        network: NetworkId,
        mut endpoints: Vec<SocketAddr>,
        clock: &Clock,
    ) {
        let relays = self.relays.get(&network).into_iter().flatten();
        endpoints.extend(relays.map(|relay| SocketAddr::new(*relay, 9790)));
        let identity = self.identity;
        let last = self.announcements.get(&(network, identity));
        let is_said = last.is_some_and(|(said, _)| {
            said.endpoints == endpoints && (self.home.is_none() || said.home == self.home)
        });
        if !is_said {
            self.said = self.milliseconds(clock).max(self.said.saturating_add(1));
            let document = EndpointAnnouncement {
                endpoints,
                home: self.home,
                sequence: self.said,
            };
            let signed = Signed::sign(&document, network.into(), &self.secret);
            self.take_announcement(network, identity, (document, signed), None, clock);
        }
        if self.home.is_some()
            && let Some((_, signed)) = self.announcements.get(&(network, identity))
        {
            self.outgoing.push_back(ToController::Announce {
                network,
                announcement: signed.clone(),
            });
        }
    }

    /// Tells everybody through which members it can be reached from now on.
    pub(super) fn announce_relays(
        &mut self,
        network: NetworkId,
        relays: Vec<IpAddr>,
        clock: &Clock,
    ) {
        self.relays.insert(network, relays);
        self.announce(network, vec![self.address], clock);
    }
}
