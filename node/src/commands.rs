//! The verbs, one file each. All but `up` ask the daemon and print what it answers.

mod bench;
mod completions;
mod docker;
mod doctor;
mod id;
mod join;
mod leave;
mod man;
mod member;
mod networks;
mod peers;
mod ping;
mod route;
mod routes;
mod set;
mod status;
mod up;
mod why;

use std::{path::Path, process::ExitCode};

use clap::error::ErrorKind;

use crate::{
    cli::{Cli, Verb},
    failure::{Failure, FailureKind},
    output,
};

/// Runs a verb to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let global = &cli.global;
    let done = match &cli.verb {
        Verb::Up(arguments) => up::run(global, arguments),
        Verb::Join(arguments) => join::run(global, arguments),
        Verb::Leave { network, force } => leave::run(global, *network, *force),
        Verb::Status => status::run(global),
        Verb::Networks => networks::run(global),
        Verb::Peers => peers::run(global),
        Verb::Routes => routes::run(global),
        Verb::Ping(arguments) => ping::run(global, arguments),
        Verb::Why(arguments) => why::run(global, arguments),
        Verb::Doctor => doctor::run(global),
        Verb::Bench(arguments) => bench::run(global, arguments),
        Verb::Set(arguments) => set::run(global, arguments),
        Verb::Id => id::run(global),
        Verb::Route { action } => route::run(global, action),
        Verb::Docker { action } => docker::run(global, action),
        Verb::Completions { shell } => completions::run(*shell),
        Verb::Man { dir } => man::run(dir.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&Failure::from(error)),
    }
}

/// Says in one line what is wrong with the command line. Help and version are asked for, so they are no failure.
#[must_use]
pub fn explain_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.to_string();
    let lines = text.lines().take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let said: Vec<&str> = lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    output::failure(&Failure::new(
        FailureKind::Usage,
        format!("{said}; see `tombolo --help`"),
    ))
}

/// The name this program was called by: packages install it as `tombolo`, because Node.js owns `node` on many servers.
fn program() -> &'static str {
    let called = std::env::args_os().next();
    let called = called
        .as_deref()
        .and_then(|path| Path::new(path).file_name());
    if called.is_some_and(|name| name == "tombolo") {
        "tombolo"
    } else {
        "node"
    }
}

/// Addresses and the like in one table cell.
fn list(items: &[impl ToString]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}
