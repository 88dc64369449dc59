//! Nodes behind NATs meet because both send at once, and nobody can have others send to a victim.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tombolo_engine::control::Event;
use tombolo_proto::key::Seed;
use tombolo_tests::{
    simnat::NatKind,
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn nodes_behind_port_restricted_nats_meet_with_the_second_initiation() {
    let mut world = a_world(Conditions::CLEAN, 1, [NatKind::PortRestricted; 2]);
    let start = world.clock.now();

    let packet = world.send(A, B);

    assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
    // A third of a second until it is clear that B does not answer, then the call, then B's handshake and the packet.
    let limit = Duration::from_millis(313 + 40) + Conditions::CLEAN.delay * 6;
    assert!(world.clock.now() - start <= limit);
    let answer = world.send(B, A);
    assert!(world.run_until(SECOND, |world| world.has_received(A, answer)));
}

#[test]
fn without_anybody_to_tell_them_they_never_meet() {
    let mut world = a_world(Conditions::CLEAN, 1, [NatKind::PortRestricted; 2]);
    world.set_controllers(false);

    let packet = world.send(A, B);
    world.run_for(SECOND * 60);

    assert!(!world.has_received(B, packet));
    let asked = wishes(&world, A);
    assert!((3..=8).contains(&asked), "asked {asked} times in a minute");
}

#[test]
fn every_pair_of_nats_that_can_meet_does() {
    use NatKind::{AddressRestricted, FullCone, PortRestricted, Symmetric};
    for (first, second) in [
        (FullCone, PortRestricted),
        (AddressRestricted, PortRestricted),
        (PortRestricted, AddressRestricted),
        (Symmetric, FullCone),
        (Symmetric, AddressRestricted),
        (AddressRestricted, Symmetric),
        (FullCone, Symmetric),
    ] {
        let mut world = a_world(Conditions::CLEAN, 1, [first, second]);

        let packet = world.send(A, B);

        assert!(
            world.run_until(SECOND * 2, |world| world.has_received(B, packet)),
            "{first:?} to {second:?}"
        );
    }
}

#[test]
fn they_meet_on_a_path_that_loses_a_fifth_of_everything() {
    let mut slowest = Duration::ZERO;
    for seed in 0..200 {
        let mut world = a_world(Conditions::ROUGH, seed, [NatKind::PortRestricted; 2]);
        let start = world.clock.now();

        let packets: Vec<u64> = (0..10)
            .map(|_| {
                let packet = world.send(A, B);
                world.run_for(SECOND / 2);
                packet
            })
            .collect();

        let arrived = |world: &World| packets.iter().any(|packet| world.has_received(B, *packet));
        assert!(
            world.run_until(SECOND * 15, arrived),
            "seed {seed}: {:?}",
            world.status(A, B)
        );
        slowest = slowest.max(world.clock.now() - start);
    }
    assert!(slowest <= SECOND * 20, "{slowest:?}");
}

#[test]
fn without_controllers_a_common_peer_introduces_them() {
    let mut world = World::with_gossip(Handshake::Real, Conditions::CLEAN, 1, 3);
    world.put_behind(A, NatKind::PortRestricted);
    world.put_behind(B, NatKind::PortRestricted);
    world.publish();
    let meets = |world: &mut World| {
        (0..100).any(|_| {
            let packet = world.send(A, B);
            world.run_until(SECOND / 10, |world| world.has_received(B, packet))
        })
    };
    assert!(meets(&mut world), "both call at the start");
    world.run_for(SECOND * 5);
    let before = calls(&world, B);

    // Another socket: B's NAT knows nothing of it, and B does not know that it should send.
    world.move_to(A, SocketAddr::from(([10, 0, A.0, 2], 9791)));
    let start = world.clock.now();

    assert!(meets(&mut world));
    // Silence is noticed after a second and a quarter; the first initiation after that stays unanswered.
    assert!(world.clock.now() - start <= SECOND * 2);
    assert!(calls(&world, B) > before, "they met by another way");
}

#[test]
fn a_wish_that_names_nobody_goes_nowhere_and_many_wishes_are_cut() {
    let mut world = World::with_gossip(Handshake::Fake, Conditions::CLEAN, 1, 3);
    world.run_for(SECOND * 40);
    let (network, b) = (world.network(), world.node(B).identity());
    let announcement = world
        .node(A)
        .own_announcement(network)
        .expect("seen by now");
    let stranger = Seed::from_bytes([99; 32]).identity().public();
    let before = calls(&world, B);

    for _ in 0..1000 {
        let now = world.clock.now();
        let engine = &mut world.node_mut(A).engine;
        engine.ask_peers_for_call(network, b, announcement.clone(), now);
        engine.ask_peers_for_call(network, stranger, announcement.clone(), now);
    }
    world.run_for(SECOND);

    // What goes by one common peer: its burst, of which half named a stranger, and what came back in a second.
    let passed = calls(&world, B) - before;
    assert!((1..=20).contains(&passed), "{passed}");
}

#[test]
fn a_peer_that_answers_at_once_is_not_asked_to_call() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 1, 2);

    let packet = world.send(A, B);

    assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
    assert_eq!(wishes(&world, A), 0);
}

