use std::net::SocketAddr;

use rand::{SeedableRng as _, rngs::StdRng};

use super::*;

#[test]
fn a_frame_reaches_the_other_end_and_its_answer_comes_back() {
    let mut scene = Scene::new(Limits::default());
    let [a, b] = scene.pair();
    let there = scene.open(&a, &b);

    let mut frame = a.forward(there, PACKET);
    assert_eq!(
        scene.relay.take(a.outlet, &mut frame),
        Verdict::Forward(b.outlet)
    );
    let delivered = RelayHeader::decode(&frame).expect("a frame");
    assert_eq!(delivered.op, RelayOp::Deliver);
    assert!(delivered.verify(&b.key, &frame));
    assert_eq!(&frame[RELAY_HEADER..], PACKET);

    let mut answer = b.forward(delivered.index, PACKET);
    assert_eq!(
        scene.relay.take(b.outlet, &mut answer),
        Verdict::Forward(a.outlet)
    );
    let back = RelayHeader::decode(&answer).expect("a frame");
    assert_eq!(back.index, there);
    assert!(back.verify(&a.key, &answer));
}

#[test]
fn what_was_delivered_is_never_forwarded_again_and_nothing_lies_in_a_relayed_frame() {
    let mut scene = Scene::new(Limits::default());
    let [a, b] = scene.pair();
    let there = scene.open(&a, &b);
    let mut frame = a.forward(there, PACKET);
    let _ = scene.relay.take(a.outlet, &mut frame);

    assert_eq!(scene.relay.take(b.outlet, &mut frame), Verdict::Drop);
    let nested = a.forward(there, PACKET);
    for payload in [&nested[..], &[0, 1, 0, 0], b"GET / HTTP/1.1", &[]] {
        let mut frame = a.forward(there, payload);
        assert_eq!(scene.relay.take(a.outlet, &mut frame), Verdict::Drop);
    }
    assert_eq!(scene.relay.totals().malformed, 5);
}

#[test]
fn forged_frames_are_dropped_whoever_they_claim_to_be_of() {
    let mut scene = Scene::new(Limits::default());
    let [a, b] = scene.pair();
    let there = scene.open(&a, &b);
    let good = a.forward(there, PACKET);

    for at in 0..RELAY_HEADER + 32 {
        let mut frame = good.clone();
        frame[at] ^= 0x40;
        assert_eq!(
            scene.relay.take(a.outlet, &mut frame),
            Verdict::Drop,
            "byte {at}"
        );
    }
    // Another client's key is worth nothing on this channel.
    let mut stolen = b.forward(there, PACKET);
    assert_eq!(scene.relay.take(b.outlet, &mut stolen), Verdict::Drop);
    assert_eq!(scene.relay.totals().frames, 0);
}

#[test]
fn a_repeated_ping_moves_nobody() {
    let mut scene = Scene::new(Limits::default());
    let [a, b] = scene.pair();
    let there = scene.open(&a, &b);
    let mut old = b.ping(1);
    let moved = Outlet::Udp(SocketAddr::from(([198, 51, 100, 9], 9)));
    assert_eq!(scene.relay.take(moved, &mut b.ping(2)), Verdict::Answer);

    let thief = Outlet::Udp(SocketAddr::from(([203, 0, 113, 66], 66)));
    assert_eq!(scene.relay.take(thief, &mut old), Verdict::Drop);
    assert_eq!(scene.relay.take(thief, &mut b.ping(2)), Verdict::Drop);

    let mut frame = a.forward(there, PACKET);
    assert_eq!(
        scene.relay.take(a.outlet, &mut frame),
        Verdict::Forward(moved)
    );
    assert_eq!(scene.relay.totals().replayed, 2);
}

#[test]
fn members_of_different_networks_get_no_channel() {
    let mut scene = Scene::new(Limits::default());
    let a = scene.client(network(1), 1);
    let b = scene.client(network(2), 2);

    let answer = scene.ask(&a, &RelayMessage::Open { peer: b.member });

    assert_eq!(answer, refused(Some(b.member), RelayRefusal::NotHere));
    let stranger = IdentityKey([99; 32]);
    let open = RelayMessage::Open { peer: a.member };
    let answer = scene
        .relay
        .handle_message(network(1), stranger, &open, &mut scene.rng, scene.now);
    assert_eq!(
        answer,
        Some(refused(Some(a.member), RelayRefusal::NotAClient))
    );
}

