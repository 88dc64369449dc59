//! What strangers send.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::StdRng};
use tombolo_engine::{
    counters::DropReason,
    forward::Punt,
    path::way::Way,
    session::{MachineIndex, Noise as _, WireGuardNoise, network_psk},
};
use tombolo_proto::{id::LaneIndex, key::Seed, stun};
use tombolo_tests::{
    simnet::{Conditions, Delivery},
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn random_bytes_with_every_first_byte_are_dropped_and_counted() {
    let mut world = a_session();
    let mut rng = StdRng::seed_from_u64(1);
    let before = world.received(A).len();
    for round in 0..20_000u32 {
        let mut datagram = vec![0; rng.random_range(0..300)];
        rng.fill_bytes(&mut datagram);
        if let Some(first) = datagram.first_mut() {
            *first = round as u8;
        }
        if rng.random_bool(0.7) {
            for byte in datagram.iter_mut().skip(1).take(3) {
                *byte = 0;
            }
        }
        world.receive(A, a_stranger(), datagram);
    }

    assert_eq!(world.received(A).len(), before);
    assert!(still_talks(&mut world));
    for reason in [
        DropReason::UnknownFrame,
        DropReason::UnknownLane,
        DropReason::UnknownHandshake,
    ] {
        assert!(world.drops(A, reason) > 0, "{reason:?}");
    }
}

#[test]
fn recorded_datagrams_with_any_bit_flipped_or_any_length_cut_deliver_nothing() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 2, 2);
    world.net.listen();
    world.send(B, A);
    world.run_for(SECOND);
    let recorded = world.net.heard();
    let mut rng = StdRng::seed_from_u64(2);
    let (before, events) = (world.received(A).len(), world.node(A).events.len());

    for Delivery { from, to, payload } in recorded {
        let receiver = if to == world.node(A).address { A } else { B };
        for _ in 0..300 {
            let mut forged = payload.clone();
            let position = rng.random_range(0..forged.len());
            forged[position] ^= 1 << rng.random_range(0..8);
            world.receive(receiver, from, forged);
        }
        for length in 0..payload.len() {
            world.receive(receiver, from, payload[..length].to_vec());
        }
        let mut longer = payload;
        longer.resize(9000, 0);
        world.receive(receiver, from, longer);
    }

    assert_eq!(
        (world.received(A).len(), world.node(A).events.len()),
        (before, events)
    );
    assert!(still_talks(&mut world));
}

#[test]
fn random_punts_do_not_disturb_the_slow_path() {
    let mut world = a_session();
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..20_000 {
        let mut bytes = vec![0; rng.random_range(0..200)];
        rng.fill_bytes(&mut bytes);
        let lane = LaneIndex(rng.random());
        let from = Way::from(a_stranger());
        let punt = match rng.random_range(0..5) {
            0 => Punt::Datagram {
                from,
                datagram: bytes,
            },
            1 => Punt::Control {
                lane,
                from,
                message: bytes,
            },
            2 => Punt::Confirmed { lane, from },
            3 => Punt::Roamed { lane, from },
            _ => Punt::Packet {
                peer: tombolo_engine::fib::PeerSlot(rng.random_range(0..4)),
                packet: bytes,
            },
        };
        let now = world.clock.now();
        world.node_mut(A).engine.handle_punt(punt, now);
    }

    assert!(still_talks(&mut world));
}

