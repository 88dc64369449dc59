mod scene;
mod streams;

use super::*;
use scene::{NETWORK, PEER, Scene};

/// A relay that does not answer is given up in this time.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn the_two_nearest_are_kept_warm_and_pinged_below_the_timeouts_of_nats() {
    let mut scene = Scene::new(3);

    scene.choose(&[(0, 30), (1, 10), (2, 20)]);

    assert_eq!(scene.warm(), [scene.relays[1].0, scene.relays[2].0]);
    let before = scene.pings;
    scene.run(Duration::from_secs(100));
    assert_eq!(scene.pings - before, 2 * 4, "one in 25 s each");
}

#[test]
fn a_relay_that_is_a_little_nearer_changes_nothing_and_a_much_nearer_one_does() {
    let mut scene = Scene::new(3);
    scene.choose(&[(0, 20), (1, 20)]);
    assert_eq!(scene.warm().len(), 2);

    scene.choose(&[(0, 20), (1, 20), (2, 1)]);

    // Pings of the fake come back at once, so no other is much nearer than those that are up.
    assert!(!scene.warm().contains(&scene.relays[2].0));
}

#[test]
fn one_that_refuses_is_left_in_peace_and_another_takes_its_place() {
    let mut scene = Scene::new(3);
    scene.refusing = Some(0);

    scene.choose(&[(0, 1), (1, 10), (2, 20)]);
    let asked = scene.asked;
    scene.choose(&[(0, 1), (1, 10), (2, 20)]);

    assert_eq!(scene.warm(), [scene.relays[1].0, scene.relays[2].0]);
    assert_eq!(
        scene.asked,
        asked + 1,
        "only the one in its place was asked"
    );
}

#[test]
fn those_that_work_stay_while_a_nearer_one_is_asked_that_refuses_again_and_again() {
    let mut scene = Scene::new(3);
    // As near as those whose pings come back at once, and first by name.
    let all = [(0, 0), (1, 10), (2, 20)];
    let working = [scene.relays[1].0, scene.relays[2].0];
    scene.choose(&all[1..]);
    scene.refusing = Some(0);

    for _ in 0..3 {
        let before = scene.asked;
        scene.is_deaf = true;
        scene.choose(&all);
        assert_eq!(scene.asked, before + 1);
        assert_eq!(scene.warm(), working, "not answered yet");
        scene.is_deaf = false;
        scene.run(Duration::from_secs(2));
        scene.choose(&all);
        assert_eq!(scene.warm(), working, "refused");
        scene.run(Duration::from_secs(30));
    }
    scene.refusing = None;
    scene.choose(&all);
    scene.choose(&all);
    assert_eq!(scene.warm(), [scene.relays[0].0, scene.relays[1].0]);
}

#[test]
fn a_relay_that_is_silent_is_asked_again_soon_and_one_that_refuses_is_not() {
    for is_silent in [true, false] {
        let mut scene = Scene::new(1);
        scene.dead = is_silent.then_some(0);
        scene.refusing = (!is_silent).then_some(0);
        scene.choose(&[(0, 10)]);
        scene.run(GIVEN_UP_WITHIN);
        scene.dead = None;
        scene.refusing = None;
        let before = scene.asked;

        scene.run(Duration::from_secs(2));
        scene.want_at(PEER, 0);

        assert_eq!(scene.asked - before, usize::from(is_silent));
        assert_eq!(scene.client.is_up(NETWORK, scene.relays[0].0), is_silent);
    }
}

#[test]
fn a_channel_is_asked_for_at_every_relay_that_is_up_and_is_a_way() {
    let mut scene = Scene::new(2);
    scene.choose(&[(0, 10), (1, 20)]);
    scene.join(0, PEER.1);

    scene.want(PEER);

    assert_eq!(
        scene.client.ways(PEER.0).len(),
        1,
        "the peer is at one of them"
    );
    // It comes to the other: asked again later, there is a second way.
    scene.join(1, PEER.1);
    scene.run(Duration::from_secs(3));
    scene.want(PEER);
    assert_eq!(scene.client.ways(PEER.0).len(), 2);
}

