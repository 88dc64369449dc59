//! The `node` binary: the daemon and the verbs that talk to it.

use std::process::ExitCode;

use clap::Parser as _;
use tombolo_node::{cli::Cli, commands};

fn main() -> ExitCode {
    commands::run(Cli::parse())
}
