//! Changes reach everybody although no controller can be reached.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tombolo_tests::{
    overlay::repetitions,
    process::{announce, figure},
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const A: Name = Name(1);
const B: Name = Name(2);
/// UDP and IPv4 headers, per datagram.
const HEADERS: usize = 28;

#[test]
fn a_removal_that_one_member_has_heard_of_is_enforced_by_all_within_three_seconds() {
    for (conditions, name) in [(Conditions::CLEAN, "clean"), (Conditions::ROUGH, "rough")] {
        let mut slowest = Duration::ZERO;
        for seed in 0..repetitions(3, 30) as u64 {
            let count = 20 + (seed as u8 % 4) * 10;
            let mut world = settled(conditions, seed, count);
            let removed = Name(count);
            world.node_mut(removed).ignores_peers = true;

            world.revoke(removed);
            let start = world.clock.now();
            world.publish_to(A);

            let done = world.run_until(SECOND * 15, |world| {
                (1..count).all(|number| is_out(world, Name(number), removed))
            });
            assert!(done, "seed {seed}");
            slowest = slowest.max(world.clock.now() - start);
        }
        figure(
            &format!("removal by gossip alone, 20 to 50 members, {name} network, simulated"),
            slowest,
            SECOND * 3,
        );
    }
}

#[test]
fn a_removal_reaches_a_hundred_members() {
    let mut world = settled(Conditions::CLEAN, 7, 100);
    world.revoke(Name(100));
    let start = world.clock.now();
    world.publish_to(A);

    let done = world.run_until(SECOND * 15, |world| {
        (1..100).all(|number| is_out(world, Name(number), Name(100)))
    });

    assert!(done);
    let took = world.clock.now() - start;
    figure(
        "removal by gossip alone, 100 members, simulated",
        took,
        SECOND * 3,
    );
}

#[test]
fn a_removed_member_that_hears_nothing_and_goes_on_sending_is_not_delivered_after_the_bound() {
    for seed in 0..repetitions(3, 30) as u64 {
        let mut world = settled(Conditions::ROUGH, seed, 12);
        let removed = Name(12);
        world.node_mut(removed).ignores_peers = true;
        for number in 1..12 {
            world.send(removed, Name(number));
        }
        world.run_for(SECOND * 5);
        world.revoke(removed);
        world.publish_to(A);
        world.run_for(SECOND * 3);

        let mut sent = BTreeSet::new();
        for _ in 0..30 {
            for number in 1..12 {
                sent.insert(world.send(removed, Name(number)));
            }
            world.run_for(SECOND);
        }

        for number in 1..12 {
            let received = world.received(Name(number));
            let forbidden = received.iter().any(|number| sent.contains(number));
            assert!(!forbidden, "seed {seed}, at {number}");
        }
    }
}

#[test]
fn a_removal_survives_reboots_of_everybody() {
    let mut world = settled(Conditions::CLEAN, 3, 10);
    let removed = Name(10);
    world.revoke(removed);
    world.publish_to(A);
    world.run_for(SECOND * 5);

    for name in world.names() {
        world.kill(name);
    }
    for name in world.names() {
        world.start(name);
    }
    world.run_for(SECOND * 60);

    for number in 1..10 {
        assert!(is_out(&world, Name(number), removed));
        let packet = world.send(removed, Name(number));
        world.run_for(SECOND);
        assert!(!world.has_received(Name(number), packet));
    }
}

#[test]
fn who_was_away_for_weeks_catches_up_from_the_first_peer_it_meets() {
    let mut world = settled(Conditions::CLEAN, 4, 12);
    let absent = Name(5);
    world.kill(absent);
    world.revoke(Name(12));
    world.start(Name(13));
    world.authorise(Name(13));
    for name in [A, B, Name(13)] {
        world.publish_to(name);
    }
    world.run_for(SECOND * 120);
    let weeks = world.clock.now() + HOUR * 24 * 21;
    world.clock.advance_to(weeks);
    world.run_for(SECOND * 600);

    world.start(absent);
    let start = world.clock.now();
    world.connect(absent, Name(3));
    let caught_up = world.run_until(SECOND * 15, |world| {
        is_out(world, absent, Name(12)) && !is_out(world, absent, Name(13))
    });

    assert!(caught_up);
    let took = world.clock.now() - start;
    figure(
        "first contact after three weeks to being up to date, simulated",
        took,
        SECOND,
    );
}

