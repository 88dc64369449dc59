//! How a verb fails: one line that says what to do, and an exit code that scripts can rely on.

use serde::{Deserialize, Serialize};

/// Exit codes of all verbs. Clap itself ends with 2 on wrong usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Anything else.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// The daemon or every controller is out of reach.
    Unreachable,
    /// It contradicts what is there.
    Conflict,
    /// Not authorised, or not within the time given.
    NotAuthorized,
}

impl FailureKind {
    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Conflict => 4,
            Self::NotAuthorized => 5,
        }
    }
}

/// A verb that did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Decides the exit code.
    pub kind: FailureKind,
    /// One line: what is wrong, what to do.
    pub message: String,
}

impl Failure {
    /// A failure of a certain kind.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::new(FailureKind::Failed, format!("{error:#}")),
        }
    }
}
