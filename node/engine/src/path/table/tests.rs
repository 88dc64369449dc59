use proptest::prelude::*;

use super::{
    entry::{DISTRUST, SHORT_TRIAL_ANSWERS, SHORT_TRIAL_EVERY, TRIAL_ANSWERS},
    *,
};
use crate::{
    path::way::{Circuit, RelaySlot},
    round_trip::MIN_PATIENCE,
};

const MILLI: Duration = Duration::from_millis(1);

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
fn a_worse_way_and_one_that_was_only_pinged_on_wait_for_the_way_in_use_to_miss_its_answer() {
    for (to, sign) in [(relay(), Sign::Use), (public(), Sign::Ping)] {
        let mut scene = Scene::on(elsewhere());
        scene.ping(elsewhere(), Some(MILLI * 10));
        scene.now += Duration::from_secs(1);
        scene.paths.roamed(to, sign, scene.now);
        scene.ping(to, Some(MILLI));

        assert_eq!(scene.paths.better(scene.now), None);
        scene.now += MIN_PATIENCE;

        assert_eq!(scene.paths.better(scene.now), Some(to));
    }
}

#[test]
fn a_way_that_answered_a_moment_ago_is_not_left_for_what_is_heard_from_elsewhere() {
    let mut scene = Scene::on(elsewhere());
    scene.ping(elsewhere(), Some(MILLI * 10));
    scene.now += ASKED_JUST_NOW / 2;

    let asked = scene.paths.roamed(relay(), Sign::Use, scene.now);
    assert_eq!(asked, [relay()]);
    scene.ping(relay(), Some(MILLI));

    assert_eq!(scene.paths.better(scene.now + MIN_PATIENCE), None);
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

struct Scene {
    paths: Paths,
    now: Instant,
    next_id: u64,
}

impl Scene {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn on(way: Way) -> Self {
        let mut paths = Paths::default();
        paths.take(way);
        paths.set_announced(&[public()]);
        Self {
            paths,
            now: Instant::now(),
            next_id: 0,
        }
    }

    /// Sends a ping, which comes back after some time or never.
    fn ping(&mut self, way: Way, after: Option<Duration>) {
        self.next_id += 1;
        self.paths.ask(way, self.next_id, self.now);
        if let Some(after) = after {
            self.now += after;
            assert_eq!(self.paths.answer(self.next_id, self.now), Some(way));
        }
    }

    /// Data flows, and the ways that have answered go on to do so at once.
    fn ten_minutes(&mut self) -> Vec<Way> {
        let alive = [public(), elsewhere(), relay()];
        let mut asked = Vec::new();
        let start = self.now;
        while self.now < start + Duration::from_secs(600) {
            for way in self.paths.due(self.now) {
                asked.push(way);
                self.ping(way, alive.contains(&way).then_some(Duration::ZERO));
            }
            self.now += Duration::from_millis(250);
        }
        asked
    }
}

fn lan() -> Way {
    direct("192.168.1.5:9790")
}

fn public() -> Way {
    direct("203.0.113.7:9790")
}

fn elsewhere() -> Way {
    direct("203.0.113.8:4242")
}

fn relay() -> Way {
    Way::Relay {
        relay: RelaySlot(0),
        circuit: Circuit(7),
    }
}

fn direct(endpoint: &str) -> Way {
    Way::Direct(endpoint.parse().expect("an endpoint"))
}