#[test]
fn a_member_that_has_moved_is_found_by_others_through_its_neighbours() {
    let mut slowest = Duration::ZERO;
    for seed in 0..repetitions(3, 30) as u64 {
        let mut world = settled(Conditions::CLEAN, seed, 20);
        let moved = Name(20);
        let seeker = (1..20)
            .map(Name)
            .find(|name| {
                world
                    .status(*name, moved)
                    .is_some_and(|status| status.endpoint.is_none())
            })
            .expect("somebody has no session with it");

        world.move_to(moved, "198.51.100.20:9790".parse().expect("an address"));
        let start = world.clock.now();
        let found = world.run_until(SECOND * 25, |world| {
            let known = world.node(seeker).announced_by(world.node(moved));
            known
                == ["198.51.100.20:9790"
                    .parse::<SocketAddr>()
                    .expect("an address")]
        });
        assert!(found, "seed {seed}");
        let took = world.clock.now() - start;
        let packet = world.send(seeker, moved);
        world.run_for(SECOND * 5);

        assert!(world.has_received(moved, packet), "seed {seed}");
        slowest = slowest.max(took);
    }
    figure(
        "change of address to being known to a member without a session, simulated",
        slowest,
        SECOND * 5,
    );
}

#[test]
fn a_member_whose_clock_ran_ahead_once_and_whose_disk_has_forgotten_it_is_still_believed() {
    let mut world = settled(Conditions::CLEAN, 8, 8);
    let member = Name(8);
    let move_to = |world: &mut World, place: &str| {
        world.move_to(member, place.parse().expect("an address"));
        world.run_for(SECOND * 60);
    };
    world.node_mut(member).clock_error = 10 * 365 * 86_400;
    move_to(&mut world, "198.51.100.1:9790");
    world.node_mut(member).clock_error = 0;
    world.restart(member);
    world.run_for(SECOND * 60);

    move_to(&mut world, "198.51.100.2:9790");

    for other in (1..8).map(Name) {
        let known = world.node(other).announced_by(world.node(member));
        assert_eq!(
            known.first(),
            Some(&world.node(member).address),
            "to {other:?}"
        );
    }
}

#[test]
fn an_idle_network_costs_little_and_a_change_is_said_a_bounded_number_of_times() {
    let count = 20;
    // The real handshake, for its size.
    let mut world = World::with_gossip(Handshake::Real, Conditions::CLEAN, 5, count);
    world.run_for(SECOND * 120);
    world.net.listen();
    world.run_for(HOUR);
    let idle = world.net.heard();
    let bytes: usize = idle.iter().map(|it| it.payload.len() + HEADERS).sum();
    let pairs: BTreeSet<(SocketAddr, SocketAddr)> = idle
        .iter()
        .map(|it| (it.from.min(it.to), it.from.max(it.to)))
        .collect();
    let per_node = bytes / usize::from(count);
    announce(&format!(
        "figure: idle traffic sent per node and hour {} kB, per pair of standing neighbours and hour {} kB ({} pairs among {count} members)",
        per_node / 1000,
        bytes / pairs.len() / 1000,
        pairs.len()
    ));
    for name in world.names() {
        assert!(
            sessions(&world, name, count) >= 4,
            "{name:?} after an idle hour"
        );
    }
    // Digests every half minute, lanes every two minutes.
    assert!(per_node < 2_500_000, "{per_node}");
    assert!(pairs.len() <= 4 * usize::from(count));

    world.run_for(SECOND * 5);
    let _ = world.net.heard();
    world.run_for(SECOND * 20);
    let before = world.net.heard().len();
    world.revoke(Name(count));
    world.publish_to(A);
    world.run_for(SECOND * 20);
    let after = world.net.heard().len();
    let extra = after.saturating_sub(before) / usize::from(count);
    announce(&format!(
        "figure: datagrams per node for one removal {extra}"
    ));
    assert!(extra < 60, "{extra}");
}

#[test]
fn every_member_has_four_standing_neighbours_or_all_there_are() {
    for count in [2, 4, 5, 20] {
        let world = settled(Conditions::CLEAN, 6, count);
        for name in world.names() {
            let sessions = sessions(&world, name, count);
            assert!(
                sessions >= usize::from(count - 1).min(4),
                "{name:?} of {count}: {sessions}"
            );
        }
    }
}

