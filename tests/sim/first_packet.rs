//! From nothing to a delivered packet, on good networks and bad ones.

use std::time::Duration;

use tombolo_engine::{control::Event, counters::DropReason};
use tombolo_tests::{
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_first_packet_waits_for_the_session_and_arrives_after_five_trips() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        let mut world = World::with_members(handshake, Conditions::CLEAN, 1, 2);
        let start = world.clock.now();

        let packet = world.send(A, B);

        assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
        assert_eq!(world.clock.now() - start, Conditions::CLEAN.delay * 5);
        let network = world.network();
        let (peer, way) = (world.node(B).identity(), world.node(B).address.into());
        assert_eq!(
            world.node(A).events,
            [Event::SessionUp { network, peer, way }]
        );
    }
}

#[test]
fn packets_that_wait_arrive_in_order_and_the_status_tells_of_the_session() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 2, 2);
    let packets: Vec<u64> = (0..20).map(|_| world.send(A, B)).collect();

    world.run_for(SECOND);

    assert_eq!(world.received(B), packets);
    let status = world.status(A, B).expect("a peer");
    assert_eq!(status.endpoint, Some(world.node(B).address));
    assert_eq!(status.cipher, Some("aes-256-gcm"));
    assert_eq!(status.latency, Some(Conditions::CLEAN.delay * 2));
    assert_eq!((status.tx_packets, status.tx_bytes), (20, 20 * 28));
    assert!(!status.connecting);
}

#[test]
fn both_sides_may_start_at_once() {
    for seed in 0..20 {
        let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, seed, 2);

        let (to_b, to_a) = (world.send(A, B), world.send(B, A));
        world.run_for(SECOND / 2);
        let mut sent = (vec![to_b], vec![to_a]);
        for _ in 0..600 {
            world.run_for(SECOND / 20);
            sent.0.push(world.send(A, B));
            sent.1.push(world.send(B, A));
        }
        world.run_for(SECOND);

        assert_eq!(world.received(B), sent.0);
        assert_eq!(world.received(A), sent.1);
    }
}

#[test]
fn any_one_message_of_the_beginning_may_get_lost() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        for lost in 0..5 {
            let mut world = World::with_members(handshake, Conditions::CLEAN, lost, 2);
            world.net.lose(lost);

            let first = world.send(A, B);
            world.run_for(SECOND / 2);
            let second = world.send(A, B);
            world.run_for(SECOND / 2);
            let back = world.send(B, A);
            world.run_for(SECOND);

            assert_eq!(world.received(B), [first, second], "lost {lost}");
            assert_eq!(world.received(A), [back], "lost {lost}");
        }
    }
}

#[test]
fn every_session_comes_up_on_a_network_that_loses_a_fifth_and_shuffles_the_rest() {
    for seed in 0..100 {
        let handshake = if seed < 30 {
            Handshake::Real
        } else {
            Handshake::Fake
        };
        let mut world = World::with_members(handshake, Conditions::ROUGH, seed, 2);
        let start = world.clock.now();

        for (from, to) in [(A, B), (B, A)] {
            let mut arrived = false;
            while !arrived {
                let packet = world.send(from, to);
                arrived = world.run_until(SECOND / 10, |world| world.has_received(to, packet));
                assert!(world.clock.now() - start < SECOND * 10, "seed {seed}");
            }
        }
    }
}

#[test]
fn nothing_is_delivered_twice_on_a_network_that_duplicates() {
    let conditions = Conditions {
        duplication: 0.5,
        ..Conditions::ROUGH
    };
    let mut world = World::with_members(Handshake::Real, conditions, 3, 2);
    for _ in 0..1000 {
        world.send(A, B);
        world.run_for(Duration::from_millis(10));
    }

    let mut arrived = world.received(B);

    let total = arrived.len();
    assert!(total > 600, "{total}");
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived.len(), total);
    assert!(world.drops(B, DropReason::Replayed) > 200);
}

#[test]
fn packets_for_a_peer_that_is_not_there_are_dropped_and_counted_and_it_is_found_when_it_comes() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 4, 2);
    world.kill(B);
    for _ in 0..200 {
        world.send(A, B);
        world.run_for(SECOND);
    }
    assert!(world.drops(A, DropReason::QueueFull) > 100);

    world.restart(B);
    let start = world.clock.now();
    let mut arrived = false;
    while !arrived {
        let packet = world.send(A, B);
        arrived = world.run_until(SECOND / 10, |world| world.has_received(B, packet));
        assert!(world.clock.now() - start < SECOND * 6, "not found again");
    }
    // What waited for minutes is not sent any more.
    assert!(world.drops(A, DropReason::Unreachable) > 0);
    assert!(world.received(B).len() < 60);
}

#[test]
fn an_attempt_that_nobody_wants_any_more_ends() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 5, 2);
    world.kill(B);
    world.send(A, B);

    world.run_for(SECOND * 200);

    assert!(!world.status(A, B).expect("a peer").connecting);
    assert_eq!(world.node(A).engine.poll_timeout(), None);
    assert_eq!(world.drops(A, DropReason::Unreachable), 1);
}

#[test]
fn peers_without_aes_agree_on_the_other_cipher() {
    let mut world = World::new(Handshake::Real, Conditions::CLEAN, 6);
    world.start(A);
    world.set_aes(false);
    world.start(B);
    world.authorise(A);
    world.authorise(B);
    world.publish();

    let packet = world.send(A, B);
    world.run_for(SECOND);

    assert!(world.has_received(B, packet));
    for (of, peer) in [(A, B), (B, A)] {
        let status = world.status(of, peer).expect("a peer");
        assert_eq!(status.cipher, Some("chacha20-poly1305"));
    }
}
