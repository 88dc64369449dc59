//! `controller import`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tombolo_proto::id::{NetworkId, NodeId};

/// Where networks come from.
#[derive(Debug, Subcommand)]
pub enum ImportVerb {
    /// The networks of a ZeroTier controller; repeat it with --member as servers move
    Zerotier(ImportZerotier),
}

/// `controller import zerotier`
#[derive(Debug, Args)]
pub struct ImportZerotier {
    /// A copy of controller.d, or of the directory that it is in
    pub dir: PathBuf,
    /// Only these networks, by their id at ZeroTier
    #[arg(long = "network", value_name = "ID")]
    pub networks: Vec<NetworkId>,
    /// A server that has moved: its address at ZeroTier, and its new one, as `node id` there says
    #[arg(long = "member", value_name = "OLD=NEW", value_parser = moved)]
    pub moved: Vec<(NodeId, NodeId)>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn moved(text: &str) -> Result<(NodeId, NodeId), String> {
    text.split_once('=')
        .and_then(|(old, new)| Some((old.trim().parse().ok()?, new.trim().parse().ok()?)))
        .ok_or_else(|| {
            "write the address at ZeroTier, =, and the new one: 3b1b2c3d4e=89e92ceee5".to_owned()
        })
}
