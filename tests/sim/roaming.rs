//! A peer that moves is followed after one round trip, and by nothing less.

use std::{net::SocketAddr, time::Duration};

use tombolo_engine::control::Event;
use tombolo_tests::{
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);

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

fn a_session() -> World {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 1, 2);
    let packet = world.send(A, B);
    assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
    world.run_for(SECOND);
    world
}
