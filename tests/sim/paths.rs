//! Several ways between two members: traffic leaves one that broke, comes back to a better one, and nothing that a
//! network does to datagrams is ever seen by those inside.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tombolo_tests::{
    overlay::repetitions,
    process::figures,
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(50);

#[test]
fn traffic_leaves_a_cut_way_within_a_second_and_a_half_and_comes_back_when_it_is_mended() {
    let mut after_cuts = Vec::new();
    let mut after_mends = Vec::new();
    for seed in 0..repetitions(50, 1000) as u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = a_pair_with_two_ways(Conditions::CLEAN, seed);
        talk_for(&mut world, 3 * SECOND);
        assert_eq!(way_of(&world, A, B), Some(lan(B)), "the LAN is preferred");
        world.run_for(BEAT.mul_f64(rng.random_range(0.0..1.0)));

        world.net.set_reachable(lan(B), false);
        let cut = world.clock.now();
        after_cuts.push(until_both_hear(&mut world, cut));
        assert_eq!(way_of(&world, A, B), Some(world.node(B).address));

        world.net.set_reachable(lan(B), true);
        let mended = world.clock.now();
        while way_of(&world, A, B) != Some(lan(B)) || way_of(&world, B, A) != Some(lan(A)) {
            talk_for(&mut world, BEAT);
            assert!(world.clock.now() - mended < 60 * SECOND, "seed {seed}");
        }
        after_mends.push(world.clock.now() - mended);
    }
    let [median, worst] = figures("simulated cut to traffic on the standby", after_cuts);
    assert!(median <= SECOND * 3 / 2 && worst <= SECOND * 3);
    let [_, worst] = figures(
        "simulated mending to traffic on the better way",
        after_mends,
    );
    assert!(worst <= 30 * SECOND);
}

#[test]
fn a_better_way_that_comes_and_goes_is_not_followed_each_time() {
    let mut world = a_pair_with_two_ways(Conditions::CLEAN, 1);
    talk_for(&mut world, 3 * SECOND);
    let mut changes = 0;
    let mut before = way_of(&world, A, B);
    for half in 0..60 {
        world.net.set_reachable(lan(B), half % 2 == 1);
        for _ in 0..2 * SECOND.as_millis() / BEAT.as_millis() {
            talk_for(&mut world, BEAT);
            let after = way_of(&world, A, B);
            changes += usize::from(after.is_some() && after != before);
            before = after.or(before);
        }
    }
    assert!(changes <= 3, "{changes} changes in two minutes");
}

#[test]
fn both_may_move_at_once_if_somebody_tells_where_they_are() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 1, 2);
    world.set_controllers(true);
    talk_for(&mut world, SECOND);
    world.roam(A, "198.51.100.1:1111".parse().expect("an address"));
    world.roam(B, "198.51.100.2:2222".parse().expect("an address"));
    let moved = world.clock.now();

    world.publish();

    let took = until_both_hear(&mut world, moved);
    assert!(took <= 3 * SECOND, "{took:?}");
}

#[test]
fn two_hundred_handshakes_of_two_hundred_succeed_within_ten_seconds_with_a_fifth_of_all_lost() {
    let conditions = Conditions {
        loss: 0.2,
        ..Conditions::CLEAN
    };
    let mut took = Vec::new();
    for seed in 0..200 {
        let mut world = World::with_members(Handshake::Real, conditions, seed, 2);
        let start = world.clock.now();
        // Somebody wants to talk: one that nobody needs is tried ever more rarely.
        while way_of(&world, A, B).is_none() || way_of(&world, B, A).is_none() {
            world.send(A, B);
            world.run_for(BEAT);
            assert!(world.clock.now() - start <= 10 * SECOND, "seed {seed}");
        }
        took.push(world.clock.now() - start);
    }
    let [_, worst] = figures("simulated handshake with a fifth of all lost", took);
    assert!(worst <= 10 * SECOND);
}

#[test]
fn whatever_the_network_does_no_packet_arrives_twice_or_changed_and_in_the_end_everybody_talks() {
    for seed in 0..repetitions(150, 3000) as u64 {
        Life::new(seed).run();
    }
}

/// A random life of three members with two ways each.
struct Life {
    seed: u64,
    rng: StdRng,
    world: World,
    /// Numbers by sender and receiver.
    sent: BTreeMap<u64, (Name, Name)>,
}

