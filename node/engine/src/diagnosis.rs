//! What is wrong, in plain words, and the command that mends it. Facts go in, findings come out; who looks at the host is
//! the shell.

pub mod doctor;
pub mod why;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a point of a diagnosis stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Could not be looked at.
    Unknown,
    /// Works, but not as well as it could.
    Warning,
    /// Keeps something from working.
    Broken,
}

impl Health {
    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Broken => "broken",
        }
    }
}

/// How long ago something was, in the largest unit of which there are two.
#[must_use]
pub fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// One point of a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at; one word, stable.
    pub check: String,
    /// How it stands.
    pub health: Health,
    /// What was seen, in a sentence.
    pub said: String,
    /// The command that mends it, and what else there is to know in parentheses; or what to do, where no command does.
    pub mend: Option<String>,
}

impl Finding {
    /// As it should be.
    #[must_use]
    pub fn ok(check: &str, said: impl Into<String>) -> Self {
        Self::new(check, Health::Ok, said, None)
    }

    /// Works, but not as well as it could.
    #[must_use]
    pub fn warning(check: &str, said: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, Health::Warning, said, Some(mend.into()))
    }

    /// Keeps something from working.
    #[must_use]
    pub fn broken(check: &str, said: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, Health::Broken, said, Some(mend.into()))
    }

    /// Could not be looked at.
    #[must_use]
    pub fn unknown(check: &str, said: impl Into<String>) -> Self {
        Self::new(check, Health::Unknown, said, None)
    }

    fn new(check: &str, health: Health, said: impl Into<String>, mend: Option<String>) -> Self {
        Self {
            check: check.to_owned(),
            health,
            said: said.into(),
            mend,
        }
    }
}

/// The worst of several findings; the first of those that are equally bad.
#[must_use]
pub fn worst(findings: &[Finding]) -> Option<&Finding> {
    let worst = findings.iter().map(|finding| finding.health).max()?;
    findings.iter().find(|finding| finding.health == worst)
}
