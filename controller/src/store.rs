//! The store: everything a controller knows, in one SQLite file or in a PostgreSQL database that several replicas share.
//! A commit is one transaction that holds the change, the documents signed for it, the audit line and the token it
//! consumes; it succeeds only if nobody else wrote to the network since it was loaded.
//!
//! Both databases run the same statements. What differs stands in this file: how a connection is set up, how a
//! transaction begins, and what a violated constraint is called.

use std::{path::Path, str::FromStr as _, sync::Arc, time::Duration};

use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, Executor as _, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
    pool::PoolConnection,
};
use tombolo_proto::id::UnixSeconds;

use crate::sealing::SecretKeys;

mod access_rules;
mod answers;
mod audit;
mod audit_keep;
mod authority;
mod backups;
mod changed;
mod commit;
mod copy;
mod directory;
mod heads;
mod health;
mod identities;
mod links;
mod many;
mod networks;
mod nodes;
mod replicas;
mod rows;
mod second_factor;
mod sessions;
mod tokens;
mod turns;
mod url;
mod users;
mod webhook_attempts;
mod webhook_secrets;
mod webhooks;
mod writing;

pub use answers::Kept;
pub(crate) use answers::{Hold, Reserved};
pub(crate) use audit::AuditFilter;
pub use audit::Trace;
pub(crate) use audit_keep::ACTION as AUDIT_FORGET;
pub use authority::StoredAuthority;
pub use backups::MadeBackup;
pub use commit::{Actor, Commit, CommitError, Deed, SignedDocument, TokenClaim};
pub use copy::{Contents, PutError};
pub use directory::DirectoryPart;
pub(crate) use heads::CHANNEL;
pub(crate) use health::Health;
pub(crate) use identities::{SignOn, Vouched};
pub(crate) use links::StoredLinks;
pub use networks::Loaded;
pub use nodes::{Presence, Software};
pub(crate) use replicas::Relayed;
pub use rows::CorruptRow;
pub(crate) use second_factor::SecondFactor;
use sessions::KnownSessions;
pub(crate) use sessions::{LIFETIME_SECONDS as SESSION_SECONDS, SecondStep};
use tokens::KnownTokens;
pub(crate) use tokens::{FreshJoinToken, FreshToken};
pub use url::StoreUrl;
pub(crate) use users::{Changed, FreshUser, StoredUser, UserChange};
pub(crate) use webhook_attempts::{Attempt, SentBefore};
pub(crate) use webhook_secrets::{Addressed, Receiver};
pub(crate) use webhooks::{Delivery, FreshWebhook, MAX_WEBHOOKS, WebhookChange, WebhookChanged};

/// Readers beside the one writer of a SQLite file; each is a thread.
const SQLITE_CONNECTIONS: u32 = 4;
/// PostgreSQL takes 100 by default, from all replicas together.
const POSTGRES_CONNECTIONS: u32 = 12;
/// Reports are short, and who reports waits for nothing.
const REPORT_CONNECTIONS: u32 = 2;
/// Networks that one replica changes at the same moment.
const TURN_CONNECTIONS: u32 = 4;
/// How long it may take to get a connection to PostgreSQL: a write has to be refused within two seconds.
const POSTGRES_PATIENCE: Duration = Duration::from_millis(1500);
/// What SQLite says of a file that is as it should be.
const WHOLE: &str = "ok";

/// Whether something is as the caller saw it. Asked in the transaction that changes it.
pub(crate) type Expected<'a, T> = &'a (dyn Fn(&T) -> bool + Send + Sync);

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is known to be unreachable: nothing was tried.
    #[error("the store is unreachable")]
    Unreachable,
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
    #[error(
        "{0:?} is not a store this controller knows: write sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"
    )]
    UnknownKind(String),
    /// It cannot be opened or created.
    #[error("cannot open the store {url}: {cause}; {advice}", advice = .url.advice())]
    Open {
        /// Which store.
        url: StoreUrl,
        /// What the database says.
        cause: sqlx::Error,
    },
    /// The tables cannot be brought up to date.
    #[error("cannot prepare the store {url}: {cause}; {advice}, and that no newer controller used it", advice = .url.advice())]
    Migrate {
        /// Which store.
        url: StoreUrl,
        /// What the database says.
        cause: sqlx::migrate::MigrateError,
    },
    /// It opened, and failed then.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer controller removed what this one needs.
    #[error(
        "the store {0} was changed by a newer controller in a way that this one does not understand: update this one"
    )]
    Contracted(StoreUrl),
    /// A file holds no whole database any more.
    #[error("the store {url} is damaged ({complaint}): restore a backup")]
    Damaged {
        /// Which store.
        url: StoreUrl,
        /// What the database says.
        complaint: String,
    },
}

