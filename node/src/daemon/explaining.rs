//! `node why`, and the daemon's part of `node doctor`: gathers what [`tombolo_engine::diagnosis`] judges.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tombolo_engine::{
    control::{PeerStatus, TriedStatus},
    diagnosis::{
        Finding,
        doctor::{Exit, Obstacle},
        why::{self, Because, Candidate, Ends, Facts, Route, Standing, Target},
    },
    membership::Directory,
    reconcile::{Clash, is_default},
    relay::RelayName,
};
use tombolo_proto::{
    config::MemberCert,
    id::{Mtu, NetworkId, NodeId, UnixSeconds},
    sixplane,
};

use super::{Daemon, network::Network, wall};
use crate::report::{
    NetworkStatus,
    diagnosis::{CandidateReport, DaemonFacts, WhyReport},
    rules::RulesReport,
};
use crate::sync::carriers::Carrier;

/// Whom a text means in one network.
struct Meant<'a> {
    cert: &'a MemberCert,
    kind: Kind,
    /// The prefix that leads to the member, if the text is an address behind it.
    prefix: Option<IpNet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Member,
    Removed,
    Expired,
}

impl Daemon {
    pub(super) fn why_report(&self, asked: &str, only: Option<NetworkId>) -> WhyReport {
        let wall = wall();
        let networks: Vec<&Network> = self
            .networks
            .values()
            .filter(|network| only.is_none_or(|only| only == network.id))
            .collect();
        let found = networks.iter().find_map(|network| {
            let meant = meant(network.directory.as_ref()?, asked, wall)?;
            Some((*network, meant))
        });
        let Some((network, meant)) = found else {
            return self.nobody(asked, networks.first().copied());
        };
        let node = meant.cert.node;
        let name = match meant.cert.name.as_str() {
            "" => node.to_string(),
            name => name.to_owned(),
        };
        let target = match meant.kind {
            Kind::Removed => Target::Removed,
            Kind::Expired => Target::Expired,
            Kind::Member if meant.cert.identity == self.me => Target::Myself,
            Kind::Member => match self.peer_of(network.id, node) {
                Some(peer) => Target::Member(Box::new(peer)),
                None => Target::Nobody,
            },
        };
        let route = meant.prefix.map(|prefix| Route {
            prefix,
            is_installed: self.host.is_installed(prefix, &network.link),
            clash: network
                .clashes
                .iter()
                .find(|clash| clash.prefix == prefix)
                .map(|clash| obstacle(clash, network.id)),
        });
        let relay = match &target {
            Target::Member(peer) => self.relay_in_words(peer),
            Target::Myself | Target::Nobody | Target::Removed | Target::Expired => None,
        };
        let candidates = match &target {
            Target::Member(peer) => self.candidates(peer),
            Target::Myself | Target::Nobody | Target::Removed | Target::Expired => Vec::new(),
        };
        let facts = Facts {
            name: name.clone(),
            route,
            relay,
            candidates,
            ..self.facts(asked, Some(network), target)
        };
        let explained = report(asked, &facts);
        let ruled = self.ruled(network.id, node);
        WhyReport {
            node: Some(node),
            name: Some(name),
            network: Some(network.id),
            steps: explained.steps.into_iter().chain(ruled).collect(),
            ..explained
        }
    }

    /// What the access rules have to do with a member: only what they stop here is known here.
    fn ruled(&self, network: NetworkId, node: NodeId) -> Vec<Finding> {
        let Some(rules) = self.engine.rules(network).map(RulesReport::from) else {
            return Vec::new();
        };
        let judged = format!(
            "{} access rule(s), default {}: this host judges what it receives, the other what it is sent",
            rules.rules.len(),
            rules.default
        );
        let stopped = rules.stopped.iter().filter(|it| it.node == Some(node));
        let mend = "if it should pass, change the rules: `tombolo-controller rule ls NETWORK`";
        [Finding::ok("rules", judged)]
            .into_iter()
            .chain(stopped.map(|it| Finding::warning("rules", it.sentence(), mend)))
            .collect()
    }

    fn nobody(&self, asked: &str, network: Option<&Network>) -> WhyReport {
        let facts = self.facts(asked, network, Target::Nobody);
        WhyReport {
            network: network.map(|network| network.id),
            ..report(asked, &facts)
        }
    }

