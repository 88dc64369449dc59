//! Peers that are heard from elsewhere than on the way in use.

use super::*;

#[test]
fn a_peer_that_sends_from_elsewhere_is_followed_after_one_round_trip() {
    let mut scene = Scene::on(elsewhere());
    let new = direct("203.0.113.99:4242");

    let asked = scene.paths.roamed(new, Sign::Use, scene.now);

    assert_eq!(asked, [elsewhere(), new]);
    assert_eq!(scene.paths.better(scene.now), None);
    scene.ping(elsewhere(), None);
    scene.ping(new, Some(MILLI * 40));
    assert_eq!(scene.paths.better(scene.now), Some(new));
}

#[test]
fn nobody_is_followed_while_the_way_in_use_answers() {
    let mut scene = Scene::on(lan());
    scene.paths.roamed(elsewhere(), Sign::Use, scene.now);

    scene.ping(lan(), Some(MILLI));
    scene.ping(elsewhere(), Some(MILLI));

    assert_eq!(scene.paths.better(scene.now + MAX_PATIENCE), None);
}

#[test]
fn a_worse_way_waits_for_the_way_in_use_to_miss_its_answer() {
    let mut scene = Scene::on(elsewhere());
    scene.ping(elsewhere(), Some(MILLI * 10));
    scene.now += Duration::from_secs(1);
    let asked = scene.paths.roamed(relay(), Sign::Use, scene.now);
    assert_eq!(asked, [elsewhere(), relay()]);
    scene.ping(elsewhere(), None);
    scene.ping(relay(), Some(MILLI));

    assert_eq!(scene.paths.better(scene.now), None);
    scene.now += MIN_PATIENCE;

    assert_eq!(scene.paths.better(scene.now), Some(relay()));
}

#[test]
fn where_the_peer_merely_asks_it_is_asked_once_the_way_in_use_has_missed() {
    let mut scene = Scene::on(elsewhere());
    scene.ping(elsewhere(), Some(MILLI * 10));
    // It asks again and again, by a relay that is no standby: each question answered by another would be the next one's cause.
    for _ in 0..20 {
        scene.now += ASKED_JUST_NOW / 2;
        let mut asked = scene.paths.roamed(relay(), Sign::Ping, scene.now);
        asked.extend(scene.paths.undecided(scene.now));
        assert!(!asked.contains(&relay()));
        for way in asked {
            scene.ping(way, Some(MILLI));
        }
        let _ = scene.paths.better(scene.now);
    }
    scene.now += Duration::from_secs(1);

    assert_eq!(
        scene.paths.roamed(public(), Sign::Ping, scene.now),
        [elsewhere()]
    );
    scene.ping(elsewhere(), None);
    scene.now += MIN_PATIENCE;
    assert_eq!(scene.paths.undecided(scene.now), [elsewhere(), public()]);
    scene.ping(public(), Some(MILLI));

    assert_eq!(scene.paths.better(scene.now), Some(public()));
}

#[test]
fn a_way_that_answered_a_moment_ago_is_asked_again_before_it_is_left_for_where_the_peer_is_heard() {
    for is_alive in [true, false] {
        let mut scene = Scene::on(elsewhere());
        scene.ping(elsewhere(), Some(MILLI * 10));
        scene.now += ASKED_JUST_NOW / 2;
        let new = direct("203.0.113.99:4242");

        assert_eq!(scene.paths.roamed(new, Sign::Use, scene.now), [new]);
        scene.ping(new, Some(MILLI));
        assert_eq!(scene.paths.better(scene.now), None, "not asked yet");
        scene.now += ASKED_JUST_NOW;
        assert_eq!(scene.paths.undecided(scene.now), [elsewhere()]);
        scene.ping(elsewhere(), is_alive.then_some(MILLI));

        let followed = scene.paths.better(scene.now);
        assert_eq!(followed, (!is_alive).then_some(new));
        assert_eq!(scene.paths.is_undecided(), !is_alive);
    }
}

#[test]
fn what_the_peer_asks_elsewhere_does_not_distract_from_where_it_is_heard() {
    let mut scene = Scene::on(elsewhere());
    let new = direct("203.0.113.99:4242");
    scene.paths.roamed(new, Sign::Use, scene.now);
    scene.ping(elsewhere(), None);
    scene.ping(new, None);

    assert_eq!(scene.paths.roamed(relay(), Sign::Ping, scene.now), []);
    scene.now += ASKED_JUST_NOW;
    let asked = scene.paths.undecided(scene.now);
    assert_eq!(asked, [elsewhere(), new], "what got lost is asked again");
    scene.ping(new, Some(MILLI));

    assert_eq!(scene.paths.better(scene.now), Some(new));
}

