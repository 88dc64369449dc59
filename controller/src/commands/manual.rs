//! Shell completions and manual pages, from the definitions of the command line.

use std::{io::Write as _, path::Path};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Failure;
use crate::cli::Cli;

pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), program(), &mut script);
    write_out(&script)
}

pub(super) fn pages(directory: Option<&Path>) -> Result<(), Failure> {
    match directory {
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .and_then(|()| clap_mangen::generate_to(Cli::command().name(program()), directory))
                .with_context(|| {
                    format!("Failed to write manual pages to {}", directory.display())
                })?;
            Ok(())
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command().name(program()))
                .render(&mut page)
                .context("Failed to render the manual page")?;
            write_out(&page)
        }
    }
}

/// The name this program was called by: packages install it as `tombolo-controller`.
fn program() -> &'static str {
    let called = std::env::args_os().next();
    let called = called
        .as_deref()
        .and_then(|path| Path::new(path).file_name());
    if called.is_some_and(|name| name == "tombolo-controller") {
        "tombolo-controller"
    } else {
        "controller"
    }
}

fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    std::io::stdout()
        .lock()
        .write_all(bytes)
        .context("Failed to write to standard output")?;
    Ok(())
}
