//! A client among relays of a scene, which answer at once.

use rand::{SeedableRng as _, rngs::StdRng};
use tombolo_proto::{
    id::NetworkId,
    relay::{RelayHeader, RelayOp, RelayRefusal},
};
use tombolo_relay::{Outlet, Relay, Verdict};

use super::super::*;

pub(super) const NETWORK: NetworkSlot = NetworkSlot(0);
pub(super) const PEER: (PeerSlot, IdentityKey) = (PeerSlot(7), IdentityKey([7; 32]));
const MS: Duration = Duration::from_millis(1);

/// A client among relays that answer at once.
pub(super) struct Scene {
    pub(super) client: Relays,
    pub(super) relays: Vec<(RelayName, Relay)>,
    pub(super) refusing: Option<usize>,
    pub(super) dead: Option<usize>,
    /// Pings are answered, and questions are not.
    pub(super) is_deaf: bool,
    pub(super) silent: Vec<RelayName>,
    pub(super) silent_streams: Vec<SocketAddr>,
    pub(super) is_udp_blocked: bool,
    pub(super) rng: StdRng,
    pub(super) now: Instant,
    pub(super) pings: usize,
    pub(super) asked: usize,
}

impl Scene {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    pub(super) fn new(relays: u8) -> Self {
        let mut client = Relays::default();
        let now = Instant::now();
        client.add_network(NETWORK, now);
        Self {
            client,
            relays: (0..relays)
                .map(|number| {
                    let name = RelayName::Member(IdentityKey([100 + number; 32]));
                    (name, Relay::default())
                })
                .collect(),
            refusing: None,
            dead: None,
            is_deaf: false,
            silent: Vec::new(),
            silent_streams: Vec::new(),
            is_udp_blocked: false,
            rng: StdRng::seed_from_u64(1),
            now,
            pings: 0,
            asked: 0,
        }
    }

    pub(super) fn choose(&mut self, candidates: &[(usize, u64)]) {
        let candidates: Vec<Candidate> = candidates
            .iter()
            .map(|(number, round_trip)| Candidate {
                relay: self.relays[*number].0,
                round_trip: Some(Duration::from_millis(*round_trip)),
            })
            .collect();
        self.client.choose(NETWORK, &candidates, self.now);
        self.client.handle_timeout(self.now);
        self.settle();
    }

    pub(super) fn want(&mut self, peer: (PeerSlot, IdentityKey)) {
        self.client.want_channels(NETWORK, peer, [], self.now);
        self.settle();
    }

    /// The same, and at a relay that the peer named.
    pub(super) fn want_at(&mut self, peer: (PeerSlot, IdentityKey), number: usize) {
        let relay = self.relays[number].0;
        self.client.want_channels(NETWORK, peer, [relay], self.now);
        self.settle();
    }

    /// Somebody else becomes a client of a relay.
    pub(super) fn join(&mut self, number: usize, member: IdentityKey) {
        let relay = &self.relays[number].1;
        let answer = relay.handle_message(
            network(),
            member,
            &RelayMessage::Ask,
            &mut self.rng,
            self.now,
        );
        let Some(RelayMessage::Grant { index, key }) = answer else {
            panic!("{answer:?}");
        };
        let header = RelayHeader {
            op: RelayOp::Ping,
            index,
        };
        let mut ping = header.frame(&key, &0u64.to_le_bytes());
        let at = Outlet::Udp(SocketAddr::from(([203, 0, 113, 9], 9)));
        assert_eq!(relay.take(at, &mut ping), Verdict::Answer);
    }

    /// A relay loses its memory.
    pub(super) fn forget(&mut self, number: usize) {
        self.relays[number].1 = Relay::default();
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            // Choosing is the caller's: here nobody has other candidates.
            self.now = at.max(self.now + MS);
            for network in self.client.to_choose(self.now) {
                self.client.choose_at.insert(network, end + MS);
            }
            self.client.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    pub(super) fn settle(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Say { relay, message, .. } => self.hear(relay, &message),
                Output::Frame { to, frame } => self.take(to, frame),
                Output::Silent { relay, .. } => self.silent.push(relay),
                Output::StreamWanted {
                    silent: Some(silent),
                    ..
                } => self.silent_streams.push(silent),
                Output::StreamWanted { relay, .. } if self.is_udp_blocked => {
                    let stream = Some(stream(self.number(relay)));
                    self.client.set_stream(NETWORK, relay, stream, self.now);
                }
                Output::StreamWanted { .. } => {}
                Output::Ways(_) | Output::Warm(_) | Output::Routes => {}
            }
        }
    }

    pub(super) fn hear(&mut self, name: RelayName, message: &RelayMessage) {
        let number = self.number(name);
        self.asked += usize::from(*message == RelayMessage::Ask);
        if self.is_deaf || self.dead == Some(number) {
            return;
        }
        let answer = if self.refusing == Some(number) {
            Some(RelayMessage::Refused {
                peer: None,
                reason: RelayRefusal::NotRelaying,
            })
        } else {
            let relay = &self.relays[number].1;
            relay.handle_message(network(), ME, message, &mut self.rng, self.now)
        };
        if let Some(answer) = answer {
            let at = Some(address(number));
            self.client
                .handle_message(NETWORK, name, &answer, at, self.now);
        }
    }

    fn take(&mut self, to: SocketAddr, mut frame: Vec<u8>) {
        self.pings += 1;
        let number = usize::from(to.port() - 1);
        if self.dead == Some(number) {
            return;
        }
        let here = if to.ip().is_loopback() {
            Outlet::Stream(0)
        } else if self.is_udp_blocked {
            return;
        } else {
            Outlet::Udp(SocketAddr::from(([192, 0, 2, 1], 9790)))
        };
        if self.relays[number].1.take(here, &mut frame) != Verdict::Answer {
            return;
        }
        let header = RelayHeader::decode(&frame).expect("a pong");
        let mut routes = self.client.routes().into_iter();
        let Some(route) = routes.find(|route| route.at == to || route.also == Some(to)) else {
            // It was on the way by a stream when the relay was reached over UDP again.
            return;
        };
        assert!(header.verify(&route.key, &frame));
        let counter = frame[12..].first_chunk().copied().map(u64::from_le_bytes);
        self.client
            .handle_pong(route.slot, counter.expect("a counter"), self.now);
    }

    pub(super) fn warm(&self) -> Vec<RelayName> {
        let mut warm: Vec<RelayName> = self
            .client
            .warm(NETWORK)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        warm.sort_unstable();
        warm
    }

    fn number(&self, name: RelayName) -> usize {
        let found = self.relays.iter().position(|(relay, _)| *relay == name);
        found.expect("a relay of the scene")
    }
}

const ME: IdentityKey = IdentityKey([1; 32]);

fn address(number: usize) -> SocketAddr {
    let port = u16::try_from(number + 1).expect("few relays");
    SocketAddr::from(([198, 51, 100, 1], port))
}

/// What stands for a stream to a relay.
pub(super) fn stream(number: usize) -> SocketAddr {
    let port = u16::try_from(number + 1).expect("few relays");
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}
