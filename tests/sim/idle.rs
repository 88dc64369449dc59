//! What does not talk costs nothing.

use std::time::Duration;

use tombolo_tests::{
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn members_that_never_talk_exchange_nothing_and_never_wake_up() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 20);
    world.net.listen();

    world.run_for(SECOND * 10_000);

    assert_eq!(world.net.heard(), []);
    for name in world.names() {
        assert_eq!(world.node(name).engine.poll_timeout(), None);
    }
}

#[test]
fn an_idle_session_sends_nothing_and_is_gone_after_its_time() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 2, 2);
    world.send(A, B);
    world.run_for(SECOND);
    world.net.listen();

    world.run_for(SECOND * 200);

    assert_eq!(world.net.heard(), []);
    assert_eq!(world.node(A).engine.poll_timeout(), None);
}

#[test]
fn after_a_pause_both_sides_still_hold_the_lane_that_the_other_seals_with() {
    for seed in 0..10 {
        for pause in [5, 9, 11, 15, 30, 100] {
            let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, seed, 2);
            world.connect(A, B);
            world.connect(B, A);
            world.run_for(SECOND);

            world.run_for(SECOND * pause);
            let (to_b, to_a) = (world.send(A, B), world.send(B, A));
            world.run_for(Conditions::CLEAN.delay * 2);

            assert!(world.has_received(B, to_b), "seed {seed}, pause {pause} s");
            assert!(world.has_received(A, to_a), "seed {seed}, pause {pause} s");
        }
    }
}

#[test]
fn traffic_in_one_direction_is_accompanied_by_at_most_a_few_pings_a_second() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 3, 2);
    world.send(A, B);
    world.run_for(SECOND);
    world.net.listen();

    for _ in 0..1000 {
        world.send(A, B);
        world.run_for(SECOND / 100);
    }

    let extra = world.net.heard().len() - 1000;
    assert!(extra <= 60, "{extra}");
}

#[test]
fn traffic_in_both_directions_is_accompanied_by_a_ping_every_ten_seconds() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 4, 2);
    world.send(A, B);
    world.run_for(SECOND);
    world.net.listen();

    for _ in 0..1000 {
        world.send(A, B);
        world.send(B, A);
        world.run_for(SECOND / 20);
    }

    let extra = world.net.heard().len() - 2000;
    assert!(extra <= 4 * 6, "{extra}");
}
