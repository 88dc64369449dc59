//! What members say to each other while nobody says anything: bounded, and published.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tombolo_tests::{
    overlay::repetitions,
    process::announce,
    simnet::Conditions,
    world::{Handshake, Name, World},
};

/// IPv4 and UDP.
const HEADERS: usize = 28;
const HOUR: Duration = Duration::from_secs(3600);
/// What an idle peer may cost in an hour.
const MEGABYTE: f64 = 1e6;

#[test]
fn an_idle_peer_costs_less_than_a_megabyte_an_hour() {
    let members = repetitions(50, 201) as u8;
    let mut world = World::with_gossip(Handshake::Fake, Conditions::CLEAN, 1, members);
    world.run_for(Duration::from_secs(300));
    world.net.listen();

    world.run_for(HOUR);

    let mut by_pair = BTreeMap::<(SocketAddr, SocketAddr), usize>::new();
    let mut by_member = BTreeMap::<SocketAddr, usize>::new();
    for datagram in world.net.heard() {
        let bytes = datagram.payload.len() + HEADERS;
        let (from, to) = (datagram.from, datagram.to);
        *by_pair.entry((from.min(to), from.max(to))).or_default() += bytes;
        *by_member.entry(from).or_default() += bytes;
    }
    let others = f64::from(members) - 1.0;
    let most_of_a_pair = by_pair.values().max().copied().unwrap_or_default() as f64;
    let most_of_a_member = by_member.values().max().copied().unwrap_or_default() as f64;
    let with_session: Vec<f64> = (1..=members)
        .map(|number| sessions(&world, Name(number)))
        .collect();
    let mean_sessions = with_session.iter().sum::<f64>() / with_session.len() as f64;
    announce(&format!(
        "figure: {members} idle members for an hour, both directions: the busiest pair {:.0} kB; a member sends {:.0} kB \
         at most, {:.1} kB for each of the others, on {mean_sessions:.1} sessions",
        most_of_a_pair / 1e3,
        most_of_a_member / 1e3,
        most_of_a_member / 1e3 / others,
    ));
    assert!(most_of_a_pair < MEGABYTE && most_of_a_pair > 0.0);
    assert!(most_of_a_member / others < MEGABYTE / 5.0);
}

fn sessions(world: &World, name: Name) -> f64 {
    let node = world.node(name);
    let peers = node.engine.peers(world.clock.now());
    peers.iter().filter(|peer| peer.way.is_some()).count() as f64
}
