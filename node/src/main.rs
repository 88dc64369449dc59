//! The `node` binary: the daemon and the verbs that talk to it.

use std::process::ExitCode;

use clap::Parser as _;
use tombolo_node::{cli::Cli, commands};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => commands::explain_usage(&error),
    }
}
