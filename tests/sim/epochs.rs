//! The key of a replica was stolen, and is revoked: what the thief signed is undone everywhere, and nobody else notices.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tombolo_engine::membership::ROLLOVER_GRACE;
use tombolo_proto::{
    config::{CERT_LIFETIME_SECONDS, DirectoryEntry, MemberCert, Revocation},
    id::{Epoch, Revision, UnixSeconds, Version},
    key::Seed,
    signed::Signed,
};
use tombolo_tests::{
    authority::Authority,
    overlay::repetitions,
    process::figure,
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const SECOND: Duration = Duration::from_secs(1);
const COUNT: u8 = 12;
const A: Name = Name(1);
/// Whom the thief puts out.
const VICTIM: Name = Name(11);
/// Whose place the thief takes.
const ROBBED: Name = Name(12);
const HIGHEST: Version = Version {
    epoch: Epoch(0),
    revision: Revision(u64::MAX),
};

#[test]
fn what_a_thief_signed_is_undone_by_all_and_not_a_packet_between_the_others_is_lost() {
    let (mut slowest, mut slowest_robbed) = (Duration::ZERO, Duration::ZERO);
    for seed in 0..repetitions(3, 30) as u64 {
        let mut world = robbed(seed);
        // All pairs of members that nobody has forged anything about, so that they have sessions.
        let others: Vec<Name> = (1..11).map(Name).collect();
        let mut sent = Vec::new();
        let send_all = |world: &mut World, sent: &mut Vec<(Name, u64)>| {
            for from in &others {
                for to in others.iter().filter(|to| *to != from) {
                    sent.push((*to, world.send(*from, *to)));
                }
            }
        };
        send_all(&mut world, &mut Vec::new());
        world.run_for(SECOND * 5);

        let wall = world.clock.wall();
        world.authority().revoke_second_replica(wall);
        let start = world.clock.now();
        world.publish_to(A);
        let mut took = BTreeMap::new();
        for _ in 0..150 {
            send_all(&mut world, &mut sent);
            world.run_for(SECOND / 10);
            for name in world.names() {
                if knows_the_truth(&world, name) {
                    took.entry(name).or_insert(world.clock.now() - start);
                }
            }
        }

        assert_eq!(took.len(), usize::from(COUNT), "seed {seed}");
        for (name, took) in took {
            let slowest = if [VICTIM, ROBBED].contains(&name) {
                &mut slowest_robbed
            } else {
                &mut slowest
            };
            *slowest = took.max(*slowest);
        }
        world.run_for(SECOND * 5);
        let lost = sent
            .iter()
            .filter(|(to, packet)| !world.has_received(*to, *packet))
            .count();
        assert_eq!(lost, 0, "of {}, seed {seed}", sent.len());
        for name in [VICTIM, ROBBED] {
            let packet = world.send(A, name);
            world.run_for(SECOND * 5);
            assert!(world.has_received(name, packet), "seed {seed}");
        }
    }
    figure(
        "revocation of a stolen key by gossip alone to the truth at ten members, simulated",
        slowest,
        SECOND * 3,
    );
    figure(
        "the same at two members that the thief had cut off, who have to call somebody first, simulated",
        slowest_robbed,
        SECOND * 6,
    );
}

#[test]
fn who_was_away_with_the_thief_s_word_on_disk_hears_the_truth_from_the_first_peer() {
    let mut world = robbed(1);
    let absent = Name(5);
    world.kill(absent);
    let wall = world.clock.wall();
    world.authority().revoke_second_replica(wall);
    world.publish_to(A);
    world.run_for(SECOND * 20);
    // It has gone on meanwhile.
    world.authorise(Name(3));
    world.publish_to(A);
    world.run_for(SECOND * 20);

    world.start(absent);
    assert!(!knows_the_truth(&world, absent));
    let start = world.clock.now();
    world.connect(absent, Name(3));
    let is_back = world.run_until(SECOND * 15, |world| knows_the_truth(world, absent));

    assert!(is_back);
    figure(
        "first contact of a member that was away during the revocation to the truth, simulated",
        world.clock.now() - start,
        SECOND * 3,
    );
}

#[test]
fn a_thief_that_goes_on_signing_is_not_heard_any_more() {
    let mut world = robbed(2);
    let wall = world.clock.wall();
    world.authority().revoke_second_replica(wall);
    world.publish_to(A);
    world.run_for(SECOND * 20);
    let forged = forged(&world);

    for number in 1..=COUNT {
        let forged = forged.clone();
        world.tell(Name(number), |directory, _| {
            let accepted = directory.accept(forged.clone());
            assert!(!accepted.changed);
            assert_eq!(accepted.refused.len(), forged.len());
        });
    }
    world.run_for(SECOND * 60);

    assert!((1..=COUNT).all(|number| knows_the_truth(&world, Name(number))));
}

#[test]
fn sessions_outlive_a_keyring_whose_directory_does_not_come_by_ten_minutes_and_no_more() {
    let mut world = World::with_gossip(Handshake::Fake, Conditions::CLEAN, 4, 3);
    world.run_for(SECOND * 20);
    let wall = world.clock.wall();
    world.authority().revoke_second_replica(wall);
    let keyring = world.authority().directory().signed_keyring().clone();
    for name in world.names() {
        let keyring = keyring.clone();
        world.tell(name, |directory, wall| {
            assert_eq!(directory.accept_keyring(keyring, wall), Ok(true));
        });
    }

    world.run_for(ROLLOVER_GRACE - SECOND * 5);
    let before = world.send(A, Name(2));
    world.run_for(SECOND);
    for name in world.names() {
        world.tell(name, |directory, wall| {
            let left = directory.rollover_left(wall).expect("it goes on");
            assert!(left > Duration::ZERO && left <= SECOND * 5, "{left:?}");
        });
    }
    world.run_for(SECOND * 4);
    for name in world.names() {
        world.tell(name, |directory, wall| {
            assert_eq!(directory.rollover_left(wall), Some(Duration::ZERO));
            directory.end_rollover();
        });
    }
    let after = world.send(A, Name(2));
    world.run_for(SECOND * 5);

    assert!(world.has_received(Name(2), before));
    assert!(!world.has_received(Name(2), after));
}

/// A network in which the thief has put one member out, taken another's place and named a member of its own, and all
/// believe it.
fn robbed(seed: u64) -> World {
    let mut world = World::with_gossip(Handshake::Fake, Conditions::CLEAN, seed, COUNT);
    world.run_for(SECOND * 20);
    let forged = forged(&world);
    world.tell(A, |directory, _| {
        let accepted = directory.accept(forged);
        assert!(accepted.changed && accepted.refused.is_empty());
    });
    let believed = world.run_until(SECOND * 30, |world| {
        (1..11).all(|number| {
            let name = Name(number);
            world.status(name, VICTIM).is_none()
                && is_known_as(world, name, ROBBED, "robbed")
                && holds(world, name, &thief())
        })
    });
    assert!(believed, "the key counts until it is revoked");
    world
}

fn forged(world: &World) -> Vec<DirectoryEntry> {
    let key = Authority::second_replica();
    let scope = world.network().into();
    let directory = world.node(A).directory().expect("a directory");
    let wall = world.clock.wall();
    let cert = |of: &Seed, name: &str| MemberCert {
        version: HIGHEST,
        name: name.to_owned(),
        identity: of.identity().public(),
        transport: Seed::from_bytes([name.len() as u8; 32])
            .transport(world.network(), 0)
            .public(),
        not_after: UnixSeconds(wall.0 + CERT_LIFETIME_SECONDS),
        ..directory.members(wall).next().expect("a member").clone()
    };
    let removal = Revocation {
        version: HIGHEST,
        identity: world.node(VICTIM).identity(),
        serial_floor: Revision(u64::MAX),
        issued_at: wall,
    };
    vec![
        DirectoryEntry::Member(Signed::sign(
            &cert(&world.node(ROBBED).seed, "robbed"),
            scope,
            &key,
        )),
        DirectoryEntry::Member(Signed::sign(&cert(&thief(), "thief"), scope, &key)),
        DirectoryEntry::Revocation(Signed::sign(&removal, scope, &key)),
    ]
}

fn thief() -> Seed {
    Seed::from_bytes([0xee; 32])
}

fn holds(world: &World, who: Name, seed: &Seed) -> bool {
    world
        .node(who)
        .directory()
        .is_some_and(|directory| directory.is_member(&seed.identity().public()))
}

fn is_known_as(world: &World, who: Name, whom: Name, name: &str) -> bool {
    let identity = world.node(whom).identity();
    let wall = world.clock.wall();
    world
        .node(who)
        .directory()
        .and_then(|directory| directory.member(&identity, wall))
        .is_some_and(|cert| cert.name == name)
}

fn knows_the_truth(world: &World, who: Name) -> bool {
    let Some(directory) = world.node(who).directory() else {
        return false;
    };
    let members: BTreeSet<String> = directory
        .members(world.clock.wall())
        .map(|cert| cert.name.clone())
        .collect();
    let truth: BTreeSet<String> = (1..=COUNT).map(|it| format!("node-{it}")).collect();
    members == truth && directory.keyring().version.epoch == Epoch(1)
}
