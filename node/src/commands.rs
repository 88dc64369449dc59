//! The verbs, one file each. All but `up` ask the daemon and print what it answers.

mod completions;
mod id;
mod join;
mod leave;
mod man;
mod networks;
mod peers;
mod route;
mod routes;
mod set;
mod status;
mod up;

use std::process::ExitCode;

use crate::{
    cli::{Cli, Verb},
    failure::Failure,
    output,
};

/// Runs a verb to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let global = &cli.global;
    let done = match &cli.verb {
        Verb::Up(arguments) => up::run(global, arguments),
        Verb::Join(arguments) => join::run(global, arguments),
        Verb::Leave { network } => leave::run(global, *network),
        Verb::Status => status::run(global),
        Verb::Networks => networks::run(global),
        Verb::Peers => peers::run(global),
        Verb::Routes => routes::run(global),
        Verb::Set(arguments) => set::run(global, arguments),
        Verb::Id => id::run(global),
        Verb::Route { action } => route::run(global, action),
        Verb::Completions { shell } => completions::run(*shell),
        Verb::Man { dir } => man::run(dir.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&Failure::from(error)),
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
