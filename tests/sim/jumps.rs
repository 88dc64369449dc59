//! Clocks that jump, and messages from the past.

use std::time::Duration;

use tombolo_tests::{
    simnet::{Conditions, Delivery},
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_wall_clock_that_steps_does_not_touch_what_is_running() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 2);
    world.send(A, B);
    world.run_for(SECOND);

    for step in [10 * 365 * 86_400, -20 * 365 * 86_400] {
        world.clock.step_wall(step);
        let packets = [world.send(A, B), world.send(B, A)];
        world.run_for(SECOND);
        assert!(world.has_received(B, packets[0]) && world.has_received(A, packets[1]));
    }
}

#[test]
fn a_node_whose_clock_went_back_while_it_was_down_is_heard_again() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 2, 2);
    world.node_mut(B).set_handshake_clock(1_000_000);
    world.send(B, A);
    world.run_for(SECOND * 60);

    world.kill(B);
    world.node_mut(B).set_handshake_clock(1);
    world.restart(B);
    let packet = world.send(B, A);

    assert!(world.run_until(SECOND, |world| world.has_received(A, packet)));
}

#[test]
fn a_node_that_slept_makes_new_sessions_on_waking() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 3, 2);
    world.send(A, B);
    world.run_for(SECOND);
    let b = world.node(B).address;
    world.net.set_reachable(b, false);
    // Asleep: the others age, its own sessions do not.
    world.freeze(B);
    world.run_for(SECOND * 600);
    world.thaw(B);
    world.net.set_reachable(b, true);

    let start = world.clock.now();
    let mut arrived = false;
    while !arrived {
        let packet = world.send(B, A);
        arrived = world.run_until(SECOND / 20, |world| world.has_received(A, packet));
        assert!(world.clock.now() - start < SECOND * 3, "still silent");
    }
}

#[test]
fn replayed_messages_change_nothing_however_old() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        let mut world = World::with_members(handshake, Conditions::CLEAN, 4, 2);
        world.net.listen();
        let packet = world.send(A, B);
        world.run_for(SECOND);
        assert!(world.has_received(B, packet));
        let recorded = world.net.heard();
        let (events, delivered) = (world.node(B).events.len(), world.received(B));
        let elsewhere = "203.0.113.66:6666".parse().expect("an address");

        for wait in [1, 15, 30] {
            world.run_for(SECOND * wait);
            for Delivery { from, to, payload } in &recorded {
                let receiver = if *to == world.node(A).address { A } else { B };
                world.receive(receiver, *from, payload.clone());
                world.receive(receiver, elsewhere, payload.clone());
                world.run_for(SECOND / 50);
            }
        }
        world.run_for(SECOND);

        assert_eq!(world.received(B), delivered);
        assert_eq!(world.node(B).events.len(), events);
        let status = world.status(B, A).expect("a peer");
        assert_eq!(status.endpoint, Some(world.node(A).address));
        let next = world.send(B, A);
        assert!(world.run_until(SECOND / 2, |world| world.has_received(A, next)));
    }
}
