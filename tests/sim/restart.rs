//! A node that is killed and started again is back in under two seconds, whoever speaks first.

use std::time::Duration;

use tombolo_tests::{
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);
const PROMISE: Duration = Duration::from_secs(2);

#[test]
fn the_side_that_stayed_notices_and_dials() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        let mut world = a_session(handshake);
        world.kill(B);
        world.restart(B);

        let outage = time_until_heard(&mut world, A, B);

        assert!(outage < PROMISE, "{outage:?}");
    }
}

#[test]
fn the_side_that_came_back_is_heard_at_once() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        let mut world = a_session(handshake);
        world.kill(B);
        world.restart(B);

        let outage = time_until_heard(&mut world, B, A);
        let answer = time_until_heard(&mut world, A, B);

        assert!(outage < SECOND / 2, "{outage:?}");
        assert!(answer < SECOND / 10, "{answer:?}");
    }
}

#[test]
fn a_node_that_dials_on_starting_is_back_before_anybody_asks() {
    let mut world = a_session(Handshake::Real);
    world.kill(B);
    world.run_for(SECOND * 3);
    world.restart(B);
    world.connect(B, A);
    world.run_for(SECOND / 5);

    assert!(time_until_heard(&mut world, A, B) < SECOND / 10);
}

#[test]
fn the_length_of_the_absence_does_not_matter_to_the_side_that_returns() {
    for absence in [1, 10, 100, 1000, 10_000] {
        let mut world = a_session(Handshake::Fake);
        world.kill(B);
        for _ in 0..absence {
            world.send(A, B);
            world.run_for(SECOND);
        }
        world.restart(B);
        world.connect(B, A);

        let outage = time_until_heard(&mut world, A, B);

        assert!(outage < PROMISE, "after {absence} s: {outage:?}");
    }
}

#[test]
fn both_may_restart_at_once() {
    let mut world = a_session(Handshake::Fake);
    for name in [A, B] {
        world.kill(name);
    }
    for name in [A, B] {
        world.restart(name);
    }

    assert!(time_until_heard(&mut world, A, B) < SECOND / 2);
    assert!(time_until_heard(&mut world, B, A) < SECOND / 2);
}

#[test]
fn many_restarts_in_a_row_on_a_bad_network_are_survived() {
    for seed in 0..20 {
        let mut world = World::with_members(Handshake::Fake, Conditions::ROUGH, seed, 2);
        for _ in 0..5 {
            world.kill(B);
            world.restart(B);
            let outage = time_until_heard(&mut world, A, B);
            assert!(outage < SECOND * 8, "seed {seed}: {outage:?}");
        }
    }
}

#[test]
fn a_short_outage_of_the_underlay_ends_the_session_for_no_longer_than_itself() {
    let mut world = a_session(Handshake::Real);
    let b = world.node(B).address;
    world.net.set_reachable(b, false);
    for _ in 0..100 {
        world.send(A, B);
        world.run_for(SECOND / 10);
    }
    world.net.set_reachable(b, true);

    let outage = time_until_heard(&mut world, A, B);

    assert!(outage < SECOND * 6, "{outage:?}");
}

fn a_session(handshake: Handshake) -> World {
    let mut world = World::with_members(handshake, Conditions::CLEAN, 1, 2);
    let packet = world.send(A, B);
    assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
    world.run_for(SECOND);
    world
}

/// Sends every 50 ms; how long it takes until one of these packets arrives.
fn time_until_heard(world: &mut World, from: Name, to: Name) -> Duration {
    let start = world.clock.now();
    let first = world.send(from, to);
    loop {
        let arrived = world.run_until(SECOND / 20, |world| {
            world
                .received(to)
                .last()
                .is_some_and(|number| *number >= first)
        });
        let passed = world.clock.now() - start;
        if arrived || passed > SECOND * 100 {
            return passed;
        }
        world.send(from, to);
    }
}
