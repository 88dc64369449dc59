use rand::{SeedableRng as _, rngs::StdRng};
use tombolo_proto::{
    id::NetworkId,
    relay::{RelayHeader, RelayRefusal},
};
use tombolo_relay::{Outlet, Relay, Verdict};

use super::*;

const NETWORK: NetworkSlot = NetworkSlot(0);
const PEER: (PeerSlot, IdentityKey) = (PeerSlot(7), IdentityKey([7; 32]));
const MS: Duration = Duration::from_millis(1);

#[test]
fn the_two_nearest_are_kept_warm_and_pinged_below_the_timeouts_of_nats() {
    let mut scene = Scene::new(3);

    scene.choose(&[(0, 30), (1, 10), (2, 20)]);

    assert_eq!(scene.warm(), [scene.relays[1].0, scene.relays[2].0]);
    let before = scene.pings;
    scene.run(Duration::from_secs(100));
    assert_eq!(scene.pings - before, 2 * 4, "one in 25 s each");
}

#[test]
fn a_relay_that_is_a_little_nearer_changes_nothing_and_a_much_nearer_one_does() {
    let mut scene = Scene::new(3);
    scene.choose(&[(0, 20), (1, 20)]);
    assert_eq!(scene.warm().len(), 2);

    scene.choose(&[(0, 20), (1, 20), (2, 1)]);

    // Pings of the fake come back at once, so no other is much nearer than those that are up.
    assert!(!scene.warm().contains(&scene.relays[2].0));
}

#[test]
fn one_that_refuses_is_left_in_peace_and_another_takes_its_place() {
    let mut scene = Scene::new(3);
    scene.refusing = Some(0);

    scene.choose(&[(0, 1), (1, 10), (2, 20)]);
    let asked = scene.asked;
    scene.choose(&[(0, 1), (1, 10), (2, 20)]);

    assert_eq!(scene.warm(), [scene.relays[1].0, scene.relays[2].0]);
    assert_eq!(
        scene.asked,
        asked + 1,
        "only the one in its place was asked"
    );
}

#[test]
fn a_channel_is_asked_for_at_every_relay_that_is_up_and_is_a_way() {
    let mut scene = Scene::new(2);
    scene.choose(&[(0, 10), (1, 20)]);
    scene.join(0, PEER.1);

    scene.want(PEER);

    assert_eq!(
        scene.client.ways(PEER.0).len(),
        1,
        "the peer is at one of them"
    );
    // It comes to the other: asked again later, there is a second way.
    scene.join(1, PEER.1);
    scene.run(Duration::from_secs(3));
    scene.want(PEER);
    assert_eq!(scene.client.ways(PEER.0).len(), 2);
}

#[test]
fn a_relay_that_has_lost_its_memory_is_asked_anew_for_everything() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    scene.join(0, PEER.1);
    scene.want(PEER);
    let before = scene.client.ways(PEER.0);
    assert_eq!(before.len(), 1);

    scene.relays[0].1 = Relay::default();
    scene.join(0, PEER.1);
    scene.client.check(scene.now);
    scene.run(Duration::from_secs(10));

    let after = scene.client.ways(PEER.0);
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
}

#[test]
fn a_dead_relay_is_noticed_soon_while_a_peer_is_missed_and_another_takes_its_place() {
    let mut scene = Scene::new(3);
    scene.choose(&[(0, 10), (1, 20)]);
    scene.join(0, PEER.1);
    scene.want(PEER);
    assert_eq!(scene.client.ways(PEER.0).len(), 1);
    scene.run(Duration::from_secs(2));
    scene.dead = Some(0);

    scene.want(PEER);
    scene.run(Duration::from_millis(1_300));

    assert_eq!(scene.silent, [scene.relays[0].0]);
    assert!(scene.client.ways(PEER.0).is_empty());
    scene.run(CHOOSE_ANOTHER);
    scene.choose(&[(0, 10), (1, 20), (2, 30)]);
    assert_eq!(scene.warm(), [scene.relays[1].0, scene.relays[2].0]);
}

#[test]
fn a_peer_that_is_missed_for_long_costs_its_relays_a_ping_a_second() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    let before = scene.pings;

    for _ in 0..100 {
        scene.want(PEER);
        scene.run(Duration::from_millis(100));
    }

    assert!(scene.pings - before <= 11, "{}", scene.pings - before);
}

