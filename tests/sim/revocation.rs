//! Who is put out is cut off by the others, whether it agrees or not.

use std::time::Duration;

use tombolo_engine::counters::DropReason;
use tombolo_tests::{
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const C: Name = Name(3);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_member_that_does_not_cooperate_is_cut_off_at_once_and_what_it_sends_is_counted() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        let mut world = three_in_talks(handshake);
        world.node_mut(C).is_deaf = true;
        let before = world.received(A).len();

        world.revoke(C);
        world.publish();
        for _ in 0..200 {
            world.send(C, A);
            world.run_for(SECOND / 20);
        }

        assert_eq!(world.received(A).len(), before);
        assert!(world.drops(A, DropReason::UnknownLane) > 10);
        assert!(world.drops(A, DropReason::UnknownPeer) > 0);
        let to_c = world.send(A, C);
        world.run_for(SECOND);
        assert!(!world.has_received(C, to_c));
        assert!(world.drops(A, DropReason::NoRoute) > 0);
        assert_eq!(world.status(A, C), None);
    }
}

#[test]
fn the_others_do_not_notice() {
    let mut world = three_in_talks(Handshake::Fake);
    let before = world.received(B).len();
    let mut sent = Vec::new();

    for round in 0..200 {
        if round == 100 {
            world.revoke(C);
            world.publish();
        }
        sent.push(world.send(A, B));
        world.run_for(SECOND / 50);
    }
    world.run_for(SECOND);

    assert_eq!(world.received(B)[before..], sent);
}

#[test]
fn a_node_that_learns_of_its_own_removal_talks_to_nobody() {
    let mut world = three_in_talks(Handshake::Fake);
    world.revoke(C);
    world.publish();

    let packet = world.send(C, A);
    world.run_for(SECOND);

    assert!(!world.has_received(A, packet));
    assert_eq!(world.node(C).engine.peers(world.clock.now()), []);
    assert_eq!(world.drops(C, DropReason::NoRoute), 1);
}

#[test]
fn who_is_authorised_again_is_a_member_as_before() {
    let mut world = three_in_talks(Handshake::Real);
    world.revoke(C);
    world.publish();
    world.run_for(SECOND * 5);

    world.authorise(C);
    world.publish();
    let packets = [world.send(C, A), world.send(A, C)];
    world.run_for(SECOND);

    assert!(world.has_received(A, packets[0]));
    assert!(world.has_received(C, packets[1]));
}

#[test]
fn packets_in_the_queue_for_a_removed_member_go_nowhere() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 3);
    world.send(A, C);
    world.revoke(C);
    world.publish();
    world.net.listen();

    world.run_for(SECOND * 5);

    assert!(world.received(C).is_empty());
    assert_eq!(world.net.heard(), []);
}

fn three_in_talks(handshake: Handshake) -> World {
    let mut world = World::with_members(handshake, Conditions::CLEAN, 1, 3);
    for (from, to) in [(A, B), (B, C), (C, A)] {
        world.send(from, to);
    }
    world.run_for(SECOND);
    world
}
