//! The verbs, one module each.

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::{
    cli::{Cli, Verb},
    config::File,
};

mod apply;
mod audit;
mod backup;
mod client;
mod failure;
mod import;
mod join_token;
mod keyring;
mod manual;
mod member;
mod network;
mod output;
mod place;
mod route;
mod rule;
mod serve;
mod store;
mod table;
mod token;
mod user;
mod webhook;

use client::Client;
use failure::Failure;
use output::Output;

/// Runs a verb. Errors are one line on stderr.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.to_string());
            failure.code()
        }
    }
}

/// Answers a command line that does not parse: in one line, or with the help that was asked for.
#[must_use]
pub fn explain_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.to_string();
    let said: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let failure = Failure::Usage(format!("{said}; see `tombolo-controller --help`"));
    output::complain(&failure.to_string());
    failure.code()
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let out = Output::new(cli.global.json);
    let file = || File::read(cli.global.config.as_deref());
    let client = || Client::new(&cli.global, &file()?);
    match &cli.verb {
        Verb::Serve(flags) => serve::run(&cli.global, flags, file()?),
        Verb::Network(verb) => network::run(verb, &client()?, &out),
        Verb::Member(verb) => member::run(verb, &client()?, &out),
        Verb::Route(verb) => route::run(verb, &client()?, &out),
        Verb::Rule(verb) => rule::run(verb, &client()?, &out),
        Verb::Token(verb) => token::run(verb, &client()?, &out),
        Verb::User(verb) => user::run(verb, &client()?, &out),
        Verb::JoinToken(verb) => join_token::run(verb, &client()?, &out),
        Verb::Webhook(verb) => webhook::run(verb, &client()?, &out),
        Verb::Audit(verb) => audit::run(verb, &client()?, &out),
        Verb::Keyring(verb) => keyring::run(verb, &cli.global, &file()?, &out),
        Verb::Apply {
            file: path,
            dry_run,
        } => apply::run(path, *dry_run, &client()?, &out),
        Verb::Import(verb) => import::run(verb, &client()?, &out),
        Verb::Store(verb) => store::run(verb, &cli.global, file()?, &out),
        Verb::Backup(flags) => backup::make(flags, &cli.global, file()?, &out),
        Verb::Restore(flags) => backup::restore(flags, &cli.global, file()?, &out),
        Verb::Completions { shell } => manual::completions(*shell),
        Verb::Man { dir } => manual::pages(dir.as_deref()),
    }
}
