//! A change of lanes is not felt.

use std::time::Duration;

use tombolo_engine::control::{Event, Timing};
use tombolo_tests::{
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);
const QUICK: Timing = Timing {
    rekey_after: Duration::from_secs(2),
    reject_after: Duration::from_secs(3),
};

#[test]
fn under_traffic_in_both_directions_nothing_is_lost_or_reordered() {
    for (seed, handshake) in [
        (1, Handshake::Real),
        (2, Handshake::Fake),
        (3, Handshake::Fake),
    ] {
        let mut world = a_world(handshake, seed);
        let mut sent = (Vec::new(), Vec::new());

        for _ in 0..1500 {
            sent.0.push(world.send(A, B));
            sent.1.push(world.send(B, A));
            world.run_for(SECOND / 50);
        }
        let age = world.status(A, B).expect("a peer").last_handshake;
        world.run_for(SECOND);

        assert_eq!(world.received(B), sent.0);
        assert_eq!(world.received(A), sent.1);
        assert!(age.is_some_and(|age| age < QUICK.reject_after), "{age:?}");
        for node in [A, B] {
            assert_eq!(ups_and_downs(&world, node), (1, 0));
        }
    }
}

#[test]
fn under_traffic_in_one_direction_nothing_is_lost_or_reordered() {
    for (from, to) in [(A, B), (B, A)] {
        let mut world = a_world(Handshake::Fake, 4);
        let mut sent = Vec::new();

        for _ in 0..1500 {
            sent.push(world.send(from, to));
            world.run_for(SECOND / 50);
        }
        world.run_for(SECOND);

        assert_eq!(world.received(to), sent);
    }
}

#[test]
fn a_lane_that_has_sealed_enough_is_replaced_however_young_and_nothing_is_lost() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        let mut world = World::new(handshake, Conditions::CLEAN, 8);
        world.set_rekey_after_frames(500);
        start_two(&mut world);
        let first = world.send(A, B);
        assert!(world.run_until(SECOND, |world| world.has_received(B, first)));
        let mut sent = (Vec::new(), Vec::new());
        let mut oldest = Duration::ZERO;

        for _ in 0..5000 {
            sent.0.push(world.send(A, B));
            sent.1.push(world.send(B, A));
            world.run_for(SECOND / 500);
            let age = world.status(A, B).and_then(|status| status.last_handshake);
            oldest = oldest.max(age.expect("a session"));
        }
        world.run_for(SECOND);

        assert!(world.received(B).ends_with(&sent.0));
        assert!(world.received(A).ends_with(&sent.1));
        // 500 frames take a second; it is noticed within a quarter of one, and a handshake takes two round trips.
        assert!(oldest < SECOND * 3 / 2, "{oldest:?}");
        assert_eq!(ups_and_downs(&world, A), (1, 0));
    }
}

#[test]
fn traffic_goes_on_while_every_rekey_is_hampered() {
    let conditions = Conditions {
        loss: 0.1,
        ..Conditions::CLEAN
    };
    for seed in 0..20 {
        let mut world = World::new(Handshake::Fake, conditions, seed);
        world.set_timing(QUICK);
        start_two(&mut world);
        let sent = (0..1500).map(|_| {
            let number = world.send(A, B);
            world.run_for(SECOND / 50);
            number
        });
        let sent = sent.count();
        world.run_for(SECOND);

        let arrived = world.received(B);

        assert!(arrived.is_sorted(), "seed {seed}");
        let share = arrived.len() as f64 / sent as f64;
        assert!(share > 0.85, "seed {seed}: {share}");
    }
}

#[test]
fn keys_of_an_idle_session_are_erased_and_the_next_packet_makes_a_new_one() {
    let mut world = a_world(Handshake::Real, 5);
    world.send(A, B);
    world.run_for(QUICK.reject_after + SECOND);

    for (of, peer) in [(A, B), (B, A)] {
        assert_eq!(ups_and_downs(&world, of), (1, 1));
        let status = world.status(of, peer).expect("a peer");
        assert_eq!(
            (status.cipher, status.last_handshake, status.endpoint),
            (None, None, None)
        );
        assert_eq!(world.node(of).engine.poll_timeout(), None);
    }

    let packet = world.send(B, A);
    assert!(world.run_until(SECOND, |world| world.has_received(A, packet)));
}

#[test]
fn an_idle_session_is_not_rekeyed() {
    let mut world = a_world(Handshake::Fake, 6);
    world.send(A, B);
    world.run_for(SECOND);
    world.net.listen();

    world.run_for(SECOND * 10);

    assert_eq!(world.net.heard(), []);
}

#[test]
fn real_handshakes_of_both_sides_may_cross_at_every_offset() {
    for offset in 0..25 {
        let mut world = a_world(Handshake::Real, 7);
        let first = world.send(A, B);
        world.run_for(Duration::from_millis(4 * offset));
        let second = world.send(B, A);
        world.run_for(SECOND);

        assert!(world.has_received(B, first), "offset {offset}");
        assert!(world.has_received(A, second), "offset {offset}");
        let mut sent = (Vec::new(), Vec::new());
        for _ in 0..100 {
            sent.0.push(world.send(A, B));
            sent.1.push(world.send(B, A));
            world.run_for(SECOND / 10);
        }
        world.run_for(SECOND);
        assert!(world.received(B).ends_with(&sent.0), "offset {offset}");
        assert!(world.received(A).ends_with(&sent.1), "offset {offset}");
    }
}

fn a_world(handshake: Handshake, seed: u64) -> World {
    let mut world = World::new(handshake, Conditions::CLEAN, seed);
    world.set_timing(QUICK);
    start_two(&mut world);
    world
}

fn start_two(world: &mut World) {
    for name in [A, B] {
        world.start(name);
        world.authorise(name);
    }
    world.publish();
}

fn ups_and_downs(world: &World, of: Name) -> (usize, usize) {
    let events = &world.node(of).events;
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    (
        count(|event| matches!(event, Event::SessionUp { .. })),
        count(|event| matches!(event, Event::SessionDown { .. })),
    )
}
