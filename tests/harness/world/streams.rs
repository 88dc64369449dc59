//! Streams of TCP between nodes, for frames where no UDP passes. What is on a stream is repeated until it arrives, in order:
//! loss delays, and what a cut holds up arrives together after it. To a node the stream is an address of its own loopback,
//! as it is to daemons.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tombolo_engine::{path::way::Way, relay::RelayName};
use tombolo_proto::{id::NetworkId, key::IdentityKey};

use super::{Name, Node, World};
use crate::simnet::{Conditions, Delivery, SimNet};

/// Least time before TCP repeats what got lost (Linux's minimum).
const REPEAT_AFTER: Duration = Duration::from_millis(200);
/// A stream that gets nothing through for so long is closed (the daemon's limit).
const SILENCE: Duration = Duration::from_secs(10);
/// Ways there and back until a stream is open: TCP shakes hands, then TLS 1.3.
const ROUND_TRIPS_TO_OPEN: u32 = 2;

/// All streams.
#[derive(Debug)]
pub(super) struct Streams {
    rng: StdRng,
    /// Whether nodes that want streams get them.
    pub(super) are_there: bool,
    next_port: u16,
    /// Who wants a stream, to whom, and where that one may be.
    asked: VecDeque<(Name, NetworkId, RelayName, Vec<SocketAddr>)>,
    /// When each node wanted one to a member.
    wishes: BTreeMap<(Name, IdentityKey), Vec<Instant>>,
    open: Vec<Stream>,
    opening: BTreeMap<(Instant, Name), Wanted>,
    in_flight: BTreeMap<(Instant, u64), Frame>,
    sequence: u64,
}

/// A stream that a node has opened to another.
#[derive(Debug)]
struct Stream {
    wanted: Wanted,
    /// Where its ends are on the network.
    between: [SocketAddr; 2],
    ends: [End; 2],
}

#[derive(Debug)]
struct End {
    name: Name,
    /// What stands for the stream there.
    local: SocketAddr,
    /// When what was last sent to it arrives.
    last_arrival: Option<Instant>,
    held_up: Option<HeldUp>,
}

/// What goes to one end of a stream that is cut.
#[derive(Debug, Clone, Copy)]
struct HeldUp {
    since: Instant,
    /// When it is sent once more.
    repeated_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    by: Name,
    to: Name,
    /// Where that one is.
    at: SocketAddr,
    network: NetworkId,
    relay: RelayName,
}

#[derive(Debug)]
struct Frame {
    to: Name,
    local: SocketAddr,
    payload: Vec<u8>,
}