/// An open store.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    /// For what nodes report of themselves: a commit does not wait for the disk. A crash of the controller loses nothing of
    /// it, a crash of the machine what nodes say again when they come back.
    reports: AnyPool,
    /// For waiting: whoever has a network's turn still needs a connection to work with.
    turns: AnyPool,
    /// A connection of its own, so that a busy store is not taken for one that is away.
    probe: AnyPool,
    url: StoreUrl,
    /// Names this store among others that are open on the same database.
    name: String,
    health: Health,
    tokens: KnownTokens,
    sessions: KnownSessions,
    secret_keys: Arc<SecretKeys>,
}

impl Store {
    /// Opens the store, creates a file that is not there, and brings the tables up to date.
    pub async fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let failed = |cause| OpenError::Open {
            url: url.clone(),
            cause,
        };
        let options = AnyConnectOptions::from_str(&url.connect_text()).map_err(failed)?;
        if let StoreUrl::Sqlite(path) = url {
            check_file(path, &options, url).await?;
        }
        let probe = pool_options(url)
            .max_connections(1)
            .connect_lazy_with(options.clone());
        let turns = pool_options(url)
            .max_connections(TURN_CONNECTIONS)
            .connect_lazy_with(options.clone());
        let reports = report_options(url).connect_lazy_with(options.clone());
        let pool = pool_options(url)
            .connect_with(options)
            .await
            .map_err(failed)?;
        migrate(&pool, url).await?;
        let store = Self {
            pool,
            reports,
            probe,
            turns,
            url: url.clone(),
            name: rand::random::<u64>().to_string(),
            health: Health::default(),
            tokens: KnownTokens::default(),
            sessions: KnownSessions::default(),
            secret_keys: Arc::default(),
        };
        store.chain_old_lines().await?;
        Ok(store)
    }

    /// With the keys that seal what would lie there in clear.
    #[must_use]
    pub(crate) fn with_secret_keys(self, keys: SecretKeys) -> Self {
        Self {
            secret_keys: Arc::new(keys),
            ..self
        }
    }

    /// Closes every connection, so that a file is whole by itself.
    pub async fn close(&self) {
        self.probe.close().await;
        self.reports.close().await;
        self.turns.close().await;
        self.pool.close().await;
    }

    /// Where it is.
    #[must_use]
    pub const fn url(&self) -> &StoreUrl {
        &self.url
    }

    /// Whether it answers.
    #[must_use]
    pub(crate) const fn health(&self) -> &Health {
        &self.health
    }

    /// The database's clock: the only one that counts in documents.
    pub async fn now(&self) -> Result<UnixSeconds, StoreError> {
        let seconds: i64 = sqlx::query_scalar("SELECT unixepoch()")
            .fetch_one(&mut *self.connection().await?)
            .await?;
        Ok(UnixSeconds(u64::try_from(seconds).unwrap_or_default()))
    }

    /// Whether the store answers now, whatever was known before.
    pub async fn is_ready(&self) -> bool {
        let answers = async || self.probe.acquire().await?.execute("SELECT 1").await;
        answers().await.is_ok()
    }

    async fn connection(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.health.check()?;
        self.health.judge(self.pool.acquire().await)
    }

    /// For one report.
    async fn report(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.health.check()?;
        self.health.judge(self.reports.acquire().await)
    }

    /// A transaction in which everything is read as of one moment.
    async fn read(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin(match self.url {
            StoreUrl::Sqlite(_) => "BEGIN",
            StoreUrl::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })
        .await
    }

    /// A transaction that will write. In SQLite it takes the write lock at its beginning, so that it never fails
    /// half-way for want of it.
    async fn write(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin(match self.url {
            StoreUrl::Sqlite(_) => "BEGIN IMMEDIATE",
            StoreUrl::Postgres(_) => "BEGIN",
        })
        .await
    }

    /// Tells other replicas, when the transaction commits, that there is something new. A hint and no more: they look for
    /// themselves what it is, and do so now and then without a hint.
    async fn hint(&self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        if matches!(self.url, StoreUrl::Postgres(_)) {
            connection.execute(heads::HINT).await?;
        }
        Ok(())
    }

    /// The same to other replicas only: this one knows.
    async fn hint_others(&self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        if matches!(self.url, StoreUrl::Postgres(_)) {
            sqlx::query("SELECT 1 FROM pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(&self.name)
                .execute(connection)
                .await?;
        }
        Ok(())
    }

    /// What the hints say that this store gives to others only.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    async fn begin(
        &self,
        statement: &'static str,
    ) -> Result<Transaction<'static, Any>, StoreError> {
        self.health.check()?;
        self.health.judge(self.pool.begin_with(statement).await)
    }
}

