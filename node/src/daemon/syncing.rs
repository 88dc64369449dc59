//! News from controllers: what a node does with each message.

use std::{sync::Arc, time::Instant};

use tombolo_engine::membership::Directory;
use tombolo_proto::{
    config::Keyring,
    control::{ToController, ToNode},
    id::{NetworkId, NodeId, Version},
    key::IdentityKey,
    signed::Signed,
};

use super::{Authority, Daemon};
use crate::sync::{AuthorityLink, Connected, Problem, SyncEvent, Wanted, trust::Trust};

impl Daemon {
    pub(super) fn handle_sync(&mut self, authority: NodeId, event: SyncEvent) {
        match event {
            SyncEvent::Connected(connected) => self.connected(authority, *connected),
            // What a connection said that was given up meanwhile is nobody's word any more.
            SyncEvent::Message(message) if self.is_connected_to(authority) => {
                self.handle_message(authority, *message);
            }
            SyncEvent::Message(_) => {}
            SyncEvent::Lost => self.lost(authority),
            SyncEvent::Failed(problem) => self.sync_failed(authority, &problem),
        }
    }

    /// Starts or updates the connection to a network's authority.
    pub(super) fn link_authority(&mut self, authority: NodeId, at_once: bool) {
        let wanted = self.wanted(authority);
        match self.authorities.get(&authority) {
            Some(known) => known.link.want(|now| {
                let nudges = now.nudges + u64::from(at_once);
                *now = Wanted { nudges, ..wanted };
            }),
            None => {
                let transport = Arc::clone(&self.transport);
                let link =
                    AuthorityLink::start(transport, authority, wanted, self.sync_sender.clone());
                self.authorities.insert(
                    authority,
                    Authority {
                        link,
                        connected: None,
                    },
                );
            }
        }
        self.resolve_names();
    }

    pub(super) fn wanted(&self, authority: NodeId) -> Wanted {
        let mut controllers = Vec::new();
        let mut trust = Trust {
            authority,
            pinned: None,
            digest: None,
            keyring: self
                .newest_directory(authority)
                .map(|held| held.keyring().clone()),
        };
        for network in self
            .networks_of(authority)
            .filter_map(|id| self.networks.get(&id))
        {
            for controller in network.controllers() {
                if !controllers.contains(&controller) {
                    controllers.push(controller);
                }
            }
            trust.pinned = trust.pinned.or(network.settings.root);
            trust.digest = trust.digest.or(network.settings.digest);
        }
        Wanted {
            controllers,
            trust,
            nudges: 0,
        }
    }

    pub(super) fn networks_of(&self, authority: NodeId) -> impl Iterator<Item = NetworkId> + use<> {
        let ids: Vec<_> = self
            .networks
            .keys()
            .copied()
            .filter(|id| id.authority() == authority)
            .collect();
        ids.into_iter()
    }

    fn connected(&mut self, authority: NodeId, connected: Connected) {
        tracing::info!(%authority, controller = %connected.controller, "Connected to a controller");
        let (root, keyring) = (connected.root, connected.keyring.clone());
        self.replica_places
            .insert(connected.replica, connected.address);
        self.visits
            .found(connected.replica, connected.controller.clone());
        if let Some(known) = self.authorities.get_mut(&authority) {
            known.connected = Some(connected);
        }
        for id in self.networks_of(authority) {
            self.greet(id, root, &keyring);
        }
        self.take_keyring(authority, &keyring);
        self.link_authority(authority, false);
        self.home_changed(authority);
        self.reflexive.ask_soon();
        self.ask_reflexive(Instant::now());
    }

    /// What a network has to say at the start of a connection.
    pub(super) fn greet(&mut self, id: NetworkId, root: IdentityKey, keyring: &Signed<Keyring>) {
        if !self.pin(id, root, keyring) {
            return;
        }
        self.ask_to_join(id);
    }

