//! Nodes behind every kind of NAT that RFC 4787 has words for, against an oracle that says for which pairs there is a way.

mod relayed;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tombolo_engine::{
    control::Event,
    nat::Mapping,
    path::way::Way,
    punch::{MAX_SOCKETS, ROUNDS, SEARCHED, SOCKETS},
};
use tombolo_proto::frame::PROBE;
use tombolo_tests::{
    overlay::repetitions,
    process::announce,
    simnat::{
        Behaviour,
        Dependence::{self, AddressAndPortDependent, AddressDependent, EndpointIndependent},
        Ports,
    },
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);

/// A NAT that no mapping outlives unless it is used, at random ports.
const PLAIN: Behaviour = Behaviour {
    mapping: EndpointIndependent,
    filtering: AddressAndPortDependent,
    ports: Ports::Random,
    expiry: Duration::from_secs(120),
    hairpin: false,
    blocks: false,
};

/// The same, with a port for each destination.
const STRICT: Behaviour = Behaviour {
    mapping: AddressAndPortDependent,
    ..PLAIN
};

#[test]
fn every_pair_of_nats_meets_directly_where_there_is_a_way_and_never_where_there_is_none() {
    let seeds = repetitions(3, 60) as u64;
    let (mut met, mut punched, mut lucky) = (0, 0, 0);
    for first in kinds() {
        for second in kinds() {
            for seed in 0..seeds {
                let mut rng = StdRng::seed_from_u64(seed << 16 ^ 77);
                let [first, second] = [first, second].map(|kind| varied(kind, &mut rng));
                let conditions = *[Conditions::CLEAN, Conditions::ROUGH]
                    .choose(&mut rng)
                    .expect("two");
                let mut world = a_pair(conditions, seed, [first, second]);

                let took = meet(&mut world, SECOND * 20);

                let what = format!("{first:?} {second:?} {conditions:?} seed {seed}");
                match direct_path_possible(first, second) {
                    Possible::Plainly => {
                        assert!(took.is_some(), "{what}");
                        met += 1;
                    }
                    Possible::ByPunching => {
                        punched += 1;
                        lucky += u32::from(took.is_some());
                    }
                    Possible::Not => assert_eq!(took, None, "{what}"),
                }
            }
        }
    }
    println!("plainly: {met}; by punching: {lucky} of {punched}");
    assert!(lucky * 100 >= punched * 97, "{lucky} of {punched}");
}

#[test]
fn a_nat_that_maps_by_destination_is_punched_within_five_seconds_nearly_always() {
    let runs = repetitions(40, 2_000) as u64;
    for ports in [Ports::Random, Ports::Sequential] {
        let behaviour = Behaviour { ports, ..STRICT };
        let times = (0..runs)
            .map(|seed| {
                let mut nats = [behaviour, PLAIN];
                // Whoever of the two begins.
                nats.rotate_left((seed % 2) as usize);
                let mut world = a_pair(Conditions::CLEAN, seed, nats);
                meet(&mut world, SECOND * 5)
            })
            .collect();
        let slowest = nearly_all(&format!("punched, {ports:?} ports: start"), times);
        assert!(slowest.is_some());
    }
}

#[test]
fn a_peer_that_is_elsewhere_than_it_was_is_punched_as_soon_as_that_is_known() {
    let runs = repetitions(40, 1_000) as u64;
    let times = (0..runs)
        .map(|seed| {
            let mut world = a_pair(Conditions::CLEAN, seed, [STRICT, PLAIN]);
            let before = SocketAddr::from(([198, 51, 100, B.0], 4711));
            let (network, moved) = (world.network(), world.node(B).identity());
            let now = world.clock.now();
            let engine = &mut world.node_mut(A).engine;
            engine.set_endpoints(network, moved, vec![before], now);
            assert_eq!(meet(&mut world, SECOND), None, "seed {seed}");

            world.find_out_nats();

            meet(&mut world, SECOND * 5)
        })
        .collect();
    let slowest = nearly_all("punched, new place known", times);
    assert!(slowest.is_some_and(|took| took <= SECOND * 2));
}

#[test]
fn what_a_node_finds_out_about_its_nat_is_so() {
    for (dependence, mapping) in [
        (EndpointIndependent, Mapping::EndpointIndependent),
        (AddressDependent, Mapping::AddressDependent),
        (AddressAndPortDependent, Mapping::AddressAndPortDependent),
    ] {
        let behaviour = Behaviour {
            mapping: dependence,
            ..PLAIN
        };
        let mut world = a_pair(Conditions::CLEAN, 1, [behaviour, PLAIN]);
        assert_eq!(world.mapping_of(A), mapping);
    }
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 2);
    assert_eq!(world.mapping_of(A), Mapping::None);
}

