//! What the daemon tells about itself.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tombolo_engine::{
    control::PeerStatus, path::way::Way, reconcile::ROUTE_METRIC, relay::RelayName,
};
use tombolo_proto::id::NetworkId;

use super::{Daemon, boot::has_aes, network::Network, wall};
use crate::{
    host::queue_drops,
    io::udp::UdpPort,
    names::Names,
    report::{
        ForwardingReport, NetworkReport, PathKind, PathReport, PeerReport, RelayedReport,
        RouteReport, RouteState, StatusReport,
    },
    sync::carriers::Carrier,
};

impl Daemon {
    pub(super) fn status_report(&self) -> StatusReport {
        let mut warnings = self.damaged.clone();
        warnings.extend(self.storage_problem.iter().cloned());
        warnings.extend(self.host.failures().iter().cloned());
        warnings.extend(self.docker.problems());
        let names = self.names.as_ref().map(Names::status);
        warnings.extend(names.iter().flat_map(|names| names.problems.clone()));
        let relayed = self.engine.relay().totals();
        StatusReport {
            relayed: RelayedReport {
                clients: relayed.clients,
                frames: relayed.frames,
                bytes: relayed.bytes,
                over_budget: relayed.over_budget,
            },
            node: self.node,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            port: self.udp.port(),
            state_dir: path::absolute(&self.config.state_dir).ok(),
            endpoints: self
                .own_endpoints(Instant::now())
                .into_iter()
                .filter(|endpoint| endpoint.port() != 0)
                .collect(),
            nat: self.nat_report(Instant::now()),
            warnings,
            forwarding: self.forwarding_report(),
            names: names.map(|names| names.listening),
            dropped: self.dropped(),
            networks: self
                .networks
                .keys()
                .filter_map(|id| self.network_report(*id))
                .collect(),
        }
    }

    /// What this node dropped, and what the kernel did because this node was too slow.
    fn dropped(&self) -> BTreeMap<String, u64> {
        let links = self.networks.values();
        let interfaces = links.map(|network| network.link.to_string()).collect();
        let mut dropped = owned(self.engine.fib().counters().report());
        let queues = [
            ("tun_queue_full", queue_drops::of_interfaces(&interfaces)),
            ("udp_queue_full", queue_drops::of_sockets(self.udp.port())),
        ];
        for (reason, count) in queues {
            if count > 0 {
                dropped.insert(reason.to_owned(), count);
            }
        }
        dropped
    }

    fn forwarding_report(&self) -> ForwardingReport {
        ForwardingReport {
            queues: self.config.file.forwarding.queues(),
            cpu_aes: has_aes(),
            udp_gso: self.udp.iter().all(|socket| socket.max_segments() > 1),
            udp_gro: self.udp.iter().all(UdpPort::receives_trains),
        }
    }

    pub(super) fn network_report(&self, id: NetworkId) -> Option<NetworkReport> {
        let network = self.networks.get(&id)?;
        let connected = self
            .authorities
            .get(&id.authority())
            .and_then(|known| known.connected.as_ref());
        let membership = network.membership(&self.me, wall());
        let doc = network
            .directory
            .as_ref()
            .and_then(|directory| directory.doc());
        Some(NetworkReport {
            id,
            name: doc.map(|doc| doc.name.clone()),
            status: network.status(&self.me, connected.is_some(), wall()),
            addresses: membership
                .map(|cert| cert.addresses.iter().copied().collect())
                .unwrap_or_default(),
            prefix: membership.and_then(|cert| cert.prefix).map(IpNet::V6),
            interface: network.link.to_string(),
            offload: network
                .slot
                .and_then(|slot| self.dataplane.offload(slot))
                .map(|offload| {
                    offload
                        .names()
                        .iter()
                        .map(|&name| name.to_owned())
                        .collect()
                })
                .unwrap_or_default(),
            mtu: doc.map(|doc| doc.mtu.0),
            clashes: network.clashes_in_words(),
            not_taken: network.not_taken(),
            rules: self.engine.rules(id).map(Into::into),
            alarms: network.alarms.iter().cloned().collect(),
            controller: connected.map(|connected| connected.controller.to_string()),
            carrier: connected.map(|connected| connected.carrier.name().to_owned()),
            relays: self.relay_reports(id),
            problem: problem(network, connected.is_some()),
            allow_global: network.settings.allow_global,
            allow_default: network.settings.allow_default,
        })
    }

    pub(super) fn peer_reports(&self) -> Vec<PeerReport> {
        self.engine
            .peers(Instant::now())
            .into_iter()
            .map(|peer| self.peer_report(peer))
            .collect()
    }

    /// Those that there are sessions with.
    pub(super) fn session_reports(&self) -> Vec<PeerReport> {
        self.engine
            .sessions(Instant::now())
            .into_iter()
            .map(|peer| self.peer_report(peer))
            .collect()
    }