impl Life {
    const NODES: u8 = 3;

    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let conditions = Conditions {
            delay: Duration::from_millis(rng.random_range(1..100)),
            jitter: Duration::from_millis(rng.random_range(0..50)),
            loss: rng.random_range(0.0..0.2),
            duplication: rng.random_range(0.0..0.2),
            corruption: rng.random_range(0.0..0.1),
        };
        let mut world = World::with_members(Handshake::Fake, conditions, seed, Self::NODES);
        world.set_controllers(true);
        for number in 1..=Self::NODES {
            let name = Name(number);
            world.node_mut(name).links = vec![lan(name)];
        }
        world.publish();
        Self {
            seed,
            rng,
            world,
            sent: BTreeMap::new(),
        }
    }

    fn run(mut self) {
        for _ in 0..40 {
            self.disturb();
            for _ in 0..self.rng.random_range(1..30) {
                self.talk();
                self.world.run_for(BEAT);
            }
        }
        self.world.net.mend();
        self.world.net.conditions = Conditions::CLEAN;
        self.world.publish();
        let start = self.world.clock.now();
        for (from, to) in [(A, B), (B, Name(3)), (Name(3), A)] {
            loop {
                let number = self.world.send(from, to);
                self.sent.insert(number, (from, to));
                if self
                    .world
                    .run_until(BEAT, |world| world.has_received(to, number))
                {
                    break;
                }
                let waited = self.world.clock.now() - start;
                assert!(
                    waited < 30 * SECOND,
                    "seed {}: {from:?} to {to:?}",
                    self.seed
                );
            }
        }
        self.judge();
    }

    fn disturb(&mut self) {
        let name = Name(self.rng.random_range(1..=Self::NODES));
        match self.rng.random_range(0..5) {
            0 => {
                let is_in = self.rng.random_bool(0.6);
                self.world.net.set_reachable(lan(name), is_in);
            }
            1 => {
                let (address, is_in) = (self.world.node(name).address, self.rng.random_bool(0.6));
                self.world.net.set_reachable(address, is_in);
            }
            2 => {
                let port = self.rng.random_range(1024..65_000);
                let there = SocketAddr::from(([198, 51, 100, name.0], port));
                self.world.roam(name, there);
            }
            3 => self.world.publish(),
            _ => {}
        }
    }

    fn talk(&mut self) {
        let from = Name(self.rng.random_range(1..=Self::NODES));
        let to = Name(self.rng.random_range(1..=Self::NODES));
        if from != to {
            let number = self.world.send(from, to);
            self.sent.insert(number, (from, to));
        }
    }

    fn judge(&self) {
        for number in 1..=Self::NODES {
            let name = Name(number);
            let mut seen = BTreeSet::new();
            for (_, message) in &self.world.node(name).delivered {
                let seed = self.seed;
                assert!(
                    seen.insert(message.number),
                    "seed {seed}: {message:?} twice"
                );
                let (from, to) = self.sent[&message.number];
                let said = (message.from, message.to, name);
                let meant = (World::address_of(from), World::address_of(to), to);
                assert_eq!(said, meant, "seed {seed}");
            }
        }
    }
}

/// Two members with a link of their own besides the one to everybody.
fn a_pair_with_two_ways(conditions: Conditions, seed: u64) -> World {
    let mut world = World::with_members(Handshake::Fake, conditions, seed, 2);
    for name in [A, B] {
        world.node_mut(name).links = vec![lan(name)];
    }
    world.publish();
    world
}

fn lan(name: Name) -> SocketAddr {
    SocketAddr::from(([10, 7, 0, name.0], 9790))
}

fn way_of(world: &World, from: Name, to: Name) -> Option<SocketAddr> {
    world.status(from, to).and_then(|status| status.endpoint)
}

/// Both send on every beat.
fn talk_for(world: &mut World, time: Duration) {
    let end = world.clock.now() + time;
    while world.clock.now() < end {
        world.send(A, B);
        world.send(B, A);
        world.run_for(BEAT);
    }
}

/// How long it takes until something arrives on both sides that was sent since then.
fn until_both_hear(world: &mut World, since: Instant) -> Duration {
    let first = world.send(A, B);
    loop {
        world.send(A, B);
        world.send(B, A);
        world.run_for(BEAT);
        let hears = |name: Name| {
            let delivered = &world.node(name).delivered;
            delivered.iter().any(|(_, message)| message.number >= first)
        };
        let took = world.clock.now() - since;
        if hears(A) && hears(B) {
            return took;
        }
        assert!(took < 30 * SECOND, "nothing arrives any more");
    }
}