#[test]
fn two_nats_in_a_row_are_like_the_stricter_of_them() {
    for (home, carrier, meets) in [
        (EndpointIndependent, EndpointIndependent, true),
        (AddressAndPortDependent, EndpointIndependent, true),
        (EndpointIndependent, AddressAndPortDependent, true),
    ] {
        for seed in 0..repetitions(5, 50) as u64 {
            let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, seed, 2);
            world.set_controllers(true);
            let kind = |mapping| Behaviour { mapping, ..PLAIN };
            let outer = world.add_router(kind(carrier), [198, 51, 100, 1], seed);
            let inner = world.add_router(kind(home), [100, 64, 0, 2], seed + 1);
            world.net.put_behind([100, 64, 0, 2].into(), outer);
            world.put_behind_router(A, inner, [192, 168, 1, 2]);
            let other = world.add_router(PLAIN, [198, 51, 100, 2], seed + 2);
            world.put_behind_router(B, other, [192, 168, 2, 2]);
            world.find_out_nats();

            let took = meet(&mut world, SECOND * 20);

            assert_eq!(
                took.is_some(),
                meets,
                "{home:?} behind {carrier:?}, seed {seed}"
            );
        }
    }
}

#[test]
fn on_one_network_they_meet_inside_and_behind_one_carrier_by_hairpin() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 1, 2);
    world.set_controllers(true);
    let router = world.add_router(STRICT, [198, 51, 100, 1], 1);
    world.put_behind_router(A, router, [192, 168, 1, 2]);
    world.put_behind_router(B, router, [192, 168, 1, 3]);
    world.find_out_nats();
    assert!(meet(&mut world, SECOND).is_some());
    let inside = world.node(B).address;
    let endpoint = world.status(A, B).and_then(|status| status.endpoint);
    assert_eq!(endpoint, Some(inside));

    for hairpin in [true, false] {
        let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 1, 2);
        world.set_controllers(true);
        let carrier = Behaviour { hairpin, ..PLAIN };
        let outer = world.add_router(carrier, [198, 51, 100, 1], 1);
        for (name, number) in [(A, 2), (B, 3)] {
            let home = world.add_router(PLAIN, [100, 64, 0, number], u64::from(number));
            world.net.put_behind([100, 64, 0, number].into(), outer);
            world.put_behind_router(name, home, [192, 168, number, 2]);
        }
        world.find_out_nats();
        assert_eq!(meet(&mut world, SECOND * 20).is_some(), hairpin);
    }
}

#[test]
fn a_path_through_expiring_mappings_stays_or_comes_back() {
    for seed in 0..repetitions(10, 100) as u64 {
        let expiring = |mapping| Behaviour {
            mapping,
            expiry: SECOND * 30,
            ..PLAIN
        };
        for first in [EndpointIndependent, AddressAndPortDependent] {
            let nats = [expiring(first), expiring(EndpointIndependent)];
            let mut world = a_pair(Conditions::CLEAN, seed, nats);
            if meet(&mut world, SECOND * 20).is_none() {
                assert_ne!(first, EndpointIndependent);
                continue;
            }
            // Nothing to say for three minutes: daemons go on asking where they are seen.
            for _ in 0..9 {
                world.run_for(SECOND * 20);
                world.find_out_nats();
            }
            let took = meet(&mut world, SECOND * 20);
            assert!(
                took.is_some() || first != EndpointIndependent,
                "seed {seed}"
            );
        }
    }
}

#[test]
fn when_a_punched_session_is_over_its_socket_is_closed() {
    let mut world = a_pair(Conditions::CLEAN, 3, [STRICT, PLAIN]);
    assert!(meet(&mut world, SECOND * 10).is_some());
    world.run_for(SECOND * 10);
    let open = world.node(A).open_sockets.len();
    assert_eq!(open, 1, "the one in use");
    assert!(matches!(way(&world), Some(Way::Through { .. })));

    let now = world.clock.now();
    let network = world.network();
    world.node_mut(A).engine.remove_network(network, now);
    world.run_for(SECOND);

    assert_eq!(world.node(A).open_sockets.len(), 0);
}

