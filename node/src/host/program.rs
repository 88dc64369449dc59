//! Programs of the host that change its firewall, run as their users would.

use std::{ffi::OsStr, io, process::Stdio};

use anyhow::{Context as _, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Runs a program to its end and gives what it printed.
pub(crate) async fn run(
    program: &str,
    arguments: impl IntoIterator<Item: AsRef<OsStr>>,
    input: &str,
) -> anyhow::Result<String> {
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} is not installed"))?;
    if let Some(mut stdin) = process.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .await
            .with_context(|| format!("Failed to speak to {program}"))?;
    }
    let output = process
        .wait_with_output()
        .await
        .with_context(|| format!("Failed to run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} refused: {}",
        said.lines().next().unwrap_or_default()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether [`run`] failed because there is no such program.
pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}
