//! From nothing to a delivered packet.

use std::time::Duration;

use tombolo_engine::control::Event;
use tombolo_tests::{
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const A: Name = Name(1);
const B: Name = Name(2);

#[test]
fn the_first_packet_waits_for_the_session_and_arrives_after_five_trips() {
    for handshake in [Handshake::Real, Handshake::Fake] {
        let mut world = World::with_members(handshake, Conditions::CLEAN, 1, 2);
        let start = world.clock.now();

        let packet = world.send(A, B);

        assert!(world.run_until(Duration::from_secs(1), |world| {
            world.has_received(B, packet)
        }));
        assert_eq!(world.clock.now() - start, Conditions::CLEAN.delay * 5);
        let network = world.network();
        let (peer, endpoint) = (world.node(B).identity(), world.node(B).address);
        assert_eq!(
            world.node(A).events,
            [Event::SessionUp {
                network,
                peer,
                endpoint
            }]
        );
    }
}
