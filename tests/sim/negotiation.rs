//! What can happen to the messages that make a lane: each of them lost, lost again, doubled, late, in both directions at
//! once; and sides that can do different things.

use std::{collections::BTreeSet, time::Duration};

use tombolo_engine::session::MAX_DATAGRAM;
use tombolo_proto::frame::{LANE_CONTROL, LANE_OVERHEAD};
use tombolo_tests::{
    simnet::{Conditions, Fate, Looks},
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);
const SECOND: Duration = Duration::from_secs(1);
/// First byte of frames that carry a packet of a user: nobody makes up for one that is lost.
const DATA: u8 = 0x10;
const FATES: [(u32, Fate); 6] = [
    (1, Fate::Lost),
    (2, Fate::Lost),
    (3, Fate::Lost),
    (1, Fate::Doubled),
    (1, Fate::Late(Duration::from_millis(45))),
    (1, Fate::Late(Duration::from_millis(600))),
];

/// Who begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    One,
    Both,
    BothStarted,
}

#[test]
fn whatever_happens_to_one_message_the_session_comes_up_and_loses_nothing() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        for opening in [Opening::One, Opening::Both, Opening::BothStarted] {
            let messages = messages_of(handshake, opening);
            assert!(messages.len() >= 5, "{messages:?}");
            for (message, (times, fate)) in messages
                .iter()
                .flat_map(|looks| FATES.map(|fate| (*looks, fate)))
            {
                let mut world = a_world(handshake, opening);
                world.net.pick(message, times, fate);

                let first = open(&mut world, opening);

                let what = format!("{handshake:?} {opening:?} {message:?} {times} {fate:?}");
                for (to, packet) in first {
                    let arrived =
                        world.run_until(SECOND * 8, |world| world.has_received(to, packet));
                    assert!(arrived, "{what}");
                }
                world.run_for(SECOND * 2);
                assert_traffic_is_whole(&mut world, &what);
                assert_lane(&world, "aes-256-gcm", "x25519+ml-kem-768", &what);
            }
        }
    }
}

#[test]
fn a_rekey_under_traffic_survives_what_happens_to_any_one_message_without_loss() {
    // With the lane before still good, even a lost answer costs nothing.
    let messages = messages_of(Handshake::Real, Opening::One);
    let (mut picked, mut spent) = (0, 0);
    for (message, (times, fate)) in messages
        .iter()
        .flat_map(|looks| FATES.map(|fate| (*looks, fate)))
    {
        let mut world = World::new(Handshake::Real, Conditions::CLEAN, 1);
        world.set_rekey_after_frames(100);
        two_members(&mut world);
        let packet = world.send(A, B);
        assert!(world.run_until(SECOND, |world| world.has_received(B, packet)));
        world.run_for(SECOND);
        let made = world.status(A, B).expect("a peer").last_handshake;
        for from in [A, B] {
            let from = world.node(from).address;
            world.net.pick(Looks { from, ..message }, times, fate);
        }

        let mut sent = (Vec::new(), Vec::new());
        for _ in 0..300 {
            sent.0.push(world.send(A, B));
            sent.1.push(world.send(B, A));
            world.run_for(SECOND / 50);
        }
        let age = world.status(A, B).expect("a peer").last_handshake;
        world.run_for(SECOND);
        picked += 1;
        spent += u32::from(world.net.still_picked() < 2 * times);

        let what = format!("{message:?} {times} {fate:?}");
        assert!(world.received(B).ends_with(&sent.0), "{what}");
        assert!(world.received(A).ends_with(&sent.1), "{what}");
        assert!(age < made.map(|made| made + SECOND * 5), "{what}: {age:?}");
    }
    // The length of a message depends on random indices, so now and then one is not recognised.
    assert!(spent > picked * 3 / 4, "{spent} of {picked} came by");
}

#[test]
fn sides_that_can_do_different_things_agree_on_what_both_can_do() {
    let all = [(true, true), (true, false), (false, true), (false, false)];
    for (a, b) in all.into_iter().flat_map(|a| all.map(|b| (a, b))) {
        for begins in [A, B] {
            let mut world = World::new(Handshake::Real, Conditions::CLEAN, 2);
            for (name, (aes, post_quantum)) in [(A, a), (B, b)] {
                world.set_aes(aes);
                world.set_post_quantum(post_quantum);
                world.start(name);
                world.authorise(name);
            }
            world.publish();
            let answers = if begins == A { B } else { A };

            let packet = world.send(begins, answers);
            world.run_for(SECOND);

            let what = format!("{a:?} {b:?} {begins:?}");
            assert!(world.has_received(answers, packet), "{what}");
            let cipher = if a.0 && b.0 {
                "aes-256-gcm"
            } else {
                "chacha20-poly1305"
            };
            let exchange = if a.1 && b.1 {
                "x25519+ml-kem-768"
            } else {
                "x25519"
            };
            assert_lane(&world, cipher, exchange, &what);
            assert_traffic_is_whole(&mut world, &what);
        }
    }
}

