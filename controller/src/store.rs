//! The store: everything a controller knows, in one SQLite file. A commit is one transaction that holds the change,
//! the documents signed for it, the audit line and the token it consumes; it succeeds only if nobody else wrote to the
//! network since it was loaded.

use std::{path::PathBuf, str::FromStr, time::Duration};

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tombolo_proto::id::UnixSeconds;

mod audit;
mod authority;
mod commit;
mod directory;
mod networks;
mod nodes;
mod rows;
mod tokens;
mod writing;

pub use authority::StoredAuthority;
pub use commit::{Actor, Commit, CommitError, SignedDocument, TokenClaim};
pub use directory::DirectoryPart;
pub use networks::Loaded;
pub use nodes::Presence;
pub use rows::CorruptRow;

/// Readers beside the one writer; each is a thread.
const CONNECTIONS: u32 = 4;
/// How long a writer waits for another one: longer than any transaction here takes.
const BUSY: Duration = Duration::from_secs(10);

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed.
    #[error("the store failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds what this program never writes.
    #[error(transparent)]
    Corrupt(#[from] CorruptRow),
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is of another kind.
    #[error("{0:?} is not a store this controller knows: write sqlite:PATH")]
    UnknownKind(String),
    /// The file cannot be opened or created.
    #[error("cannot open the store {path}: {cause}; check that the directory exists, is writable and has room", path = .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the database says.
        cause: sqlx::Error,
    },
    /// The tables cannot be brought up to date.
    #[error("cannot prepare the store {path}: {cause}; check that the directory is writable and has room, and that no newer controller used it", path = .path.display())]
    Migrate {
        /// Which file.
        path: PathBuf,
        /// What the database says.
        cause: sqlx::migrate::MigrateError,
    },
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl(PathBuf);

impl StoreUrl {
    /// A SQLite file.
    #[must_use]
    pub const fn sqlite(path: PathBuf) -> Self {
        Self(path)
    }
}

impl FromStr for StoreUrl {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let path = text
            .strip_prefix("sqlite://")
            .or_else(|| text.strip_prefix("sqlite:"))
            .filter(|path| !path.is_empty() && !path.contains('?'))
            .ok_or_else(|| OpenError::UnknownKind(text.to_owned()))?;
        Ok(Self(path.into()))
    }
}

/// An open store.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the store, creates it if it is not there, and brings its tables up to date.
    pub async fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        let path = url.0.clone();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await
            .map_err(|cause| OpenError::Open {
                path: path.clone(),
                cause,
            })?;
        sqlx::migrate!("migrations/sqlite")
            .run(&pool)
            .await
            .map_err(|cause| OpenError::Migrate { path, cause })?;
        Ok(Self { pool })
    }

    /// Closes every connection, so that the file is whole by itself.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The database's clock: the only one that counts in documents.
    pub async fn now(&self) -> Result<UnixSeconds, StoreError> {
        let seconds: i64 = sqlx::query_scalar("SELECT unixepoch()")
            .fetch_one(&self.pool)
            .await?;
        Ok(UnixSeconds(u64::try_from(seconds).unwrap_or_default()))
    }

    /// A transaction that will write: it takes the write lock at its beginning, so that it never fails half-way for
    /// want of it.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }
}

/// Whether an error is the violation of a uniqueness constraint on `column` (`table.column`).
fn violates(error: &sqlx::Error, column: &str) -> bool {
    error.as_database_error().is_some_and(|database| {
        database.is_unique_violation() && database.message().contains(column)
    })
}
