//! Networks and their members come and go, and tell where they are.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng as _;
use tombolo_proto::{
    config::MAX_ENDPOINTS,
    id::{NetworkId, UnixSeconds},
    key::{IdentityKey, TransportKey, TransportSecret},
};

use super::{Engine, network::Network};
use crate::{
    counters::PeerCounters,
    endpoint::is_host,
    fib::{NetworkSlot, PeerSlot},
    gossip::Gossip,
    handshake::Parties,
    membership::Directory,
    peer::{Identity, Peer, Portrait},
};

/// A slot is not given to another peer before this: by then no packet that was routed to the old one is under way.
const SLOT_QUARANTINE: Duration = Duration::from_secs(60);

impl Engine {
    /// Adds a network in which this node is `identity` and has the key `transport`. If it is there already, it starts
    /// anew. The slot is never given out again.
    pub fn add_network(
        &mut self,
        network: NetworkId,
        identity: IdentityKey,
        transport: TransportSecret,
        now: Instant,
    ) -> NetworkSlot {
        self.remove_network(network, now);
        let slot = NetworkSlot(
            u16::try_from(self.networks.len()).expect("nobody joins 65,536 networks in one run"),
        );
        let mut entry = Network::new(network, identity, transport, self.noise.as_ref());
        entry.gossip = self.gossips.then(|| Gossip::new(identity));
        self.networks.push(Some(entry));
        self.by_id.insert(network, slot);
        if self.seeks_relays {
            self.relays.add_network(slot, now);
        }
        self.outbox.fib_is_stale = true;
        slot
    }

    /// Forgets a network and erases its sessions.
    pub fn remove_network(&mut self, network: NetworkId, now: Instant) {
        let Some(slot) = self.by_id.remove(&network) else {
            return;
        };
        let peers: Vec<PeerSlot> = self
            .network(slot)
            .map(|network| network.by_identity.values().copied().collect())
            .unwrap_or_default();
        for peer in peers {
            self.remove_peer(peer, now);
        }
        self.relays.remove_network(slot);
        self.settle_relays(now);
        if let Some(entry) = self.networks.get_mut(usize::from(slot.0)) {
            *entry = None;
        }
        self.outbox.fib_is_stale = true;
    }

    /// Takes a newer directory. Peers are the members that count, while this node is one of them; members that are gone
    /// are cut off at once.
    pub fn set_directory(&mut self, directory: &Directory, wall: UnixSeconds, now: Instant) {
        self.take_directory(directory, None, wall, now);
    }

    /// Lets default routes of other members count, or not, as the owner of this host says. They do not until this is called;
    /// what it says holds from the next [`Self::set_directory`].
    pub fn allow_default(&mut self, network: NetworkId, is_allowed: bool) {
        let slot = self.by_id.get(&network).copied();
        if let Some(network) = slot.and_then(|slot| self.network_mut(slot)) {
            network.allow_default = is_allowed;
        }
    }

    pub(super) fn take_directory(
        &mut self,
        directory: &Directory,
        from: Option<IdentityKey>,
        wall: UnixSeconds,
        now: Instant,
    ) {
        let Some(&slot) = self.by_id.get(&directory.network()) else {
            return;
        };
        let Some(network) = self.network(slot) else {
            return;
        };
        let changes = network.compare(directory, wall);
        for peer in changes.gone {
            self.remove_peer(peer, now);
        }
        for cert in changes.new {
            self.add_peer(
                slot,
                cert.identity,
                cert.transport,
                Portrait::from(cert),
                now,
            );
        }
        for (peer, cert) in changes.kept {
            if let Some(peer) = self.peer_mut(peer) {
                peer.portrait = Portrait::from(cert);
            }
            if !cert.relay {
                self.relays.remove_relay(slot, cert.identity, now);
            }
        }
        // Drawn only where it is needed, so that a simulation without rules repeats what it did before.
        let has_rules = directory.doc().is_some_and(|doc| !doc.rules.is_open());
        let seed = if has_rules { self.rng.random() } else { [0; 2] };
        if let Some(network) = self.network_mut(slot) {
            network.rebuild_ownership(directory, wall);
            let own = directory.member(&network.identity, wall);
            network.may_relay = own.is_some_and(|cert| cert.relay);
            network.rebuild_guard(directory, seed, wall, now);
        }
        self.review_own_relay(now);
        self.outbox.fib_is_stale = true;
        self.with_gossip(slot, now, |gossip, rng| {
            gossip.set_directory(directory, from, wall, rng, now);
        });
    }

    fn add_peer(
        &mut self,
        slot: NetworkSlot,
        identity: IdentityKey,
        transport: TransportKey,
        portrait: Portrait,
        now: Instant,
    ) {
        let peer_slot = self.take_slot(now);
        let Some(network) = self.network_mut(slot) else {
            return;
        };
        network.by_identity.insert(identity, peer_slot);
        network.by_transport.insert(transport, peer_slot);
        let id = Identity {
            slot: peer_slot,
            network: slot,
            identity,
            parties: Parties {
                network: network.id,
                local: network.public,
                remote: transport,
            },
            secret: network.secret.clone(),
        };
        let candidates = network.announced(&identity);
        let peer = Peer::new(id, portrait, candidates, Arc::new(PeerCounters::default()));
        if let Some(entry) = self.peers.get_mut(peer_slot.0 as usize) {
            *entry = Some(peer);
        }
    }

    fn take_slot(&mut self, now: Instant) -> PeerSlot {
        let is_free = |freed: &Instant| now.saturating_duration_since(*freed) >= SLOT_QUARANTINE;
        if let Some((_, slot)) = self.free_slots.pop_front_if(|(freed, _)| is_free(freed)) {
            return slot;
        }
        let slot = PeerSlot(u32::try_from(self.peers.len()).expect("fewer than 2^32 peers"));
        self.peers.push(None);
        slot
    }

    fn remove_peer(&mut self, slot: PeerSlot, now: Instant) {
        self.with_peer(slot, now, |peer, context| peer.erase(context));
        let Some(peer) = self.peers.get_mut(slot.0 as usize).and_then(Option::take) else {
            return;
        };
        self.reschedule(slot, None);
        let network = peer.id.parties.network;
        self.relay.remove(network, &peer.id.identity);
        self.relays
            .remove_peer(peer.id.network, slot, peer.id.identity, now);
        self.free_slots.push_back((now, slot));
        self.failover.forget(slot);
        if let Some(network) = self.network_mut(peer.id.network) {
            network.by_identity.remove(&peer.id.identity);
            network.by_transport.remove(&peer.id.parties.remote);
        }
    }

    /// Where a peer may be reached, best first; at most 8 count, and none that no host can have. Port 0 stands for one that
    /// the peer itself does not know, because its NAT maps by destination.
    pub fn set_endpoints(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
        mut endpoints: Vec<SocketAddr>,
        now: Instant,
    ) {
        endpoints.retain(|endpoint| is_host(endpoint.ip()));
        endpoints.truncate(MAX_ENDPOINTS);
        let Some(&slot) = self.by_id.get(&network) else {
            return;
        };
        let Some(network) = self.network_mut(slot) else {
            return;
        };
        network.announce(peer, endpoints.clone());
        if let Some(gossip) = network.gossip.as_mut().filter(|_| !endpoints.is_empty()) {
            gossip.set_known(peer);
        }
        if let Some(&slot) = network.by_identity.get(&peer) {
            self.with_peer(slot, now, |peer, context| {
                peer.set_candidates(endpoints, context, now)
            });
        }
        self.settle_relays(now);
    }
}
