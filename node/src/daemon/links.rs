//! What controllers are told of the links to peers, for people to look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tombolo_proto::{
    control::ToController,
    id::{NetworkId, NodeId},
    links::{Link, LinkReport, LinkWay, MAX_LINKS},
};

use super::Daemon;
use crate::{
    report::{PathKind, PeerReport},
    sync::carriers::Carrier,
};

/// How often everything is told.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked whether peers came or went, or are reached in another way: that is told at once.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What was told, by network.
#[derive(Debug, Default)]
pub(super) struct Links {
    looked: Option<Instant>,
    told: BTreeMap<NetworkId, Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    ways: BTreeMap<NodeId, LinkWay>,
    by_tcp: BTreeSet<NodeId>,
    /// Of all peers, since they are known.
    sent: u64,
    received: u64,
}

impl Daemon {
    /// Tells controllers of links: now and then, and when they have changed.
    pub(super) fn tell_links(&mut self, now: Instant) {
        let is_due = |at: Instant| now.duration_since(at) >= LOOK_EVERY;
        if !self.links.looked.is_none_or(is_due) {
            return;
        }
        self.links.looked = Some(now);
        let networks = &self.networks;
        self.links.told.retain(|id, _| networks.contains_key(id));
        let listening: Vec<_> = networks
            .values()
            .filter(|network| network.slot.is_some())
            .filter_map(|network| {
                let authority = self.authorities.get(&network.id.authority())?;
                let is_connected = authority.connected.is_some();
                is_connected.then_some((network, &authority.link))
            })
            .collect();
        if listening.is_empty() {
            return;
        }
        let mut peers: BTreeMap<NetworkId, Vec<PeerReport>> = BTreeMap::new();
        for peer in self.session_reports() {
            peers.entry(peer.network).or_default().push(peer);
        }
        let relay = self.engine.relay();
        for (network, link) in listening {
            let peers = peers.remove(&network.id).unwrap_or_default();
            let traffic = self.engine.traffic(network.id);
            let before = self.links.told.get(&network.id);
            if let Some((report, told)) = report(peers, traffic, before, now) {
                if !told.by_tcp.is_empty() {
                    link.send(ToController::ByTcp {
                        network: network.id,
                        peers: told.by_tcp.iter().copied().collect(),
                    });
                }
                self.links.told.insert(network.id, told);
                link.send(ToController::Carries {
                    network: network.id,
                    carried: relay.carried(network.id),
                });
                link.send(ToController::Links {
                    network: network.id,
                    report,
                });
            }
        }
    }
}

/// What there is to tell of sessions and of the bytes that passed in all; nothing while it is too soon.
fn report(
    mut peers: Vec<PeerReport>,
    (sent, received): (u64, u64),
    before: Option<&Told>,
    now: Instant,
) -> Option<(LinkReport, Told)> {
    peers.sort_by_key(|peer| std::cmp::Reverse(peer.tx_bytes.saturating_add(peer.rx_bytes)));
    let links: Vec<Link> = peers.iter().filter_map(link).take(MAX_LINKS).collect();
    let told = Told {
        at: now,
        ways: links.iter().map(|link| (link.peer, link.way)).collect(),
        by_tcp: peers
            .iter()
            .filter(|peer| peer.path.carrier.as_deref() == Some(Carrier::Tcp.name()))
            .map(|peer| peer.node)
            .take(MAX_LINKS)
            .collect(),
        sent,
        received,
    };
    let elapsed = before.map(|before| now.duration_since(before.at));
    let is_same =
        before.is_some_and(|before| before.ways == told.ways && before.by_tcp == told.by_tcp);
    if is_same && elapsed.is_some_and(|elapsed| elapsed < TELL_EVERY) {
        return None;
    }
    // Counters of peers that went away are gone, so a sum may shrink.
    let rate = |now: u64, before: Option<u64>| match (before, elapsed) {
        (Some(before), Some(elapsed)) => now.saturating_sub(before) / elapsed.as_secs().max(1),
        _ => 0,
    };
    let report = LinkReport {
        links,
        sent: rate(sent, before.map(|before| before.sent)),
        received: rate(received, before.map(|before| before.received)),
    };
    Some((report, told))
}

fn link(peer: &PeerReport) -> Option<Link> {
    let way = match peer.path.kind {
        PathKind::Direct => LinkWay::Direct,
        PathKind::Relay => LinkWay::Relayed(peer.path.via),
        PathKind::None => return None,
    };
    let latency = peer.latency_ms.map(|latency| (latency * 1e3) as u32);
    Some(Link {
        peer: peer.node,
        way,
        latency,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PathReport;

    #[test]
    fn links_are_told_when_they_change_and_every_half_minute() {
        let start = Instant::now();
        let (first, told) =
            report(vec![a_peer(1, PathKind::Direct)], (1000, 0), None, start).expect("the first");
        assert_eq!((first.links.len(), first.sent), (1, 0));

        let soon = start + LOOK_EVERY;
        let (same, busy) = (|| vec![a_peer(1, PathKind::Direct)], (61_000, 0));
        assert!(report(same(), busy, Some(&told), soon).is_none());
        let (later, _) =
            report(same(), busy, Some(&told), start + TELL_EVERY).expect("half a minute later");
        assert_eq!((later.sent, later.received), (2000, 0));

        let relayed = vec![a_peer(1, PathKind::Relay)];
        let (moved, _) = report(relayed, busy, Some(&told), soon).expect("another way");
        assert_eq!(moved.links[0].way, LinkWay::Relayed(None));
        let mut streamed = a_peer(1, PathKind::Direct);
        streamed.path.carrier = Some("tcp".to_owned());
        let (_, by_tcp) = report(vec![streamed], busy, Some(&told), soon).expect("by TCP");
        assert_eq!(by_tcp.by_tcp.len(), 1);
        let (gone, _) = report(Vec::new(), (0, 0), Some(&told), soon).expect("the peer is gone");
        assert_eq!((gone.links.len(), gone.sent), (0, 0));
    }

    #[test]
    fn of_very_many_links_the_busiest_are_told() {
        let peers = (1..=MAX_LINKS as u64 + 10).map(|node| PeerReport {
            tx_bytes: node,
            ..a_peer(node, PathKind::Direct)
        });

        let (report, _) = report(peers.collect(), (0, 0), None, Instant::now()).expect("the first");

        assert_eq!(report.links.len(), MAX_LINKS);
        let busiest = NodeId::new(MAX_LINKS as u64 + 10).expect("a node address");
        assert_eq!(report.links[0].peer, busiest);
    }

    fn a_peer(node: u64, kind: PathKind) -> PeerReport {
        PeerReport {
            node: NodeId::new(node).expect("a node address"),
            name: "peer".to_owned(),
            network: "8056c2e21c000001".parse().expect("a network id"),
            addresses: Vec::new(),
            path: PathReport {
                kind,
                endpoint: None,
                via: None,
                mtu: None,
                carrier: None,
            },
            standby: Vec::new(),
            latency_ms: Some(0.25),
            last_handshake: None,
            cipher: None,
            key_exchange: None,
            rx_bytes: 0,
            tx_bytes: 0,
            rx_packets: 0,
            tx_packets: 0,
            dropped: BTreeMap::new(),
        }
    }
}
