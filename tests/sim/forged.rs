//! Frames that are not what they seem, in numbers: each kind is dropped and counted for its own reason, nothing else is
//! counted, nothing is delivered, and the lane works on.

use std::{net::SocketAddr, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tombolo_engine::counters::DropReason;
use tombolo_proto::frame::{LANE_HEADER, LANE_OVERHEAD};
use tombolo_tests::{
    simnet::{Conditions, Delivery},
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);
/// Of each kind.
const COUNT: u64 = 1_000_000;
/// First byte of a lane data frame.
const DATA: u8 = 0x10;

#[test]
fn forged_frames_are_dropped_for_their_tags() {
    let mut scene = Scene::new(1);

    for _ in 0..COUNT {
        let mut forged = scene.any_fresh();
        let bit = scene.rng.random_range(LANE_HEADER * 8..forged.len() * 8);
        forged[bit / 8] ^= 1 << (bit % 8);
        scene.give(forged);
    }

    scene.finish(DropReason::BadTag);
}

#[test]
fn frames_with_a_changed_counter_are_dropped_for_their_tags() {
    let mut scene = Scene::new(2);

    for _ in 0..COUNT {
        let mut forged = scene.any_fresh();
        // Far enough above the genuine ones that it is none of them.
        let counter: u64 = scene.rng.random_range(1 << 20..1 << 24);
        forged[8..LANE_HEADER].copy_from_slice(&counter.to_le_bytes());
        scene.give(forged);
    }

    scene.finish(DropReason::BadTag);
}

#[test]
fn frames_beyond_the_limit_of_the_key_are_dropped_unopened() {
    let mut scene = Scene::new(3);

    for _ in 0..COUNT {
        let mut forged = scene.any_fresh();
        let counter: u64 = scene.rng.random_range(3 << 24..=u64::MAX);
        forged[8..LANE_HEADER].copy_from_slice(&counter.to_le_bytes());
        scene.give(forged);
    }

    scene.finish(DropReason::Exhausted);
}

#[test]
fn frames_for_another_lane_or_with_unknown_flags_are_dropped_for_that() {
    let mut scene = Scene::new(4);

    for _ in 0..COUNT {
        let mut forged = scene.any_fresh();
        let bit = scene.rng.random_range(32..64);
        forged[bit / 8] ^= 1 << (bit % 8);
        scene.give(forged);
    }
    scene.finish(DropReason::UnknownLane);

    let mut scene = Scene::new(5);
    for _ in 0..COUNT {
        let mut forged = scene.any_fresh();
        forged[scene.rng.random_range(1..4)] = scene.rng.random_range(1..=u8::MAX);
        scene.give(forged);
    }
    scene.finish(DropReason::UnknownFrame);
}

#[test]
fn replayed_frames_are_dropped_as_such_however_old() {
    let mut scene = Scene::new(6);
    scene.world.net.listen();
    // More than the window of 8,192 holds, so that both kinds of replay occur.
    for _ in 0..10_000 {
        scene.world.send(B, A);
    }
    scene.world.run_for(SECOND);
    let used: Vec<Vec<u8>> = scene.frames_heard();
    assert!(used.len() >= 10_000);
    scene.start_counting();

    for _ in 0..COUNT {
        let replayed = used[scene.rng.random_range(0..used.len())].clone();
        scene.give(replayed);
    }

    scene.finish(DropReason::Replayed);
}

#[test]
fn truncated_frames_are_dropped_for_their_tags_or_as_no_frames() {
    let mut scene = Scene::new(7);

    for _ in 0..COUNT {
        let mut cut = scene.any_fresh();
        cut.truncate(scene.rng.random_range(LANE_OVERHEAD..cut.len()));
        scene.give(cut);
    }
    scene.finish(DropReason::BadTag);

    let mut scene = Scene::new(8);
    for _ in 0..COUNT {
        let mut cut = scene.any_fresh();
        cut.truncate(scene.rng.random_range(0..LANE_OVERHEAD));
        scene.give(cut);
    }
    scene.finish(DropReason::UnknownFrame);
}

#[test]
fn reflected_frames_are_for_no_lane_of_their_sender_and_never_open() {
    let mut scene = Scene::new(9);
    scene.world.net.listen();
    for _ in 0..100 {
        scene.world.send(A, B);
    }
    let own: Vec<Vec<u8>> = scene.frames_heard();
    scene.world.run_for(SECOND);
    scene.start_counting();

    for _ in 0..COUNT {
        let reflected = own[scene.rng.random_range(0..own.len())].clone();
        scene.give(reflected);
    }
    scene.finish(DropReason::UnknownLane);

    // Also when the attacker puts the right index: keys differ by direction.
    let mut scene = Scene::new(9);
    let receiver = scene.any_fresh()[4..8].to_vec();
    for _ in 0..COUNT {
        let mut reflected = own[scene.rng.random_range(0..own.len())].clone();
        reflected[4..8].copy_from_slice(&receiver);
        scene.give(reflected);
    }
    scene.finish(DropReason::BadTag);
}

/// Two nodes with a session, and frames from B to A that have not arrived yet.
struct Scene {
    world: World,
    rng: StdRng,
    fresh: Vec<Vec<u8>>,
    from: SocketAddr,
    delivered: usize,
    before: Vec<u64>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, seed, 2);
        let packet = world.send(B, A);
        assert!(world.run_until(SECOND, |world| world.has_received(A, packet)));
        world.run_for(SECOND);
        world.net.listen();
        let a = world.node(A).address;
        world.net.set_reachable(a, false);
        for _ in 0..100 {
            world.send(B, A);
        }
        world.net.set_reachable(a, true);
        let from = world.node(B).address;
        let mut scene = Self {
            fresh: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            from,
            delivered: 0,
            before: Vec::new(),
            world,
        };
        scene.fresh = scene.frames_heard();
        assert_eq!(scene.fresh.len(), 100);
        scene.start_counting();
        scene
    }

    fn start_counting(&mut self) {
        self.delivered = self.world.received(A).len();
        self.before = self.drops();
    }

    fn drops(&self) -> Vec<u64> {
        DropReason::ALL
            .map(|reason| self.world.drops(A, reason))
            .to_vec()
    }

    fn frames_heard(&mut self) -> Vec<Vec<u8>> {
        self.world
            .net
            .heard()
            .into_iter()
            .map(|Delivery { payload, .. }| payload)
            .filter(|payload| payload.first() == Some(&DATA))
            .collect()
    }

    fn any_fresh(&mut self) -> Vec<u8> {
        self.fresh[self.rng.random_range(0..self.fresh.len())].clone()
    }

    fn give(&mut self, datagram: Vec<u8>) {
        self.world.receive(A, self.from, datagram);
    }

    /// Exactly [`COUNT`] drops for `reason` and no others, nothing delivered; every genuine frame still opens, once.
    fn finish(mut self, reason: DropReason) {
        let rises: Vec<(DropReason, u64)> = DropReason::ALL
            .into_iter()
            .zip(
                self.drops()
                    .iter()
                    .zip(&self.before)
                    .map(|(now, before)| now - before),
            )
            .filter(|(_, rise)| *rise > 0)
            .collect();
        assert_eq!(rises, [(reason, COUNT)]);
        assert_eq!(self.world.received(A).len(), self.delivered);
        let packets = [(B, self.world.send(A, B)), (A, self.world.send(B, A))];
        self.world.run_for(SECOND);
        for (to, packet) in packets {
            assert!(self.world.has_received(to, packet));
        }
    }
}
