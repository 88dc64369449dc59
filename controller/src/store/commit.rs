//! The one transaction that changes a network.

use std::fmt;

use sqlx::SqliteConnection;
use tombolo_domain::{
    change::Change,
    managed_route::Route,
    member::{Member, Request},
    network::Network,
    settings::Settings,
};
use tombolo_proto::{
    config::DirectoryEntry,
    id::{NodeId, UnixSeconds, Version},
    key::IdentityKey,
    wire,
};

use super::{Store, StoreError, audit, rows, violates};

/// Who does something, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Somebody with this API token.
    Token(String),
    /// A node, by itself.
    Node(NodeId),
    /// The controller's own upkeep.
    Controller,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token {id}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Controller => f.write_str("controller"),
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The sequence that the decision was made on; none for a new network.
    pub expected: Option<u64>,
    /// What changes.
    pub changes: &'a [Change],
    /// What was signed for it.
    pub documents: &'a [SignedDocument],
    /// A join token that this uses up.
    pub token: Option<&'a TokenClaim>,
    /// Who does it.
    pub actor: &'a Actor,
    /// What it is.
    pub action: &'static str,
    /// To what.
    pub subject: String,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else wrote first: load and decide again.
    #[error("the network changed meanwhile")]
    Conflict,
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
        if violates(&error, "networks.name_key") {
            Self::NameTaken
        } else if error
            .as_database_error()
            .is_some_and(|database| database.is_unique_violation())
        {
            Self::Conflict
        } else {
            Self::Store(error.into())
        }
    }
}

impl Store {
    /// Writes all of it or nothing. Returns the new sequence.
    pub async fn commit(&self, commit: Commit<'_>) -> Result<u64, CommitError> {
        let mut transaction = self.write().await?;
        let key = rows::key(&commit.after.id());
        let sequence = match commit.expected {
            None => insert_network(&mut transaction, commit.after).await?,
            Some(expected) => advance(&mut transaction, commit.after, expected).await?,
        };
        if let Some(claim) = commit.token {
            consume(&mut transaction, &key, claim).await?;
        }
        for change in commit.changes {
            apply(&mut transaction, &key, change).await?;
        }
        for document in commit.documents {
            put_document(&mut transaction, &key, document).await?;
        }
        audit::write(
            &mut transaction,
            commit.actor,
            commit.action,
            Some(commit.after.id()),
            &commit.subject,
        )
        .await?;
        transaction.commit().await?;
        Ok(sequence)
    }
}

async fn insert_network(
    connection: &mut SqliteConnection,
    network: &Network,
) -> Result<u64, CommitError> {
    let settings = network.settings();
    sqlx::query(
        "INSERT INTO networks (id, number, name, name_key, private, mtu, v4_ranges, on_link, subnet_pools, v6_modes,
             member_routes, revision, sequence)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)",
    )
    .bind(rows::key(&network.id()))
    .bind(i64::from(network.id().number()))
    .bind(settings.name.as_str())
    .bind(settings.name.key())
    .bind(settings.private)
    .bind(i64::from(settings.mtu.0))
    .bind(rows::to_json(&settings.v4.ranges()))
    .bind(rows::to_json(settings.v4.on_link()))
    .bind(rows::to_json(&settings.subnet_pools))
    .bind(rows::to_json(&settings.v6_modes))
    .bind(rows::member_routes(settings.member_routes))
    .bind(rows::int(network.revision().0))
    .execute(connection)
    .await?;
    Ok(1)
}

