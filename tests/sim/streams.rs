//! Streams of TCP break as ways do, and nobody hears of it: what is on them waits until it arrives, or for ever.

use std::{ops::Range, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tombolo_engine::{control::Engine, path::way::Way, relay::RelayName};
use tombolo_tests::{
    overlay::repetitions,
    process::figures,
    simnat::{Behaviour, Dependence::EndpointIndependent, Ports},
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const MEMBERS: u8 = 4;
/// In a row, in one world: what a cut leaves behind must not slow down the next one.
const CUTS: usize = 6;
const BEAT: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
/// From the cut to packets that arrive at both, in 99 of 100; all have five times as long.
const PROMISE: Duration = Duration::from_secs(3);
const MEDIAN: Duration = Duration::from_millis(1500);

#[test]
fn when_the_stream_to_a_relay_in_use_is_cut_another_relay_carries() {
    judge(
        "simulated: stream to the relay in use cut to both hearing each other",
        &[A, B],
        0..20_000,
        |way, _| way.endpoint().is_none(),
    );
}

#[test]
fn when_the_stream_to_a_peer_is_cut_a_relay_carries() {
    judge(
        "simulated: stream to the peer cut to both hearing each other by a relay",
        &[A],
        // Shorter than the stream lives: it is not asked for again while a relay carries.
        0..6_000,
        |way, engine| engine.is_on_stream(way),
    );
}

/// Cuts again and again the way that A reaches B by, when it is as `is_meant` says; those who are `blocked` let no
/// datagram out. It is mended so many milliseconds after others have taken over.
fn judge(
    what: &str,
    blocked: &[Name],
    mended_after: Range<u64>,
    is_meant: impl Fn(Way, &Engine) -> bool,
) {
    let is_ready = |world: &World| {
        let engine = |name: Name| &world.node(name).engine;
        // Whoever relays can only take over if its own stream has come back.
        let has_another = |name| engine(name).warm_relays(world.network()).len() >= 2;
        let way = world.status(A, B).and_then(|status| status.way);
        way.is_some_and(|way| is_meant(way, engine(A))) && has_another(A) && has_another(B)
    };
    let mut gaps = Vec::new();
    for seed in 0..repetitions(40, 1_000) as u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = without_udp(seed, blocked);
        for _ in 0..CUTS {
            let settled = talk(&mut world, SECOND * 120, is_ready);
            assert!(settled.is_some(), "not ready with seed {seed}");
            let for_a_while = Duration::from_millis(rng.random_range(1_000..20_000));
            talk(&mut world, for_a_while, |_| false);
            let carrier = carrier(&world);

            part(&mut world, carrier, true);

            let gap = hear_each_other(&mut world, PROMISE * 5);
            gaps.push(gap.unwrap_or_else(|| panic!("silent with seed {seed}")));
            let still = Duration::from_millis(rng.random_range(mended_after.clone()));
            talk(&mut world, still, |_| false);
            part(&mut world, carrier, false);
        }
    }
    gaps.sort_unstable();
    let nearly_all = gaps[(gaps.len() - 1) * 99 / 100];
    let [median, _] = figures(what, gaps);
    assert!(median <= MEDIAN, "{median:?}");
    assert!(nearly_all <= PROMISE, "{nearly_all:?}");
}

fn without_udp(seed: u64, blocked: &[Name]) -> World {
    let nat = Behaviour {
        mapping: EndpointIndependent,
        filtering: EndpointIndependent,
        ports: Ports::Random,
        expiry: SECOND * 120,
        hairpin: false,
        blocks: true,
    };
    let mut world = World::with_relays(Handshake::Fake, Conditions::CLEAN, seed, MEMBERS);
    for name in blocked {
        let public = [198, 51, 100, name.0];
        let router = world.add_router(nat, public, seed * 2 + u64::from(name.0));
        world.put_behind_router(*name, router, [192, 168, name.0, 2]);
    }
    world.set_streams(true);
    // Before they have found relays: afterwards nobody asks for a stream to a peer.
    talk(&mut world, SECOND * 20, |_| false);
    world
}

/// Both send twenty packets a second until `done`; how long that took.
fn talk(world: &mut World, limit: Duration, done: impl Fn(&World) -> bool) -> Option<Duration> {
    let start = world.clock.now();
    while world.clock.now() - start < limit {
        if done(world) {
            return Some(world.clock.now() - start);
        }
        world.send(A, B);
        world.send(B, A);
        world.run_for(BEAT);
    }
    None
}

/// How long it took until what both had sent within one beat arrived within the next few.
fn hear_each_other(world: &mut World, limit: Duration) -> Option<Duration> {
    let start = world.clock.now();
    let mut sent = Vec::new();
    while world.clock.now() - start < limit {
        sent.push([world.send(A, B), world.send(B, A)]);
        world.run_for(BEAT);
        let is_heard =
            |[to_b, to_a]: &[u64; 2]| world.has_received(B, *to_b) && world.has_received(A, *to_a);
        if sent.iter().any(is_heard) {
            return Some(world.clock.now() - start);
        }
    }
    None
}

/// Who is at the other end of the stream that A's packets to B go by.
fn carrier(world: &World) -> Name {
    let relay = world.status(A, B).and_then(|status| status.relay);
    let Some(RelayName::Member(key)) = relay else {
        return B;
    };
    let mut names = world.names().into_iter();
    names
        .find(|name| world.node(*name).identity() == key)
        .expect("a member")
}

fn part(world: &mut World, carrier: Name, parted: bool) {
    let [one, other] = [A, carrier].map(|name| world.node(name).address);
    world.net.set_parted(one, other, parted);
}