#[test]
fn a_peer_of_which_no_place_is_known_is_asked_to_call_at_once() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 1, 2);
    world.set_controllers(true);
    let (network, b) = (world.network(), world.node(B).identity());
    let now = world.clock.now();
    world
        .node_mut(A)
        .engine
        .set_endpoints(network, b, Vec::new(), now);

    let packet = world.send(A, B);

    let limit = Duration::from_millis(40) + Conditions::CLEAN.delay * 6;
    assert!(world.run_until(limit, |world| world.has_received(B, packet)));
}

#[test]
fn a_member_that_lies_about_where_it_is_has_little_sent_to_its_victim() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 2);
    let victim = IpAddr::from([198, 51, 100, 99]);
    let lies: Vec<SocketAddr> = (1..=8).map(|port| SocketAddr::new(victim, port)).collect();
    let (network, liar) = (world.network(), world.node(A).identity());
    world.net.listen();

    let seconds = 600;
    for _ in 0..seconds * 10 {
        let now = world.clock.now();
        let engine = &mut world.node_mut(B).engine;
        engine.set_endpoints(network, liar, lies.clone(), now);
        engine.handle_rendezvous(network, liar, now);
        world.run_for(SECOND / 10);
    }

    let sent = world.net.heard();
    let at_victim = sent
        .iter()
        .filter(|datagram| datagram.to.ip() == victim)
        .count();
    // A burst, and then one a second.
    assert!(at_victim >= 32, "it was called: {at_victim}");
    assert!(at_victim <= 32 + seconds, "{at_victim} in {seconds} s");
}

#[test]
fn neither_strangers_nor_places_inside_the_overlay_are_called() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 2);
    let (network, peer) = (world.network(), world.node(A).identity());
    world.start(Name(3));
    let stranger = world.node(Name(3)).identity();
    let elsewhere = SocketAddr::from(([198, 51, 100, 99], 9790));
    let inside = SocketAddr::new(World::address_of(A), 9790);
    let now = world.clock.now();
    world.net.listen();

    let engine = &mut world.node_mut(B).engine;
    engine.set_endpoints(network, stranger, vec![elsewhere], now);
    engine.handle_rendezvous(network, stranger, now);
    engine.set_endpoints(network, peer, vec![inside], now);
    engine.handle_rendezvous(network, peer, now);
    world.run_for(SECOND * 10);

    assert_eq!(world.net.heard(), []);
}

fn a_world(conditions: Conditions, seed: u64, nats: [NatKind; 2]) -> World {
    let mut world = World::with_members(Handshake::Real, conditions, seed, 2);
    world.set_controllers(true);
    world.put_behind(A, nats[0]);
    world.put_behind(B, nats[1]);
    world.publish();
    world
}

fn calls(world: &World, of: Name) -> usize {
    let events = world.node(of).events.iter();
    events
        .filter(|event| matches!(event, Event::Called { .. }))
        .count()
}

fn wishes(world: &World, of: Name) -> usize {
    let events = world.node(of).events.iter();
    events
        .filter(|event| matches!(event, Event::RendezvousWanted { .. }))
        .count()
}
