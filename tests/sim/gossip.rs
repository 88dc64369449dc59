//! Changes reach everybody although no controller can be reached.

use std::time::Duration;

use tombolo_tests::{
    process::figure,
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const SECOND: Duration = Duration::from_secs(1);
const A: Name = Name(1);

#[test]
fn a_removal_that_one_member_has_heard_of_is_enforced_by_all_within_three_seconds() {
    for (conditions, seeds) in [(Conditions::CLEAN, 3), (Conditions::ROUGH, 3)] {
        let mut slowest = Duration::ZERO;
        for seed in 0..seeds {
            let count = 20 + (seed as u8 % 4) * 10;
            let mut world = settled(conditions, seed, count);
            let removed = Name(count);
            world.node_mut(removed).ignores_peers = true;

            world.revoke(removed);
            let start = world.clock.now();
            world.publish_to(A);

            let done = world.run_until(SECOND * 15, |world| {
                (1..count).all(|number| is_out(world, Name(number), removed))
            });
            assert!(done, "seed {seed}");
            slowest = slowest.max(world.clock.now() - start);
        }
        figure("removal by gossip among 50, simulated", slowest, SECOND * 3);
    }
}

fn is_out(world: &World, judge: Name, member: Name) -> bool {
    world.status(judge, member).is_none()
}

/// A network whose members have found their neighbours.
fn settled(conditions: Conditions, seed: u64, count: u8) -> World {
    let mut world = World::with_gossip(Handshake::Fake, conditions, seed, count);
    world.run_for(SECOND * 20);
    world
}
