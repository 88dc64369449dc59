//! The one transaction that changes a network.

use std::{collections::BTreeMap, fmt};

use sqlx::AnyConnection;
use tombolo_domain::{change::Change, network::Network};
use tombolo_proto::{
    api::Event,
    config::DirectoryEntry,
    id::{Epoch, NodeId, UnixSeconds, Version},
    key::IdentityKey,
};

use super::{
    Kept, Store, StoreError, StoreUrl, Trace, answers, audit, changed, rows, violates, webhooks,
    writing,
};

/// Letters of a replica's key that name it among a handful.
const REPLICA_LETTERS: usize = 12;

/// Who does something, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Somebody with this API token.
    Token(String),
    /// The user with this name.
    User(String),
    /// A node, by itself.
    Node(NodeId),
    /// The controller's own upkeep.
    Controller,
    /// Whoever runs the verbs of a replica's own host.
    Replica(IdentityKey),
    /// Somebody who did not say, or prove, who they are.
    Nobody,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token {id}"),
            Self::User(name) => write!(f, "user {name}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Controller => f.write_str("controller"),
            Self::Replica(key) => {
                let key = key.to_string();
                write!(f, "replica {}", key.get(..REPLICA_LETTERS).unwrap_or(&key))
            }
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// A document with its signature, as it will be served.
#[derive(Debug, Clone)]
pub struct SignedDocument {
    /// Its order.
    pub version: Version,
    /// Whose it is; none for the network's own.
    pub identity: Option<IdentityKey>,
    /// When it was signed.
    pub issued_at: UnixSeconds,
    /// The document.
    pub entry: DirectoryEntry,
}

/// A join token somebody shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenClaim {
    /// The public part.
    pub id: String,
    /// SHA-256 of the whole.
    pub hash: [u8; 32],
}

/// Everything that one transaction writes.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The network afterwards.
    pub after: &'a Network,
    /// The epoch that the documents were signed in.
    pub epoch: Epoch,
    /// The sequence that the decision was made on; none for a new network.
    pub expected: Option<u64>,
    /// What changes.
    pub changes: &'a [Change],
    /// What was signed for it.
    pub documents: &'a [SignedDocument],
    /// Whose wishes it fulfils.
    pub deeds: &'a [Deed<'a>],
    /// How the stream of events, and so webhooks, call it.
    pub event: &'static str,
    /// What is answered to whoever asks the same again.
    pub answer: Option<&'a Kept>,
}

/// What somebody did, for the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Deed<'a> {
    /// A join token that it uses up.
    pub token: Option<&'a TokenClaim>,
    /// Who does it.
    pub actor: &'a Actor,
    /// What it is.
    pub action: &'static str,
    /// To what.
    pub subject: &'a str,
    /// What became different by it.
    pub trace: &'a Trace,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else wrote first: load and decide again.
    #[error("the network changed meanwhile")]
    Conflict,
    /// The documents were signed in an epoch that is over: take the new keyring and sign again.
    #[error("the keyring changed meanwhile")]
    Epoch,
    /// Another network has this name.
    #[error("the name belongs to another network of this controller: choose another")]
    NameTaken,
    /// The join token is unknown, used up or expired.
    #[error("the join token is unknown, expired or used up: ask for a new one")]
    Token,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        if violates(&error, "networks", "name_key") {
            Self::NameTaken
        } else if error.as_database_error().is_some_and(is_conflict) {
            Self::Conflict
        } else {
            Self::Store(error.into())
        }
    }
}

/// Whether another transaction was in the way: a taken place, or what PostgreSQL calls a serialization failure or a
/// deadlock.
fn is_conflict(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.is_unique_violation()
        || error
            .code()
            .is_some_and(|code| code == "40001" || code == "40P01")
}

impl Store {
    /// Writes all of it or nothing. Returns the new sequence.
    pub async fn commit<'a>(&self, commit: Commit<'a>) -> Result<u64, CommitError> {
        let mut transaction = self.write().await?;
        self.hold_epoch(&mut transaction, commit.epoch).await?;
        let key = rows::key(&commit.after.id());
        let sequence = match commit.expected {
            None => writing::insert_network(&mut transaction, commit.after).await?,
            Some(expected) => advance(&mut transaction, commit.after, expected).await?,
        };
        let mut uses = BTreeMap::new();
        for claim in commit.deeds.iter().filter_map(|deed| deed.token) {
            *uses.entry(claim).or_default() += 1;
        }
        for (claim, count) in uses {
            consume(&mut transaction, &key, claim, count).await?;
        }
        writing::apply(&mut transaction, &key, commit.changes).await?;
        changed::note(&mut transaction, &key, sequence, commit.changes).await?;
        writing::put_documents(&mut transaction, &key, commit.documents).await?;
        let network = Some(commit.after.id());
        let entry = |deed: &Deed<'a>| audit::Entry {
            actor: deed.actor,
            action: deed.action,
            network,
            subject: deed.subject,
            trace: deed.trace,
        };
        let entries: Vec<_> = commit.deeds.iter().map(entry).collect();
        let event = Event {
            network: commit.after.id(),
            revision: Some(commit.after.revision().0),
            kind: commit.event.to_owned(),
        };
        webhooks::post(&mut transaction, &event).await?;
        if let Some(kept) = commit.answer {
            answers::keep(&mut transaction, kept).await?;
        }
        audit::append(&mut transaction, &entries).await?;
        self.hint_others(&mut transaction).await?;
        transaction.commit().await?;
        Ok(sequence)
    }
}

impl Store {
    /// Fails if `epoch` is over, and keeps it from ending before this transaction does.
    async fn hold_epoch(
        &self,
        connection: &mut AnyConnection,
        epoch: Epoch,
    ) -> Result<(), CommitError> {
        let query = match self.url() {
            // There is one writer at a time anyway.
            StoreUrl::Sqlite(_) => "SELECT id FROM authority WHERE id = 1 AND epoch = $1",
            StoreUrl::Postgres(_) => {
                "SELECT id FROM authority WHERE id = 1 AND epoch = $1 FOR SHARE"
            }
        };
        sqlx::query(query)
            .bind(rows::int(epoch.0))
            .fetch_optional(connection)
            .await?
            .map(|_| ())
            .ok_or(CommitError::Epoch)
    }
}

async fn advance(
    connection: &mut AnyConnection,
    network: &Network,
    expected: u64,
) -> Result<u64, CommitError> {
    let advanced = sqlx::query(
        "UPDATE networks SET sequence = sequence + 1, revision = $1 WHERE id = $2 AND sequence = $3",
    )
    .bind(rows::int(network.revision().0))
    .bind(rows::key(&network.id()))
    .bind(rows::int(expected))
    .execute(connection)
    .await?;
    if advanced.rows_affected() == 1 {
        Ok(expected + 1)
    } else {
        Err(CommitError::Conflict)
    }
}

/// Checks and uses up in one statement, so that a token with so many uses lets exactly so many nodes in.
async fn consume(
    connection: &mut AnyConnection,
    network: &str,
    claim: &TokenClaim,
    count: i64,
) -> Result<(), CommitError> {
    let consumed = sqlx::query(
        "UPDATE join_tokens SET uses_left = uses_left - $4
         WHERE id = $1 AND hash = $2 AND network = $3 AND uses_left >= $4 AND expires_at > unixepoch()
         RETURNING id",
    )
    .bind(&claim.id)
    .bind(&claim.hash[..])
    .bind(network)
    .bind(count)
    .fetch_optional(connection)
    .await?;
    consumed.map(|_| ()).ok_or(CommitError::Token)
}