    /// What a member says once it knows that it is one: only members are told the directory and are heard.
    pub(super) fn speak_as_member(&mut self, id: NetworkId) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(authority) = self.authorities.get(&id.authority()) else {
            return;
        };
        let have = network
            .directory
            .as_ref()
            .map_or_else(Version::default, Directory::have);
        if let Some(moment) = network.endpoints_upto {
            authority.link.send(ToController::EndpointsSince {
                network: id,
                moment,
            });
        }
        authority
            .link
            .send(ToController::Sync { network: id, have });
        network.clashes_told.clone_from(&network.clashes);
        authority.link.send(ToController::Clashes {
            network: id,
            clashes: network.clashes_in_words(),
        });
        self.announce(id, Instant::now());
    }

    /// Pins the root key for ever and takes a newer keyring. `false` if this network does not believe that key.
    fn pin(&mut self, id: NetworkId, root: IdentityKey, keyring: &Signed<Keyring>) -> bool {
        let Some(network) = self.networks.get_mut(&id) else {
            return false;
        };
        let settings = &mut network.settings;
        let believed = match (settings.root, settings.digest) {
            (Some(pinned), _) => pinned == root,
            (None, Some(digest)) => digest == root.digest(),
            (None, None) => true,
        };
        if !believed {
            let controller = self
                .authorities
                .get(&id.authority())
                .and_then(|known| known.connected.as_ref());
            network.sync_problem = controller.map(|connected| {
                Problem::Distrusted(
                    connected.controller.clone(),
                    crate::sync::trust::Distrust::WrongKey,
                )
            });
            return false;
        }
        network.sync_problem = None;
        if settings.root.is_none() {
            network.trusted_on_first_use = settings.digest.is_none();
            if network.trusted_on_first_use {
                tracing::warn!(network = %id, key = %root, "Believed the network's key on first use; it is pinned from now on");
            }
            settings.root = Some(root);
            network.unsaved.settings = true;
        }
        network.incoming = None;
        if network.directory.is_none() {
            network.directory = Directory::new(id, root, keyring.clone()).ok();
            network.learn_controllers();
            self.write_caches();
        }
        true
    }

    /// Asks to be a member, or says again that this node is one: the answer is the network's standing.
    pub(super) fn ask_to_join(&mut self, id: NetworkId) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(authority) = self.authorities.get(&id.authority()) else {
            return;
        };
        network.ask_again = None;
        authority.link.send(ToController::Join {
            network: id,
            token: network.settings.token.clone().map(|token| token.0),
            transport: self.seed.transport(id, 0).public(),
            transport_epoch: 0,
            name: host_name(),
        });
    }

    pub(super) fn lost(&mut self, authority: NodeId) {
        tracing::info!(%authority, "Connection to the controller lost");
        if let Some(known) = self.authorities.get_mut(&authority) {
            known.connected = None;
        }
        self.fail_routes(authority);
        for id in self.networks_of(authority) {
            if let Some(network) = self.networks.get_mut(&id) {
                network.incoming = None;
                network.ask_again = None;
            }
        }
        self.home_changed(authority);
    }

    fn sync_failed(&mut self, authority: NodeId, problem: &Problem) {
        for id in self.networks_of(authority) {
            if let Some(network) = self.networks.get_mut(&id)
                && network.sync_problem.as_ref() != Some(problem)
            {
                tracing::warn!(network = %id, "{problem}");
                network.sync_problem = Some(problem.clone());
            }
        }
    }

    fn handle_message(&mut self, authority: NodeId, message: ToNode) {
        match message {
            ToNode::Status { network, standing } if network.authority() == authority => {
                self.take_standing(network, standing);
            }
            ToNode::Directory {
                network,
                entries,
                upto,
                more,
            } if network.authority() == authority => {
                self.take_directory(network, entries, upto, more);
            }
            ToNode::Endpoints {
                network,
                identity,
                announcement,
            } if network.authority() == authority => {
                self.peer_announced(network, identity, &announcement);
            }
            ToNode::Rendezvous {
                network,
                identity,
                announcement,
            } if network.authority() == authority => {
                self.called(network, identity, &announcement);
            }
            ToNode::RendezvousAnswer {
                network,
                peer,
                outcome,
            } if network.authority() == authority => self.call_answered(network, peer, outcome),
            ToNode::Relay { port } => self.relay_told(authority, port),
            ToNode::RelayAnswer {
                network,
                port,
                message,
            } if network.authority() == authority => self.relay_answered(network, port, &message),
            ToNode::RouteAnswer {
                network,
                request,
                outcome,
            } if network.authority() == authority => {
                self.route_answered(network, request, outcome);
            }
            ToNode::SubnetAnswer {
                network,
                request,
                outcome,
            } if network.authority() == authority => {
                self.subnet_answered(network, request, outcome);
            }
            ToNode::Keyring(keyring) => self.take_keyring(authority, &keyring),
            ToNode::EndpointsUpto { network, moment } if network.authority() == authority => {
                if let Some(network) = self.networks.get_mut(&network) {
                    network.endpoints_upto = Some(moment);
                }
            }
            ToNode::Status { .. }
            | ToNode::Directory { .. }
            | ToNode::Endpoints { .. }
            | ToNode::EndpointsUpto { .. }
            | ToNode::Rendezvous { .. }
            | ToNode::RendezvousAnswer { .. }
            | ToNode::RelayAnswer { .. }
            | ToNode::RouteAnswer { .. }
            | ToNode::SubnetAnswer { .. } => {
                tracing::warn!(%authority, "A controller spoke of a network that is not its own");
            }
            ToNode::Unsupported { variant } => {
                tracing::debug!(%authority, variant, "The controller is older and does not know a message");
            }
            ToNode::Welcome { .. } | ToNode::Incompatible { .. } => {
                tracing::debug!(%authority, "A greeting out of turn");
            }
        }
    }
}

/// A name to suggest to whoever authorises this node.
fn host_name() -> String {
    hostname::get().map_or_else(
        |_| "node".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
