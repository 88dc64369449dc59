//! The same where a third member carries for those between whom there is no way, or none yet.

use tombolo_tests::process::figures;

use super::*;

const CARRIER: Name = Name(3);
/// From the first packet to its arrival, by whatever way.
const PROMISE: Duration = Duration::from_secs(2);

#[test]
fn two_that_a_relay_joins_before_they_know_their_nats_are_punched_within_five_seconds_of_that() {
    let runs = repetitions(40, 1_000) as u64;
    let times = (0..runs)
        .map(|seed| {
            let mut nats = [STRICT, PLAIN];
            nats.rotate_left((seed % 2) as usize);
            let mut world = a_pair_and_a_carrier(Conditions::CLEAN, seed, nats);
            assert!(meet(&mut world, SECOND * 3).is_some(), "seed {seed}");
            let status = world.status(A, B).expect("a peer");
            assert!(status.endpoint.is_none() && status.relay.is_some());

            world.find_out_nats();

            meet_directly(&mut world, SECOND * 5)
        })
        .collect();
    let slowest = nearly_all("punched, NATs known", times);
    assert!(slowest.is_some());
}

#[test]
fn with_a_relay_every_pair_of_nats_talks_within_two_seconds_and_directly_where_there_is_a_way() {
    let seeds = repetitions(1, 15) as u64;
    let (mut smooth, mut rough) = (Vec::new(), Vec::new());
    let (mut by_streams, mut direct) = (Vec::new(), Vec::new());
    let (mut relayed, mut punched, mut lucky) = (0, 0, 0);
    // Each has luck of its own.
    let mut seed = 0;
    for first in kinds() {
        for second in kinds() {
            for conditions in (0..seeds).flat_map(|_| [Conditions::CLEAN, Conditions::ROUGH]) {
                seed += 1;
                let mut rng = StdRng::seed_from_u64(seed << 16 ^ 78);
                let nats = [first, second].map(|kind| varied(kind, &mut rng));
                let mut world = a_pair_and_a_carrier(conditions, seed, nats);
                world.find_out_nats();
                let what = format!("{nats:?} {conditions:?} seed {seed}");

                let took = meet(&mut world, PROMISE * 5);

                let took = took.unwrap_or_else(|| panic!("neither directly nor relayed: {what}"));
                // Where no datagram gets out, the relay is reached by a stream of TCP.
                if nats.iter().any(|nat| nat.blocks) {
                    by_streams.push(took);
                    for (name, nat) in [A, B].into_iter().zip(nats) {
                        let engine = &world.node(name).engine;
                        let is_on_stream = engine.has_relay_on_stream(world.network())
                            || engine.is_on_stream(way_to(&world, name, CARRIER));
                        // Where much is lost, others may take to streams too.
                        assert!(is_on_stream || !nat.blocks, "{name:?}: {what}");
                    }
                    assert_eq!(meet_directly(&mut world, SECOND * 15), None, "{what}");
                    assert!(meet(&mut world, PROMISE * 5).is_some(), "silent: {what}");
                    continue;
                }
                if conditions == Conditions::CLEAN {
                    assert!(took <= PROMISE, "{took:?}: {what}");
                    smooth.push(took);
                } else {
                    rough.push(took);
                }
                let possible = direct_path_possible(nats[0], nats[1]);
                // Direct ways are asked every ten seconds, and here a fifth of all is lost each way.
                let limit = if possible == Possible::Plainly {
                    SECOND * 30
                } else {
                    SECOND * 15
                };
                let took = meet_directly(&mut world, limit);
                let is_direct = took.is_some();
                match possible {
                    Possible::Plainly => {
                        direct.extend(took);
                        assert!(is_direct, "relayed for ever: {what}");
                    }
                    Possible::ByPunching => {
                        punched += 1;
                        lucky += u32::from(is_direct);
                    }
                    Possible::Not => {
                        assert!(!is_direct, "there is no way: {what}");
                        relayed += 1;
                    }
                }
                assert!(meet(&mut world, PROMISE * 5).is_some(), "silent: {what}");
            }
        }
    }
    let what = "simulated: first packet to its arrival, all pairs of NATs, with a relay";
    let _ = figures(&format!("{what}, nothing lost:"), smooth);
    rough.sort_unstable();
    // A few show no fiftieth.
    let percent = if rough.len() > 1_000 { 98 } else { 95 };
    let nearly_all = rough[(rough.len() - 1) * percent / 100];
    let _ = figures(&format!("{what}, a fifth lost each way:"), rough);
    announce(&format!(
        "simulated: then punched {lucky} of {punched}, relayed {relayed}"
    ));
    assert!(nearly_all <= PROMISE, "{nearly_all:?}");
    assert!(lucky * 100 >= punched * 97, "{lucky} of {punched}");
    let _ = figures(
        "simulated: then to a direct path, NATs that calls pass",
        direct,
    );
    let [_, worst] = figures(
        "simulated: first packet to its arrival, by TCP to a relay where all UDP is blocked",
        by_streams,
    );
    assert!(worst <= PROMISE * 5, "{worst:?}");
}

/// The same, and a third member that both reach, and that carries for them. They do not know their NATs yet.
fn a_pair_and_a_carrier(conditions: Conditions, seed: u64, nats: [Behaviour; 2]) -> World {
    let mut world = World::with_relays(Handshake::Real, conditions, seed, 3);
    for (name, nat) in [A, B].into_iter().zip(nats) {
        let public = [198, 51, 100, name.0];
        let router = world.add_router(nat, public, seed * 2 + u64::from(name.0));
        world.put_behind_router(name, router, [192, 168, name.0, 2]);
    }
    world.set_streams(true);
    world.run_for(SECOND * 20);
    world
}

/// How a node reaches another, which has to be known.
fn way_to(world: &World, from: Name, to: Name) -> Way {
    let status = world.status(from, to).expect("a peer");
    status.way.expect("a session")
}

/// How long it took until A reaches B by no relay; both send twenty packets a second.
fn meet_directly(world: &mut World, limit: Duration) -> Option<Duration> {
    let start = world.clock.now();
    while world.clock.now() - start < limit {
        world.send(A, B);
        world.send(B, A);
        world.run_for(SECOND / 20);
        if world.status(A, B)?.endpoint.is_some() {
            return Some(world.clock.now() - start);
        }
    }
    None
}
