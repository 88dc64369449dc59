//! What controllers are told of the links to peers, for people to look at.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tombolo_proto::{
    control::ToController,
    id::{NetworkId, NodeId},
    links::{Link, LinkReport, LinkWay, MAX_LINKS},
};

use super::Daemon;
use crate::report::{PathKind, PeerReport};

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
        let mut peers: BTreeMap<NetworkId, Vec<PeerReport>> = BTreeMap::new();
        for peer in self.peer_reports() {
            peers.entry(peer.network).or_default().push(peer);
        }
        let networks = &self.networks;
        self.links.told.retain(|id, _| networks.contains_key(id));
        for network in networks.values().filter(|network| network.slot.is_some()) {
            let link = match self.authorities.get(&network.id.authority()) {
                Some(authority) if authority.connected.is_some() => &authority.link,
                _ => continue,
            };
            let peers = peers.remove(&network.id).unwrap_or_default();
            let before = self.links.told.get(&network.id);
            if let Some((report, told)) = report(peers, before, now) {
                self.links.told.insert(network.id, told);
                link.send(ToController::Links {
                    network: network.id,
                    report,
                });
            }
        }
    }
}

/// What there is to tell; nothing while it is too soon.
fn report(
    mut peers: Vec<PeerReport>,
    before: Option<&Told>,
    now: Instant,
) -> Option<(LinkReport, Told)> {
    let total = |bytes: fn(&PeerReport) -> u64| {
        peers
            .iter()
            .map(bytes)
            .fold(0, |sum: u64, bytes| sum.saturating_add(bytes))
    };
    let (sent, received) = (total(|peer| peer.tx_bytes), total(|peer| peer.rx_bytes));
    peers.sort_by_key(|peer| std::cmp::Reverse(peer.tx_bytes.saturating_add(peer.rx_bytes)));
    let links: Vec<Link> = peers.iter().filter_map(link).take(MAX_LINKS).collect();
    let told = Told {
        at: now,
        ways: links.iter().map(|link| (link.peer, link.way)).collect(),
        sent,
        received,
    };
    let elapsed = before.map(|before| now.duration_since(before.at));
    let is_same = before.is_some_and(|before| before.ways == told.ways);
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
            report(vec![a_peer(1, PathKind::Direct, 1000)], None, start).expect("the first");
        assert_eq!((first.links.len(), first.sent), (1, 0));

        let soon = start + LOOK_EVERY;
        let busy = || vec![a_peer(1, PathKind::Direct, 61_000)];
        assert!(report(busy(), Some(&told), soon).is_none());
        let (later, _) =
            report(busy(), Some(&told), start + TELL_EVERY).expect("half a minute later");
        assert_eq!((later.sent, later.received), (2000, 0));

        let relayed = vec![a_peer(1, PathKind::Relay, 61_000)];
        let (moved, _) = report(relayed, Some(&told), soon).expect("another way");
        assert_eq!(moved.links[0].way, LinkWay::Relayed(None));
        let (gone, _) = report(vec![a_peer(1, PathKind::None, 0)], Some(&told), soon)
            .expect("the peer is gone");
        assert_eq!((gone.links.len(), gone.sent), (0, 0));
    }

    #[test]
    fn of_very_many_links_the_busiest_are_told() {
        let peers = (1..=MAX_LINKS as u64 + 10).map(|node| a_peer(node, PathKind::Direct, node));

        let (report, _) = report(peers.collect(), None, Instant::now()).expect("the first");

        assert_eq!(report.links.len(), MAX_LINKS);
        let busiest = NodeId::new(MAX_LINKS as u64 + 10).expect("a node address");
        assert_eq!(report.links[0].peer, busiest);
    }

    fn a_peer(node: u64, kind: PathKind, tx_bytes: u64) -> PeerReport {
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
            tx_bytes,
            rx_packets: 0,
            tx_packets: 0,
            dropped: BTreeMap::new(),
        }
    }
}