#[test]
fn a_relay_that_has_lost_its_memory_is_asked_anew_for_everything() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    scene.join(0, PEER.1);
    scene.want(PEER);
    let before = scene.client.ways(PEER.0);
    assert_eq!(before.len(), 1);

    scene.forget(0);
    scene.join(0, PEER.1);
    scene.client.check(scene.now);
    scene.run(Duration::from_secs(10));

    let after = scene.client.ways(PEER.0);
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
}

#[test]
fn what_a_relay_could_not_be_asked_is_asked_as_soon_as_it_can() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    scene.join(0, PEER.1);
    // The connection to it is gone, and nobody has noticed yet.
    scene.is_deaf = true;
    scene.want(PEER);
    scene.run(Duration::from_secs(1));
    assert!(scene.client.ways(PEER.0).is_empty());

    scene.is_deaf = false;
    let name = scene.relays[0].0;
    scene.client.handle_session_up(NETWORK, name, scene.now);
    scene.settle();

    assert_eq!(scene.client.ways(PEER.0).len(), 1);
}

#[test]
fn a_dead_relay_is_noticed_soon_while_a_peer_is_missed_and_another_takes_its_place() {
    let mut scene = Scene::new(3);
    scene.choose(&[(0, 10), (1, 20)]);
    scene.join(0, PEER.1);
    scene.want(PEER);
    assert_eq!(scene.client.ways(PEER.0).len(), 1);
    scene.run(Duration::from_secs(2));
    scene.dead = Some(0);

    scene.want(PEER);
    scene.run(Duration::from_millis(1_300));

    assert_eq!(scene.silent, [scene.relays[0].0]);
    assert!(scene.client.ways(PEER.0).is_empty());
    scene.run(CHOOSE_ANOTHER);
    scene.choose(&[(0, 10), (1, 20), (2, 30)]);
    assert_eq!(scene.warm(), [scene.relays[1].0, scene.relays[2].0]);
}

#[test]
fn a_relay_that_a_peer_is_reached_by_no_more_shows_whether_it_is_still_there() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    scene.join(0, PEER.1);
    scene.want(PEER);
    let way = scene.client.ways(PEER.0).first().copied();
    scene.client.note_use(PEER.0, None, way, scene.now);
    scene.run(Duration::from_secs(3));
    scene.dead = Some(0);

    scene.client.note_use(PEER.0, way, None, scene.now);
    scene.run(Duration::from_secs(2));

    assert_eq!(scene.silent, [scene.relays[0].0]);
    assert!(scene.warm().is_empty());
}

#[test]
fn a_peer_that_is_missed_for_long_costs_its_relays_a_ping_a_second() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    let before = scene.pings;

    for _ in 0..100 {
        scene.want(PEER);
        scene.run(Duration::from_millis(100));
    }

    assert!(scene.pings - before <= 11, "{}", scene.pings - before);
}

#[test]
fn a_relay_that_nobody_wants_any_more_is_told_so() {
    let mut scene = Scene::new(2);
    scene.choose(&[(0, 10)]);
    scene
        .client
        .want_channels(NETWORK, PEER, [scene.relays[1].0], scene.now);
    scene.settle();
    assert_eq!(scene.relays[1].1.totals().clients, 1);

    scene.run(LEAVE_AFTER + Duration::from_secs(1));

    assert_eq!(scene.relays[1].1.totals().clients, 0);
    assert_eq!(scene.relays[0].1.totals().clients, 1, "the warm one");
}

#[test]
fn another_grant_than_the_one_in_use_takes_its_place() {
    let mut scene = Scene::new(1);
    scene.choose(&[(0, 10)]);
    scene.join(0, PEER.1);
    scene.want(PEER);

    // The relay takes a question that was on its way for one of a client that has forgotten everything.
    scene.hear(scene.relays[0].0, &RelayMessage::Ask);
    scene.run(Duration::from_secs(1));

    assert_eq!(scene.warm().len(), 1);
    assert_eq!(scene.client.ways(PEER.0).len(), 1);
    assert_eq!(scene.relays[0].1.totals().clients, 2);
    let replayed = scene.relays[0].1.totals().replayed;
    assert_eq!(replayed, 0);
}
