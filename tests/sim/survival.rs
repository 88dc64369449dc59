//! Networks with three controllers live through deaths, partitions, lost writes, wrong clocks and old disks, and are
//! judged after every step by what their nodes have heard. In the end, when nothing is in the way any more, everybody
//! agrees.

mod life;
mod oracle;
mod registry;

use std::{panic::resume_unwind, thread, time::Instant};

use tombolo_tests::{overlay::repetitions, process::announce};

use life::{Life, Size};

#[test]
fn small_networks_survive_thousands_of_lives() {
    let seeds = repetitions(300, 5_000) as u64;
    live(0..seeds, |seed| Size {
        nodes: 5 + (seed % 8) as u8,
        replicas: 3,
        steps: 25,
        packets: 4,
    });
}

/// As many as the smallest machine has cores.
const THREADS: u64 = 2;

/// Lives through all seeds, on two threads, and says how long it took.
fn live(seeds: std::ops::Range<u64>, size: impl Fn(u64) -> Size + Sync) {
    let seeds = match std::env::var("TOMBOLO_SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => seed..seed + 1,
        _ => seeds,
    };
    let start = Instant::now();
    let run = |remainder: u64| -> u64 {
        let mine = seeds.clone().filter(|seed| seed / 2 % THREADS == remainder);
        mine.map(|seed| Life::new(seed, size(seed)).run()).sum()
    };
    let delivered: u64 = thread::scope(|scope| {
        let threads = [0, 1].map(|remainder| scope.spawn(move || run(remainder)));
        let results = threads.map(|thread| thread.join());
        results
            .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
            .iter()
            .sum()
    });
    let count = seeds.end - seeds.start;
    let took = start.elapsed().as_secs_f64();
    announce(&format!(
        "figure: {count} lives of up to {} nodes in {took:.1} s, {:.0} a second, {delivered} packets delivered",
        seeds.map(|seed| size(seed).nodes).max().unwrap_or_default(),
        count as f64 / took,
    ));
}
