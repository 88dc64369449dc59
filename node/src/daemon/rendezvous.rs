//! Meeting peers behind NATs: having them called, and calling them. When and how often is the engine's business.

use std::time::Instant;

use tombolo_proto::{
    config::EndpointAnnouncement,
    control::{RendezvousOutcome, ToController},
    id::NetworkId,
    key::IdentityKey,
    signed::Signed,
};

use super::Daemon;

impl Daemon {
    /// Has a peer that does not answer call this node: asks the replica that the peer says it is connected to. If that is
    /// not this node's own, it may be out of reach, so other peers are asked as well.
    pub(super) fn ask_for_call(&mut self, id: NetworkId, peer: IdentityKey) {
        let own_home = self.home(id.authority());
        let Some(announcement) = self.call_me_here(id) else {
            return;
        };
        let peers_home = self.networks.get(&id).and_then(|network| {
            let home = network.announcements.get(&peer)?.0.home?;
            let replicas = &network.directory.as_ref()?.keyring().replicas;
            replicas.contains(&home).then_some(home)
        });
        let message = ToController::Rendezvous {
            network: id,
            peer,
            announcement: announcement.clone(),
        };
        match self.authorities.get(&id.authority()) {
            Some(authority)
                if own_home.is_some() && (peers_home.is_none() || peers_home == own_home) =>
            {
                authority.link.send(message);
            }
            Some(_) | None => {
                if let Some(home) = peers_home {
                    let wanted = self.wanted(id.authority());
                    self.visits.say(home, message, wanted);
                }
                self.engine
                    .ask_peers_for_call(id, peer, announcement, Instant::now());
            }
        }
    }

    /// A controller has passed this node's wish on to a peer, or has not.
    pub(super) fn call_answered(
        &mut self,
        id: NetworkId,
        peer: IdentityKey,
        outcome: RendezvousOutcome,
    ) {
        tracing::debug!(network = %id, %peer, ?outcome, "Asked to have a peer call");
        if outcome == RendezvousOutcome::NotHere
            && let Some(announcement) = self.call_me_here(id)
        {
            self.engine
                .ask_peers_for_call(id, peer, announcement, Instant::now());
        }
    }

    /// What a peer that is to call has to know; nothing as long as this node does not know where it is.
    fn call_me_here(&mut self, id: NetworkId) -> Option<Signed<EndpointAnnouncement>> {
        let endpoints = self.own_endpoints(Instant::now());
        let home = self.home(id.authority());
        if endpoints.is_empty() {
            return None;
        }
        self.own_announcement(id, endpoints, home)
    }

    /// A peer asks to be called, through a controller or another peer.
    pub(super) fn called(
        &mut self,
        id: NetworkId,
        peer: IdentityKey,
        announcement: &Signed<EndpointAnnouncement>,
    ) {
        if self.peer_announced(id, peer, announcement) {
            tracing::debug!(network = %id, %peer, "A peer asks to be called");
            self.engine.handle_rendezvous(id, peer, Instant::now());
        }
    }
}