#[test]
fn a_relay_that_nobody_wants_any_more_is_told_so() {
    let mut scene = Scene::new(2);
    scene.choose(&[(0, 10)]);
    scene
        .client
        .want_channels(NETWORK, PEER, [scene.relays[1].0], scene.now);
    scene.settle();
    assert_eq!(scene.relays[1].1.totals().clients, 1);

    scene.run(LEAVE_AFTER + Duration::from_secs(1));

    assert_eq!(scene.relays[1].1.totals().clients, 0);
    assert_eq!(scene.relays[0].1.totals().clients, 1, "the warm one");
}

#[test]
fn a_relay_that_no_udp_reaches_is_reached_by_a_stream_and_over_udp_when_it_passes_again() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    scene.join(0, PEER.1);
    scene.want(PEER);
    let ways = scene.client.ways(PEER.0);

    scene.is_udp_blocked = true;
    scene.client.check(scene.now);
    scene.run(Duration::from_secs(1));

    assert!(scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.client.ways(PEER.0), ways, "channels stay");
    scene.run(Duration::from_secs(300));
    assert!(scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.warm().len(), 1);

    scene.is_udp_blocked = false;
    scene.run(UDP_TRIED_WITHIN);

    assert!(!scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.client.ways(PEER.0), ways);
    assert_eq!(scene.warm().len(), 1);
}

#[test]
fn where_no_udp_passes_from_the_start_a_relay_comes_up_by_a_stream() {
    let mut scene = Scene::new(1);
    scene.is_udp_blocked = true;

    scene.choose(&[(0, 10)]);
    scene.run(Duration::from_secs(1));

    assert_eq!(scene.warm().len(), 1);
    assert!(scene.client.is_on_stream(RelaySlot(0)));
}

#[test]
fn a_stream_that_ends_leaves_a_relay_to_udp() {
    let mut scene = Scene::new(1);
    scene.is_udp_blocked = true;
    scene.choose(&[(0, 10)]);
    scene.run(Duration::from_secs(1));
    scene.is_udp_blocked = false;

    let relay = scene.relays[0].0;
    scene.client.set_stream(NETWORK, relay, None, scene.now);
    scene.settle();

    assert!(!scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.warm().len(), 1);
}

/// UDP is tried at least so often beside a stream.
const UDP_TRIED_WITHIN: Duration = Duration::from_secs(125);

/// A client among relays that answer at once.
struct Scene {
    client: Relays,
    relays: Vec<(RelayName, Relay)>,
    refusing: Option<usize>,
    dead: Option<usize>,
    silent: Vec<RelayName>,
    is_udp_blocked: bool,
    rng: StdRng,
    now: Instant,
    pings: usize,
    asked: usize,
}

impl Scene {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn new(relays: u8) -> Self {
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
            silent: Vec::new(),
            is_udp_blocked: false,
            rng: StdRng::seed_from_u64(1),
            now,
            pings: 0,
            asked: 0,
        }
    }

    fn choose(&mut self, candidates: &[(usize, u64)]) {
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

    fn want(&mut self, peer: (PeerSlot, IdentityKey)) {
        self.client.want_channels(NETWORK, peer, [], self.now);
        self.settle();
    }

    /// Somebody else becomes a client of a relay.
    fn join(&mut self, number: usize, member: IdentityKey) {
        let relay = &self.relays[number].1;
        let answer = relay.handle_message(
            network(),
            member,
            &RelayMessage::Ask,
            &mut self.rng,
            self.now,
        );
        assert!(matches!(answer, Some(RelayMessage::Grant { .. })));
    }

    fn run(&mut self, duration: Duration) {
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

    fn settle(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Say { relay, message, .. } => self.hear(relay, &message),
                Output::Frame { to, frame } => self.take(to, frame),
                Output::Silent { relay, .. } => self.silent.push(relay),
                Output::StreamWanted { relay, .. } if self.is_udp_blocked => {
                    let stream = Some(stream(self.number(relay)));
                    self.client.set_stream(NETWORK, relay, stream, self.now);
                }
                Output::StreamWanted { .. } => {}
                Output::Ways(_) | Output::Warm(_) | Output::Routes => {}
            }
        }
    }

    fn hear(&mut self, name: RelayName, message: &RelayMessage) {
        let number = self.number(name);
        self.asked += usize::from(*message == RelayMessage::Ask);
        if self.dead == Some(number) {
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

    fn warm(&self) -> Vec<RelayName> {
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
fn stream(number: usize) -> SocketAddr {
    let port = u16::try_from(number + 1).expect("few relays");
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}
