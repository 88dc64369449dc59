//! Two members route one prefix: packets take the first that is there.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tombolo_tests::{
    overlay::repetitions,
    process::figures,
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const FIRST: Name = Name(1);
const SECOND: Name = Name(2);
const SENDERS: [Name; 2] = [Name(3), Name(4)];
const BEAT: Duration = Duration::from_millis(50);
const A_SECOND: Duration = Duration::from_secs(1);

#[test]
fn packets_take_the_second_router_within_three_seconds_and_the_first_when_it_is_back() {
    let mut over = Vec::new();
    let mut back = Vec::new();
    for seed in 0..repetitions(20, 500) as u64 {
        let mut world = a_shared_prefix(Conditions::CLEAN, seed);
        reaches(&mut world, FIRST, A_SECOND);
        let here = world.node(FIRST).address;

        world.net.set_reachable(here, false);
        over.push(reaches(&mut world, SECOND, 30 * A_SECOND));
        world.net.set_reachable(here, true);
        back.push(reaches(&mut world, FIRST, 60 * A_SECOND));
    }
    let [_, worst] = figures("simulated loss of a router to packets at the other", over);
    assert!(worst <= 3 * A_SECOND);
    let [_, worst] = figures("simulated return of a router to packets there", back);
    assert!(worst >= 5 * A_SECOND && worst <= 30 * A_SECOND);
}

#[test]
fn a_first_packet_takes_the_second_router_if_the_first_was_never_there() {
    let mut world = a_shared_prefix(Conditions::CLEAN, 1);
    let here = world.node(FIRST).address;
    world.net.set_reachable(here, false);

    let took = reaches(&mut world, SECOND, 30 * A_SECOND);

    assert!(took <= 3 * A_SECOND, "{took:?}");
    // Nothing that waited for the first one was lost.
    let delivered = world.node(SECOND).delivered.len();
    assert!(delivered >= took.as_millis() as usize / BEAT.as_millis() as usize);
}

#[test]
fn with_both_away_and_back_again_packets_flow_again() {
    let mut world = a_shared_prefix(Conditions::CLEAN, 1);
    let places = [FIRST, SECOND].map(|name| world.node(name).address);
    reaches(&mut world, FIRST, A_SECOND);
    for place in places {
        world.net.set_reachable(place, false);
    }
    let end = world.clock.now() + 20 * A_SECOND;
    while world.clock.now() < end {
        send(&mut world);
        world.run_for(BEAT);
    }

    world.net.mend();

    reaches(&mut world, FIRST, 30 * A_SECOND);
}

/// Two routers of one prefix, the first with the better metric, and two who use it.
fn a_shared_prefix(conditions: Conditions, seed: u64) -> World {
    let mut world = World::with_members(Handshake::Fake, conditions, seed, 4);
    for (router, metric) in [(FIRST, 100), (SECOND, 200)] {
        let identity = world.node(router).identity();
        let prefix = "192.168.50.0/24".parse().expect("a prefix");
        world.authority().set_routes(identity, &[(prefix, metric)]);
    }
    world.publish();
    world
}

fn target() -> IpAddr {
    IpAddr::from([192, 168, 50, 9])
}

fn send(world: &mut World) -> Vec<u64> {
    SENDERS
        .map(|sender| world.send_between(sender, World::address_of(sender), target()))
        .to_vec()
}

/// How long it takes until what both senders send arrives at a router, and nowhere else.
fn reaches(world: &mut World, router: Name, within: Duration) -> Duration {
    let start: Instant = world.clock.now();
    loop {
        let sent = send(world);
        world.run_for(BEAT);
        let has_all =
            |world: &World, name: Name| sent.iter().all(|number| world.has_received(name, *number));
        let took = world.clock.now() - start;
        if has_all(world, router) {
            return took;
        }
        assert!(took <= within, "not at {router:?} after {took:?}");
    }
}
