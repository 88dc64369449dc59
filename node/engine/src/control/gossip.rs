//! Gossip, carried out: the machine of each network says what to send and whom to keep in touch with, peers do it.

use std::time::Instant;

use tombolo_proto::{
    id::{NetworkId, UnixSeconds},
    key::IdentityKey,
};

use super::{Engine, Event};
use crate::{
    endpoint::is_callable,
    fib::{NetworkSlot, PeerSlot},
    gossip::{Gossip, Output},
    membership::{Announcement, Directory},
    path::way::Way,
    relay::RelayName,
};

impl Engine {
    /// Turns gossip on, for networks that are added from now on. Without it, what does not talk costs nothing, and
    /// nothing is heard of changes but from controllers.
    pub const fn enable_gossip(&mut self) {
        self.gossips = true;
    }

    /// Takes a newer directory that `peer` has brought, once it is on disk.
    pub fn set_gossiped_directory(
        &mut self,
        directory: &Directory,
        peer: IdentityKey,
        wall: UnixSeconds,
        now: Instant,
    ) {
        self.take_directory(directory, Some(peer), wall, now);
    }

    /// Takes a member's announcement that its signature proves, to be passed on. `from` is the peer that brought it, if
    /// it was a peer. Where the member is to be called is said by [`Self::set_endpoints`].
    pub fn set_announcement(
        &mut self,
        network: NetworkId,
        identity: IdentityKey,
        announcement: Announcement,
        from: Option<IdentityKey>,
        now: Instant,
    ) {
        let (document, signed) = announcement;
        if let Some(&slot) = self.by_id.get(&network)
            && let Some(network) = self.network_mut(slot)
        {
            network.set_home(identity, document.home);
        }
        self.with_gossip_of(network, now, |gossip, rng| {
            gossip.set_announcement(identity, document.sequence, signed, from, rng, now);
        });
    }

    /// Whether anybody can call this node, by an address that no translation hides or a port that a router keeps open: others
    /// prefer such neighbours, and it may relay.
    pub fn set_public(&mut self, public: bool) {
        self.is_public = public;
        for network in self.networks.iter_mut().flatten() {
            if let Some(gossip) = &mut network.gossip {
                gossip.set_public(public);
            }
        }
    }

    /// Whether a translation hides this node, so that it has to be kept alive.
    pub const fn set_translated(&mut self, translated: bool) {
        self.is_translated = translated;
    }

    /// Whether one does.
    #[must_use]
    pub const fn is_translated(&self) -> bool {
        self.is_translated
    }

    /// The addresses of this host have changed: peers are told, and tell where they see this node.
    pub fn host_moved(&mut self, now: Instant) {
        self.relays.check(now);
        self.settle_relays(now);
        self.handle_upheaval(now);
        let networks: Vec<NetworkId> = self.by_id.keys().copied().collect();
        for network in networks {
            self.with_gossip_of(network, now, |gossip, _| gossip.handle_host_moved(now));
        }
    }

    fn with_gossip_of(
        &mut self,
        network: NetworkId,
        now: Instant,
        act: impl FnOnce(&mut Gossip, &mut rand::rngs::StdRng),
    ) {
        if let Some(&slot) = self.by_id.get(&network) {
            self.with_gossip(slot, now, act);
        }
    }

    /// Lets a network's gossip act, and does what it says.
    pub(super) fn with_gossip(
        &mut self,
        slot: NetworkSlot,
        now: Instant,
        act: impl FnOnce(&mut Gossip, &mut rand::rngs::StdRng),
    ) {
        let network = self
            .networks
            .get_mut(usize::from(slot.0))
            .and_then(Option::as_mut);
        let Some(gossip) = network.and_then(|network| network.gossip.as_mut()) else {
            return;
        };
        act(gossip, &mut self.rng);
        self.carry_out(slot, now);
    }