#[test]
fn after_any_life_who_may_talk_to_whom_is_as_the_authority_says() {
    for seed in 0..repetitions(6, 300) as u64 {
        Life::new(seed).run();
    }
}

/// One random life: every change reaches one member only, members come and go and move and are cut off.
struct Life {
    seed: u64,
    rng: StdRng,
    world: World,
    up: BTreeSet<Name>,
    members: BTreeSet<Name>,
    log: Vec<String>,
}

impl Life {
    const NODES: u8 = 8;

    fn new(seed: u64) -> Self {
        let conditions = if seed.is_multiple_of(2) {
            Conditions::CLEAN
        } else {
            Conditions::ROUGH
        };
        let all: BTreeSet<Name> = (1..=Self::NODES).map(Name).collect();
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            world: settled(conditions, seed, Self::NODES),
            up: all.clone(),
            members: all,
            log: Vec::new(),
        }
    }

    fn run(mut self) {
        for step in 0..20 {
            self.step(step);
            let seconds = self.rng.random_range(0..30);
            self.world.run_for(SECOND * seconds);
        }
        for number in 1..=Self::NODES {
            let address = self.world.node(Name(number)).address;
            self.world.net.set_reachable(address, true);
            if self.up.insert(Name(number)) {
                self.world.start(Name(number));
            }
        }
        self.world.run_for(SECOND * 400);
        self.judge();
    }

    fn step(&mut self, step: u8) {
        let who = Name(self.rng.random_range(1..=Self::NODES));
        let what = self.rng.random_range(0..8);
        self.log.push(format!("{what} {who:?}"));
        let address = self.world.node(who).address;
        match what {
            // There are always enough left to pass it on.
            0 | 1 if self.members.len() > 4 => {
                self.world.revoke(who);
                self.members.remove(&who);
                self.tell_one(who);
            }
            0..=2 => {
                self.world.authorise(who);
                self.members.insert(who);
                self.tell_one(who);
            }
            3 if self.up.len() > 4 => {
                self.world.kill(who);
                self.up.remove(&who);
            }
            3 | 4 => {
                self.up.insert(who);
                self.world.restart(who);
            }
            5 => self.world.net.set_reachable(address, false),
            6 => self.world.net.set_reachable(address, true),
            _ => {
                let new = SocketAddr::from(([198, 51, step, who.0], 9790));
                if self.up.contains(&who) {
                    self.world.net.set_reachable(address, true);
                    self.world.move_to(who, new);
                }
            }
        }
    }

    fn tell_one(&mut self, but: Name) {
        let able: Vec<Name> = self
            .members
            .intersection(&self.up)
            .copied()
            .filter(|name| *name != but)
            .collect();
        if let Some(name) = able.get(self.rng.random_range(0..able.len().max(1))) {
            self.log.push(format!("told {name:?}"));
            self.world.publish_to(*name);
        }
    }

    fn judge(&mut self) {
        for from in (1..=Self::NODES).map(Name) {
            for to in (1..=Self::NODES).map(Name).filter(|to| *to != from) {
                let [sender, receiver] = [from, to].map(|name| self.members.contains(&name));
                // Two that are out may go on as they like: nobody tells them, and they reach nobody else.
                if !sender && !receiver {
                    continue;
                }
                let expected = sender && receiver;
                let patience = if expected { 100 } else { 5 };
                let arrived = (0..patience).any(|_| {
                    let packet = self.world.send(from, to);
                    self.world.run_for(SECOND / 5);
                    self.world.has_received(to, packet)
                });
                assert_eq!(
                    arrived, expected,
                    "{from:?} -> {to:?}, seed {}: {:#?}",
                    self.seed, self.log
                );
            }
        }
    }
}

/// With how many of `count` members a node has a session.
fn sessions(world: &World, of: Name, count: u8) -> usize {
    (1..=count)
        .filter_map(|number| world.status(of, Name(number)))
        .filter(|status| status.endpoint.is_some())
        .count()
}

fn is_out(world: &World, judge: Name, member: Name) -> bool {
    world.status(judge, member).is_none()
}

/// A network whose members have found their neighbours.
fn settled(conditions: Conditions, seed: u64, count: u8) -> World {
    let mut world = World::with_gossip(Handshake::Fake, conditions, seed, count);
    world.run_for(SECOND * 20);
    world
}
