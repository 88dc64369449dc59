//! What came of the last messages to each webhook.

use sqlx::{AnyConnection, Row as _, any::AnyRow};
use tombolo_proto::api::{Event, WebhookDelivery};

use super::{Store, StoreError, rows};

/// Attempts that are kept of each webhook.
pub(crate) const MAX_ATTEMPTS: u32 = 20;
/// Longest reason that is kept.
const LONGEST_ERROR: usize = 200;

/// What came of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Attempt<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) message: &'a str,
    /// None for a test.
    pub(crate) event: Option<&'a Event>,
    /// When what it tells happened.
    pub(crate) created_at: u64,
    /// 1 for the first one.
    pub(crate) number: u32,
    pub(crate) status: Option<u16>,
    /// None if it was taken.
    pub(crate) error: Option<&'a str>,
}

/// A message that was sent before.
#[derive(Debug, Clone)]
pub(crate) struct SentBefore {
    pub(crate) message: String,
    pub(crate) event: Option<Event>,
    pub(crate) created_at: u64,
    /// Attempts of this message that are kept.
    pub(crate) attempts: u32,
}

impl Store {
    /// The last attempts to send something to a webhook, the newest first.
    pub(crate) async fn webhook_attempts(
        &self,
        webhook: &str,
    ) -> Result<Vec<WebhookDelivery>, StoreError> {
        let found = sqlx::query(
            "SELECT id, message, event, at, attempt, status, error FROM webhook_attempts
             WHERE webhook = $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(webhook)
        .bind(i64::from(MAX_ATTEMPTS))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        found.iter().map(delivery).collect()
    }

    /// What was sent to a webhook in an attempt that is still kept.
    pub(crate) async fn sent_before(
        &self,
        webhook: &str,
        attempt: i64,
    ) -> Result<Option<SentBefore>, StoreError> {
        let found = sqlx::query(
            "SELECT message, event, created_at, (SELECT max(attempt) FROM webhook_attempts AS others
                 WHERE others.webhook = webhook_attempts.webhook AND others.message = webhook_attempts.message) AS attempts
             FROM webhook_attempts WHERE webhook = $1 AND id = $2",
        )
        .bind(webhook)
        .bind(attempt)
        .fetch_optional(&mut *self.connection().await?)
        .await?;
        found
            .map(|row| {
                Ok(SentBefore {
                    message: rows::text(&row, "message")?,
                    event: event(&row)?,
                    created_at: rows::number(&row, "created_at")?,
                    attempts: rows::number(&row, "attempts")?,
                })
            })
            .transpose()
    }

    /// Keeps what came of an attempt that nothing else depends on.
    pub(crate) async fn keep_webhook_attempt(
        &self,
        attempt: &Attempt<'_>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        keep(&mut transaction, attempt).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Keeps what came of an attempt, and forgets the oldest one. A webhook that is gone is passed over.
pub(super) async fn keep(
    connection: &mut AnyConnection,
    attempt: &Attempt<'_>,
) -> Result<(), sqlx::Error> {
    let error = attempt
        .error
        .map(|error| error.chars().take(LONGEST_ERROR).collect::<String>());
    sqlx::query(
        "INSERT INTO webhook_attempts (webhook, message, event, created_at, at, attempt, status, error)
         SELECT id, $2, $3, $4, unixepoch(), $5, $6, $7 FROM webhooks WHERE id = $1",
    )
    .bind(attempt.webhook)
    .bind(attempt.message)
    .bind(attempt.event.map(rows::to_json).unwrap_or_default())
    .bind(rows::int(attempt.created_at))
    .bind(i64::from(attempt.number))
    .bind(attempt.status.map(i64::from))
    .bind(error)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM webhook_attempts WHERE webhook = $1 AND id NOT IN
             (SELECT id FROM webhook_attempts WHERE webhook = $1 ORDER BY id DESC LIMIT $2)",
    )
    .bind(attempt.webhook)
    .bind(i64::from(MAX_ATTEMPTS))
    .execute(connection)
    .await
    .map(|_| ())
}

fn event(row: &AnyRow) -> Result<Option<Event>, StoreError> {
    match rows::text(row, "event")?.as_str() {
        "" => Ok(None),
        _ => rows::json(row, "event").map(Some),
    }
}

fn delivery(row: &AnyRow) -> Result<WebhookDelivery, StoreError> {
    let (id, status): (i64, Option<i64>) = (row.try_get("id")?, row.try_get("status")?);
    let error: Option<String> = row.try_get("error")?;
    Ok(WebhookDelivery {
        id: id.to_string(),
        message: rows::text(row, "message")?,
        event: event(row)?,
        at: rows::number(row, "at")?,
        attempt: rows::number(row, "attempt")?,
        delivered: error.is_none(),
        status: status.and_then(|status| u16::try_from(status).ok()),
        error,
    })
}