/// A file that lost a part opens all the same, and fails or lies later.
async fn check_file(
    path: &Path,
    options: &AnyConnectOptions,
    url: &StoreUrl,
) -> Result<(), OpenError> {
    let failed = |cause| OpenError::Open {
        url: url.clone(),
        cause,
    };
    let mut connection = AnyConnection::connect_with(options).await.map_err(failed)?;
    let complaint = match complaint(path, &mut connection).await {
        Ok(complaint) => complaint,
        Err(error) => error.to_string(),
    };
    if complaint == WHOLE {
        return connection.close().await.map_err(failed);
    }
    Err(OpenError::Damaged {
        url: url.clone(),
        complaint: complaint.replace('\n', " "),
    })
}

/// What is wrong with a file, or [`WHOLE`].
async fn complaint(path: &Path, connection: &mut AnyConnection) -> Result<String, sqlx::Error> {
    let page: i64 = sqlx::query_scalar("PRAGMA page_size")
        .fetch_one(&mut *connection)
        .await?;
    // SQLite takes the missing end of a page for zeros.
    let length = std::fs::metadata(path)?.len();
    if length % page.unsigned_abs().max(1) != 0 {
        return Ok("its end is missing".to_owned());
    }
    sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
}

/// Brings the tables up to date. Migrations of a newer version that only expanded them are no hindrance.
async fn migrate(pool: &AnyPool, url: &StoreUrl) -> Result<(), OpenError> {
    let mut migrations = match url {
        StoreUrl::Sqlite(_) => sqlx::migrate!("migrations/sqlite"),
        StoreUrl::Postgres(_) => sqlx::migrate!("migrations/postgres"),
    };
    let failed = |cause| OpenError::Migrate {
        url: url.clone(),
        cause,
    };
    migrations
        .set_ignore_missing(true)
        .run(pool)
        .await
        .map_err(failed)?;
    let known = migrations.iter().map(|migration| migration.version).max();
    let contractions: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM _sqlx_migrations WHERE version > $1 AND description LIKE 'contract%'",
    )
    .bind(known.unwrap_or_default())
    .fetch_one(pool)
    .await
    .map_err(|error| failed(error.into()))?;
    if contractions > 0 {
        return Err(OpenError::Contracted(url.clone()));
    }
    Ok(())
}

fn pool_options(url: &StoreUrl) -> AnyPoolOptions {
    match url {
        StoreUrl::Sqlite(_) => AnyPoolOptions::new()
            .max_connections(SQLITE_CONNECTIONS)
            .after_connect(|connection, _| Box::pin(set_up_sqlite(connection))),
        StoreUrl::Postgres(_) => AnyPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(POSTGRES_PATIENCE),
    }
}

fn report_options(url: &StoreUrl) -> AnyPoolOptions {
    let lazily = match url {
        StoreUrl::Sqlite(_) => "PRAGMA synchronous = NORMAL",
        StoreUrl::Postgres(_) => "SET synchronous_commit = off",
    };
    let is_sqlite = matches!(url, StoreUrl::Sqlite(_));
    pool_options(url)
        .max_connections(REPORT_CONNECTIONS)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if is_sqlite {
                    set_up_sqlite(connection).await?;
                }
                connection.execute(lazily).await.map(|_| ())
            })
        })
}

async fn set_up_sqlite(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    for pragma in [
        "PRAGMA busy_timeout = 10000",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
    ] {
        connection.execute(pragma).await?;
    }
    Ok(())
}

/// Whether an error is the violation of the uniqueness of one column.
fn violates(error: &sqlx::Error, table: &str, column: &str) -> bool {
    error.as_database_error().is_some_and(|database| {
        // PostgreSQL names the constraint, SQLite tells the column in its message.
        let constraint = format!("{table}_{column}_key");
        database.is_unique_violation()
            && (database.constraint() == Some(constraint.as_str())
                || database.message().contains(&format!("{table}.{column}")))
    })
}
