//! The benchmark suite: `make bench`, `make bench-quick`.
#![expect(clippy::print_stderr, reason = "where a program says why it ends")]

use std::process::ExitCode;

use clap::Parser as _;
use tombolo_benches::{cli::Cli, run::run};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