    fn carry_out(&mut self, slot: NetworkSlot, now: Instant) {
        loop {
            let Some(network) = self.network_mut(slot) else {
                return;
            };
            let Some(output) = network.gossip.as_mut().and_then(Gossip::poll_output) else {
                return;
            };
            let id = network.id;
            let peer_slot = |key: &IdentityKey| network.by_identity.get(key).copied();
            match output {
                Output::Send {
                    to,
                    message,
                    expects_answer,
                } => {
                    if let Some(peer) = peer_slot(&to) {
                        self.with_peer(peer, now, |peer, context| {
                            peer.send_gossip(message, expects_answer, context, now);
                        });
                    }
                }
                Output::Received { from, documents } => {
                    self.outbox.events.push_back(Event::Gossip {
                        network: id,
                        peer: from,
                        documents,
                    });
                }
                Output::Keep(key) => {
                    if let Some(peer) = peer_slot(&key) {
                        self.with_peer(peer, now, |peer, context| peer.keep(context, now));
                    }
                }
                Output::LetGo(key) => {
                    if let Some(peer) = peer_slot(&key).and_then(|peer| self.peer_mut(peer)) {
                        peer.let_go();
                    }
                }
                Output::Seen(endpoints) => {
                    self.outbox.events.push_back(Event::Seen {
                        network: id,
                        endpoints,
                    });
                }
            }
        }
    }

    /// Gives gossip what peers have sent. Called after whatever may have brought messages.
    pub(super) fn hand_out_gossip(&mut self, now: Instant) {
        while let Some((peer, message, from)) = self.outbox.gossip.pop_front() {
            if let Some((network, key)) = self.name_of(peer) {
                self.with_gossip(network, now, |gossip, rng| {
                    gossip.handle_message(key, message, from.endpoint(), rng, now);
                });
            }
        }
    }

    /// Tells gossip that a peer's session came, went, or is elsewhere.
    pub(super) fn path_changed(
        &mut self,
        peer: (NetworkSlot, IdentityKey),
        before: Option<Way>,
        after: Option<Way>,
        now: Instant,
    ) {
        let (network, key) = peer;
        if let Some(Way::Direct(endpoint)) = after {
            let relay = RelayName::Member(key);
            self.relays.handle_moved(network, relay, endpoint, now);
            // By a relay it could not be asked to be one.
            if before.is_none_or(|way| way.endpoint().is_none()) {
                self.relays.handle_session_up(network, relay, now);
            }
        }
        self.with_gossip(network, now, |gossip, rng| match (before, after) {
            (None, Some(_)) => gossip.handle_session_up(key, rng, now),
            (Some(_), None) => gossip.handle_session_down(&key, now),
            (Some(before), Some(after)) if before != after => {
                let seen = after.endpoint().filter(|at| is_callable(*at));
                gossip.handle_peer_moved(key, seen);
            }
            (Some(_), Some(_)) | (None, None) => {}
        });
    }

    /// When gossip about some network wants to act.
    pub(super) fn gossip_due(&self) -> Option<Instant> {
        self.networks
            .iter()
            .flatten()
            .filter_map(|network| network.gossip.as_ref()?.poll_timeout())
            .min()
    }

    pub(super) fn handle_gossip_timeout(&mut self, now: Instant) {
        let due: Vec<NetworkSlot> = self
            .by_id
            .values()
            .copied()
            .filter(|slot| {
                let gossip = self
                    .network(*slot)
                    .and_then(|network| network.gossip.as_ref());
                gossip
                    .and_then(Gossip::poll_timeout)
                    .is_some_and(|at| at <= now)
            })
            .collect();
        for slot in due {
            self.with_gossip(slot, now, |gossip, rng| gossip.handle_timeout(rng, now));
        }
    }

    pub(super) fn name_of(&self, peer: PeerSlot) -> Option<(NetworkSlot, IdentityKey)> {
        let id = &self.peer(peer)?.id;
        Some((id.network, id.identity))
    }
}