#[test]
fn whoever_is_removed_neither_sends_nor_receives() {
    let mut scene = Scene::new(Limits::default());
    let [a, b] = scene.pair();
    let there = scene.open(&a, &b);
    let c = scene.client(network(1), 3);
    let to_c = scene.open(&a, &c);
    let mut frame = a.forward(there, PACKET);
    let _ = scene.relay.take(a.outlet, &mut frame);
    let back = RelayHeader::decode(&frame).expect("a frame").index;

    scene.relay.retain(|_, member| *member != b.member);

    for mut frame in [a.forward(there, PACKET), b.forward(back, PACKET), b.ping(9)] {
        assert_eq!(scene.relay.take(a.outlet, &mut frame), Verdict::Drop);
    }
    assert_eq!(scene.relay.totals().unknown, 3);
    let mut frame = a.forward(to_c, PACKET);
    assert_eq!(
        scene.relay.take(a.outlet, &mut frame),
        Verdict::Forward(c.outlet)
    );
}

#[test]
fn what_is_carried_is_counted_for_each_network_and_stays_when_clients_go() {
    let mut scene = Scene::new(Limits::default());
    let [a, b] = scene.pair();
    let there = scene.open(&a, &b);
    let other = scene.client(network(2), 3);
    let mut sent = 0;
    for _ in 0..3 {
        let mut frame = a.forward(there, PACKET);
        sent += frame.len() as u64;
        let _ = scene.relay.take(a.outlet, &mut frame);
    }
    let carried = |clients, bytes| Carried { clients, bytes };

    assert_eq!(scene.relay.carried(network(1)), carried(2, sent));
    assert_eq!(scene.relay.carried(network(2)), carried(1, 0));
    assert_eq!(scene.relay.carried(network(3)), Carried::default());
    assert_eq!(scene.relay.totals().bytes, sent);
    scene.relay.remove(network(1), &a.member);
    assert_eq!(scene.relay.carried(network(1)), carried(1, sent));
    let mut gone = scene.relay.close();
    gone.sort_unstable();
    assert_eq!(
        gone,
        [(network(1), b.member), (network(2), other.member)],
        "who is told"
    );
    assert_eq!(scene.relay.carried(network(1)), carried(0, sent));
    assert_eq!(scene.relay.poll_timeout(), None);
}

#[test]
fn one_client_cannot_take_what_belongs_to_the_others_and_all_have_a_common_end() {
    let limits = Limits {
        client_rate: 40_000,
        total_rate: 60_000,
        ..Limits::default()
    };
    let mut scene = Scene::new(limits);
    let [a, b] = scene.pair();
    let there = scene.open(&a, &b);
    let back = scene.open(&b, &a);
    let packet = [PACKET, &[0; 1000 - RELAY_HEADER][PACKET.len()..]].concat();
    let send = |scene: &Scene, who: &Member, channel| {
        let mut frame = who.forward(channel, &packet);
        scene.relay.take(who.outlet, &mut frame) != Verdict::Drop
    };

    let by_a = (0..30).filter(|_| send(&scene, &a, there)).count();
    let by_b = (0..30).filter(|_| send(&scene, &b, back)).count();

    assert_eq!((by_a, by_b), (20, 10), "half a second of 40 and 60 kB/s");
    scene.now += Duration::from_millis(100);
    scene.relay.handle_timeout(scene.now);
    assert_eq!((0..30).filter(|_| send(&scene, &a, there)).count(), 4);
}

#[test]
fn clients_and_channels_are_bounded() {
    let limits = Limits {
        clients: 3,
        channels: 1,
        ..Limits::default()
    };
    let mut scene = Scene::new(limits);
    let [a, b] = scene.pair();
    let c = scene.client(network(1), 3);
    let fourth = scene.relay.handle_message(
        network(1),
        IdentityKey([4; 32]),
        &RelayMessage::Ask,
        &mut scene.rng,
        scene.now,
    );
    assert_eq!(fourth, Some(refused(None, RelayRefusal::Full)));

    let there = scene.open(&a, &b);
    assert_eq!(scene.open(&a, &b), there, "asked again");
    let second = scene.ask(&a, &RelayMessage::Open { peer: c.member });
    assert_eq!(second, refused(Some(c.member), RelayRefusal::Full));
}

#[test]
fn a_grant_is_repeated_at_once_and_renewed_later() {
    let mut scene = Scene::new(Limits::default());
    let a = scene.grant(network(1), 1);
    let granted = scene.ask(&a, &RelayMessage::Ask);
    assert_eq!(scene.ask(&a, &RelayMessage::Ask), granted);

    scene.now += REPEAT_GRANT;

    assert_ne!(scene.ask(&a, &RelayMessage::Ask), granted);
    assert_eq!(scene.relay.take(a.outlet, &mut a.ping(7)), Verdict::Drop);
}

#[test]
fn a_client_that_starts_again_at_once_is_heard_although_it_counts_from_the_start() {
    let mut scene = Scene::new(Limits::default());
    let before = scene.client(network(1), 1);
    assert_eq!(
        scene.relay.take(before.outlet, &mut before.ping(20)),
        Verdict::Answer
    );

    let after = scene.grant(network(1), 1);

    assert_eq!(
        scene.relay.take(after.outlet, &mut after.ping(0)),
        Verdict::Answer
    );
}

