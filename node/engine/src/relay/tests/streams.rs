use super::{
    scene::{PEER, Scene, stream},
    *,
};

/// UDP is tried at least so often beside a stream.
const UDP_TRIED_WITHIN: Duration = Duration::from_secs(125);

#[test]
fn a_relay_that_no_udp_reaches_is_reached_by_a_stream_and_over_udp_when_it_passes_again() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    scene.join(0, PEER.1);
    scene.want(PEER);
    let ways = scene.client.ways(PEER.0);

    scene.is_udp_blocked = true;
    scene.client.check(scene.now);
    scene.run(Duration::from_secs(1));

    assert!(scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.client.ways(PEER.0), ways, "channels stay");
    scene.run(Duration::from_secs(300));
    assert!(scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.warm().len(), 1);

    scene.is_udp_blocked = false;
    scene.run(UDP_TRIED_WITHIN);

    assert!(!scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.client.ways(PEER.0), ways);
    assert_eq!(scene.warm().len(), 1);
}

#[test]
fn where_no_udp_passes_from_the_start_a_relay_comes_up_by_a_stream() {
    let mut scene = Scene::new(1);
    scene.is_udp_blocked = true;

    scene.choose(&[(0, 10)]);
    scene.run(Duration::from_secs(1));

    assert_eq!(scene.warm().len(), 1);
    assert!(scene.client.is_on_stream(RelaySlot(0)));
}

#[test]
fn a_relay_that_is_known_to_be_without_udp_comes_up_by_a_stream_without_waiting_for_a_ping() {
    let mut scene = Scene::new(1);
    scene.is_udp_blocked = true;
    let start = scene.now;
    scene.choose(&[(0, 10)]);
    assert!(scene.warm().is_empty());

    scene.client.want_stream(NETWORK, scene.relays[0].0);
    scene.settle();

    assert_eq!(scene.warm().len(), 1);
    assert_eq!(scene.now, start);
    assert!(scene.client.is_on_stream(RelaySlot(0)));
}

#[test]
fn a_stream_that_has_fallen_silent_is_closed_and_another_one_used() {
    let mut scene = Scene::new(1);
    scene.is_udp_blocked = true;
    scene.choose(&[(0, 10)]);
    scene.run(Duration::from_secs(10));
    scene.dead = Some(0);

    scene.client.check(scene.now);
    scene.run(Duration::from_secs(2));

    assert_eq!(scene.silent_streams, [stream(0)]);
    assert!(!scene.client.is_on_stream(RelaySlot(0)));
    scene.dead = None;
    let relay = scene.relays[0].0;
    scene
        .client
        .set_stream(NETWORK, relay, Some(stream(0)), scene.now);
    scene.run(Duration::from_secs(2));
    assert!(scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.warm().len(), 1);
}

#[test]
fn a_stream_that_ends_leaves_a_relay_to_udp() {
    let mut scene = Scene::new(1);
    scene.is_udp_blocked = true;
    scene.choose(&[(0, 10)]);
    scene.run(Duration::from_secs(1));
    scene.is_udp_blocked = false;

    let relay = scene.relays[0].0;
    scene.client.set_stream(NETWORK, relay, None, scene.now);
    scene.settle();

    assert!(!scene.client.is_on_stream(RelaySlot(0)));
    assert_eq!(scene.warm().len(), 1);
}