#[test]
fn no_datagram_of_a_handshake_is_longer_than_every_path_carries() {
    for opening in [Opening::One, Opening::Both] {
        let longest = messages_of(Handshake::Real, opening)
            .into_iter()
            .map(|looks| looks.length)
            .max();

        assert!(
            longest.is_some_and(|longest| longest <= MAX_DATAGRAM),
            "{longest:?}"
        );
        // The key went at all.
        assert!(longest.is_some_and(|longest| longest > 1088), "{longest:?}");
    }
}

#[test]
fn a_hybrid_offer_that_stays_unanswered_never_becomes_a_lesser_one() {
    let mut world = a_world(Handshake::Real, Opening::One);
    let answer = messages_of(Handshake::Real, Opening::One)
        .into_iter()
        .filter(|looks| looks.from == world.node(B).address && looks.first == 4)
        .max_by_key(|looks| looks.length)
        .expect("an answer");
    let parts: BTreeSet<usize> = messages_of(Handshake::Real, Opening::One)
        .into_iter()
        .filter(|looks| looks.from == world.node(A).address && looks.first == 4)
        .map(|looks| looks.length)
        .collect();
    assert_eq!(parts.len(), 2);
    // A lane's index is random, and takes up to five bytes.
    for length in answer.length - 4..=answer.length + 4 {
        world.net.pick(Looks { length, ..answer }, 1000, Fate::Lost);
    }
    world.net.listen();

    let packet = world.send(A, B);
    world.run_for(SECOND * 30);

    let offered: BTreeSet<usize> = world
        .net
        .heard()
        .iter()
        .map(Looks::from)
        .filter(|looks| looks.from == world.node(A).address && looks.first == 4)
        .map(|looks| looks.length)
        .collect();
    assert_eq!(offered, parts);
    assert!(!world.has_received(B, packet));
    assert_eq!(world.status(A, B).expect("a peer").cipher, None);
}

/// The messages of an undisturbed opening that carry no packets of users.
fn messages_of(handshake: Handshake, opening: Opening) -> Vec<Looks> {
    let mut world = a_world(handshake, opening);
    world.net.listen();
    let _ = open(&mut world, opening);
    world.run_for(SECOND);
    let heard = world.net.heard();
    let looks: BTreeSet<Looks> = heard
        .iter()
        .map(Looks::from)
        .filter(|looks| looks.first != DATA && !is_about_sizes(looks))
        .collect();
    looks.into_iter().collect()
}

/// A probe of a size that the path may not take, or the answer to one: no part of a handshake.
fn is_about_sizes(looks: &Looks) -> bool {
    let length = looks.length.saturating_sub(LANE_OVERHEAD);
    looks.first == LANE_CONTROL && (length > 1000 || (6..=8).contains(&length))
}

fn a_world(handshake: Handshake, opening: Opening) -> World {
    let mut world = World::new(handshake, Conditions::CLEAN, 1);
    two_members(&mut world);
    if opening == Opening::BothStarted {
        let packets = [(B, world.send(A, B)), (A, world.send(B, A))];
        for (to, packet) in packets {
            assert!(world.run_until(SECOND, |world| world.has_received(to, packet)));
        }
        world.run_for(SECOND);
        for name in [A, B] {
            world.kill(name);
        }
        for name in [A, B] {
            world.start(name);
        }
    }
    world
}

fn two_members(world: &mut World) {
    for name in [A, B] {
        world.start(name);
        world.authorise(name);
    }
    world.publish();
}

/// Makes the session by a packet that wants to go; which packet is to arrive where.
fn open(world: &mut World, opening: Opening) -> Vec<(Name, u64)> {
    let mut packets = vec![(B, world.send(A, B))];
    if opening != Opening::One {
        packets.push((A, world.send(B, A)));
    }
    packets
}

fn assert_traffic_is_whole(world: &mut World, what: &str) {
    let mut sent = (Vec::new(), Vec::new());
    for _ in 0..20 {
        sent.0.push(world.send(A, B));
        sent.1.push(world.send(B, A));
        world.run_for(SECOND / 10);
    }
    world.run_for(SECOND);
    assert!(world.received(B).ends_with(&sent.0), "{what}");
    assert!(world.received(A).ends_with(&sent.1), "{what}");
}

fn assert_lane(world: &World, cipher: &str, key_exchange: &str, what: &str) {
    for (of, peer) in [(A, B), (B, A)] {
        let status = world.status(of, peer).expect("a peer");
        assert_eq!(
            (status.cipher, status.key_exchange),
            (Some(cipher), Some(key_exchange)),
            "{what}"
        );
    }
}
