//! Which flows are under way, so that answers pass without a rule.
//!
//! A flow is remembered with who began it. What this host began lets answers in. What another began, and a rule allowed,
//! is remembered so that answers to it never pass for a beginning of this host's own: once the rule is gone, the flow is
//! cut. It also spares the next packets of the flow a walk through the rules, as long as those are the same.
//!
//! The table has a fixed size, taken when the first rules come: places in rows of eight. In a row that is full a flow that
//! was never answered gives way first, then the one that was silent longest. Time is told from outside, in seconds.

use std::{
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::packet::{ACK, FIN, Kind, Quoted, RST, SYN, Segment};
use crate::fib::PeerSlot;

/// With eight places each there is room for 65,536 flows of a network, as many as Linux tracks on a host with a gigabyte of
/// memory. They take 5.5 MB.
const ROWS: usize = 8_192;
const ROW: usize = 8;
/// Rows that are locked together.
const ROWS_OF_SHARD: usize = 128;

/// An open TCP connection that says nothing (RFC 5382 REQ-5).
const TCP_OPEN: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
/// A TCP connection that is opening or closing (RFC 5382 REQ-5).
const TCP_PASSING: Duration = Duration::from_secs(4 * 60);
/// UDP (RFC 4787 REQ-5, the recommended value).
const UDP: Duration = Duration::from_secs(5 * 60);
/// An echo request and its answers (RFC 5508 REQ-2).
const ECHO: Duration = Duration::from_secs(60);
/// Any other protocol: as Linux does.
const OTHER: Duration = Duration::from_secs(10 * 60);
/// Fragments that can still be put together (RFC 8200 section 4.5).
const FRAGMENTS: Duration = Duration::from_secs(60);

/// Where hosts begin: the lowest port that Linux and IANA give to clients. A connection that was under way before this node
/// knew of it is taken for its host's own if it goes from such a port to a lower one.
const FIRST_CLIENT_PORT: u16 = 32_768;

/// What tells a flow, as seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowKey {
    local: u128,
    remote: u128,
    local_port: u16,
    remote_port: u16,
    protocol: u8,
    sort: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Both sides may send.
    Flow,
    /// Echo requests of this host, and the answers.
    OurEcho,
    /// Echo requests to this host, and the answers.
    TheirEcho,
    /// The fragments of one datagram to this host.
    Fragments,
}