#[test]
fn whoever_is_heard_from_two_places_by_turns_has_the_way_in_use_asked_now_and_then() {
    let mut scene = Scene::on(lan());
    let mut asked = 0;
    for turn in 0..1000 {
        let from = [public(), elsewhere()][turn % 2];
        for way in scene.paths.roamed(from, Sign::Use, scene.now) {
            asked += usize::from(way == lan());
            scene.ping(way, Some(MILLI / 10));
        }
        assert_eq!(scene.paths.better(scene.now), None);
        scene.now += MILLI;
    }
    assert!((5..=8).contains(&asked), "{asked} in a second");
}

#[test]
fn among_relays_that_work_whoever_is_led_follows_and_whoever_leads_stays() {
    for is_led in [true, false] {
        let mut scene = Scene::of(Paths::new(is_led), relay());
        scene.ping(relay(), Some(MILLI * 20));
        scene.now += TRIAL_EVERY;

        let asked = scene.paths.roamed(other_relay(), Sign::Use, scene.now);
        assert_eq!(asked, [relay(), other_relay()]);
        scene.ping(other_relay(), Some(MILLI * 30));
        scene.ping(relay(), Some(MILLI * 20));

        let followed = scene.paths.better(scene.now);
        assert_eq!(followed, is_led.then(other_relay));
    }
}

#[test]
fn whoever_leads_takes_a_faster_relay_and_whoever_is_led_waits_for_that() {
    for is_led in [true, false] {
        let mut scene = Scene::of(Paths::new(is_led), relay());
        scene.ping(relay(), Some(MILLI * 40));
        for _ in 0..TRIAL_ANSWERS {
            scene.ping(other_relay(), Some(MILLI * 20));
        }
        let taken = scene.paths.better(scene.now);
        assert_eq!(taken, (!is_led).then(other_relay));
    }
}

#[test]
fn a_relay_that_is_silent_is_left_with_the_peer_whoever_leads() {
    for is_led in [true, false] {
        let mut scene = Scene::of(Paths::new(is_led), relay());
        scene.ping(relay(), Some(MILLI * 20));
        scene.now += TRIAL_EVERY;
        scene.paths.roamed(other_relay(), Sign::Use, scene.now);
        scene.ping(relay(), None);
        scene.ping(other_relay(), Some(MILLI * 20));
        scene.now += MIN_PATIENCE;

        assert_eq!(scene.paths.better(scene.now), Some(other_relay()));
    }
}

#[test]
fn pings_on_a_standby_move_nothing() {
    let mut scene = Scene::on(lan());
    scene.ping(public(), Some(MILLI));

    assert!(
        scene
            .paths
            .roamed(public(), Sign::Ping, scene.now)
            .is_empty()
    );
    assert!(!scene.paths.is_undecided());
}

#[test]
fn a_way_that_misses_an_answer_before_the_peer_leaves_it_is_left_with_the_peer() {
    let mut scene = Scene::on(lan());
    scene.ping(public(), Some(MILLI));
    scene.now += TRIAL_EVERY;

    assert_eq!(scene.paths.doubted(public(), scene.now), Some(lan()));
    scene.ping(lan(), None);
    assert_eq!(scene.paths.doubted(public(), scene.now), None);
    scene.now += MIN_PATIENCE;
    assert_eq!(scene.paths.better(scene.now), None);
    scene.paths.roamed(public(), Sign::Use, scene.now);
    scene.ping(public(), Some(MILLI));

    assert_eq!(scene.paths.better(scene.now), Some(public()));
}

proptest! {
    /// However two relays take turns in being the faster one, both ends send by the same one a moment after the one that
    /// leads has changed, and that is not often.
    #[test]
    fn two_ends_agree_on_a_relay(times in proptest::collection::vec((1u32..200, 1u32..200), 100)) {
        let mut ends = [
            Scene::of(Paths::new(false), relay()),
            Scene::of(Paths::new(true), other_relay()),
        ];
        let mut changes = 0;
        for (first, second) in times {
            let time = |way| MILLI * if way == relay() { first } else { second };
            let before = ends.each_ref().map(|end| end.paths.current().expect("a way"));
            for (end, heard) in ends.iter_mut().zip([before[1], before[0]]) {
                for way in [relay(), other_relay()] {
                    end.ping(way, Some(time(way)));
                }
                end.now += TRIAL_EVERY;
                if Some(heard) != end.paths.current() {
                    for way in end.paths.roamed(heard, Sign::Use, end.now) {
                        end.ping(way, Some(time(way)));
                    }
                }
                if let Some(way) = end.paths.better(end.now) {
                    end.paths.take(way);
                }
            }
            let [leads, is_led] = ends.each_ref().map(|end| end.paths.current());
            prop_assert_eq!(is_led, Some(before[0]));
            changes += usize::from(leads != Some(before[0]));
        }
        prop_assert!(changes <= 100 / TRIAL_ANSWERS as usize);
    }
}
