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
