//! Rules for nftables, by its own program.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Applies a script as one transaction: all of it or nothing.
pub(crate) async fn load(script: &str) -> anyhow::Result<()> {
    let mut process = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("nft is not installed")?;
    if let Some(mut input) = process.stdin.take() {
        input
            .write_all(script.as_bytes())
            .await
            .context("Failed to speak to nft")?;
    }
    let output = process
        .wait_with_output()
        .await
        .context("Failed to run nft")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "nft refused its rules: {}",
        said.lines().next().unwrap_or_default()
    );
    Ok(())
}
