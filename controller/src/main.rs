//! The `controller` program.

use std::process::ExitCode;

use clap::Parser as _;
use tombolo_controller::{cli::Cli, commands};

fn main() -> ExitCode {
    commands::run(Cli::parse())
}
