use super::*;

const ROUND_TRIP: Duration = Duration::from_millis(40);

#[test]
fn an_ordinary_way_is_asked_once_and_never_again_while_idle() {
    let mut scene = Scene::new(Mtu::DEFAULT, u16::MAX);

    scene.run_for(Duration::from_secs(3600));

    assert_eq!(scene.way.limit(), 1432);
    assert!(scene.way.is_proven());
    assert_eq!(scene.asked, [vec![1432, FLOOR]]);
}

#[test]
fn the_size_of_every_hole_is_found_to_eight_bytes_in_a_second() {
    for mtu in [Mtu::MIN, Mtu::DEFAULT, Mtu(1420), Mtu::MAX] {
        for takes in (FLOOR..ceiling(mtu)).step_by(37) {
            let mut scene = Scene::new(mtu, takes);

            scene.run_for(Duration::from_secs(2));

            let limit = scene.way.limit();
            assert!(limit <= takes, "{mtu:?} {takes}: {limit}");
            assert!(takes - limit < PRECISION, "{mtu:?} {takes}: {limit}");
        }
    }
}

#[test]
fn jumbo_frames_are_used_once_they_are_known_to_pass() {
    let mut scene = Scene::new(Mtu::MAX, u16::MAX);
    assert_eq!(scene.way.limit(), 1432);

    scene.run_for(Duration::from_secs(1));

    assert_eq!(scene.way.limit(), 8932);
}

#[test]
fn a_hole_that_opens_under_a_transfer_is_seen_in_a_second() {
    for phase in 0..10 {
        let mut scene = Scene::new(Mtu::DEFAULT, u16::MAX);
        scene.transfer_for(Duration::from_millis(3000 + 57 * phase));

        scene.takes = 1272;
        let opened = scene.now;
        // The sender's window is full and its acknowledgements have ended.
        while scene.way.limit() > 1272 {
            scene.look(1400, false);
            assert!(scene.now - opened < Duration::from_millis(900), "{phase}");
        }
        scene.run_for(Duration::from_secs(2));

        assert!((1264..=1272).contains(&scene.way.limit()));
    }
}

#[test]
fn a_way_that_is_dead_is_not_a_narrow_one() {
    let mut scene = Scene::new(Mtu::DEFAULT, u16::MAX);
    scene.transfer_for(Duration::from_secs(1));

    scene.takes = 0;
    for _ in 0..100 {
        scene.look(1400, false);
    }
    assert_eq!(scene.way.limit(), 1432);

    scene.takes = 1272;
    scene.way.resume(scene.now);
    scene.run_for(Duration::from_secs(2));
    assert!(scene.way.limit() <= 1272);
}

#[test]
fn a_peer_that_knows_no_probes_is_left_in_peace_and_trusted_with_the_usual_size() {
    let mut scene = Scene::new(Mtu::MAX, 0);

    scene.run_for(Duration::from_secs(60));
    let asked = scene.asked.len();
    scene.transfer_for(Duration::from_secs(60));

    assert!(asked <= UNANSWERED as usize, "{asked}");
    assert_eq!(scene.asked.len(), asked);
    assert_eq!(scene.way.limit(), 1432);
    assert!(!scene.way.is_proven());
}

#[test]
fn a_wrong_verdict_costs_a_round_trip() {
    let mut scene = Scene::new(Mtu::DEFAULT, u16::MAX);
    scene.run_for(Duration::from_secs(1));
    scene.takes = 1200;
    scene.way.resume(scene.now);
    while scene.way.limit() == 1432 {
        scene.step();
    }

    scene.takes = u16::MAX;
    let since = scene.now;
    while scene.way.limit() < 1432 {
        scene.step();
    }

    assert!(scene.now - since <= ROUND_TRIP * 3 + Duration::from_millis(100));
}

#[test]
fn a_way_that_widens_is_used_after_ten_minutes_of_traffic() {
    let mut scene = Scene::new(Mtu::DEFAULT, 1300);
    scene.run_for(Duration::from_secs(2));
    let idle = scene.asked.len();

    scene.takes = u16::MAX;
    scene.run_for(Duration::from_secs(3600));
    assert_eq!(scene.asked.len(), idle, "an idle way is not asked");
    scene.transfer_for(Duration::from_secs(1));

    assert_eq!(scene.way.limit(), 1432);
}

#[test]
fn questions_about_a_busy_way_stay_few() {
    let mut scene = Scene::new(Mtu::DEFAULT, u16::MAX);

    scene.transfer_for(Duration::from_secs(60));

    let bytes: usize = scene
        .asked
        .iter()
        .flatten()
        .map(|size| usize::from(*size))
        .sum();
    assert!(bytes / 60 < 6_000, "{} bytes a second", bytes / 60);
}

#[test]
fn what_the_kernel_refuses_is_believed_at_once() {
    let mut scene = Scene::new(Mtu::DEFAULT, 1232);
    let start = scene.now;
    scene.step();

    scene.way.handle_refused(1432, start);

    assert_eq!(scene.way.limit(), FLOOR);
    scene.run_for(Duration::from_secs(2));
    assert!((1224..=1232).contains(&scene.way.limit()));
}

#[test]
fn late_and_foreign_answers_change_nothing() {
    let mut scene = Scene::new(Mtu::DEFAULT, 1300);
    scene.run_for(Duration::from_secs(2));
    let limit = scene.way.limit();

    for number in 0..100 {
        for size in [0, FLOOR, 1432, u16::MAX] {
            scene.way.handle_answer(number, size, scene.now);
        }
    }

    assert_eq!(scene.way.limit(), limit);
}

/// A way that takes frames of up to a size, and a clock.
struct Scene {
    way: WayMtu,
    takes: u16,
    now: Instant,
    answers: Vec<(Instant, u32, u16)>,
    asked: Vec<Vec<u16>>,
}

impl Scene {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn new(mtu: Mtu, takes: u16) -> Self {
        let now = Instant::now();
        Self {
            way: WayMtu::new(mtu, 0, now),
            takes,
            now,
            answers: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Much data both ways.
    fn transfer_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.look(1_000_000, true);
        }
    }

    /// A quarter of a second, and the look at the end of it.
    fn look(&mut self, sent: u64, is_answered: bool) {
        self.run_for(Duration::from_millis(250));
        self.way
            .handle_traffic(Traffic { sent, is_answered }, self.now);
    }

    fn next(&self) -> Option<Instant> {
        let answer = self.answers.iter().map(|(at, ..)| *at).min();
        answer.into_iter().chain(self.way.poll_timeout()).min()
    }

    fn step(&mut self) {
        let Some(at) = self.next() else { return };
        self.now = self.now.max(at);
        let (due, later): (Vec<_>, Vec<_>) =
            self.answers.drain(..).partition(|(at, ..)| *at <= self.now);
        self.answers = later;
        for (_, number, size) in due {
            self.way.handle_answer(number, size, self.now);
        }
        let Some(question) = self.way.handle_timeout(Some(ROUND_TRIP), self.now) else {
            return;
        };
        for size in &question.sizes {
            if *size <= self.takes {
                self.answers
                    .push((self.now + ROUND_TRIP, question.number, *size));
            }
        }
        self.asked.push(question.sizes);
    }
}
