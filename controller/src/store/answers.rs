//! Answers to requests that carry an idempotency key: kept in the transaction of what they tell.
//!
//! A request first reserves its key for a minute, in a transaction of its own; then it is carried out, and the answer takes
//! the place of the reservation in the transaction that changes something. So of two replicas with the same request one
//! carries it out, and one that dies in between leaves either both change and answer, or neither.

use sqlx::AnyConnection;

use super::{Store, StoreError, rows};

/// How long an answer is repeated.
const LIFETIME_SECONDS: u64 = 24 * 3600;
/// How long a request may take before another one with its key is carried out in its place. A change waits for a
/// database at most seconds.
const LEASE_SECONDS: u64 = 60;

/// A key that one request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) id: [u8; 32],
    lease: i64,
}

/// An answer to keep with the change that it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub(crate) hold: Hold,
    /// The answer, encrypted.
    pub(crate) sealed: Vec<u8>,
}

/// What became of reserving a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// The request is to be carried out.
    Held(Hold),
    /// It is being carried out.
    Busy,
    /// The key belongs to another request.
    Other,
    /// It was carried out: the answer, encrypted.
    Answered(Vec<u8>),
}

/// Keeps an answer. Fails if the key was taken over meanwhile: then another request does the same.
pub(super) async fn keep(connection: &mut AnyConnection, kept: &Kept) -> Result<(), sqlx::Error> {
    let updated = update(connection, kept).await?;
    if updated == 1 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

async fn update(connection: &mut AnyConnection, kept: &Kept) -> Result<u64, sqlx::Error> {
    sqlx::query("UPDATE answers SET answer = $1 WHERE id = $2 AND lease = $3 AND answer IS NULL")
        .bind(&kept.sealed)
        .bind(&kept.hold.id[..])
        .bind(kept.hold.lease)
        .execute(connection)
        .await
        .map(|updated| updated.rows_affected())
}

impl Store {
    /// Reserves a key for a request.
    pub(crate) async fn reserve_answer(
        &self,
        id: [u8; 32],
        request: &[u8; 32],
    ) -> Result<Reserved, StoreError> {
        let lease = rand::random_range(1..i64::MAX);
        let mut connection = self.connection().await?;
        let reserved = sqlx::query(
            "INSERT INTO answers (id, request, lease, leased_until, expires_at)
             VALUES ($1, $2, $3, unixepoch() + $4, unixepoch() + $5)
             ON CONFLICT (id) DO UPDATE SET request = excluded.request, lease = excluded.lease,
                 leased_until = excluded.leased_until, expires_at = excluded.expires_at, answer = NULL
             WHERE answers.expires_at <= unixepoch()
                 OR (answers.answer IS NULL AND answers.leased_until <= unixepoch() AND answers.request = excluded.request)
             RETURNING lease",
        )
        .bind(&id[..])
        .bind(&request[..])
        .bind(lease)
        .bind(rows::int(LEASE_SECONDS))
        .bind(rows::int(LIFETIME_SECONDS))
        .fetch_optional(&mut *connection)
        .await?;
        if reserved.is_some() {
            return Ok(Reserved::Held(Hold { id, lease }));
        }
        let known = sqlx::query("SELECT request, answer FROM answers WHERE id = $1")
            .bind(&id[..])
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = known else {
            // It was given up this very moment.
            return Ok(Reserved::Busy);
        };
        if rows::bytes32(&row, "request")? != *request {
            return Ok(Reserved::Other);
        }
        let answer: Option<Vec<u8>> = sqlx::Row::try_get(&row, "answer")?;
        Ok(answer.map_or(Reserved::Busy, Reserved::Answered))
    }

    /// Keeps the answer to a request that changed nothing; one that was kept with its change stays.
    pub(crate) async fn keep_answer(&self, kept: &Kept) -> Result<(), StoreError> {
        update(&mut *self.connection().await?, kept).await?;
        Ok(())
    }

    /// Gives a key back: the request was refused, and may be repeated.
    pub(crate) async fn release_answer(&self, hold: Hold) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM answers WHERE id = $1 AND lease = $2 AND answer IS NULL")
            .bind(&hold.id[..])
            .bind(hold.lease)
            .execute(&mut *self.connection().await?)
            .await?;
        Ok(())
    }

    /// Forgets answers that are not repeated any more.
    pub(crate) async fn forget_old_answers(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM answers WHERE expires_at <= unixepoch()")
            .execute(&mut *self.connection().await?)
            .await?;
        Ok(())
    }
}