/// Who began a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Began {
    /// This host.
    Here,
    /// A peer, and rules of this generation allowed it.
    There { peer: PeerSlot, generation: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Flow {
    key: FlowKey,
    began: Began,
    /// Second of the last packet.
    seen: u32,
    is_answered: bool,
    is_closing: bool,
}

/// The flows of one network.
#[derive(Debug)]
pub(super) struct Flows {
    shards: Vec<Mutex<Vec<Row>>>,
    seed: [u64; 2],
    started: Instant,
    now: AtomicU32,
}

/// Fingerprints first: one look at them tells whether a flow can be here.
#[derive(Debug, Clone, Copy)]
struct Row {
    prints: [u32; ROW],
    flows: [Option<Flow>; ROW],
}

impl Flows {
    /// `seed` is random, so that nobody can choose flows that fall into one row.
    pub(super) fn new(seed: [u64; 2], now: Instant) -> Self {
        let empty = Row {
            prints: [0; ROW],
            flows: [None; ROW],
        };
        let shards = (0..ROWS / ROWS_OF_SHARD)
            .map(|_| Mutex::new(vec![empty; ROWS_OF_SHARD]))
            .collect();
        Self {
            shards,
            seed,
            started: now,
            now: AtomicU32::new(0),
        }
    }

    pub(super) fn set_time(&self, now: Instant) {
        let seconds = now.saturating_duration_since(self.started).as_secs();
        self.now
            .store(u32::try_from(seconds).unwrap_or(u32::MAX), Relaxed);
    }

    /// Seconds since the flows began to be tracked.
    pub(super) fn seconds(&self) -> u32 {
        self.now.load(Relaxed)
    }

    /// How many flows are under way. Looks at every place: for people.
    pub(super) fn count(&self) -> usize {
        let now = self.seconds();
        self.shards
            .iter()
            .map(|shard| {
                let rows = shard.lock().unwrap_or_else(PoisonError::into_inner);
                let flows = rows.iter().flat_map(|row| row.flows.iter().flatten());
                flows
                    .filter(|flow| flow.key.sort != Sort::Fragments && flow.is_live(now))
                    .count()
            })
            .sum()
    }

    /// Notes what this host sends: it begins a flow, or goes on with one.
    pub(super) fn sent(&self, segment: &Segment) {
        let Some(key) = FlowKey::of_sent(segment) else {
            return;
        };
        let now = self.seconds();
        self.with_row(&key, |row, print| {
            let begins = matches!(segment.kind, Kind::Tcp { flags, .. } if is_beginning(flags));
            if let Some(flow) = row.live(&key, print, now)
                && !(begins && flow.began != Began::Here)
            {
                flow.go_on(segment, now);
                flow.is_answered |= flow.began != Began::Here;
                return;
            }
            let is_picked_up = match segment.kind {
                Kind::Tcp {
                    source,
                    destination,
                    flags,
                } => {
                    let is_client = source >= FIRST_CLIENT_PORT && destination < FIRST_CLIENT_PORT;
                    begins || (is_client && flags & (RST | FIN) == 0)
                }
                Kind::Echo { is_request, .. } => is_request,
                Kind::Udp { .. } | Kind::Other => true,
                Kind::Error(_) | Kind::Message | Kind::Later { .. } | Kind::Short => false,
            };
            if is_picked_up {
                let is_answered = matches!(segment.kind, Kind::Tcp { .. }) && !begins;
                row.put(Flow::new(key, Began::Here, is_answered, now), print, now);
            }
        });
    }

    /// Whether a received packet belongs to a flow that this host began, or that rules of this generation allowed this peer.
    pub(super) fn know(&self, peer: PeerSlot, generation: u32, segment: &Segment) -> bool {
        if matches!(segment.kind, Kind::Tcp { flags, .. } if is_beginning(flags)) {
            return false;
        }
        if let Kind::Error(quoted) = &segment.kind {
            return quoted
                .filter(|quoted| quoted.source == segment.destination)
                .is_some_and(|quoted| self.has_sent(&quoted));
        }
        let Some(key) = FlowKey::of_received(segment) else {
            return false;
        };
        let now = self.seconds();
        self.with_row(&key, |row, print| {
            let Some(flow) = row.live(&key, print, now) else {
                return false;
            };
            let is_known = match flow.began {
                Began::Here => {
                    flow.is_answered = true;
                    true
                }
                there @ Began::There { .. } => there == Began::There { peer, generation },
            };
            if is_known {
                flow.go_on(segment, now);
            }
            is_known
        })
    }

    /// Remembers a received packet that the rules allow.
    pub(super) fn allowed(&self, peer: PeerSlot, generation: u32, segment: &Segment) {
        let Some(key) = FlowKey::of_received(segment) else {
            return;
        };
        let now = self.seconds();
        self.with_row(&key, |row, print| {
            let began = Began::There { peer, generation };
            let mut flow = Flow::new(key, began, false, now);
            if let Some(known) = row.live(&key, print, now) {
                flow.is_answered = known.is_answered;
                flow.is_closing = known.is_closing;
            }
            flow.go_on(segment, now);
            row.put(flow, print, now);
        });
    }

    /// Remembers that the later fragments of this datagram may pass.
    pub(super) fn begins_datagram(&self, peer: PeerSlot, generation: u32, segment: &Segment) {
        let Some(id) = segment.begins else { return };
        let key = FlowKey::of_fragments(segment, id);
        let now = self.seconds();
        self.with_row(&key, |row, print| {
            let began = Began::There { peer, generation };
            row.put(Flow::new(key, began, false, now), print, now);
        });
    }

    /// Whether the packet that an error quotes is of a flow that is under way.
    fn has_sent(&self, quoted: &Quoted) -> bool {
        let now = self.seconds();
        FlowKey::of_quoted(quoted)
            .into_iter()
            .any(|key| self.with_row(&key, |row, print| row.live(&key, print, now).is_some()))
    }

    fn with_row<T>(&self, key: &FlowKey, act: impl FnOnce(&mut Row, u32) -> T) -> T {
        let hash = key.hash(self.seed);
        let place = hash as usize % ROWS;
        let shard = &self.shards[place / ROWS_OF_SHARD];
        let mut rows = shard.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut rows[place % ROWS_OF_SHARD], (hash >> 32) as u32)
    }
}

impl Row {
    fn live(&mut self, key: &FlowKey, print: u32, now: u32) -> Option<&mut Flow> {
        let prints = self.prints;
        let likely = self.flows.iter_mut().zip(prints);
        likely
            .filter(|(_, it)| *it == print)
            .filter_map(|(flow, _)| flow.as_mut())
            .find(|flow| flow.key == *key && flow.is_live(now))
    }

    /// In the place of the same flow, an empty one, or that of whoever gives way first.
    fn put(&mut self, new: Flow, print: u32, now: u32) {
        let worth = |flow: &Option<Flow>| {
            flow.filter(|flow| flow.key != new.key && flow.is_live(now))
                .map(|flow| (flow.is_answered, flow.seen))
        };
        // The same flow may stand behind an empty place: it goes first.
        let same = |flow: &Option<Flow>| flow.is_some_and(|flow| flow.key == new.key);
        let place = self.flows.iter().position(same).or_else(|| {
            let by_worth = self.flows.iter().enumerate();
            by_worth
                .min_by_key(|(_, flow)| worth(flow))
                .map(|(at, _)| at)
        });
        if let Some(place) = place {
            self.flows[place] = Some(new);
            self.prints[place] = print;
        }
    }
}

