//! The only place that prints: results to standard output, failures to standard error.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;
use tombolo_engine::diagnosis::{Finding, Health};

use crate::failure::Failure;

/// Prints a result as one JSON value.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    text_block(&text)
}

/// Prints text as it is. A reader that has gone away, as in `node peers | head -1`, is no failure.
pub(crate) fn text_block(text: &str) -> anyhow::Result<()> {
    bytes(text.as_bytes())
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a failure as one line; gives the exit code.
#[must_use]
pub(crate) fn failure(failure: &Failure) -> ExitCode {
    let message = failure.message.replace('\n', " ");
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}: {message}", program());
    ExitCode::from(failure.kind.exit_code())
}

/// Says something beside the result.
pub(crate) fn note(message: &str) {
    let _ = writeln!(io::stderr().lock(), "{}: {message}", program());
}

/// The name this program was called by: packages install it as `tombolo`.
#[must_use]
pub(crate) fn program() -> &'static str {
    let called = std::env::args_os().next().map(PathBuf::from);
    match called.as_deref().and_then(Path::file_name) {
        Some(name) if name == "tombolo" => "tombolo",
        _ => "node",
    }
}

/// Says how far something is on one line that is written over, on a terminal only; nothing clears it.
pub(crate) fn progress(text: &str) {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    }
}

/// One line per finding, and below it what mends it.
pub(crate) fn findings(findings: &[Finding]) -> anyhow::Result<()> {
    let mut text = String::new();
    for finding in findings {
        let name = finding.health.name();
        let _ = writeln!(text, "  {name:7}  {:12}  {}", finding.check, finding.said);
        if let Some(mend) = finding
            .mend
            .as_ref()
            .filter(|_| finding.health > Health::Unknown)
        {
            let _ = writeln!(text, "  {:7}  {:12}  -> {mend}", "", "");
        }
    }
    text_block(&text)
}

/// Columns for people.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts with a heading.
    #[must_use]
    pub(crate) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned).to_vec()],
        }
    }

    /// Adds a row; an empty cell shows as a dash.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(
            cells
                .map(|cell| {
                    if cell.is_empty() {
                        "-".to_owned()
                    } else {
                        cell
                    }
                })
                .to_vec(),
        );
    }

    /// Prints it, with a bold heading on a terminal.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns)
            .map(|column| width(column).unwrap_or(0))
            .collect();
        let mut text = String::new();
        for (position, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            let line = cells.join("  ");
            let line = line.trim_end();
            text.push_str(&if position == 0 {
                bold(line)
            } else {
                line.to_owned()
            });
            text.push('\n');
        }
        text_block(&text)
    }
}

/// Bold on a terminal, plain elsewhere and where `NO_COLOR` is set.
#[must_use]
pub(crate) fn bold(text: &str) -> String {
    if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[1m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
