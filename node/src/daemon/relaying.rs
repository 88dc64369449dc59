//! Relays: which ones this node can be reached through, and what is said to those that are controllers.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tombolo_engine::relay::RelayName;
use tombolo_proto::{
    config::{MAX_ENDPOINTS, MemberCert},
    control::{ToController, ToNode},
    id::{NetworkId, NodeId},
    key::IdentityKey,
    relay::RelayMessage,
};

use super::{Daemon, wall};
use crate::{
    cli::DATA_PORT,
    report::RelayReport,
    sync::{carriers::Carrier, visits::Answered},
};

impl Daemon {
    /// Other members relay for this node than before.
    pub(super) fn relays_chosen(&mut self, id: NetworkId, relays: Vec<IpAddr>) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        if network.relays != relays {
            tracing::debug!(network = %id, ?relays, "Reached through relays");
            network.relays = relays;
            self.announce(id, Instant::now());
        }
    }

    /// Adds the members that relay for this node to where it can be reached.
    pub(super) fn with_relays(
        &self,
        id: NetworkId,
        mut endpoints: Vec<SocketAddr>,
    ) -> Vec<SocketAddr> {
        let relays = self.networks.get(&id).map(|network| &network.relays[..]);
        let relays = relays.unwrap_or_default();
        endpoints.truncate(MAX_ENDPOINTS - relays.len().min(MAX_ENDPOINTS));
        let relays = relays
            .iter()
            .map(|relay| SocketAddr::new(*relay, DATA_PORT));
        endpoints.extend(relays);
        endpoints
    }

    /// The relays that this node keeps warm.
    pub(super) fn relay_reports(&self, id: NetworkId) -> Vec<RelayReport> {
        let relays = self.engine.warm_relays(id).into_iter();
        let report = |(relay, round_trip): (RelayName, Duration)| {
            let cert = self.cert_of_relay(id, relay);
            RelayReport {
                node: cert.map(|cert| cert.node),
                name: cert.map_or_else(|| "controller".to_owned(), |cert| cert.name.clone()),
                latency_ms: round_trip.as_secs_f64() * 1e3,
            }
        };
        relays.map(report).collect()
    }

    /// The member that relays; `None` if it is a controller.
    pub(super) fn member_that_relays(&self, id: NetworkId, relay: RelayName) -> Option<NodeId> {
        self.cert_of_relay(id, relay).map(|cert| cert.node)
    }

    pub(super) fn cert_of_relay(&self, id: NetworkId, relay: RelayName) -> Option<&MemberCert> {
        let RelayName::Member(key) = relay else {
            return None;
        };
        let directory = self.networks.get(&id)?.directory.as_ref()?;
        directory.member(&key, wall())
    }

    /// Says something to a replica that relays: on this node's own connection, or on a visit.
    pub(super) fn say_to_relay(
        &mut self,
        id: NetworkId,
        replica: IdentityKey,
        message: RelayMessage,
    ) {
        let said = ToController::Relay {
            network: id,
            message,
        };
        if self.home(id.authority()) == Some(replica) {
            if let Some(authority) = self.authorities.get(&id.authority()) {
                authority.link.send(said);
            }
            return;
        }
        let directory = self
            .networks
            .get(&id)
            .and_then(|network| network.directory.as_ref());
        if directory.is_some_and(|directory| directory.keyring().replicas.contains(&replica)) {
            let wanted = self.wanted(id.authority());
            self.visits.say(replica, said, wanted);
        }
    }

    /// The replica that this node is connected to answers, as a relay.
    pub(super) fn relay_answered(&mut self, id: NetworkId, port: u16, message: &RelayMessage) {
        let connected = self
            .authorities
            .get(&id.authority())
            .and_then(|authority| authority.connected.as_ref());
        if let Some(connected) = connected {
            let at = SocketAddr::new(connected.address.ip().to_canonical(), port);
            let replica = connected.replica;
            self.engine
                .handle_relay_message(id, replica, message, at, Instant::now());
        }
    }

    /// A replica that was visited answers.
    pub(super) fn visited(&mut self, answered: Answered) {
        self.replica_places
            .insert(answered.replica, answered.address);
        if let ToNode::RelayAnswer {
            network,
            port,
            message,
        } = answered.message
        {
            let at = SocketAddr::new(answered.address.ip().to_canonical(), port);
            self.engine.handle_relay_message(
                network,
                answered.replica,
                &message,
                at,
                Instant::now(),
            );
        }
    }

    /// Another replica than before is this node's own, or none is.
    pub(super) fn home_changed(&mut self, authority: NodeId) {
        let known = self.authorities.get(&authority);
        let connected = known.and_then(|known| known.connected.as_ref());
        let home = connected.map(|connected| connected.replica);
        let passes_udp = connected.is_none_or(|connected| connected.carrier == Carrier::Udp);
        let now = Instant::now();
        let networks = self.networks.keys();
        let of: Vec<NetworkId> = networks
            .copied()
            .filter(|id| id.authority() == authority)
            .collect();
        for id in of {
            self.engine.set_controller_relay(id, home, passes_udp, now);
        }
    }
}
