//! Newer keyrings, whoever brings them: more controllers to try, a controller to leave, an epoch that begins or ends.

use std::time::Instant;

use tombolo_engine::membership::Directory;
use tombolo_proto::{
    config::Keyring,
    id::{NetworkId, NodeId},
    signed::Signed,
};

use super::{Daemon, wall};

impl Daemon {
    /// Takes a keyring in every network of its authority: what proves itself in one is true in all.
    pub(super) fn take_keyring(&mut self, authority: NodeId, keyring: &Signed<Keyring>) {
        for id in self.networks_of(authority) {
            let Some(network) = self.networks.get_mut(&id) else {
                continue;
            };
            if let Some(incoming) = &mut network.incoming {
                let _ = incoming.accept_keyring(keyring.clone(), wall());
            }
            let Some(mut directory) = network.directory.clone() else {
                continue;
            };
            match directory.accept_keyring(keyring.clone(), wall()) {
                Ok(true) => self.adopt(id, directory, None),
                Ok(false) => {}
                Err(refused) => {
                    tracing::warn!(network = %id, %refused, "Refused a keyring");
                    network.note(&refused);
                }
            }
        }
    }

    /// What the newest keyring of an authority means for the connection to its controllers.
    pub(super) fn follow_keyring(&mut self, authority: NodeId) {
        self.link_authority(authority, false);
        let Some(newest) = self.newest_directory(authority) else {
            return;
        };
        let (keyring, signed) = (newest.keyring().clone(), newest.signed_keyring().clone());
        let connected = self
            .authorities
            .get_mut(&authority)
            .and_then(|known| known.connected.as_mut());
        let Some(connected) = connected else {
            return;
        };
        connected.keyring = signed;
        if !keyring.replicas.contains(&connected.replica) {
            tracing::warn!(%authority, controller = %connected.controller, "The controller's key was revoked: looking for another");
            self.change_controller(authority);
        }
    }

    /// Gives the connection to a controller up for one to another. What this one may still say is not heard.
    fn change_controller(&mut self, authority: NodeId) {
        self.lost(authority);
        if let Some(known) = self.authorities.get(&authority) {
            known.link.hang_up();
        }
    }

    /// Asks another controller where one has said no: its key may be in other hands, and who is denied hears nothing from
    /// peers.
    pub(super) fn seek_second_opinions(&mut self, now: Instant) {
        let mut due: Vec<NodeId> = Vec::new();
        for network in self.networks.values_mut() {
            if network.second_opinion.is_some_and(|at| at <= now) {
                network.second_opinion = None;
                if network.controllers().len() > 1 {
                    due.push(network.id.authority());
                }
            }
        }
        due.dedup();
        for authority in due {
            if self.is_connected_to(authority) {
                self.change_controller(authority);
            }
        }
    }

    /// Of an authority's networks, the directory with the newest keyring.
    pub(super) fn newest_directory(&self, authority: NodeId) -> Option<&Directory> {
        self.networks_of(authority)
            .filter_map(|id| self.networks.get(&id)?.directory.as_ref())
            .max_by_key(|directory| directory.keyring_version())
    }

    /// Ends what of an old epoch has had its time.
    pub(super) fn end_rollovers(&mut self, now: Instant) {
        let mut over: Vec<NetworkId> = Vec::new();
        for network in self.networks.values_mut() {
            let left = network
                .directory
                .as_ref()
                .and_then(|directory| directory.rollover_left(wall()));
            // Once that is known, steps of the wall clock change nothing.
            network.rollover_ends = left.map(|left| network.rollover_ends.unwrap_or(now + left));
            if network.rollover_ends.is_some_and(|ends| ends <= now) {
                over.push(network.id);
            }
        }
        for id in over {
            tracing::warn!(network = %id, "The directory of the new keyring never came whole: what it does not name is dropped");
            if let Some(network) = self.networks.get_mut(&id)
                && let Some(directory) = &mut network.directory
            {
                directory.end_rollover();
                network.unsaved.directory = true;
                network.unsaved.urgent = true;
                network.rollover_ends = None;
            }
            self.write_caches();
            self.refresh_membership(id);
        }
    }
}
