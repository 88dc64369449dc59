//! How a verb fails: one line and an exit code that scripts can rely on.

use std::process::ExitCode;

use crate::config::ConfigError;

/// A verb that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line or the configuration makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The controller is not there.
    #[error("{0}")]
    Unreachable(String),
    /// What is wished clashes with what is there.
    #[error("{0}")]
    Conflict(String),
    /// The credential does not do.
    #[error("{0}")]
    NotAuthorized(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Conflict(_) => 4,
            Self::NotAuthorized(_) => 5,
        })
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(format!("{error:#}"))
    }
}