#[test]
fn a_client_that_falls_silent_is_forgotten_and_the_relay_sleeps() {
    let mut scene = Scene::new(Limits::default());
    let [a, _] = scene.pair();
    assert!(scene.relay.poll_timeout().is_some());

    let end = scene.now + FORGET_AFTER * 2;
    let mut counter = 10;
    while scene.now < end {
        scene.now += Duration::from_secs(25);
        counter += 1;
        let _ = scene.relay.take(a.outlet, &mut a.ping(counter));
        scene.relay.handle_timeout(scene.now);
    }
    assert_eq!(scene.relay.totals().clients, 1);

    scene.now += FORGET_AFTER;
    scene.relay.handle_timeout(scene.now);

    assert_eq!(scene.relay.totals().clients, 0);
    assert_eq!(scene.relay.poll_timeout(), None);
}

#[test]
fn nobody_is_sent_to_before_it_has_said_where_it_is_or_after_its_stream_has_ended() {
    let mut scene = Scene::new(Limits::default());
    let a = scene.client(network(1), 1);
    let b = scene.grant(network(1), 2);
    let early = scene.ask(&a, &RelayMessage::Open { peer: b.member });
    assert_eq!(early, refused(Some(b.member), RelayRefusal::NotHere));

    let stream = Outlet::Stream(5);
    assert_eq!(scene.relay.take(stream, &mut b.ping(0)), Verdict::Answer);
    let there = scene.open(&a, &b);
    let send = |scene: &Scene| scene.relay.take(a.outlet, &mut a.forward(there, PACKET));
    assert_eq!(send(&scene), Verdict::Forward(stream));
    scene.relay.stream_closed(5);

    assert_eq!(send(&scene), Verdict::Drop);
    assert_eq!(scene.relay.totals().unreachable, 1);
}

/// A lane frame, as far as anybody can tell without its key.
const PACKET: &[u8] = &[
    0x10, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
    9, 7, 7, 7,
];

struct Member {
    network: NetworkId,
    member: IdentityKey,
    index: RelayIndex,
    key: RelayKey,
    outlet: Outlet,
}

impl Member {
    fn forward(&self, channel: RelayIndex, payload: &[u8]) -> Vec<u8> {
        let header = RelayHeader {
            op: RelayOp::Forward,
            index: channel,
        };
        header.frame(&self.key, payload)
    }

    fn ping(&self, counter: u64) -> Vec<u8> {
        let header = RelayHeader {
            op: RelayOp::Ping,
            index: self.index,
        };
        header.frame(&self.key, &counter.to_le_bytes())
    }
}

struct Scene {
    relay: Relay,
    rng: StdRng,
    now: Instant,
}

impl Scene {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn new(limits: Limits) -> Self {
        Self {
            relay: Relay::new(limits),
            rng: StdRng::seed_from_u64(5),
            now: Instant::now(),
        }
    }

    fn pair(&mut self) -> [Member; 2] {
        [1, 2].map(|number| self.client(network(1), number))
    }

    fn client(&mut self, network: NetworkId, number: u8) -> Member {
        let member = self.grant(network, number);
        let verdict = self.relay.take(member.outlet, &mut member.ping(1));
        assert_eq!(verdict, Verdict::Answer);
        member
    }

    fn grant(&mut self, network: NetworkId, number: u8) -> Member {
        let member = IdentityKey([number; 32]);
        let answer =
            self.relay
                .handle_message(network, member, &RelayMessage::Ask, &mut self.rng, self.now);
        let Some(RelayMessage::Grant { index, key }) = answer else {
            panic!("granted: {answer:?}");
        };
        let outlet = Outlet::Udp(SocketAddr::from(([192, 0, 2, number], 9790)));
        Member {
            network,
            member,
            index,
            key,
            outlet,
        }
    }

    fn ask(&mut self, who: &Member, message: &RelayMessage) -> RelayMessage {
        self.relay
            .handle_message(who.network, who.member, message, &mut self.rng, self.now)
            .expect("an answer")
    }

    fn open(&mut self, from: &Member, to: &Member) -> RelayIndex {
        let answer = self.ask(from, &RelayMessage::Open { peer: to.member });
        let RelayMessage::Opened { channel, .. } = answer else {
            panic!("opened: {answer:?}");
        };
        channel
    }
}

fn refused(peer: Option<IdentityKey>, reason: RelayRefusal) -> RelayMessage {
    RelayMessage::Refused { peer, reason }
}

fn network(number: u64) -> NetworkId {
    format!("8056c2e21c{number:06x}")
        .parse()
        .expect("a network id")
}
