//! Rules for nftables, by its own program.

use super::program;

/// Applies a script as one transaction: all of it or nothing.
pub(crate) async fn load(script: &str) -> anyhow::Result<()> {
    program::run("nft", ["-f", "-"], script).await.map(drop)
}
