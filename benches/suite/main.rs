//! The benchmark suite: `make bench`, `make bench-quick`.

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    tombolo_benches::run::run(&tombolo_benches::cli::Cli::parse())
}
