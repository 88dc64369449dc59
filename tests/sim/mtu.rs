//! Ways that swallow large datagrams: found in a moment, and until then and afterwards everything arrives whole.

use std::{net::SocketAddr, time::Duration};

use tombolo_engine::counters::DropReason;
use tombolo_proto::frame::LANE_FRAGMENT;
use tombolo_tests::{
    process::figure,
    simnet::{Conditions, Delivery},
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn packets_of_full_size_pass_a_hole_of_any_size() {
    for hole in (1200..1432).step_by(11) {
        let mut world = a_world(Conditions::CLEAN);
        world.net.set_hole(hole);
        start(&mut world);
        world.run_for(SECOND * 2);

        for length in [1400, 1399, 1280, 1200, 28] {
            let packet = world.send_long(A, B, length);
            let arrived = world.run_until(SECOND / 10, |world| world.has_received(B, packet));
            assert!(arrived, "{length} bytes through a hole of {hole}");
        }

        let mtu = world.status(A, B).and_then(|status| status.mtu);
        let mtu = usize::from(mtu.expect("the way has been asked")) + 32;
        assert!((hole - 8..=hole).contains(&mtu), "{hole}: {mtu}");
    }
}

#[test]
fn an_ordinary_way_cuts_nothing() {
    let mut world = a_world(Conditions::CLEAN);
    world.net.listen();
    start(&mut world);
    world.run_for(SECOND);

    let packet = world.send_long(A, B, 1400);
    assert!(world.run_until(SECOND / 10, |world| world.has_received(B, packet)));

    assert!(parts(&world.net.heard()).is_empty());
    assert_eq!(world.status(A, B).and_then(|status| status.mtu), Some(1400));
}

#[test]
fn a_hole_that_opens_under_a_flow_is_passed_in_two_seconds() {
    let mut longest = Duration::ZERO;
    for phase in 0..10 {
        let mut world = a_world(Conditions::CLEAN);
        start(&mut world);
        // Acknowledged data, as TCP has it.
        for _ in 0..100 + phase {
            world.send_long(A, B, 1400);
            world.send(B, A);
            world.run_for(MILLISECOND * 30);
        }

        world.net.set_hole(1300);
        let opened = world.clock.now();
        let mut pause = MILLISECOND * 200;
        loop {
            // What was not acknowledged is sent again, each time after twice the pause (RFC 6298).
            let packet = world.send_long(A, B, 1400);
            if world.run_until(pause, |world| world.has_received(B, packet)) {
                break;
            }
            pause *= 2;
            assert!(pause < SECOND * 10, "never passed");
        }
        longest = longest.max(world.clock.now() - opened);
    }
    figure(
        "a transfer goes on after a hole of 1,300 bytes opened, at most",
        longest,
        SECOND * 2,
    );
    assert!(longest <= SECOND * 2, "{longest:?}");
}

#[test]
fn parts_that_are_lost_late_or_doubled_lose_no_other_packet() {
    let mut world = a_world(Conditions::CLEAN);
    world.net.set_hole(1250);
    start(&mut world);
    world.run_for(SECOND * 2);
    world.net.conditions = Conditions {
        delay: MILLISECOND * 20,
        jitter: MILLISECOND * 5,
        loss: 0.0,
        duplication: 0.3,
        corruption: 0.0,
    };

    let sent: Vec<u64> = (0..300)
        .map(|_| {
            let packet = world.send_long(A, B, 1400);
            world.run_for(MILLISECOND);
            packet
        })
        .collect();
    world.run_for(SECOND);

    let received = world.received(B);
    for packet in &sent {
        let times = received.iter().filter(|number| *number == packet).count();
        assert_eq!(times, 1, "each packet once, whatever happens to its parts");
    }

    world.net.conditions.loss = 0.1;
    let before = world.received(B).len();
    for _ in 0..300 {
        world.send_long(A, B, 1400);
        world.run_for(MILLISECOND);
    }
    world.run_for(SECOND);
    let share = (world.received(B).len() - before) as f64 / 300.0;
    // Both parts have to arrive: 0.9 squared, if anything is cut at all.
    assert!((0.7..0.95).contains(&share), "{share}");
}

#[test]
fn forged_and_replayed_parts_reach_nobody() {
    let mut world = a_world(Conditions::CLEAN);
    world.net.set_hole(1250);
    start(&mut world);
    world.run_for(SECOND * 2);
    world.net.listen();
    let packet = world.send_long(A, B, 1400);
    assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
    let seen = parts(&world.net.heard());
    assert_eq!(seen.len(), 2);
    let thief: SocketAddr = "203.0.113.66:6666".parse().expect("an address");

    for part in &seen {
        world.receive(B, thief, part.payload.clone());
        for byte in (0..part.payload.len()).step_by(97) {
            let mut forged = part.payload.clone();
            forged[byte] ^= 0x20;
            world.receive(B, thief, forged);
        }
    }
    world.run_for(SECOND);

    assert_eq!(
        world.received(B).iter().filter(|it| **it == packet).count(),
        1
    );
    assert!(world.drops(B, DropReason::Replayed) >= 2);
    // Those whose header is another one are dropped for that.
    assert!(world.drops(B, DropReason::BadTag) >= 10);
}

fn parts(heard: &[Delivery]) -> Vec<Delivery> {
    heard
        .iter()
        .filter(|datagram| datagram.payload.first() == Some(&LANE_FRAGMENT))
        .cloned()
        .collect()
}

fn a_world(conditions: Conditions) -> World {
    World::with_members(Handshake::Real, conditions, 1, 2)
}

fn start(world: &mut World) {
    let packet = world.send(A, B);
    assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
}
