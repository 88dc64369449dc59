mod roaming;
mod scene;

use proptest::prelude::*;

use super::{
    entry::{DISTRUST, SHORT_TRIAL_ANSWERS, SHORT_TRIAL_EVERY, TRIAL_ANSWERS},
    *,
};
use crate::round_trip::MIN_PATIENCE;
use scene::{MILLI, Scene, direct, elsewhere, lan, other_relay, public, relay};

#[test]
fn a_way_of_better_rank_takes_over_after_five_answers_in_a_row_and_not_before() {
    let mut scene = Scene::on(public());
    scene.paths.set_announced(&[public(), lan()]);

    for answer in 1..=TRIAL_ANSWERS {
        assert_eq!(
            scene.paths.better(scene.now),
            None,
            "after {answer} answers"
        );
        scene.ping(lan(), Some(MILLI));
        scene.now += TRIAL_EVERY / 2;
    }

    assert_eq!(scene.paths.better(scene.now), Some(lan()));
}

#[test]
fn one_missed_ping_begins_the_trial_anew() {
    let mut scene = Scene::on(public());
    for _ in 1..TRIAL_ANSWERS {
        scene.ping(lan(), Some(MILLI));
    }
    scene.ping(lan(), None);
    scene.now += TRIAL_EVERY;
    scene.ping(lan(), Some(MILLI));

    assert_eq!(scene.paths.better(scene.now), None);
}

#[test]
fn two_answers_are_enough_to_leave_a_relay_unless_the_way_broke_a_while_ago() {
    let mut scene = Scene::on(relay());
    scene.paths.set_announced(&[relay(), public()]);
    let answers_needed = |scene: &mut Scene| {
        (1..).find(|_| {
            scene.now += SHORT_TRIAL_EVERY;
            scene.ping(public(), Some(MILLI));
            scene.paths.better(scene.now).is_some()
        })
    };
    assert_eq!(answers_needed(&mut scene), Some(SHORT_TRIAL_ANSWERS));

    scene.paths.take(public());
    scene.paths.note_broken(scene.now, scene.now);
    scene.paths.take(relay());
    assert_eq!(answers_needed(&mut scene), Some(TRIAL_ANSWERS));

    scene.paths.take(public());
    scene.paths.take(relay());
    scene.now += DISTRUST;
    assert_eq!(answers_needed(&mut scene), Some(SHORT_TRIAL_ANSWERS));
}

#[test]
fn of_one_rank_the_other_must_be_clearly_faster() {
    for (theirs, takes_over) in [(41, false), (49, false), (39, true)] {
        let mut scene = Scene::on(public());
        scene.paths.set_announced(&[public(), elsewhere()]);
        scene.ping(public(), Some(MILLI * 50));
        for _ in 0..10 {
            scene.ping(elsewhere(), Some(MILLI * theirs));
        }
        assert_eq!(
            scene.paths.better(scene.now) == Some(elsewhere()),
            takes_over,
            "{theirs} ms"
        );
    }
}

#[test]
fn a_relay_never_takes_over_from_a_direct_way_that_works_however_fast_it_is() {
    let mut scene = Scene::on(public());
    scene.ping(public(), Some(MILLI * 300));
    for _ in 0..20 {
        scene.ping(relay(), Some(MILLI));
    }
    assert_eq!(scene.paths.better(scene.now), None);
}

#[test]
fn while_a_session_settles_the_first_answer_of_a_better_way_is_enough() {
    let mut scene = Scene::on(elsewhere());
    scene.paths.settle(scene.now);

    scene.ping(lan(), Some(MILLI));

    assert_eq!(scene.paths.better(scene.now), Some(lan()));
}

#[test]
fn what_was_proven_before_the_way_in_use_broke_has_to_be_proven_anew() {
    let mut scene = Scene::on(elsewhere());
    let stream = direct("127.64.0.1:40000");
    for _ in 0..TRIAL_ANSWERS {
        scene.ping(stream, Some(MIN_PATIENCE));
        scene.ping(relay(), Some(MILLI));
    }

    let asked = scene.now;
    scene.ping(relay(), Some(MILLI));
    scene.paths.note_broken(asked, scene.now);
    scene.paths.take(relay());

    assert_eq!(scene.paths.better(scene.now), None);
}

#[test]
fn two_standbys_are_kept_warm_and_the_dead_are_asked_once_a_minute() {
    let mut scene = Scene::on(public());
    let dead = direct("198.51.100.1:9790");
    scene
        .paths
        .set_announced(&[public(), elsewhere(), dead, direct("198.51.100.2:1")]);
    scene.ping(public(), Some(MILLI));
    scene.ping(elsewhere(), Some(MILLI));
    scene.ping(relay(), Some(MILLI));
    let asked = scene.ten_minutes();

    let of = |way| asked.iter().filter(|asked| **asked == way).count();
    assert_eq!([public(), elsewhere(), relay()].map(of), [59, 59, 59]);
    assert_eq!(of(dead), 10);
    assert_eq!(scene.paths.standbys(scene.now).len(), STANDBYS);
}

#[test]
fn a_better_way_that_comes_back_is_noticed_and_taken_within_twenty_seconds() {
    let mut scene = Scene::on(lan());
    scene.ping(lan(), Some(MILLI));
    scene.ping(public(), Some(MILLI * 20));
    scene.now += Duration::from_secs(120);
    scene.ping(public(), Some(MILLI * 20));
    scene.paths.take(public());
    let start = scene.now;

    let back = loop {
        for way in scene.paths.due(scene.now) {
            scene.ping(way, Some(MILLI));
        }
        if let Some(way) = scene.paths.better(scene.now) {
            break way;
        }
        scene.now += Duration::from_millis(250);
        assert!(scene.now - start < Duration::from_secs(20));
    };

    assert_eq!(back, lan());
    assert!(scene.now - start >= TRIAL_EVERY * 4);
}

#[test]
fn the_table_stays_bounded_and_never_forgets_the_way_in_use() {
    let mut scene = Scene::on(lan());
    for port in 1..1000 {
        let from = Way::Direct(([203, 0, 113, 1], port).into());
        scene.paths.roamed(from, Sign::Use, scene.now);
    }
    assert!(scene.paths.all().len() <= MAX_PATHS);
    assert_eq!(scene.paths.all().first(), Some(&lan()));
}

proptest! {
    /// Whatever happens on two ways that both always answer, a change is never undone within the time of a trial.
    #[test]
    fn two_good_ways_do_not_flap(times in proptest::collection::vec((1u32..200, 1u32..200), 100)) {
        let mut scene = Scene::on(public());
        scene.paths.set_announced(&[public(), elsewhere()]);
        let mut changes = Vec::new();
        for (first, second) in times {
            scene.ping(public(), Some(MILLI * first));
            scene.ping(elsewhere(), Some(MILLI * second));
            if let Some(way) = scene.paths.better(scene.now) {
                scene.paths.take(way);
                changes.push(scene.now);
            }
            scene.now += TRIAL_EVERY;
        }
        prop_assert!(changes.len() <= 100 / TRIAL_ANSWERS as usize);
    }
}
