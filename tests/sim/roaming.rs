//! A peer that moves is followed after one round trip, and by nothing less.

use std::{net::SocketAddr, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tombolo_engine::control::Event;
use tombolo_tests::{
    overlay::repetitions,
    process::figures,
    simnat::{Behaviour, NatKind, Ports},
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);
/// From a new mapping of the NAT to the next answer, while the inside sends.
const REBOUND: Duration = SECOND;

#[test]
fn a_peer_that_sends_from_a_new_address_is_answered_there_after_one_round_trip() {
    let mut world = a_session();
    let there: SocketAddr = "203.0.113.9:4242".parse().expect("an address");

    world.roam(A, there);
    world.send(A, B);
    let moved = world.run_until(SECOND, |world| {
        world.status(B, A).and_then(|status| status.endpoint) == Some(there)
    });

    assert!(moved);
    let back = world.send(B, A);
    assert!(world.run_until(SECOND / 10, |world| world.has_received(A, back)));
    let network = world.network();
    let peer = world.node(A).identity();
    assert!(world.node(B).events.contains(&Event::WayChanged {
        network,
        peer,
        way: there.into()
    }));
}

#[test]
fn a_frame_that_somebody_else_passes_on_does_not_move_the_endpoint() {
    let mut world = a_session();
    let thief: SocketAddr = "203.0.113.66:6666".parse().expect("an address");
    world.net.listen();
    let a = world.node(A).address;
    let b = world.node(B).address;
    world.net.set_reachable(b, false);
    world.send(A, B);
    let stolen = world.net.heard().remove(0).payload;
    world.net.set_reachable(b, true);

    world.receive(B, thief, stolen);
    world.run_for(SECOND);

    assert_eq!(
        world.status(B, A).and_then(|status| status.endpoint),
        Some(a)
    );
    let back = world.send(B, A);
    assert!(world.run_until(SECOND, |world| world.has_received(A, back)));
}

#[test]
fn a_silent_peer_that_moved_finds_back_by_itself() {
    let mut world = a_session();
    world.roam(A, "203.0.113.9:4242".parse().expect("an address"));

    let mut arrived = false;
    let start = world.clock.now();
    while !arrived {
        // A sends now and then, B all the time.
        world.send(A, B);
        let packet = world.send(B, A);
        arrived = world.run_until(SECOND / 10, |world| world.has_received(A, packet));
        assert!(world.clock.now() - start < SECOND, "not followed");
    }
}

#[test]
fn a_nat_that_maps_anew_is_followed_within_a_second_whenever_that_is() {
    let mut gaps = Vec::new();
    for seed in 0..repetitions(60, 2_000) as u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let conditions = Conditions {
            delay: Duration::from_millis(rng.random_range(0..=50)),
            jitter: Duration::from_millis(rng.random_range(0..=10)),
            ..Conditions::CLEAN
        };
        let mut world = World::with_members(Handshake::Fake, conditions, seed, 2);
        let nat = Behaviour {
            ports: Ports::Random,
            ..NatKind::PortRestricted.into()
        };
        let router = world.add_router(nat, [198, 51, 100, 1], seed);
        world.put_behind_router(A, router, [192, 168, 1, 2]);
        world.publish();
        let beat = Duration::from_millis(rng.random_range(5..=50));
        for _ in 0..10 {
            // Some come one right after the other, some long after.
            let longest = *[500, 15_000].choose(&mut rng).expect("two");
            let pause = Duration::from_millis(rng.random_range(0..longest));
            until_answered(&mut world, beat);
            let start = world.clock.now();
            while world.clock.now() - start < pause {
                ask(&mut world, beat);
            }

            world.net.restart_router(router);

            let took = until_answered(&mut world, beat);
            assert!(took <= REBOUND, "{took:?} with seed {seed}");
            gaps.push(took);
        }
    }
    let [median, _] = figures("simulated: new mapping of the NAT to the next answer", gaps);
    assert!(median <= REBOUND / 2, "{median:?}");
}

/// A asks, and B answers what it has heard in this time.
fn ask(world: &mut World, time: Duration) {
    let before = world.node(B).delivered.len();
    world.send(A, B);
    world.run_for(time);
    if world.node(B).delivered.len() > before {
        world.send(B, A);
    }
}

/// How long it takes until A has an answer to what it has asked since now.
fn until_answered(world: &mut World, beat: Duration) -> Duration {
    let start = world.clock.now();
    let first = world.send(A, B);
    loop {
        ask(world, beat);
        let mut delivered = world.node(A).delivered.iter().rev();
        let took = world.clock.now() - start;
        if delivered.any(|(_, message)| message.number > first) {
            return took;
        }
        assert!(took < REBOUND * 30, "not followed");
    }
}

fn a_session() -> World {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 1, 2);
    let packet = world.send(A, B);
    assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
    world.run_for(SECOND);
    world
}
