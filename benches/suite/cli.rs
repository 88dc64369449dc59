//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::load::plan::StoreKind;

/// Measures Tombolo beside other overlays, in network namespaces on this machine. Needs root.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
pub struct Cli {
    /// Something else than the comparison
    #[command(subcommand)]
    pub part: Option<Part>,
    /// The figures that tell most, of the peers that are ahead somewhere, in under three minutes
    #[arg(long, global = true)]
    pub quick: bool,
    /// Only these peers
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub peers: Vec<String>,
    /// How often everything is repeated
    #[arg(long)]
    pub rounds: Option<u32>,
    /// Length of each TCP test
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..=60))]
    pub tcp_seconds: Option<u32>,
    /// Length of each UDP test
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub udp_seconds: Option<u32>,
    /// Only with threads pinned: side A on core 0, side B on core 1
    #[arg(long)]
    pub pinned_only: bool,
    /// TCP congestion control, the same for all peers
    #[arg(long, default_value = "cubic", value_name = "NAME")]
    pub congestion_control: String,
    /// Folder with the peers, as fetch-peers.sh fills it
    #[arg(long, default_value = "target/bench-peers", value_name = "DIR")]
    pub peers_dir: PathBuf,
    /// Folder with Tombolo's binaries
    #[arg(
        long,
        global = true,
        default_value = "target/release",
        value_name = "DIR"
    )]
    pub binaries: PathBuf,
    /// Where results go
    #[arg(
        long,
        global = true,
        default_value = "benches/results",
        value_name = "DIR"
    )]
    pub results: PathBuf,
    /// Name of the files of the results; `full` or `quick` (`load` or `load-quick`) unless given
    #[arg(long, global = true, value_name = "NAME")]
    pub name: Option<String>,
    /// Instead of measuring: one TCP flow between two ends of the first of --peers (Tombolo) under perf
    #[arg(long, conflicts_with = "render")]
    pub profile: bool,
    /// Measure nothing: make table and plots anew from the JSON of an earlier run
    #[arg(long, global = true)]
    pub render: bool,
}

/// What is no comparison of overlays.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Measures controllers with thousands of members. Needs no root
    Load(LoadArguments),
    /// One end of the reference `tombolo-plain`
    #[command(hide = true)]
    Plain {
        /// The TUN device to make
        device: String,
        /// The other end; its port is this end's too
        other_end: SocketAddr,
    },
}

/// What `bench load` takes beside the options of the suite.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// Members at which figures are taken, ascending [default: 100 to 10,000; 300 with --quick]
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,…")]
    pub members: Vec<usize>,
    /// Only these
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub stores: Vec<StoreKind>,
}