    pub(super) fn peer_report(&self, peer: PeerStatus) -> PeerReport {
        let doc = self
            .networks
            .get(&peer.network)
            .and_then(|network| network.directory.as_ref()?.doc());
        let way = peer.way.filter(|_| peer.cipher.is_some());
        let mtu = peer
            .mtu
            .or(doc.filter(|_| way.is_some()).map(|doc| doc.mtu.0));
        let path_of = |way: Option<Way>, relay: Option<RelayName>| PathReport {
            via: relay.and_then(|relay| self.member_that_relays(peer.network, relay)),
            mtu,
            ..self.path_report(way)
        };
        PeerReport {
            node: peer.node,
            name: peer.name,
            network: peer.network,
            addresses: peer.addresses,
            path: path_of(way, peer.relay),
            standby: peer
                .standby
                .iter()
                .map(|standby| PathReport {
                    mtu: None,
                    ..path_of(Some(standby.way), standby.relay)
                })
                .collect(),
            latency_ms: peer.latency.map(|latency| latency.as_secs_f64() * 1e3),
            last_handshake: peer.last_handshake.as_ref().map(Duration::as_secs_f64),
            cipher: peer.cipher.map(str::to_owned),
            key_exchange: peer.key_exchange.map(str::to_owned),
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            rx_packets: peer.rx_packets,
            tx_packets: peer.tx_packets,
            dropped: owned(peer.dropped),
        }
    }

    /// What a way is by itself: without who relays and what passes.
    pub(super) fn path_report(&self, way: Option<Way>) -> PathReport {
        let carrier = |way| {
            if self.engine.is_on_stream(way) {
                Carrier::Tcp
            } else {
                Carrier::Udp
            }
        };
        PathReport {
            kind: match way {
                Some(Way::Direct(_) | Way::Through { .. }) => PathKind::Direct,
                Some(Way::Relay { .. }) => PathKind::Relay,
                None => PathKind::None,
            },
            endpoint: way.and_then(|way| self.far_end(way)),
            via: None,
            mtu: None,
            carrier: way.map(|way| carrier(way).name().to_owned()),
        }
    }

    /// The endpoint of a way; of a stream, its other end.
    pub(super) fn far_end(&self, way: Way) -> Option<SocketAddr> {
        let endpoint = way.endpoint()?;
        Some(self.stream_from(endpoint).unwrap_or(endpoint))
    }

    /// The other end of the stream that stands behind an endpoint, if there is one.
    pub(super) fn stream_from(&self, endpoint: SocketAddr) -> Option<SocketAddr> {
        let accepted = || self.listening.as_ref()?.remote(endpoint);
        self.streams.remote(endpoint).or_else(accepted)
    }

    pub(super) fn route_reports(&self) -> Vec<RouteReport> {
        let mut routes = Vec::new();
        for network in self
            .networks
            .values()
            .filter(|network| network.slot.is_some())
        {
            let Some(directory) = &network.directory else {
                continue;
            };
            let report = |prefix, via, via_name, metric, own| {
                let installed = self.host.is_installed(prefix, &network.link);
                let state = match (own, installed) {
                    (true, _) => RouteState::Own,
                    (false, true) => RouteState::Installed,
                    (false, false) => RouteState::NotInstalled,
                };
                let interface = (state == RouteState::Installed).then(|| network.link.to_string());
                let mut clashes = network.clashes.iter();
                let clash = clashes.find(|clash| clash.prefix == prefix);
                let clash = clash.filter(|_| state == RouteState::NotInstalled);
                RouteReport {
                    prefix,
                    network: network.id,
                    via,
                    via_name,
                    metric,
                    state,
                    interface,
                    reason: clash.map(|clash| match clash.setting() {
                        Some(_) => format!("{}: {}", clash.reason, clash.mend(network.id)),
                        None => clash.reason.to_string(),
                    }),
                }
            };
            let on_link = directory.doc().into_iter().flat_map(|doc| &doc.on_link);
            routes.extend(on_link.map(|prefix| report(*prefix, None, None, ROUTE_METRIC, false)));
            for member in directory.members(wall()) {
                let own = member.identity == self.me;
                let prefixes = member
                    .routes
                    .iter()
                    .map(|route| (route.prefix, route.metric));
                routes.extend(prefixes.map(|(prefix, metric)| {
                    report(
                        prefix,
                        Some(member.node),
                        Some(member.name.clone()),
                        metric,
                        own,
                    )
                }));
            }
        }
        routes
    }
}

/// The first thing that keeps the network from working as it should.
fn problem(network: &Network, connected: bool) -> Option<String> {
    let sync = network
        .sync_problem
        .as_ref()
        .filter(|_| !connected)
        .map(ToString::to_string);
    let wrong_key = network
        .sync_problem
        .as_ref()
        .filter(|problem| problem.is_wrong_key())
        .map(ToString::to_string);
    let unknown = "the controller knows no such network: check the id, then leave it";
    let unknown = network.settings.not_found.then(|| unknown.to_owned());
    network
        .settings
        .denied
        .clone()
        .or(unknown)
        .or_else(|| network.link_problem.clone())
        .or(wrong_key)
        .or(sync)
}

fn owned(counts: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts
        .into_iter()
        .map(|(reason, count)| (reason.to_owned(), count))
        .collect()
}
