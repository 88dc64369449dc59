use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, AtomicUsize},
    thread,
};

use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;

#[test]
fn a_counter_is_taken_once_and_the_window_is_exactly_as_wide_as_promised() {
    let window = ReplayWindow::default();

    assert_eq!(window.mark(WINDOW), Seen::Newest);
    assert_eq!(window.mark(WINDOW), Seen::Replayed);
    assert_eq!(window.mark(1), Seen::Late);
    assert_eq!(window.mark(0), Seen::Replayed);
}

#[test]
fn a_leap_forgets_everything_before_the_window() {
    let window = ReplayWindow::default();
    for counter in 0..200 {
        assert_eq!(window.mark(counter), Seen::Newest);
    }
    let far = LIMIT - 1;

    assert_eq!(window.mark(far), Seen::Newest);

    assert_eq!(window.mark(199), Seen::Replayed);
    assert_eq!(window.mark(far - WINDOW + 1), Seen::Late);
    assert_eq!(window.mark(far - WINDOW), Seen::Replayed);
}

#[test]
fn counters_that_no_key_reaches_are_refused() {
    let window = ReplayWindow::default();

    for counter in [LIMIT, LIMIT + 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(window.mark(counter), Seen::Replayed);
    }

    assert!(window.is_unused());
    assert_eq!(window.mark(0), Seen::Newest);
}

#[test]
fn of_threads_that_bring_the_same_counter_one_wins_and_within_the_window_one_always_does() {
    const THREADS: usize = 4;
    // Stays within the window, so that whatever comes late is still to be taken.
    const COUNTERS: usize = WINDOW as usize;
    for seed in 0..20 {
        let window = ReplayWindow::default();
        let taken: Vec<AtomicU32> = (0..COUNTERS).map(|_| AtomicU32::new(0)).collect();
        let newest = AtomicUsize::new(0);

        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (window, taken, newest) = (&window, &taken, &newest);
                scope.spawn(move || {
                    for counter in nearly_in_order(COUNTERS, seed * THREADS as u64 + thread as u64)
                    {
                        let seen = window.mark(counter as u64);
                        if seen != Seen::Replayed {
                            taken[counter].fetch_add(1, Relaxed);
                        }
                        newest.fetch_add(usize::from(seen == Seen::Newest), Relaxed);
                    }
                });
            }
        });

        assert!(
            taken.iter().all(|times| times.load(Relaxed) == 1),
            "seed {seed}"
        );
        assert!(newest.load(Relaxed) <= COUNTERS, "seed {seed}");
    }
}

#[test]
fn threads_that_race_over_the_edge_of_the_window_take_no_counter_twice() {
    const THREADS: usize = 4;
    const COUNTERS: usize = 20 * WINDOW as usize;
    let window = ReplayWindow::default();
    let taken: Vec<AtomicU32> = (0..COUNTERS).map(|_| AtomicU32::new(0)).collect();

    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (window, taken) = (&window, &taken);
            scope.spawn(move || {
                for counter in nearly_in_order(COUNTERS, thread as u64) {
                    // Every counter twice, the second time long enough after to lie at the edge.
                    for counter in [Some(counter), counter.checked_sub(WINDOW as usize - 3)] {
                        let Some(counter) = counter else { continue };
                        if window.mark(counter as u64) != Seen::Replayed {
                            taken[counter].fetch_add(1, Relaxed);
                        }
                    }
                }
            });
        }
    });

    assert!(taken.iter().all(|times| times.load(Relaxed) <= 1));
    // The last ones are within the window whoever came first.
    let recent = &taken[COUNTERS - WINDOW as usize..];
    assert!(recent.iter().all(|times| times.load(Relaxed) == 1));
}

proptest! {
    #[test]
    fn the_window_agrees_with_remembering_everything(steps in prop::collection::vec(a_step(), 1..400)) {
        let window = ReplayWindow::default();
        let mut naive = Naive::default();
        let mut position = 0u64;
        for step in steps {
            position = position.saturating_add_signed(step).min(LIMIT - 1);
            prop_assert_eq!(window.mark(position), naive.mark(position), "at {}", position);
            prop_assert_eq!(window.floor(), naive.floor());
        }
    }
}

#[derive(Default)]
struct Naive(BTreeSet<u64>);

impl Naive {
    fn mark(&mut self, counter: u64) -> Seen {
        let highest = self.0.last().copied();
        if counter < self.floor() || !self.0.insert(counter) {
            return Seen::Replayed;
        }
        if highest.is_none_or(|highest| counter > highest) {
            Seen::Newest
        } else {
            Seen::Late
        }
    }

    fn floor(&self) -> u64 {
        self.0
            .last()
            .map_or(0, |highest| (highest + 1).saturating_sub(WINDOW))
    }
}

fn a_step() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -3i64..5,
        2 => -200i64..200,
        1 => -9000i64..9000,
        1 => 0i64..1 << 33,
    ]
}

/// 0 to `count`, each once, a few places off.
fn nearly_in_order(count: usize, seed: u64) -> Vec<usize> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut counters: Vec<usize> = (0..count).collect();
    for position in 1..count {
        let other = rng.random_range(position.saturating_sub(64)..=position);
        counters.swap(position, other);
    }
    counters
}
