//! How far a network grows, and on which stores.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the controllers keep everything in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One controller, one file.
    Sqlite,
    /// Two controllers, one PostgreSQL server.
    Postgres,
}

impl StoreKind {
    /// How many controllers share it.
    #[must_use]
    pub const fn replicas(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres => 2,
        }
    }

    /// In words.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sqlite => "one controller on SQLite",
            Self::Postgres => "two controllers on PostgreSQL",
        }
    }
}

/// One run.
#[derive(Debug)]
pub struct Plan {
    /// Name of the files of the results.
    pub name: &'static str,
    /// Members at which figures are taken, ascending.
    pub steps: Vec<usize>,
    /// One after the other.
    pub stores: Vec<StoreKind>,
    /// Removals, and as many routes, that are timed at each step.
    pub changes: usize,
    /// Nodes that join at the same time.
    pub in_flight: usize,
}

impl Plan {
    /// What is published.
    #[must_use]
    pub fn full() -> Self {
        Self {
            name: "load",
            steps: vec![100, 500, 2_000, 5_000, 10_000],
            stores: vec![StoreKind::Sqlite, StoreKind::Postgres],
            changes: 5,
            in_flight: 64,
        }
    }

    /// How many nodes there are in all: what is removed at a step is replaced at the next.
    #[must_use]
    pub fn identities(&self) -> usize {
        self.steps.last().copied().unwrap_or_default() + self.changes * self.steps.len()
    }

    /// What shows that all of it works.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            name: "load-quick",
            steps: vec![100, 300],
            changes: 3,
            ..Self::full()
        }
    }
}
