//! The `controller` program.

use std::process::ExitCode;

use clap::Parser as _;
use tombolo_controller::{cli::Cli, commands};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => commands::explain_usage(&error),
    }
}