impl Flow {
    const fn new(key: FlowKey, began: Began, is_answered: bool, now: u32) -> Self {
        Self {
            key,
            began,
            seen: now,
            is_answered,
            is_closing: false,
        }
    }

    fn go_on(&mut self, segment: &Segment, now: u32) {
        self.seen = now;
        if let Kind::Tcp { flags, .. } = segment.kind {
            if is_beginning(flags) {
                // On the same ports it is a new connection.
                (self.is_answered, self.is_closing) = (false, false);
            }
            self.is_closing |= flags & (FIN | RST) != 0;
        }
    }

    fn is_live(&self, now: u32) -> bool {
        let patience = match (self.key.sort, self.key.protocol) {
            (Sort::Fragments, _) => FRAGMENTS,
            (Sort::OurEcho | Sort::TheirEcho, _) => ECHO,
            (Sort::Flow, 6) if self.is_answered && !self.is_closing => TCP_OPEN,
            (Sort::Flow, 6) => TCP_PASSING,
            (Sort::Flow, 17) => UDP,
            (Sort::Flow, _) => OTHER,
        };
        u64::from(now.saturating_sub(self.seen)) < patience.as_secs()
    }
}

impl FlowKey {
    fn of_sent(segment: &Segment) -> Option<Self> {
        let (ends, ports) = ((segment.source, segment.destination), segment.ports()?);
        let sort = match segment.echo() {
            Some(true) => Sort::OurEcho,
            Some(false) => Sort::TheirEcho,
            None => Sort::Flow,
        };
        Some(Self::new(ends, ports, segment.protocol, sort))
    }

    fn of_received(segment: &Segment) -> Option<Self> {
        if let Kind::Later { id } = segment.kind {
            return Some(Self::of_fragments(segment, id));
        }
        let ends = (segment.destination, segment.source);
        let (source, destination) = segment.ports()?;
        let (sort, ports) = match segment.echo() {
            Some(true) => (Sort::TheirEcho, (source, destination)),
            Some(false) => (Sort::OurEcho, (source, destination)),
            None => (Sort::Flow, (destination, source)),
        };
        Some(Self::new(ends, ports, segment.protocol, sort))
    }

    fn of_fragments(segment: &Segment, id: u32) -> Self {
        let ports = ((id >> 16) as u16, id as u16);
        let ends = (segment.destination, segment.source);
        Self::new(ends, ports, 0, Sort::Fragments)
    }

    /// An error may be about a packet of a flow, or about an echo in either direction.
    fn of_quoted(quoted: &Quoted) -> Vec<Self> {
        let ends = (quoted.source, quoted.destination);
        let sorts: &[Sort] = if quoted.is_echo {
            &[Sort::OurEcho, Sort::TheirEcho]
        } else {
            &[Sort::Flow]
        };
        sorts
            .iter()
            .map(|sort| Self::new(ends, quoted.ports, quoted.protocol, *sort))
            .collect()
    }

    fn new((local, remote): (IpAddr, IpAddr), ports: (u16, u16), protocol: u8, sort: Sort) -> Self {
        Self {
            local: bits(local),
            remote: bits(remote),
            local_port: ports.0,
            remote_port: ports.1,
            protocol,
            sort,
        }
    }

    /// Multiplies and folds, with secret operands.
    fn hash(&self, [one, two]: [u64; 2]) -> u64 {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let rest = u64::from(self.local_port) << 32
            | u64::from(self.remote_port) << 16
            | u64::from(self.protocol) << 8
            | self.sort as u64;
        let local = fold(self.local as u64 ^ one, (self.local >> 64) as u64 ^ two);
        let remote = fold(self.remote as u64 ^ two, (self.remote >> 64) as u64 ^ local);
        fold(rest ^ one, remote ^ local.rotate_left(32) ^ two)
    }
}

impl Segment {
    /// Whether an echo is a request.
    const fn echo(&self) -> Option<bool> {
        if let Kind::Echo { is_request, .. } = self.kind {
            Some(is_request)
        } else {
            None
        }
    }

    /// Source and destination port; the id of an echo stands on this host's side.
    const fn ports(&self) -> Option<(u16, u16)> {
        match self.kind {
            Kind::Tcp {
                source,
                destination,
                ..
            }
            | Kind::Udp {
                source,
                destination,
            } => Some((source, destination)),
            Kind::Echo { id, .. } => Some((id, 0)),
            Kind::Other => Some((0, 0)),
            Kind::Error(_) | Kind::Message | Kind::Later { .. } | Kind::Short => None,
        }
    }
}

/// Whether TCP flags ask for a new connection.
const fn is_beginning(flags: u8) -> bool {
    flags & (SYN | ACK | RST) == SYN
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests;
