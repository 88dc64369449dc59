//! `node completions`

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::program;
use crate::{cli::Cli, output};

pub(super) fn run(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), program(), &mut script);
    output::bytes(&script)
}
