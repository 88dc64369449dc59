//! What peers bring: verified like a controller's word, kept on disk, and only then acted on; and what this node has to
//! say to peers about itself.
//!
//! A removal is acted on at once. Everything else may wait a moment for company, because a directory is written whole.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant, SystemTime},
};

use tombolo_engine::membership::{Announcement, Brought};
use tombolo_proto::{
    config::{DirectoryEntry, EndpointAnnouncement},
    gossip::Gossiped,
    id::NetworkId,
    key::IdentityKey,
    signed::Signed,
};

use super::{Daemon, wall};

/// Least time between two writings for what is not a removal.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Least time between two writings for removals.
const WRITE_REMOVALS_EVERY: Duration = Duration::from_millis(50);
/// Documents that may wait to be verified; what is too many is asked for again later.
const MAX_WAITING: usize = 4_096;

/// Documents of one network that peers have brought and nobody has looked at.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    documents: Vec<(IdentityKey, Gossiped)>,
    due: Option<Instant>,
    written: Option<Instant>,
}

impl Waiting {
    fn add(&mut self, peer: IdentityKey, documents: Vec<Gossiped>, now: Instant) {
        let room = MAX_WAITING.saturating_sub(self.documents.len());
        for document in documents.into_iter().take(room) {
            let is_removal = matches!(
                document,
                Gossiped::Entry(DirectoryEntry::Revocation(_)) | Gossiped::Keyring(_)
            );
            let pause = if is_removal {
                WRITE_REMOVALS_EVERY
            } else {
                WRITE_EVERY
            };
            let due = self.written.map_or(now, |written| written + pause).max(now);
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
            self.documents.push((peer, document));
        }
    }

    fn take(&mut self, now: Instant) -> Vec<(IdentityKey, Gossiped)> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        self.written = Some(now);
        std::mem::take(&mut self.documents)
    }
}

impl Daemon {
    /// Takes in what a peer has brought.
    pub(super) fn peer_brought(
        &mut self,
        id: NetworkId,
        peer: IdentityKey,
        documents: Vec<Gossiped>,
    ) {
        if let Some(network) = self.networks.get_mut(&id) {
            network.waiting.add(peer, documents, Instant::now());
        }
    }

    /// When what peers have brought is to be looked at.
    pub(super) fn gossip_due(&self) -> Option<Instant> {
        self.networks
            .values()
            .filter_map(|network| network.waiting.due)
            .min()
    }

    /// Looks at what peers have brought, as far as it is due.
    pub(super) fn take_gossip(&mut self, now: Instant) {
        let ids: Vec<NetworkId> = self.networks.keys().copied().collect();
        for id in ids {
            let documents = self
                .networks
                .get_mut(&id)
                .map(|network| network.waiting.take(now))
                .unwrap_or_default();
            let mut rest = documents.into_iter().peekable();
            while let Some((peer, document)) = rest.next() {
                let mut of_peer = vec![document];
                while let Some((_, document)) = rest.next_if(|(other, _)| *other == peer) {
                    of_peer.push(document);
                }
                self.take_from_peer(id, peer, of_peer);
            }
        }
    }

