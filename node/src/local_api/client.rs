//! The verbs' side of the daemon's socket.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::{Answer, Request};
use crate::failure::{Failure, FailureKind};

/// Asks the daemon. A failed answer is an error.
pub fn ask<Report: DeserializeOwned>(socket: &Path, request: &Request) -> anyhow::Result<Report> {
    let mut stream = UnixStream::connect(socket).map_err(|error| unreachable(socket, &error))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream
        .write_all(&line)
        .context("Failed to ask the daemon")?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .context("Failed to read the daemon's answer")?;
    if answer.is_empty() {
        let message = "the daemon ended before it answered: see its log".to_owned();
        return Err(Failure::new(FailureKind::Unreachable, message).into());
    }
    let other_version = "The daemon is of another version: restart it";
    match serde_json::from_str(&answer).context(other_version)? {
        Answer::Done(report) => serde_json::from_value(report).context(other_version),
        Answer::Failed(failure) => Err(failure.into()),
    }
}

fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let socket = socket.display();
    let message = if matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    ) {
        format!(
            "the daemon is not running (no answer at {socket}): start it with `systemctl start tombolo` or `tombolo up`"
        )
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!("no permission to use {socket}: run as root or join the group tombolo")
    } else {
        format!("failed to reach the daemon at {socket}: {error}")
    };
    Failure::new(FailureKind::Unreachable, message)
}