    fn facts(&self, asked: &str, network: Option<&Network>, target: Target) -> Facts {
        let doc = network.and_then(|network| network.directory.as_ref()?.doc());
        Facts {
            asked: asked.to_owned(),
            name: asked.to_owned(),
            network: network.map_or_else(|| "any network".to_owned(), |it| it.id.to_string()),
            mtu: doc.map_or(Mtu::DEFAULT, |doc| doc.mtu).0,
            standing: network.map_or(Standing::NotFound, |network| self.standing_in(network)),
            target,
            route: None,
            own_endpoints: self.own_endpoints(Instant::now()),
            nat: self.nat_in_words(),
            relay: None,
            ends: network
                .map(|network| self.ends(network.id))
                .unwrap_or_default(),
            candidates: Vec::new(),
        }
    }

    /// What decides whether there can be direct paths.
    fn ends(&self, network: NetworkId) -> Ends {
        let by_tcp = self
            .authorities
            .get(&network.authority())
            .and_then(|authority| authority.connected.as_ref())
            .is_some_and(|connected| connected.carrier == Carrier::Tcp);
        Ends {
            is_udp_blocked: by_tcp || self.engine.has_relay_on_stream(network),
            mapping: self.mappings(),
        }
    }

    fn candidates(&self, peer: &PeerStatus) -> Vec<Candidate> {
        let candidate = |tried: &TriedStatus| Candidate {
            place: match (tried.way.endpoint(), tried.relay) {
                (Some(at), _) if self.engine.is_on_stream(tried.way) => {
                    let far_end = self.stream_from(at);
                    far_end.map_or_else(
                        || "a connection by TCP that has ended".to_owned(),
                        |at| format!("{at} by TCP"),
                    )
                }
                (Some(at), _) => at.to_string(),
                (None, relay) => self.relay_called(peer.network, relay),
            },
            tried: tried.tried,
            answered: tried.answered,
            latency: tried.latency,
        };
        peer.tried.iter().map(candidate).collect()
    }

    fn relay_called(&self, network: NetworkId, relay: Option<RelayName>) -> String {
        match relay.and_then(|relay| self.cert_of_relay(network, relay)) {
            Some(cert) if cert.name.is_empty() => format!("the member {}", cert.node),
            Some(cert) => format!("the member {}", cert.name),
            None => "a controller".to_owned(),
        }
    }

    fn relay_in_words(&self, peer: &PeerStatus) -> Option<String> {
        let called = self.relay_called(peer.network, Some(peer.relay?));
        let by_tcp = peer.way.is_some_and(|way| self.engine.is_on_stream(way));
        Some(if by_tcp {
            format!("{called} over TCP")
        } else {
            called
        })
    }

    fn standing_in(&self, network: &Network) -> Standing {
        let is_connected = self
            .authorities
            .get(&network.id.authority())
            .is_some_and(|authority| authority.connected.is_some());
        match network.status(&self.me, is_connected, wall()) {
            NetworkStatus::Ok | NetworkStatus::OfflineOk => Standing::Member { is_connected },
            NetworkStatus::Pending => Standing::Pending,
            NetworkStatus::Requesting => Standing::Requesting,
            NetworkStatus::Denied => Standing::Denied,
            NetworkStatus::NotFound => Standing::NotFound,
        }
    }

    fn peer_of(&self, network: NetworkId, node: NodeId) -> Option<PeerStatus> {
        let peers = self.engine.peers(Instant::now());
        peers
            .into_iter()
            .find(|peer| (peer.network, peer.node) == (network, node))
    }

    pub(super) fn daemon_facts(&self) -> DaemonFacts {
        let wall = wall();
        let directories = self
            .networks
            .values()
            .filter_map(|network| network.directory.as_ref());
        let newest_document = directories
            .flat_map(|directory| directory.members(wall).map(|cert| cert.issued_at))
            .max();
        let own = self
            .networks
            .values()
            .filter_map(|network| network.membership(&self.me, wall));
        let mut carries = [false; 2];
        for route in own.flat_map(|cert| &cert.routes) {
            carries[usize::from(matches!(route.prefix, IpNet::V6(_)))] = true;
        }
        let clashes = self.networks.values().flat_map(|network| {
            let clashes = network.obstacles();
            clashes.map(|clash| (network.id, obstacle(clash, network.id)))
        });
        let is_to_relay = self.config.file.relay.unwrap_or(true);
        DaemonFacts {
            newest_document,
            carries,
            is_translated: self.engine.is_translated(),
            takes_streams: is_to_relay.then_some(self.listening.is_some()),
            clashes: clashes.collect(),
            exits: self.exits(),
            defaults: DEFAULTS.map(|prefix| self.default_network(prefix)),
            intruders: self.host.intruders().to_vec(),
            reached: self.dial_back.reached(),
        }
    }
}

