//! Networks with three controllers live through deaths, partitions, lost writes, wrong clocks, old disks and keys that are
//! revoked, and are
//! judged after every step by what their nodes have heard. In the end, when nothing is in the way any more, everybody
//! agrees.

mod heard;
mod life;
mod oracle;
mod registry;

use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use tombolo_tests::{overlay::repetitions, process::announce};

use life::{Life, Size};

/// Lives that once ended badly: a member that was deleted while it was away took itself for one; a certificate from a
/// wrong clock put its member out for good; by a wrong clock, removals were forgotten.
const ONCE_BAD: [u64; 3] = [1, 10, 713];

#[test]
fn small_networks_survive_every_life() {
    let seeds = repetitions(300, 5_000) as u64;
    live((0..seeds).chain(ONCE_BAD), |seed| Size {
        nodes: 5 + (seed % 8) as u8,
        replicas: 3,
        steps: 25,
        packets: 4,
        revokes: seed % 3 == 0,
    });
}

#[test]
fn networks_of_a_hundred_survive() {
    let seeds = repetitions(1, 100) as u64;
    live(0..seeds, |seed| Size {
        nodes: 100,
        replicas: 3,
        steps: 40,
        packets: 20,
        revokes: seed % 3 == 0,
    });
}

/// As many as the smallest machine has cores.
const THREADS: usize = 2;

/// Lives through all seeds, or through the one that `TOMBOLO_SEED` names, on two threads, and says how long it took.
fn live(seeds: impl Iterator<Item = u64>, size: impl Fn(u64) -> Size + Sync) {
    let seeds: Vec<u64> = match std::env::var("TOMBOLO_SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => vec![seed],
        _ => seeds.collect(),
    };
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let run = || -> u64 {
        let mine = std::iter::from_fn(|| seeds.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.map(|seed| Life::new(*seed, size(*seed)).run()).sum()
    };
    let delivered: u64 = thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| scope.spawn(run));
        let results = threads.map(|thread| thread.join());
        results
            .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
            .iter()
            .sum()
    });
    let took = start.elapsed().as_secs_f64();
    announce(&format!(
        "figure: {} lives of up to {} nodes in {took:.1} s, {:.1} a second, {delivered} packets delivered",
        seeds.len(),
        seeds
            .iter()
            .map(|seed| size(*seed).nodes)
            .max()
            .unwrap_or_default(),
        seeds.len() as f64 / took,
    ));
}
