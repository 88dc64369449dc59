//! The directory changes while traffic flows.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
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
fn a_route_works_in_both_directions_from_the_moment_it_is_known_to_the_moment_it_is_gone() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 2);
    let container = address("10.9.0.7");
    let host = World::address_of(A);

    let too_early = world.send_between(A, host, container);
    world.run_for(SECOND);
    set_routes(&mut world, B, &[("10.9.0.0/24", 0)]);
    let there = world.send_between(A, host, container);
    let back = world.send_between(B, container, host);
    world.run_for(SECOND);
    set_routes(&mut world, B, &[]);
    let too_late = world.send_between(A, host, container);
    let forged = world.send_between(B, container, host);
    world.run_for(SECOND);

    assert_eq!(world.received(B), [there]);
    assert_eq!(world.received(A), [back]);
    assert!(
        ![too_early, too_late]
            .iter()
            .any(|number| world.has_received(B, *number))
    );
    assert!(!world.has_received(A, forged));
    assert_eq!(world.drops(A, DropReason::NoRoute), 2);
    assert_eq!(world.drops(A, DropReason::SourceNotAllowed), 1);
}

#[test]
fn the_longest_prefix_wins_and_a_part_of_it_can_be_taken_over_live() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 2, 3);
    set_routes(&mut world, B, &[("10.9.0.0/16", 0)]);
    let first = world.send_between(A, World::address_of(A), address("10.9.5.1"));
    world.run_for(SECOND);

    set_routes(&mut world, C, &[("10.9.5.0/24", 0)]);
    let second = world.send_between(A, World::address_of(A), address("10.9.5.1"));
    let forged = world.send_between(B, address("10.9.5.1"), World::address_of(A));
    world.run_for(SECOND);

    assert_eq!(world.received(B), [first]);
    assert_eq!(world.received(C), [second]);
    assert!(!world.has_received(A, forged));
}

#[test]
fn a_shared_route_goes_to_the_lowest_metric_and_moves_when_its_member_goes() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 3, 3);
    set_routes(&mut world, B, &[("10.9.0.0/24", 20)]);
    set_routes(&mut world, C, &[("10.9.0.0/24", 10)]);
    let to_c = world.send_between(A, World::address_of(A), address("10.9.0.1"));
    let from_both =
        [B, C].map(|name| world.send_between(name, address("10.9.0.1"), World::address_of(A)));
    world.run_for(SECOND);

    world.revoke(C);
    world.publish();
    let to_b = world.send_between(A, World::address_of(A), address("10.9.0.1"));
    world.run_for(SECOND);

    assert_eq!(
        (world.received(C), world.received(B)),
        (vec![to_c], vec![to_b])
    );
    assert!(
        from_both
            .iter()
            .all(|number| world.has_received(A, *number))
    );
}

#[test]
fn a_packet_that_waited_goes_to_who_owns_its_destination_now_or_nowhere() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 4, 3);
    set_routes(&mut world, B, &[("10.9.0.0/24", 0)]);
    let packet = world.send_between(A, World::address_of(A), address("10.9.0.1"));

    set_routes(&mut world, B, &[]);
    set_routes(&mut world, C, &[("10.9.0.0/24", 0)]);
    world.run_for(SECOND);

    assert!(!world.has_received(B, packet));
    assert_eq!(world.drops(A, DropReason::NoRoute), 1);
}

#[test]
fn a_changed_address_counts_at_once_and_the_old_one_no_more() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 5, 2);
    let (old, new) = (World::address_of(B), address("172.27.9.9"));
    world.send(A, B);
    world.run_for(SECOND);

    let identity = world.node(B).identity();
    world.authority().set_address(identity, new);
    world.publish();
    let there = world.send_between(A, World::address_of(A), new);
    let back = world.send_between(B, new, World::address_of(A));
    world.send_between(A, World::address_of(A), old);
    world.send_between(B, old, World::address_of(A));
    world.run_for(SECOND);

    assert_eq!(world.received(B).last(), Some(&there));
    assert_eq!(world.received(A), [back]);
    assert_eq!(world.drops(A, DropReason::NoRoute), 1);
    assert_eq!(world.drops(A, DropReason::SourceNotAllowed), 1);
}

#[test]
fn both_families_and_container_prefixes_pass_and_own_addresses_never_come_from_outside() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 6, 2);
    let plane = |world: &mut World, name: Name, host: u128| {
        let identity = world.node(name).identity();
        let prefix = world
            .authority()
            .cert(&identity)
            .and_then(|cert| cert.prefix);
        let network = prefix.expect("6PLANE is on").network();
        IpAddr::V6((network.to_bits() | host).into())
    };
    let (a, b) = (plane(&mut world, A, 1), plane(&mut world, B, 1));
    let container = plane(&mut world, B, 0x1_0000_0007);

    let packets = [(a, b), (a, container)].map(|(from, to)| world.send_between(A, from, to));
    let back = world.send_between(B, container, a);
    let forged = world.send_between(B, a, a);
    world.run_for(SECOND);

    assert_eq!(world.received(B), packets);
    assert_eq!(world.received(A), [back]);
    assert!(!world.has_received(A, forged));
}

#[test]
fn networks_with_the_same_members_and_addresses_never_mix() {
    let mut world = World::new(Handshake::Real, Conditions::CLEAN, 7);
    let second = world.add_network();
    for name in [A, B, C] {
        world.start(name);
    }
    world.authorise(A);
    world.authorise(B);
    world.authorise_in(second, A);
    world.authorise_in(second, C);
    world.publish();
    let (one, two) = (world.network(), world.authority_of(second).network());

    let in_one = world.send(A, B);
    let packet = tombolo_tests::packets::Message {
        from: World::address_of(A),
        to: World::address_of(C),
        number: 1_000_000,
    };
    world.send_raw(second, A, &packet.encode());
    world.send_raw(0, A, &packet.encode());
    world.run_for(SECOND);

    let networks = |name: Name| -> Vec<_> {
        let delivered = &world.node(name).delivered;
        delivered
            .iter()
            .map(|(network, message)| (*network, message.number))
            .collect()
    };
    assert_eq!(networks(B), [(one, in_one)]);
    assert_eq!(networks(C), [(two, packet.number)]);
    assert_eq!(world.drops(A, DropReason::NoRoute), 1);
}

#[test]
fn leaving_a_network_ends_its_sessions_and_no_others() {
    let mut world = World::new(Handshake::Fake, Conditions::CLEAN, 8);
    let second = world.add_network();
    for name in [A, B] {
        world.start(name);
        world.authorise(name);
        world.authorise_in(second, name);
    }
    world.publish();
    world.send(A, B);
    world.run_for(SECOND);
    let (now, two) = (world.clock.now(), world.authority_of(second).network());

    world.node_mut(A).engine.remove_network(two, now);
    let packet = world.send(A, B);
    world.run_for(SECOND);

    assert!(world.has_received(B, packet));
    assert_eq!(world.node(A).engine.peers(now).len(), 1);
}

fn set_routes(world: &mut World, of: Name, routes: &[(&str, u32)]) {
    let identity = world.node(of).identity();
    let routes: Vec<(IpNet, u32)> = routes
        .iter()
        .map(|(prefix, metric)| (prefix.parse().expect("a prefix"), *metric))
        .collect();
    world.authority().set_routes(identity, &routes);
    world.publish();
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
