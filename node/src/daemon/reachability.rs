//! Where this node can be reached, and where its peers were: asking, announcing, remembering.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::Rng as _;
use tombolo_engine::{endpoint::is_callable, path::way::Way};
use tombolo_proto::{
    config::{EndpointAnnouncement, MAX_ENDPOINTS},
    control::ToController,
    frame::{self, FrameKind},
    id::{NetworkId, NodeId},
    key::IdentityKey,
    link::HostPort,
    signed::Signed,
};

use super::{
    Daemon, Resolved,
    uplink::{MAX_LOCAL, local_addresses},
};
use crate::names::lookup;

/// Controllers answer STUN here, unless they say otherwise.
const STUN_PORT: u16 = 9793;
/// Controllers that are asked: two tell whether a NAT maps every destination alike.
const STUN_SERVERS: usize = 4;
/// A name server that does not answer must not hold up the rest.
const RESOLVE: Duration = Duration::from_secs(3);

impl Daemon {
    /// Takes a STUN answer; `false` if the datagram is something else.
    pub(super) fn handle_stun(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> bool {
        // Questions begin otherwise, and are answered by the engine.
        if frame::kind(datagram) != Some(FrameKind::Stun) || datagram.first() != Some(&1) {
            return false;
        }
        if self.seen_from_outside(from, datagram, now) {
            return true;
        }
        if self.reflexive.handle_answer(from, datagram, now) {
            tracing::debug!(endpoints = ?self.reflexive.addresses(now), "Seen from outside");
            self.announce_everywhere(now);
        }
        // Another port may have been named, and with it there may be enough to know the NAT.
        self.ask_reflexive(now);
        self.look_at_nat(now);
        true
    }

    pub(super) fn ask_reflexive(&mut self, now: Instant) {
        let questions = self.reflexive.questions(|| rand::rng().random(), now);
        for (server, question) in questions {
            // A question that is lost is repeated.
            let _ = self.send_to(server, &question);
        }
    }

    /// The host's addresses have changed: so have its mappings, and a controller may be reachable again.
    pub(super) fn host_moved(&mut self, now: Instant) {
        self.forget_nat();
        self.reflexive.ask_soon();
        self.ask_reflexive(now);
        self.engine.host_moved(now);
        self.announce_everywhere(now);
        for authority in self.authorities.values() {
            if authority.connected.is_none() {
                authority.link.want(|wanted| wanted.nudges += 1);
            }
        }
    }

    /// The controller says where it answers STUN.
    pub(super) fn relay_told(&mut self, authority: NodeId, port: u16) {
        let controller = self
            .authorities
            .get(&authority)
            .and_then(|authority| Some(authority.connected.as_ref()?.controller.clone()));
        if let Some(controller) = controller
            && self
                .relay_ports
                .insert(controller, port)
                .unwrap_or(STUN_PORT)
                != port
        {
            self.resolve_names();
        }
    }

    /// The replica this node is connected to.
    pub(super) fn home(&self, authority: NodeId) -> Option<IdentityKey> {
        Some(
            self.authorities
                .get(&authority)?
                .connected
                .as_ref()?
                .replica,
        )
    }

    /// Looks up the names of STUN servers and of what is to be advertised; the result comes back as an input.
    pub(super) fn resolve_names(&self) {
        let mut hosts: Vec<HostPort> = Vec::new();
        let connected = self
            .authorities
            .values()
            .filter_map(|authority| authority.connected.as_ref());
        let known = self
            .networks
            .values()
            .flat_map(|network| network.controllers());
        for controller in connected
            .map(|connected| connected.controller.clone())
            .chain(known)
        {
            let port = self.relay_ports.get(&controller).copied();
            let stun = controller.at_port(port.unwrap_or(STUN_PORT));
            if !hosts.contains(&stun) {
                hosts.push(stun);
            }
        }
        hosts.truncate(STUN_SERVERS);
        let advertise = self.config.advertise.clone();
        let sender = self.resolved_sender.clone();
        tokio::spawn(async move {
            let resolved = Resolved {
                stun: resolve(&hosts).await,
                advertised: resolve(&advertise).await,
            };
            // If the daemon has stopped meanwhile, nobody wants to know.
            let _ = sender.send(resolved).await;
        });
    }

    pub(super) fn handle_resolved(&mut self, resolved: Resolved) {
        let now = Instant::now();
        self.reflexive.set_servers(resolved.stun);
        if self.advertised != resolved.advertised {
            self.advertised = resolved.advertised;
            self.announce_everywhere(now);
        }
        self.ask_reflexive(now);
    }

    /// Where others can reach this node, best first.
    pub(super) fn own_endpoints(&self, now: Instant) -> Vec<SocketAddr> {
        let mut endpoints = self.outer_endpoints(now);
        // Those behind the same NAT reach it here, and seldom by way of the NAT.
        endpoints.truncate(MAX_ENDPOINTS - MAX_LOCAL);
        for local in local_addresses() {
            let local = SocketAddr::new(local, self.udp.port());
            if !endpoints.contains(&local) {
                endpoints.push(local);
            }
        }
        endpoints
    }

    /// Where this node is said to be, or was seen from elsewhere.
    fn outer_endpoints(&self, now: Instant) -> Vec<SocketAddr> {
        let mut endpoints = self.advertised.clone();
        endpoints.extend(self.port_mapper.mapped());
        // Whoever cannot be called over UDP is called there by TCP. Mostly it is the same place.
        let mapped = self.port_mapper.mapped_tcp();
        if let Some(mapped) = mapped.filter(|mapped| !endpoints.contains(mapped)) {
            endpoints.push(mapped);
        }
        endpoints.extend(self.vague_endpoints(now));
        for seen in self.reflexive.addresses(now) {
            if !endpoints.contains(&seen) {
                endpoints.push(seen);
            }
        }
        for seen in self.networks.values().flat_map(|network| &network.seen) {
            if !endpoints.contains(seen) {
                endpoints.push(*seen);
            }
        }
        endpoints
    }

    pub(super) fn announce_everywhere(&mut self, now: Instant) {
        let ids: Vec<NetworkId> = self.networks.keys().copied().collect();
        for id in ids {
            self.announce(id, now);
        }
    }

    /// Tells the peers and the controller of one network where this node is.
    pub(super) fn announce(&mut self, id: NetworkId, now: Instant) {
        let endpoints = self.own_endpoints(now);
        let is_member = self
            .networks
            .get(&id)
            .is_some_and(|network| network.slot.is_some());
        let home = self.home(id.authority());
        if endpoints.is_empty() || !(is_member || home.is_some()) {
            return;
        }
        let outer = self.outer_endpoints(now);
        let is_translated = !self.is_seen_here(&outer);
        self.engine.set_translated(is_translated);
        self.engine
            .set_public(!is_translated || self.port_mapper.mapped().is_some());
        let Some(announcement) = self.own_announcement(id, endpoints, home) else {
            return;
        };
        if home.is_some()
            && let Some(authority) = self.authorities.get(&id.authority())
        {
            authority.link.send(ToController::Announce {
                network: id,
                announcement,
            });
        }
    }

    /// Takes a peer's own word on where it can be reached, from a controller; whether it is the peer's word.
    pub(super) fn peer_announced(
        &mut self,
        id: NetworkId,
        peer: IdentityKey,
        announcement: &Signed<EndpointAnnouncement>,
    ) -> bool {
        let Ok(announced) = announcement.verify(id.into(), |signer| *signer == peer) else {
            tracing::debug!(network = %id, %peer, "Refused an endpoint announcement");
            return false;
        };
        if peer != self.me {
            self.take_announcement(id, peer, (announced, announcement.clone()), None);
        }
        true
    }

    /// Remembers where a peer was heard, for the next start.
    pub(super) fn heard_from(&mut self, id: NetworkId, peer: IdentityKey, way: Way) {
        if let Some(network) = self.networks.get_mut(&id)
            && let Some(endpoint) = way.endpoint()
            && is_callable(endpoint)
            && network.endpoints.heard(peer, endpoint)
        {
            network.unsaved.endpoints = true;
        }
    }
}

async fn resolve(hosts: &[HostPort]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for host in hosts {
        addresses.extend(lookup::places(host.host(), host.port(), RESOLVE).await);
    }
    addresses
}
