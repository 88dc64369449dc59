//! `node man`

use std::{fs, path::Path};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use super::program;
use crate::{cli::Cli, output};

pub(super) fn run(dir: Option<&Path>) -> anyhow::Result<()> {
    match dir {
        Some(dir) => {
            fs::create_dir_all(dir)
                .with_context(|| format!("Failed to create {}", dir.display()))?;
            clap_mangen::generate_to(Cli::command().name(output::program()).name(program()), dir)
                .with_context(|| format!("Failed to write man pages to {}", dir.display()))
        }
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command().name(output::program()).name(program())).render(&mut page)?;
            output::bytes(&page)
        }
    }
}
