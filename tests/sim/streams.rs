//! Streams of TCP break as ways do, and nobody hears of it: what is on them waits until it arrives, or for ever.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

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
/// From the cut to packets that arrive at both.
const PROMISE: Duration = Duration::from_secs(3);
const MEDIAN: Duration = Duration::from_millis(1500);
/// Streams that have ended are sought at pauses that grow up to two minutes, and a quarter of that for jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(150);

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
        0..20_000,
        |way, engine| engine.is_on_stream(way),
    );
}

#[test]
fn a_stream_that_has_ended_is_sought_ever_more_rarely_while_a_relay_carries_and_taken_when_it_opens()
 {
    let mut returns = Vec::new();
    for seed in 0..repetitions(20, 200) as u64 {
        let mut world = on_a_stream(seed);

        part(&mut world, B, true);
        let cut_at = world.clock.now();
        let for_long = SECOND * (60 + seed % 300) as u32;
        talk(&mut world, for_long, |_| false);

        assert!(is_relayed_to_b(&world), "not relayed with seed {seed}");
        let wanted = world.streams_wanted(A, B).iter();
        // What is wanted while the cut is noticed is not sought.
        let sought: Vec<Instant> = wanted
            .copied()
            .filter(|at| *at > cut_at + SECOND * 10)
            .collect();
        let pauses: Vec<Duration> = sought.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            pauses.iter().all(|pause| *pause >= SECOND * 5),
            "{pauses:?}"
        );
        assert!((2..=7).contains(&sought.len()), "{sought:?}");

        part(&mut world, B, false);
        let back = talk(&mut world, LONGEST_PAUSE * 2, is_on_stream_to_b);
        returns.push(back.unwrap_or_else(|| panic!("still relayed with seed {seed}")));
    }
    let [_, worst] = figures(
        "simulated: stream to the peer possible again to being used instead of a relay",
        returns,
    );
    assert!(worst <= LONGEST_PAUSE + SECOND, "{worst:?}");
}

#[test]
fn where_no_udp_passes_a_stream_to_the_peer_is_found_although_a_relay_answered_first() {
    let mut found = Vec::new();
    for seed in 0..repetitions(20, 200) as u64 {
        let mut world = parted_and_without_udp(seed);
        let relayed = talk(&mut world, SECOND * 120, is_relayed_to_b);
        assert!(relayed.is_some(), "not relayed with seed {seed}");
        talk(&mut world, SECOND * 20, |_| false);

        part(&mut world, B, false);

        let after = talk(&mut world, LONGEST_PAUSE * 2, is_on_stream_to_b);
        found.push(after.unwrap_or_else(|| panic!("still relayed with seed {seed}")));
    }
    let [_, worst] = figures(
        "simulated: peer begins to be reachable by a stream to being reached by it instead of a relay",
        found,
    );
    assert!(worst <= LONGEST_PAUSE + SECOND, "{worst:?}");
}

#[test]
fn after_a_cut_of_some_seconds_streams_are_replaced_and_not_waited_for_as_long_again() {
    let mut gaps = Vec::new();
    for seed in 0..repetitions(40, 1_000) as u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = on_a_stream(seed);
        let others: Vec<Name> = (2..=MEMBERS).map(Name).collect();

        for other in &others {
            part(&mut world, *other, true);
        }
        let still = Duration::from_millis(rng.random_range(2_000..9_000));
        talk(&mut world, still, |_| false);
        for other in &others {
            part(&mut world, *other, false);
        }

        let gap = hear_each_other(&mut world, PROMISE * 5);
        gaps.push(gap.unwrap_or_else(|| panic!("silent with seed {seed}")));
    }
    let [_, worst] = figures(
        "simulated: all streams cut for 2 to 9 s, mended to both hearing each other",
        gaps,
    );
    assert!(worst <= PROMISE, "{worst:?}");
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
            let settled = talk(&mut world, LONGEST_PAUSE * 2, is_ready);
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
    let [median, worst] = figures(what, gaps);
    assert!(median <= MEDIAN, "{median:?}");
    assert!(worst <= PROMISE, "{worst:?}");
}

fn without_udp(seed: u64, blocked: &[Name]) -> World {
    let mut world = a_world(seed, blocked);
    // Before they have found relays, so that streams to peers are there at once.
    talk(&mut world, SECOND * 20, |_| false);
    world
}

/// A lets no datagram out, and reaches B by a stream.
fn on_a_stream(seed: u64) -> World {
    let mut world = without_udp(seed, &[A]);
    let settled = talk(&mut world, LONGEST_PAUSE, is_on_stream_to_b);
    assert!(settled.is_some(), "not on a stream with seed {seed}");
    world
}

/// A lets no datagram out, and reaches B by nothing but relays.
fn parted_and_without_udp(seed: u64) -> World {
    let mut world = a_world(seed, &[A]);
    part(&mut world, B, true);
    world
}

fn a_world(seed: u64, blocked: &[Name]) -> World {
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
    world
}

fn is_on_stream_to_b(world: &World) -> bool {
    let way = world.status(A, B).and_then(|status| status.way);
    way.is_some_and(|way| way.endpoint().is_some() && world.node(A).engine.is_on_stream(way))
}

fn is_relayed_to_b(world: &World) -> bool {
    let way = world.status(A, B).and_then(|status| status.way);
    way.is_some_and(|way| way.endpoint().is_none())
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
