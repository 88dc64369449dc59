//! Printing: JSON for scripts, tables for people.

use std::io::Write as _;

use serde::Serialize;

use super::table::Table;

/// How answers are printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// One object: as JSON, or as lines.
    pub(super) fn object<T: Serialize>(self, value: &T, lines: impl FnOnce(&T) -> String) {
        if self.json {
            print(&to_json(value));
        } else {
            print(lines(value).trim_end());
        }
    }

    /// A list: as a JSON array, or as a table.
    pub(super) fn list<T: Serialize>(self, values: &[T], table: impl FnOnce(&[T]) -> Table) {
        if self.json {
            print(&to_json(&values));
        } else {
            print(table(values).to_string().trim_end());
        }
    }

    /// Something is gone: nothing to show but that.
    pub(super) fn done(self, message: &str) {
        if self.json {
            print("{}");
        } else {
            print(message);
        }
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("API types always become JSON")
}

/// Prints text and a newline. A reader that went away is no reason to fail.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// One line on stderr.
pub(super) fn complain(message: &str) {
    let line = message.replace('\n', " ");
    let _ = writeln!(std::io::stderr().lock(), "controller: {line}");
}