/// IPv4's and IPv6's.
const DEFAULTS: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
];

impl Daemon {
    /// The networks that leave the overlay here.
    fn exits(&self) -> Vec<Exit> {
        let mut exits = Vec::new();
        for network in self.networks.values() {
            let Some(me) = network.membership(&self.me, wall()) else {
                continue;
            };
            let directory = network.directory.as_ref();
            let doc = directory.and_then(|directory| directory.doc());
            let on_link = doc.into_iter().flat_map(|doc| doc.on_link.iter().copied());
            let automatic = IpNet::V6(sixplane::network(network.id));
            let ranges: Vec<IpNet> = on_link.chain([automatic]).collect();
            let carried = me.routes.iter().map(|route| route.prefix);
            exits.extend(carried.filter(is_default).map(|prefix| Exit {
                network: network.id.to_string(),
                interface: network.link.to_string(),
                prefix,
                ranges: ranges.clone(),
            }));
        }
        exits
    }

    fn default_network(&self, prefix: IpNet) -> Option<NetworkId> {
        let mut networks = self.networks.values();
        networks
            .find(|network| self.host.is_installed(prefix, &network.link))
            .map(|network| network.id)
    }
}

fn obstacle(clash: &Clash, network: NetworkId) -> Obstacle {
    Obstacle {
        said: clash.to_string(),
        mend: clash.mend(network),
    }
}

fn report(asked: &str, facts: &Facts) -> WhyReport {
    let explanation = why::explain(facts);
    WhyReport {
        asked: asked.to_owned(),
        node: None,
        name: None,
        network: None,
        conclusion: explanation.conclusion,
        reachable: explanation.is_reachable,
        relayed_because: match &facts.target {
            Target::Member(peer) => {
                Because::of_relayed(&facts.ends, peer).map(|because| because.name().to_owned())
            }
            Target::Myself | Target::Nobody | Target::Removed | Target::Expired => None,
        },
        candidates: facts.candidates.iter().map(CandidateReport::from).collect(),
        steps: explanation.steps,
    }
}

/// Members first, then those who were; then whoever the address lies behind.
fn meant<'a>(directory: &'a Directory, text: &str, wall: UnixSeconds) -> Option<Meant<'a>> {
    let address: Option<IpAddr> = text.parse().ok();
    let node: Option<NodeId> = text.parse().ok();
    let is_named = |cert: &MemberCert| {
        cert.name == text
            || Some(cert.node) == node
            || address.is_some_and(|address| cert.addresses.contains(&address))
    };
    if let Some(cert) = directory.members(wall).find(|cert| is_named(cert)) {
        return Some(Meant {
            cert,
            kind: Kind::Member,
            prefix: None,
        });
    }
    let mut former = directory.former_members(wall);
    if let Some((cert, is_removed)) = former.find(|(cert, _)| is_named(cert)) {
        let kind = if is_removed {
            Kind::Removed
        } else {
            Kind::Expired
        };
        return Some(Meant {
            cert,
            kind,
            prefix: None,
        });
    }
    let address = address?;
    let routes = directory.members(wall).flat_map(|cert| {
        let own = cert.prefix.map(|prefix| (IpNet::V6(prefix), 0));
        let routes = cert.routes.iter().map(|route| (route.prefix, route.metric));
        own.into_iter()
            .chain(routes)
            .map(move |(prefix, metric)| (cert, prefix, metric))
    });
    let (cert, prefix, _) = routes
        .filter(|(_, prefix, _)| prefix.contains(&address))
        .min_by_key(|(cert, prefix, metric)| {
            (u8::MAX - prefix.prefix_len(), *metric, cert.identity)
        })?;
    Some(Meant {
        cert,
        kind: Kind::Member,
        prefix: Some(prefix),
    })
}
