//! From documents to a working interface and back: when a network's TUN comes and goes.

use std::time::Instant;

use tombolo_engine::reconcile::NetworkPlan;
use tombolo_proto::{control::ToController, id::NetworkId};

use super::{Daemon, wall};
use crate::io::tun::Tun;

impl Daemon {
    /// Follows up on a network whose documents or standing have changed.
    pub(super) fn refresh_membership(&mut self, id: NetworkId) {
        let Some(network) = self.networks.get(&id) else {
            return;
        };
        let is_member = network.membership(&self.me, wall()).is_some();
        if let Some(slot) = network.slot
            && !self.dataplane.is_forwarding(slot)
        {
            tracing::warn!(network = %id, interface = %network.link, "The interface is gone, making it again");
            self.deactivate(id);
        }
        match (
            is_member,
            self.networks
                .get(&id)
                .is_some_and(|network| network.slot.is_some()),
        ) {
            (true, false) => self.activate(id),
            (false, true) => self.deactivate(id),
            (true, true) | (false, false) => {}
        }
        if let Some(network) = self.networks.get(&id)
            && network.slot.is_some()
            && let Some(directory) = &network.directory
        {
            self.engine.set_directory(directory, wall(), Instant::now());
        }
        self.docker.nudge();
        self.host_is_stale = true;
    }

    /// Makes interfaces anew that somebody has deleted.
    pub(super) fn revive_interfaces(&mut self) {
        let gone = |slot| !self.dataplane.is_forwarding(slot);
        let ids: Vec<NetworkId> = self
            .networks
            .values()
            .filter(|network| network.slot.is_some_and(gone))
            .map(|network| network.id)
            .collect();
        for id in ids {
            self.refresh_membership(id);
        }
    }

    /// Certificates expire and interfaces vanish without anybody telling.
    pub(super) fn refresh_all_memberships(&mut self) {
        let ids: Vec<NetworkId> = self.networks.keys().copied().collect();
        for id in ids {
            self.refresh_membership(id);
        }
    }

    fn activate(&mut self, id: NetworkId) {
        let now = Instant::now();
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(directory) = &network.directory else {
            return;
        };
        let forwarding = &self.config.file.forwarding;
        let tun = match Tun::create(&network.link, forwarding.queues(), forwarding.tun_offload) {
            Ok(tun) => tun,
            Err(error) => {
                let problem = error.to_string();
                if network.link_problem.as_ref() != Some(&problem) {
                    tracing::warn!(network = %id, "{problem}");
                }
                network.link_problem = Some(problem);
                return;
            }
        };
        let slot = self
            .engine
            .add_network(id, self.me, self.seed.transport(id, 0), now);
        self.engine
            .allow_default(id, network.settings.allow_default);
        if let Err(error) = self.dataplane.attach(slot, tun) {
            self.engine.remove_network(id, now);
            network.link_problem = Some(format!("failed to start a forwarding thread: {error}"));
            return;
        }
        network.slot = Some(slot);
        network.link_problem = None;
        self.engine.set_directory(directory, wall(), now);
        for (peer, endpoints) in &network.endpoints.peers {
            self.engine.set_endpoints(id, *peer, endpoints.clone(), now);
        }
        tracing::info!(network = %id, interface = %network.link, "Member of the network");
        self.hand_over_announcements(id, now);
        self.home_changed(id.authority());
    }

    /// Takes the network off this host: sessions, interface, addresses, routes.
    pub(super) fn deactivate(&mut self, id: NetworkId) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        if let Some(slot) = network.slot.take() {
            self.engine.remove_network(id, Instant::now());
            self.dataplane.publish(self.engine.fib());
            self.dataplane.detach(slot);
            tracing::info!(network = %id, interface = %network.link, "The network is off this host");
        }
        network.clashes.clear();
        self.host_is_stale = true;
    }

    pub(super) async fn reconcile_host(&mut self) {
        let plans: Vec<NetworkPlan<'_>> = self
            .networks
            .values()
            .filter_map(|network| network.plan(self.me))
            .collect();
        let reconciled = self.host.reconcile(&plans, wall()).await;
        for network in self.networks.values_mut() {
            let ours = reconciled
                .clashes
                .iter()
                .filter(|clash| clash.link == network.link);
            network.clashes = ours.cloned().collect();
            for clash in network
                .obstacles()
                .filter(|clash| !network.clashes_told.contains(clash))
            {
                tracing::warn!(network = %network.id, "{clash}");
            }
        }
        self.tell_clashes();
        if reconciled.addresses_changed {
            self.host_moved(Instant::now());
        }
    }

    /// Tells controllers what is not installed here, where that has changed.
    pub(super) fn tell_clashes(&mut self) {
        for network in self.networks.values_mut() {
            let Some(authority) = self.authorities.get(&network.id.authority()) else {
                continue;
            };
            if authority.connected.is_some()
                && network.slot.is_some()
                && network.clashes != network.clashes_told
            {
                authority.link.send(ToController::Clashes {
                    network: network.id,
                    clashes: network.clashes_in_words(),
                });
                network.clashes_told.clone_from(&network.clashes);
            }
        }
    }

    /// Writes what the disk does not have yet. A disk that refuses is reported, and tried again with the next tick.
    pub(super) fn write_caches(&mut self) {
        let mut problem = None;
        for network in self.networks.values_mut() {
            if let Err(error) = network.save() {
                problem = Some(format!("running from memory: {error:#}"));
            }
        }
        if problem != self.storage_problem {
            match &problem {
                Some(problem) => tracing::warn!("{problem}"),
                None => tracing::info!("The state directory can be written again"),
            }
        }
        self.storage_problem = problem;
    }

    /// A clean end: nothing of ours stays on the host.
    pub(super) async fn stop(mut self) {
        tracing::info!("Stopping");
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        for network in self.networks.values_mut() {
            network.unsaved.urgent |= network.unsaved.directory;
        }
        self.write_caches();
        self.host.withdraw().await;
        self.port_mapper.close().await;
        let authorities = std::mem::take(&mut self.authorities).into_values();
        futures_util::future::join_all(authorities.map(|authority| authority.link.close())).await;
    }
}