    fn take_from_peer(&mut self, id: NetworkId, peer: IdentityKey, documents: Vec<Gossiped>) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(mut directory) = network.directory.clone() else {
            return;
        };
        // A directory that is coming in from a controller takes the place of ours when it is whole.
        if let Some(incoming) = &mut network.incoming {
            let _ = incoming.accept_brought(documents.clone(), &self.me, wall());
        }
        let Brought {
            accepted,
            announcements,
        } = directory.accept_brought(documents, &self.me, wall());
        for refused in &accepted.refused {
            tracing::trace!(network = %id, %peer, %refused, "Refused a document");
            network.note(refused);
        }
        if accepted.changed {
            tracing::debug!(network = %id, %peer, "A peer brought documents");
            self.adopt(id, directory, Some(peer));
        }
        for (member, announcement) in announcements {
            self.take_announcement(id, member, announcement, Some(peer));
        }
    }

    /// Takes a member's own word on where it can be reached, if it is newer than the last. It is remembered and passed on.
    pub(super) fn take_announcement(
        &mut self,
        id: NetworkId,
        member: IdentityKey,
        announcement: Announcement,
        from: Option<IdentityKey>,
    ) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let is_newer = network
            .announcements
            .get(&member)
            .is_none_or(|(held, _)| held.sequence < announcement.0.sequence);
        if !is_newer {
            return;
        }
        if member == self.me && from.is_some() {
            self.outdo(id, announcement.0.sequence);
            return;
        }
        let now = Instant::now();
        network.announcements.insert(member, announcement.clone());
        network.unsaved.announcements = true;
        if member != self.me {
            let announced = announcement.0.endpoints.clone();
            if network.endpoints.announced_by(member, announced) {
                network.unsaved.endpoints = true;
            }
            let endpoints = network.endpoints.peers.get(&member).cloned();
            self.engine
                .set_endpoints(id, member, endpoints.unwrap_or_default(), now);
        }
        self.engine
            .set_announcement(id, member, announcement, from, now);
    }

    /// Others hold a newer word of this node than it remembers. If it is from the future, because this node's clock ran
    /// ahead once, nobody would listen before this node says something newer still, so it does (as a router with what it
    /// said before a restart, RFC 2328 section 13.4). Otherwise the next word is newer anyway.
    fn outdo(&mut self, id: NetworkId, sequence: u64) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        network.endpoints.announced = network.endpoints.announced.max(sequence);
        network.unsaved.endpoints = true;
        if sequence > milliseconds() {
            network.announcements.remove(&self.me);
            self.announce(id, Instant::now());
        }
    }

    /// Gives the engine what a network's members last said of where they are.
    pub(super) fn hand_over_announcements(&mut self, id: NetworkId, now: Instant) {
        let announcements = self
            .networks
            .get(&id)
            .map(|network| network.announcements.clone())
            .unwrap_or_default();
        for (member, announcement) in announcements {
            self.engine
                .set_announcement(id, member, announcement, None, now);
        }
    }

    /// Peers see this node at these addresses.
    pub(super) fn seen_by_peers(&mut self, id: NetworkId, endpoints: Vec<SocketAddr>) {
        if let Some(network) = self.networks.get_mut(&id) {
            tracing::debug!(network = %id, ?endpoints, "Seen by peers");
            network.seen = endpoints;
            self.announce_everywhere(Instant::now());
        }
    }

    /// This node's word on where it is: the last one, if nothing has changed since, or a new one.
    pub(super) fn own_announcement(
        &mut self,
        id: NetworkId,
        endpoints: Vec<SocketAddr>,
        home: Option<IdentityKey>,
    ) -> Option<Signed<EndpointAnnouncement>> {
        let endpoints = self.with_relays(id, endpoints);
        let network = self.networks.get_mut(&id)?;
        let last = network.announcements.get(&self.me);
        // Without a controller there is no new home to tell of.
        if let Some((said, signed)) = last
            && said.endpoints == endpoints
            && (home.is_none() || said.home == home)
        {
            return Some(signed.clone());
        }
        network.endpoints.announced =
            milliseconds().max(network.endpoints.announced.saturating_add(1));
        network.unsaved.endpoints = true;
        let announcement = EndpointAnnouncement {
            endpoints,
            home,
            sequence: network.endpoints.announced,
        };
        let signed = Signed::sign(&announcement, id.into(), &self.seed.identity());
        self.take_announcement(id, self.me, (announcement, signed.clone()), None);
        self.engine.call_elsewhere(id, Instant::now());
        Some(signed)
    }

    /// Whether others can reach this node at an address that no translation hides.
    pub(super) fn is_seen_here(&self, endpoints: &[SocketAddr]) -> bool {
        !self.advertised.is_empty() || endpoints.iter().any(|seen| is_here(seen.ip()))
    }
}

/// Wall-clock time, for the order of announcements.
fn milliseconds() -> u64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_millis() as u64)
}

/// Whether an address is one of this host's: only then can a socket be bound to it.
pub(super) fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use tombolo_proto::{
        config::Revocation,
        id::{Revision, UnixSeconds, Version},
        key::Seed,
    };

    use super::*;

    #[test]
    fn the_first_is_looked_at_at_once_and_what_follows_waits_for_company_unless_it_is_a_removal() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        waiting.add(peer(), vec![an_announcement()], now);
        assert_eq!(waiting.take(now).len(), 1);

        waiting.add(peer(), vec![an_announcement(), an_announcement()], now);
        assert!(waiting.take(now).is_empty());
        assert_eq!(waiting.due, Some(now + WRITE_EVERY));
        waiting.add(peer(), vec![a_removal()], now);
        assert_eq!(waiting.due, Some(now + WRITE_REMOVALS_EVERY));

        assert_eq!(waiting.take(now + WRITE_REMOVALS_EVERY).len(), 3);
        assert_eq!(waiting.due, None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::default();
        let now = Instant::now();

        for _ in 0..100 {
            waiting.add(peer(), vec![an_announcement(); 100], now);
        }

        assert_eq!(waiting.take(now).len(), MAX_WAITING);
    }

    #[test]
    fn an_address_of_this_host_is_told_from_another() {
        assert!(is_here(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_here(IpAddr::from([203, 0, 113, 77])));
    }

    fn a_removal() -> Gossiped {
        let revocation = Revocation {
            version: Version::first_epoch(1),
            identity: peer(),
            serial_floor: Revision(1),
            issued_at: UnixSeconds(0),
        };
        let signed = Signed::sign(&revocation, network().into(), &seed().identity());
        Gossiped::Entry(DirectoryEntry::Revocation(signed))
    }

    fn an_announcement() -> Gossiped {
        let said = EndpointAnnouncement {
            endpoints: Vec::new(),
            home: None,
            sequence: 1,
        };
        Gossiped::Endpoints {
            identity: peer(),
            announcement: Signed::sign(&said, network().into(), &seed().identity()),
        }
    }

    fn network() -> NetworkId {
        "8056c2e21c000001".parse().expect("a network id")
    }

    fn peer() -> IdentityKey {
        seed().identity().public()
    }

    fn seed() -> Seed {
        Seed::from_bytes([7; 32])
    }
}