#[test]
fn under_a_flood_of_initiations_a_member_still_gets_in_by_showing_a_cookie() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 4, 2);
    let network = world.network();
    let target = world.node(A).seed.transport(network, 0);
    // Good first MACs, by somebody who knows the key of A but is no member, from addresses all over the world.
    let stranger = Seed::from_bytes([99; 32]).transport(network, 0);
    let psk = network_psk(network);
    let index = MachineIndex::from_bits(5);
    let mut machine = WireGuardNoise.machine(&stranger, target.public(), psk, index);
    let mut flood = |world: &mut World, count: u32| {
        for number in 0..count {
            let initiation = machine.initiate().expect("an initiation");
            let source = SocketAddr::from((number.wrapping_mul(0x9e37_79b9).to_be_bytes(), 1));
            world.receive(A, source, initiation);
        }
    };
    flood(&mut world, 1000);
    world.net.listen();

    let start = world.clock.now();
    let packet = world.send(B, A);
    while !world.has_received(A, packet) && world.clock.now() - start < SECOND * 3 {
        flood(&mut world, 200);
        world.run_for(SECOND / 10);
    }

    assert!(world.has_received(A, packet));
    let to_b = world.node(B).address;
    let got_cookie =
        |delivery: &Delivery| delivery.to == to_b && delivery.payload.first() == Some(&3);
    assert!(world.net.heard().iter().any(got_cookie));
    assert!(world.drops(A, DropReason::UnknownPeer) > 0);
    assert!(world.drops(A, DropReason::RateLimited) > 0);
}

#[test]
fn a_stranger_gets_no_answer_to_anything_but_cookies_and_stun() {
    let mut world = a_session();
    world.net.listen();
    let network = world.network();
    let target = world.node(A).seed.transport(network, 0);
    let stranger = Seed::from_bytes([99; 32]).transport(network, 0);
    let index = MachineIndex::from_bits(5);
    let mut machine =
        WireGuardNoise.machine(&stranger, target.public(), network_psk(network), index);
    let own = world.node(A).seed.transport(network, 0);
    let mut itself = WireGuardNoise.machine(&own, target.public(), network_psk(network), index);

    for _ in 0..10 {
        world.receive(A, a_stranger(), machine.initiate().expect("an initiation"));
        world.receive(A, a_stranger(), itself.initiate().expect("an initiation"));
    }
    world.run_for(SECOND);
    assert_eq!(world.net.heard(), []);
    assert_eq!(world.drops(A, DropReason::UnknownPeer), 20);

    let question = stun::request(&[1; 12]);
    world.receive(A, a_stranger(), question.clone());
    let answers = world.net.heard();

    let [answer] = &answers[..] else {
        panic!("one answer: {answers:?}");
    };
    assert_eq!(answer.to, a_stranger());
    assert_eq!(
        stun::read_response(&answer.payload),
        Some(([1; 12], a_stranger()))
    );
    assert!(answer.payload.len() <= question.len());
}

#[test]
fn a_member_of_another_network_does_not_get_in_with_the_same_keys() {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 5, 2);
    let network = world.network();
    let target = world.node(A).seed.transport(network, 0);
    let member = world.node(B).seed.transport(network, 0);
    let index = MachineIndex::from_bits(5);
    let mut machine = WireGuardNoise.machine(&member, target.public(), [7; 32], index);
    world.net.listen();

    let initiation = machine.initiate().expect("an initiation");
    world.receive(A, a_stranger(), initiation);
    let response = world.net.heard();

    // The key is only mixed in by the response, which the other side then cannot open.
    for Delivery { payload, .. } in response {
        assert_eq!(
            machine.receive(&payload),
            tombolo_engine::session::Received::Refused
        );
    }
    world.run_for(SECOND);
    assert_eq!(world.node(A).events, []);
}

#[test]
fn a_session_survives_any_order_of_time_and_junk() {
    let mut world = a_session();
    let long_ago: Instant = world.clock.now();
    world.run_for(SECOND * 10);
    world.node_mut(A).engine.handle_timeout(long_ago);
    assert!(still_talks(&mut world));
}

fn a_session() -> World {
    let mut world = World::with_members(Handshake::Real, Conditions::CLEAN, 1, 2);
    let packet = world.send(B, A);
    assert!(world.run_until(SECOND, |world| world.has_received(A, packet)));
    world.run_for(SECOND);
    world
}

fn still_talks(world: &mut World) -> bool {
    let packets = [world.send(A, B), world.send(B, A)];
    world.run_for(SECOND * 3);
    world.has_received(B, packets[0]) && world.has_received(A, packets[1])
}

fn a_stranger() -> SocketAddr {
    "203.0.113.66:6666".parse().expect("an address")
}