#[test]
fn a_member_that_lies_about_its_nat_has_few_probes_sent_to_its_victim() {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 2);
    let victim = IpAddr::from([198, 51, 100, 99]);
    let lies = [0, 4711].map(|port| SocketAddr::new(victim, port));
    let (network, liar) = (world.network(), world.node(A).identity());
    // Searching, and opening sockets.
    for (own, said) in [
        (Mapping::EndpointIndependent, &lies[..]),
        (Mapping::AddressAndPortDependent, &lies[1..]),
    ] {
        world.node_mut(B).engine.set_nat([own, own]);
        world.net.listen();
        let seconds = 600;
        for _ in 0..seconds * 5 {
            let now = world.clock.now();
            let engine = &mut world.node_mut(B).engine;
            engine.set_endpoints(network, liar, said.to_vec(), now);
            engine.handle_rendezvous(network, liar, now);
            world.run_for(SECOND / 5);
        }
        let sent = world.net.heard();
        let probes = sent
            .iter()
            .filter(|sent| sent.to.ip() == victim && sent.payload.first() == Some(&PROBE));
        // Four attempts at once, and one every two minutes.
        let attempt = SEARCHED.max(SOCKETS * ROUNDS as usize);
        let (count, bytes) = probes.fold((0, 0), |(count, bytes), sent| {
            (count + 1, bytes + sent.payload.len())
        });
        assert!(count > 0, "{own:?}: it was punched");
        assert!(count <= attempt * (4 + seconds / 120), "{own:?}: {count}");
        assert_eq!(bytes, count * 20);
        assert!(world.node(B).open_sockets.len() <= MAX_SOCKETS);
        world.run_for(SECOND * 600);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Possible {
    /// By sending at the same time.
    Plainly,
    /// By trying many sockets on many ports.
    ByPunching,
    /// Not directly.
    Not,
}

/// Works out from the definitions of RFC 4787 whether datagrams can pass both ways.
fn direct_path_possible(first: Behaviour, second: Behaviour) -> Possible {
    if first.blocks || second.blocks {
        return Possible::Not;
    }
    let strict = |nat: Behaviour| nat.mapping != EndpointIndependent;
    if reaches(first, second) || reaches(second, first) {
        Possible::Plainly
    } else if strict(first) != strict(second) {
        Possible::ByPunching
    } else {
        Possible::Not
    }
}

/// Whether what `caller` sends to where others see `callee` gets in, and the answer gets back.
fn reaches(caller: Behaviour, callee: Behaviour) -> bool {
    let is_one = |nat: Behaviour| nat.mapping == EndpointIndependent;
    let gets_in = match callee.filtering {
        EndpointIndependent => true,
        // The callee sends to the caller from the mapping that others see only if it has but one.
        AddressDependent => is_one(callee),
        AddressAndPortDependent => is_one(callee) && is_one(caller),
    };
    // The answer comes from where the call went, unless the callee maps by destination.
    gets_in && (is_one(callee) || caller.filtering != AddressAndPortDependent)
}

/// All mappings with all filters, and a NAT that lets nothing out.
fn kinds() -> Vec<Behaviour> {
    let mut kinds = Vec::new();
    for mapping in Dependence::ALL {
        for filtering in Dependence::ALL {
            kinds.push(Behaviour {
                mapping,
                filtering,
                ..PLAIN
            });
        }
    }
    kinds.push(Behaviour {
        blocks: true,
        ..PLAIN
    });
    kinds
}

fn varied(kind: Behaviour, rng: &mut StdRng) -> Behaviour {
    Behaviour {
        ports: *[Ports::Random, Ports::Sequential].choose(rng).expect("two"),
        expiry: SECOND * rng.random_range(30..300),
        hairpin: rng.random(),
        ..kind
    }
}

fn a_pair(conditions: Conditions, seed: u64, nats: [Behaviour; 2]) -> World {
    let mut world = World::with_members(Handshake::Real, conditions, seed, 2);
    world.set_controllers(true);
    for (name, nat) in [A, B].into_iter().zip(nats) {
        let public = [198, 51, 100, name.0];
        let router = world.add_router(nat, public, seed * 2 + u64::from(name.0));
        world.put_behind_router(name, router, [192, 168, name.0, 2]);
    }
    world.find_out_nats();
    world
}

/// Tells how soon there were direct paths, and gives what 95 of 100 did not exceed: nothing, if those were not punched.
fn nearly_all(since: &str, mut times: Vec<Option<Duration>>) -> Option<Duration> {
    times.sort_by_key(|took| took.unwrap_or(Duration::MAX));
    let within = |percent: usize| times[(times.len() - 1) * percent / 100];
    let [median, most, all] = [50, 95, 100].map(|percent| match within(percent) {
        Some(took) => format!("{:.2} s", took.as_secs_f64()),
        None => "never".to_owned(),
    });
    announce(&format!(
        "figure: simulated, {since} to a direct path {median} (of {}: 95 % within {most}, all within {all})",
        times.len()
    ));
    within(95)
}

/// How long it took until a packet of A's reached B; another one follows every half second.
fn meet(world: &mut World, limit: Duration) -> Option<Duration> {
    let start: Instant = world.clock.now();
    let mut packets = Vec::new();
    while world.clock.now() - start < limit {
        packets.push(world.send(A, B));
        let arrived = |world: &World| packets.iter().any(|packet| world.has_received(B, *packet));
        if world.run_until(SECOND / 2, arrived) {
            return Some(world.clock.now() - start);
        }
    }
    None
}

/// By which way A reaches B.
fn way(world: &World) -> Option<Way> {
    let peer = world.node(B).identity();
    let events = world.node(A).events.iter().rev();
    events
        .filter_map(|event| {
            if let Event::SessionUp { peer, way, .. } | Event::WayChanged { peer, way, .. } = event
            {
                Some((*peer, *way))
            } else {
                None
            }
        })
        .find_map(|(other, way)| (other == peer).then_some(way))
}
