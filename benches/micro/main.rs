//! What every stage of a packet's way costs, alone and in a warm cache: `make bench-micro`. Writes `results/micro.md`.
#![expect(clippy::print_stderr, reason = "where a program says why it ends")]

mod crossing;
mod offloads;
mod packets;
mod routing;
mod rules;
mod sealing;
mod stages;

use std::{path::Path, process::ExitCode};

use stages::Stages;

fn main() -> ExitCode {
    // Cargo gives every benchmark a folder to write to.
    let measured = Path::new(env!("CARGO_TARGET_TMPDIR")).join("micro");
    let mut stages = Stages::new(&measured);
    offloads::measure(&mut stages);
    routing::measure(&mut stages);
    rules::measure(&mut stages);
    sealing::measure(&mut stages);
    crossing::measure(&mut stages);
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    match stages.write(&results) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("no table: {error}");
            ExitCode::FAILURE
        }
    }
}
