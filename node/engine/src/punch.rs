//! Meeting a peer across a NAT that maps by destination (RFC 4787 section 4.1): such a node is seen at another port by
//! everybody, so nobody can be told where to call it. What helps is that many keys are tried on many locks:
//!
//! - The node behind that NAT *opens* many sockets, and sends from each to the peer. Each is a mapping at a port nobody
//!   knows, which lets the peer in.
//! - The peer, whose own socket is the same for everybody, *searches*: it sends to many ports of the NAT's address. Each
//!   lets in, at the peer's own NAT, what comes from that port.
//!
//! Where one port is in both sets, datagrams pass both ways, and the handshake is made there. With 256 sockets and
//! 1,536 of 64,512 ports, all misses happen once in 450 attempts. NATs that give ports in a row are searched from the last
//! port seen on.
//!
//! Where a peer says it is may be a lie, to have others send to somebody who never asked. So an attempt is small and rare:
//! see `Puncher::may_punch` and the constants here, which are what README promises.

mod pool;
mod probe;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::{rngs::StdRng, seq::index};

use crate::path::way::{SocketSlot, Way};
pub use pool::MAX_SOCKETS;
pub(crate) use pool::Puncher;
pub(crate) use probe::{PROBE_LENGTH, Probes};

/// Sockets that are opened towards one peer.
pub const SOCKETS: usize = 256;
/// How often each of them sends: the search goes on meanwhile, and datagrams get lost.
pub const ROUNDS: u32 = 4;
/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Ports that are searched.
pub const SEARCHED: usize = 1_536;
/// NATs give ports from here on.
const FIRST_PORT: u16 = 1_024;
/// Of the searched ports, so many follow the last one seen, in steps that no row of [`SOCKETS`] mappings escapes.
const PREDICTED: u16 = 16;
const PREDICTED_STEP: u16 = 96;
/// Probes at once, and the pause after them: a thousand a second.
const BURST: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);
/// An attempt ends after this time.
pub(crate) const LASTS: Duration = Duration::from_secs(6);
/// Ways that are taken to work until a handshake shows it.
const MAX_FOUND: usize = 8;

/// What this node does of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Open {
        to: SocketAddr,
        sockets: Vec<SocketSlot>,
    },
    Search {
        host: IpAddr,
        ports: Vec<u16>,
    },
}

/// An attempt.
#[derive(Debug)]
pub(crate) struct Punch {
    part: Part,
    /// How many of this round have sent.
    sent: usize,
    round: u32,
    next_at: Option<Instant>,
    ends_at: Instant,
    found: Vec<Way>,
}

impl Punch {
    /// Sends from `sockets` to the peer.
    pub(crate) fn open(to: SocketAddr, sockets: Vec<SocketSlot>, now: Instant) -> Self {
        Self::new(Part::Open { to, sockets }, now)
    }

    /// Sends to many ports of the peer's NAT; `seen` are ports that others have seen the peer at.
    pub(crate) fn search(host: IpAddr, seen: &[u16], rng: &mut StdRng, now: Instant) -> Self {
        let ports = ports_to_search(seen, rng);
        Self::new(Part::Search { host, ports }, now)
    }

    fn new(part: Part, now: Instant) -> Self {
        Self {
            part,
            sent: 0,
            round: 0,
            next_at: Some(now),
            ends_at: now + LASTS,
            found: Vec::new(),
        }
    }

    /// The sockets of this attempt, if what goes to `host` can be sent from them too.
    pub(crate) fn sockets_towards(&self, host: IpAddr) -> Option<Vec<SocketSlot>> {
        match &self.part {
            Part::Open { to, sockets } => (to.is_ipv4() == host.is_ipv4()).then(|| sockets.clone()),
            Part::Search { .. } => None,
        }
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Instant {
        self.next_at.map_or(self.ends_at, |at| at.min(self.ends_at))
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.ends_at
    }

    /// Where probes are to go now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Way> {
        if self.is_over(now) || self.next_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let ways: Vec<Way> = match &self.part {
            Part::Open { to, sockets } => {
                let rest = sockets.iter().skip(self.sent).take(BURST);
                rest.map(|socket| Way::Through {
                    socket: *socket,
                    endpoint: *to,
                })
                .collect()
            }
            Part::Search { host, ports } => {
                let rest = ports.iter().skip(self.sent).take(BURST);
                rest.map(|port| Way::Direct(SocketAddr::new(*host, *port)))
                    .collect()
            }
        };
        self.sent += ways.len();
        let (all, rounds) = match &self.part {
            Part::Open { sockets, .. } => (sockets.len(), ROUNDS),
            Part::Search { ports, .. } => (ports.len(), 1),
        };
        self.next_at = if self.sent < all {
            Some(now + PAUSE)
        } else {
            self.sent = 0;
            self.round += 1;
            (self.round < rounds).then_some(now + ROUND)
        };
        ways
    }

    /// A probe of the peer's came this way. Whether that is news, and of this attempt.
    pub(crate) fn hear(&mut self, from: Way) -> bool {
        let is_expected = match &self.part {
            Part::Open { to, sockets } => {
                matches!(from, Way::Through { socket, endpoint }
                    if endpoint == *to && sockets.contains(&socket))
            }
            Part::Search { host, .. } => {
                matches!(from, Way::Direct(endpoint) if endpoint.ip() == *host)
            }
        };
        let is_news = is_expected && self.found.len() < MAX_FOUND && !self.found.contains(&from);
        if is_news {
            self.found.push(from);
        }
        is_news
    }

    /// Where probes of the peer's came from.
    pub(crate) fn found(&self) -> &[Way] {
        &self.found
    }
}

/// Predicted ports first, then others at random, none twice.
fn ports_to_search(seen: &[u16], rng: &mut StdRng) -> Vec<u16> {
    let mut ports = Vec::with_capacity(SEARCHED);
    let mut taken = BTreeSet::new();
    let predicted = seen.iter().max().into_iter().flat_map(|last| {
        (1..=PREDICTED).filter_map(|step| last.checked_add(step * PREDICTED_STEP))
    });
    let all = usize::from(u16::MAX - FIRST_PORT) + 1;
    let random = index::sample(rng, all, SEARCHED);
    let random = random
        .into_iter()
        .filter_map(|index| FIRST_PORT.checked_add(u16::try_from(index).ok()?));
    for port in predicted.chain(random) {
        if ports.len() < SEARCHED && taken.insert(port) {
            ports.push(port);
        }
    }
    ports
}

#[cfg(test)]
mod tests;