async fn advance(
    connection: &mut SqliteConnection,
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

/// Checks and uses up in one statement, so that a token with one use lets exactly one node in.
async fn consume(
    connection: &mut SqliteConnection,
    network: &str,
    claim: &TokenClaim,
) -> Result<(), CommitError> {
    let consumed = sqlx::query(
        "UPDATE join_tokens SET uses_left = uses_left - 1
         WHERE id = $1 AND hash = $2 AND network = $3 AND uses_left > 0 AND expires_at > unixepoch()
         RETURNING id",
    )
    .bind(&claim.id)
    .bind(&claim.hash[..])
    .bind(network)
    .fetch_optional(connection)
    .await?;
    consumed.map(|_| ()).ok_or(CommitError::Token)
}

async fn apply(
    connection: &mut SqliteConnection,
    network: &str,
    change: &Change,
) -> Result<(), CommitError> {
    match change {
        Change::Settings(settings) => update_settings(connection, network, settings).await,
        Change::RequestPut(request) => put_request(connection, network, request).await,
        Change::RequestRemoved(identity) => {
            delete(
                connection,
                "DELETE FROM requests WHERE network = $1 AND identity = $2",
                network,
                identity,
            )
            .await
        }
        Change::MemberPut(member) => put_member(connection, network, member).await,
        Change::MemberRemoved(identity) => {
            delete(
                connection,
                "DELETE FROM members WHERE network = $1 AND identity = $2",
                network,
                identity,
            )
            .await
        }
        Change::RoutePut(route) => put_route(connection, network, route).await,
        Change::RouteRemoved(id) => {
            sqlx::query("DELETE FROM routes WHERE network = $1 AND id = $2")
                .bind(network)
                .bind(i64::from(id.0))
                .execute(connection)
                .await?;
            Ok(())
        }
    }
}

async fn delete(
    connection: &mut SqliteConnection,
    statement: &'static str,
    network: &str,
    identity: &IdentityKey,
) -> Result<(), CommitError> {
    sqlx::query(statement)
        .bind(network)
        .bind(&identity.0[..])
        .execute(connection)
        .await?;
    Ok(())
}

async fn update_settings(
    connection: &mut SqliteConnection,
    network: &str,
    settings: &Settings,
) -> Result<(), CommitError> {
    sqlx::query(
        "UPDATE networks SET name = $1, name_key = $2, private = $3, mtu = $4, v4_ranges = $5, on_link = $6,
             subnet_pools = $7, v6_modes = $8, member_routes = $9
         WHERE id = $10",
    )
    .bind(settings.name.as_str())
    .bind(settings.name.key())
    .bind(settings.private)
    .bind(i64::from(settings.mtu.0))
    .bind(rows::to_json(&settings.v4.ranges()))
    .bind(rows::to_json(settings.v4.on_link()))
    .bind(rows::to_json(&settings.subnet_pools))
    .bind(rows::to_json(&settings.v6_modes))
    .bind(rows::member_routes(settings.member_routes))
    .bind(network)
    .execute(connection)
    .await?;
    Ok(())
}

async fn put_request(
    connection: &mut SqliteConnection,
    network: &str,
    request: &Request,
) -> Result<(), CommitError> {
    sqlx::query(
        "INSERT INTO requests (network, identity, node, name, transport, transport_epoch, source, requested_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (network, identity) DO UPDATE SET name = excluded.name, transport = excluded.transport,
             transport_epoch = excluded.transport_epoch, source = excluded.source,
             requested_at = excluded.requested_at",
    )
    .bind(network)
    .bind(&request.identity.0[..])
    .bind(rows::key(&request.node))
    .bind(request.name.as_str())
    .bind(&request.transport.0[..])
    .bind(i64::from(request.transport_epoch))
    .bind(rows::key(&request.source))
    .bind(rows::int(request.requested_at.0))
    .execute(connection)
    .await?;
    Ok(())
}

async fn put_member(
    connection: &mut SqliteConnection,
    network: &str,
    member: &Member,
) -> Result<(), CommitError> {
    sqlx::query(
        "INSERT INTO members (network, identity, node, name, name_key, transport, transport_epoch, state, tags, relay,
             serial, issued_at, not_after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (network, identity) DO UPDATE SET name = excluded.name, name_key = excluded.name_key,
             transport = excluded.transport, transport_epoch = excluded.transport_epoch, state = excluded.state,
             tags = excluded.tags, relay = excluded.relay, serial = excluded.serial, issued_at = excluded.issued_at,
             not_after = excluded.not_after",
    )
    .bind(network)
    .bind(&member.identity.0[..])
    .bind(rows::key(&member.node))
    .bind(member.name.as_str())
    .bind(member.name.key())
    .bind(&member.transport.0[..])
    .bind(i64::from(member.transport_epoch))
    .bind(rows::member_state(member.state))
    .bind(rows::to_json(&member.tags))
    .bind(member.relay)
    .bind(rows::int(member.serial.0))
    .bind(rows::int(member.issued_at.0))
    .bind(rows::int(member.not_after.0))
    .execute(&mut *connection)
    .await?;
    delete(
        connection,
        "DELETE FROM member_addresses WHERE network = $1 AND identity = $2",
        network,
        &member.identity,
    )
    .await?;
    for address in &member.addresses {
        sqlx::query(
            "INSERT INTO member_addresses (network, address, identity) VALUES ($1, $2, $3)",
        )
        .bind(network)
        .bind(rows::key(address))
        .bind(&member.identity.0[..])
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn put_route(
    connection: &mut SqliteConnection,
    network: &str,
    route: &Route,
) -> Result<(), CommitError> {
    sqlx::query(
        "INSERT INTO routes (id, network, target, via, mode, metric, state, by_member)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (network, id) DO UPDATE SET mode = excluded.mode, metric = excluded.metric,
             state = excluded.state",
    )
    .bind(i64::from(route.id.0))
    .bind(network)
    .bind(rows::key(&route.target))
    .bind(&route.via.0[..])
    .bind(rows::route_mode(route.mode))
    .bind(i64::from(route.metric))
    .bind(rows::route_state(route.state))
    .bind(route.by_member)
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores a document; a revocation takes the revoked certificate and what the node announced with it.
async fn put_document(
    connection: &mut SqliteConnection,
    network: &str,
    document: &SignedDocument,
) -> Result<(), CommitError> {
    let identity = document
        .identity
        .map(|identity| identity.0.to_vec())
        .unwrap_or_default();
    let kind = match &document.entry {
        DirectoryEntry::Network(_) => "network",
        DirectoryEntry::Member(_) => "member",
        DirectoryEntry::Revocation(_) => "revocation",
    };
    if matches!(document.entry, DirectoryEntry::Revocation(_)) {
        for statement in [
            "DELETE FROM documents WHERE network = $1 AND kind = 'member' AND identity = $2",
            "DELETE FROM announcements WHERE network = $1 AND identity = $2",
        ] {
            sqlx::query(statement)
                .bind(network)
                .bind(&identity)
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query(
        "INSERT INTO documents (network, kind, identity, epoch, revision, issued_at, entry)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (network, kind, identity) DO UPDATE SET epoch = excluded.epoch, revision = excluded.revision,
             issued_at = excluded.issued_at, entry = excluded.entry",
    )
    .bind(network)
    .bind(kind)
    .bind(&identity)
    .bind(rows::int(document.version.epoch.0))
    .bind(rows::int(document.version.revision.0))
    .bind(rows::int(document.issued_at.0))
    .bind(wire::encode(&document.entry))
    .execute(connection)
    .await?;
    Ok(())
}