impl Streams {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed ^ 0x7c9),
            are_there: false,
            next_port: 20_000,
            asked: VecDeque::new(),
            wishes: BTreeMap::new(),
            open: Vec::new(),
            opening: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Takes what a node sends: what goes to its loopback goes on a stream, everything else by UDP.
    pub(super) fn send(&mut self, net: &mut SimNet, from: Name, sent: Delivery, now: Instant) {
        if !sent.to.ip().is_loopback() {
            return net.send(sent, now);
        }
        let arrives = now + self.delay(net.conditions);
        let is_here = |end: &End| end.name == from && end.local == sent.to;
        let ends = self.open.iter_mut().find_map(|stream| {
            let [one, other] = &mut stream.ends;
            if is_here(one) {
                Some(other)
            } else {
                is_here(other).then_some(one)
            }
        });
        let Some(far) = ends else { return };
        let arrives = far.last_arrival.map_or(arrives, |last| last.max(arrives));
        far.last_arrival = Some(arrives);
        let frame = Frame {
            to: far.name,
            local: far.local,
            payload: sent.payload,
        };
        self.in_flight.insert((arrives, self.sequence), frame);
        self.sequence += 1;
    }

    fn delay(&mut self, conditions: Conditions) -> Duration {
        let jitter = conditions.jitter.mul_f64(self.rng.random_range(0.0..1.0));
        let mut delay = conditions.delay + jitter;
        while self.rng.random_bool(conditions.loss) {
            delay += REPEAT_AFTER;
        }
        delay
    }

    pub(super) fn ask(
        &mut self,
        by: Name,
        network: NetworkId,
        relay: RelayName,
        at: Vec<SocketAddr>,
        silent: Option<SocketAddr>,
    ) {
        self.open
            .retain(|stream| stream.wanted.by != by || Some(stream.ends[0].local) != silent);
        self.asked.push_back((by, network, relay, at));
    }

    fn want(&mut self, wanted: Wanted, conditions: Conditions, now: Instant) {
        let is_there = self.open.iter().any(|stream| stream.wanted == wanted)
            || self.opening.values().any(|opening| *opening == wanted);
        if !is_there {
            let ways = (0..ROUND_TRIPS_TO_OPEN * 2).map(|_| self.delay(conditions));
            let opens = now + ways.sum::<Duration>();
            self.opening.insert((opens, wanted.by), wanted);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let opening = self.opening.keys().map(|(at, _)| *at).next();
        let arriving = self.in_flight.keys().map(|(at, _)| *at).next();
        opening.into_iter().chain(arriving).min()
    }

    fn open(&mut self, wanted: Wanted, from: SocketAddr) -> SocketAddr {
        let mut end = |name| {
            self.next_port += 1;
            End {
                name,
                local: SocketAddr::from((Ipv4Addr::LOCALHOST, self.next_port)),
                last_arrival: None,
                held_up: None,
            }
        };
        let ends = [end(wanted.by), end(wanted.to)];
        let local = ends[0].local;
        self.open.push(Stream {
            wanted,
            between: [from, wanted.at],
            ends,
        });
        local
    }

    /// Takes the frame that is due from the network: it arrives, or is repeated later, or its stream has ended with that.
    fn take(&mut self, net: &SimNet, now: Instant) -> Taken {
        let Some((_, frame)) = self.in_flight.pop_first() else {
            return Taken::Nothing;
        };
        let streams = self.open.iter_mut().enumerate();
        let found = streams.into_iter().find_map(|(position, stream)| {
            let end = stream
                .ends
                .iter_mut()
                .find(|end| end.local == frame.local)?;
            Some((position, stream.between, end))
        });
        let Some((position, [one, other], end)) = found else {
            return Taken::Nothing;
        };
        // Behind what is repeated later everything waits.
        let is_waiting = end.held_up.is_some_and(|held| now < held.repeated_at);
        if !is_waiting && !net.is_cut(one, other) {
            end.held_up = None;
            return Taken::Arrives(frame);
        }
        let held = end.held_up.get_or_insert(HeldUp {
            since: now,
            repeated_at: now + REPEAT_AFTER,
        });
        if !is_waiting && now > held.since {
            if now - held.since >= SILENCE {
                return Taken::Ended(self.open.remove(position).wanted);
            }
            // Twice as long as the last time (RFC 6298).
            held.repeated_at = now + (now - held.since) + REPEAT_AFTER;
        }
        self.in_flight
            .insert((held.repeated_at, self.sequence), frame);
        self.sequence += 1;
        Taken::Nothing
    }

    /// A node has died: those who had opened streams to it.
    fn close(&mut self, name: Name) -> Vec<Wanted> {
        let has_end = |stream: &Stream| stream.ends.iter().any(|end| end.name == name);
        let (closed, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(has_end);
        self.open = open;
        let closed: Vec<Stream> = closed;
        let wanted = closed.into_iter().map(|stream| stream.wanted);
        wanted.filter(|wanted| wanted.by != name).collect()
    }
}

/// What becomes of a frame that is due.
#[derive(Debug)]
enum Taken {
    Arrives(Frame),
    Ended(Wanted),
    Nothing,
}

impl World {
    /// From now on nodes that get no answer over UDP connect by TCP to members that relay and that no NAT is in front of.
    pub const fn set_streams(&mut self, are_there: bool) {
        self.streams.are_there = are_there;
    }

    /// When a node wanted a stream to another, so far.
    #[must_use]
    pub fn streams_wanted(&self, by: Name, to: Name) -> &[Instant] {
        let to = self.node(to).identity();
        self.streams
            .wishes
            .get(&(by, to))
            .map_or(&[], Vec::as_slice)
    }

    /// Begins to open what nodes want, where somebody relays at one of the places that they know.
    pub(super) fn want_streams(&mut self) {
        while let Some((by, network, relay, at)) = self.streams.asked.pop_front() {
            let RelayName::Member(key) = relay else {
                continue;
            };
            let wishes = self.streams.wishes.entry((by, key)).or_default();
            wishes.push(self.clock.now());
            let from = self.node(by).address;
            let net = &self.net;
            let is_reached =
                |place: &&SocketAddr| !net.is_hidden(**place) && !net.is_cut(from, **place);
            let found = at.iter().filter(is_reached).find_map(|place| {
                let mut nodes = self.nodes.iter();
                let is_there =
                    |node: &Node| node.is_up && node.identity() == key && node.is_at(*place);
                nodes
                    .find(|(_, node)| is_there(node))
                    .map(|(name, _)| (*name, *place))
            });
            if let Some((to, at)) = found.filter(|_| self.streams.are_there) {
                let wanted = Wanted {
                    by,
                    to,
                    at,
                    network,
                    relay,
                };
                let (conditions, now) = (self.net.conditions, self.clock.now());
                self.streams.want(wanted, conditions, now);
            }
        }
    }

    /// Opens what has been opened by now, or lets a frame arrive.
    pub(super) fn handle_streams(&mut self) {
        let now = self.clock.now();
        if let Some(entry) = self.streams.opening.first_entry()
            && entry.key().0 <= now
        {
            let wanted = entry.remove();
            let from = self.node(wanted.by).address;
            if !self.net.is_cut(from, wanted.at) {
                let local = self.streams.open(wanted, from);
                self.tell_of_stream(wanted, Some(local));
            }
            return;
        }
        match self.streams.take(&self.net, now) {
            Taken::Arrives(frame) => {
                if self.node(frame.to).is_up {
                    self.receive_by(frame.to, Way::Direct(frame.local), frame.payload);
                }
            }
            Taken::Ended(wanted) => self.tell_of_stream(wanted, None),
            Taken::Nothing => {}
        }
    }

    pub(super) fn close_streams(&mut self, name: Name) {
        for wanted in self.streams.close(name) {
            self.tell_of_stream(wanted, None);
        }
    }

    fn tell_of_stream(&mut self, wanted: Wanted, local: Option<SocketAddr>) {
        let now = self.node(wanted.by).now(&self.clock);
        let node = self.node_mut(wanted.by);
        if node.is_up {
            let Wanted { network, relay, .. } = wanted;
            node.engine.set_stream(network, relay, local, now);
            self.settle(wanted.by);
        }
    }
}
