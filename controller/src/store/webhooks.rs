//! Webhooks and their outbox. What is to be told is written in the transaction that makes it true, so that it is told even
//! if this replica ends a moment later: any replica tells it.

use serde_json::{Value, json};
use sqlx::{AnyConnection, Row as _, any::AnyRow};
use tombolo_proto::{
    api::{Event, Webhook},
    id::NetworkId,
};

use super::{
    Actor, Attempt, Expected, Kept, Store, StoreError, Trace, answers, audit, rows,
    webhook_attempts,
};

/// Webhooks of one controller: each event is written once for each.
pub(crate) const MAX_WEBHOOKS: u32 = 32;
/// Messages that wait for one receiver; more are not written down. Who takes nothing for so long has to read anyway.
const MAX_WAITING: i64 = 10_000;
/// A message that is being sent is nobody else's for so long: several times what an attempt may take.
const LEASE_SECONDS: u64 = 60;
/// Longest reason that is kept.
const LONGEST_ERROR: usize = 200;

const COLUMNS: &str =
    "id, url, kinds, network, created_at, failing_since, last_error, delivered_at, disabled_at,
    (SELECT count(*) FROM deliveries WHERE deliveries.webhook = webhooks.id) AS waiting";

/// A webhook to be made.
#[derive(Debug)]
pub(crate) struct FreshWebhook<'a> {
    pub(crate) id: &'a str,
    pub(crate) url: &'a str,
    pub(crate) secret: &'a [u8],
    pub(crate) kinds: &'a [String],
    pub(crate) network: Option<NetworkId>,
}

/// What shall become different.
#[derive(Debug, Default)]
pub(crate) struct WebhookChange<'a> {
    pub(crate) url: Option<&'a str>,
    pub(crate) kinds: Option<&'a [String]>,
    pub(crate) enabled: Option<bool>,
}

/// How changing a webhook ended.
#[derive(Debug, Clone)]
pub(crate) enum WebhookChanged {
    /// As it is now, or was last.
    Done(Webhook),
    /// There is no such webhook.
    Unknown,
    /// The caller saw another state.
    Stale,
}

/// A message that this replica is to send now.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: i64,
    pub(crate) webhook: String,
    pub(crate) message: String,
    pub(crate) event: Event,
    pub(crate) created_at: u64,
    pub(crate) attempts: u32,
}

/// Writes down whom to tell of an event.
pub(super) async fn post(connection: &mut AnyConnection, event: &Event) -> Result<(), sqlx::Error> {
    let message = format!("msg_{:032x}", rand::random::<u128>());
    sqlx::query(
        "INSERT INTO deliveries (webhook, message, event, created_at, attempts, due_at, leased_until)
         SELECT id, $1, $2, unixepoch(), 0, unixepoch(), 0 FROM webhooks
         WHERE disabled_at IS NULL AND (network IS NULL OR network = $3) AND (kinds = '' OR kinds LIKE $4)
             AND (SELECT count(*) FROM deliveries WHERE deliveries.webhook = webhooks.id) < $5",
    )
    .bind(message)
    .bind(rows::to_json(event))
    .bind(rows::key(&event.network))
    .bind(format!("%,{},%", event.kind))
    .bind(MAX_WAITING)
    .execute(connection)
    .await
    .map(|_| ())
}

impl Store {
    /// Adds a webhook. None if there are as many as there may be.
    pub(crate) async fn add_webhook(
        &self,
        fresh: &FreshWebhook<'_>,
        actor: &Actor,
        answer: Option<&Kept>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let sealed = self.secret_keys.seal(fresh.id, fresh.secret);
        let added = sqlx::query(
            "INSERT INTO webhooks (id, url, secret, kinds, network, created_at, sealed_by)
             SELECT $1, $2, $3, $4, $5, unixepoch(), $7 WHERE (SELECT count(*) FROM webhooks) < $6",
        )
        .bind(fresh.id)
        .bind(fresh.url)
        .bind(sealed.bytes)
        .bind(kinds_text(fresh.kinds))
        .bind(fresh.network.as_ref().map(rows::key))
        .bind(i64::from(MAX_WEBHOOKS))
        .bind(sealed.by)
        .execute(&mut *transaction)
        .await?;
        if added.rows_affected() != 1 {
            return Ok(false);
        }
        if let Some(kept) = answer {
            answers::keep(&mut transaction, kept).await?;
        }
        let made = shown(fresh.url, fresh.kinds, fresh.network, true);
        let trace = Trace::made(&made);
        write(&mut transaction, actor, "webhook.create", fresh.id, &trace).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Webhooks, in order of id, after the given one.
    pub(crate) async fn webhooks(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        let statement =
            format!("SELECT {COLUMNS} FROM webhooks WHERE id > $1 ORDER BY id LIMIT $2");
        let found = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection().await?)
            .await?;
        found.iter().map(webhook).collect()
    }

    /// A webhook by id.
    pub(crate) async fn webhook(&self, id: &str) -> Result<Option<Webhook>, StoreError> {
        let mut connection = self.connection().await?;
        webhook_in(&mut connection, id).await
    }

    /// Changes a webhook. Turned on, it begins anew. None if it is not there.
    pub(crate) async fn change_webhook(
        &self,
        id: &str,
        change: &WebhookChange<'_>,
        expected: Expected<'_, Webhook>,
        actor: &Actor,
    ) -> Result<WebhookChanged, StoreError> {
        let mut transaction = self.write().await?;
        let Some(before) = lock(&mut transaction, id).await? else {
            return Ok(WebhookChanged::Unknown);
        };
        if !expected(&before) {
            return Ok(WebhookChanged::Stale);
        }
        let kinds = change.kinds.unwrap_or(&before.events);
        sqlx::query("UPDATE webhooks SET url = $1, kinds = $2 WHERE id = $3")
            .bind(change.url.unwrap_or(&before.url))
            .bind(kinds_text(kinds))
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        match change.enabled {
            Some(true) => {
                sqlx::query(
                    "UPDATE webhooks SET disabled_at = NULL, failing_since = NULL, last_error = NULL WHERE id = $1",
                )
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            }
            Some(false) => turn_off(&mut transaction, id).await?,
            None => {}
        }
        let after = webhook_in(&mut transaction, id).await?;
        let side = |webhook: &Webhook| {
            let is_on = webhook.disabled_at.is_none();
            shown(&webhook.url, &webhook.events, webhook.network, is_on)
        };
        if let Some(after) = &after {
            let trace = Trace::changed(&side(&before), &side(after));
            write(&mut transaction, actor, "webhook.update", id, &trace).await?;
        }
        transaction.commit().await?;
        Ok(after.map_or(WebhookChanged::Unknown, WebhookChanged::Done))
    }

    /// Removes a webhook that is as `expected`, with what it was still to be told. Tells what it was.
    pub(crate) async fn remove_webhook(
        &self,
        id: &str,
        expected: Expected<'_, Webhook>,
        actor: &Actor,
    ) -> Result<WebhookChanged, StoreError> {
        let mut transaction = self.write().await?;
        let Some(gone) = lock(&mut transaction, id).await? else {
            return Ok(WebhookChanged::Unknown);
        };
        if !expected(&gone) {
            return Ok(WebhookChanged::Stale);
        }
        sqlx::query("DELETE FROM webhooks WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        let was = shown(
            &gone.url,
            &gone.events,
            gone.network,
            gone.disabled_at.is_none(),
        );
        let trace = Trace::removed(&was);
        write(&mut transaction, actor, "webhook.delete", id, &trace).await?;
        transaction.commit().await?;
        Ok(WebhookChanged::Done(gone))
    }

    /// Writes down whom to tell of what no transaction makes true: that a node came or went.
    pub(crate) async fn post_event(&self, event: &Event) -> Result<(), StoreError> {
        post(&mut *self.connection().await?, event).await?;
        Ok(())
    }

    /// Takes what is due: of each webhook the oldest message, unless somebody is sending it, or this replica cannot sign it.
    pub(crate) async fn take_deliveries(&self) -> Result<Vec<Delivery>, StoreError> {
        let keys: Vec<&str> = self.secret_keys.names().collect();
        let found = sqlx::query(
            "UPDATE deliveries SET leased_until = unixepoch() + $1
             WHERE id IN (SELECT min(id) FROM deliveries GROUP BY webhook)
                 AND due_at <= unixepoch() AND leased_until <= unixepoch()
                 AND webhook IN (SELECT id FROM webhooks WHERE sealed_by = '' OR $2 LIKE '%,' || sealed_by || ',%')
             RETURNING id, webhook, message, event, created_at, attempts",
        )
        .bind(rows::int(LEASE_SECONDS))
        .bind(format!(",{},", keys.join(",")))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        found
            .iter()
            .map(|row| {
                Ok(Delivery {
                    id: row.try_get("id")?,
                    webhook: rows::text(row, "webhook")?,
                    message: rows::text(row, "message")?,
                    event: rows::json(row, "event")?,
                    created_at: rows::number(row, "created_at")?,
                    attempts: rows::number(row, "attempts")?,
                })
            })
            .collect()
    }

    /// A message was taken.
    pub(crate) async fn delivered(
        &self,
        delivery: &Delivery,
        attempt: &Attempt<'_>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        // The webhook first, here and everywhere: who turns it off waits for this, and not each for the other.
        sqlx::query(
            "UPDATE webhooks SET delivered_at = unixepoch(), failing_since = NULL, last_error = NULL WHERE id = $1",
        )
        .bind(&delivery.webhook)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM deliveries WHERE id = $1")
            .bind(delivery.id)
            .execute(&mut *transaction)
            .await?;
        webhook_attempts::keep(&mut transaction, attempt).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A message was not taken: again after `pause` seconds. Tells for how long nothing has been taken.
    pub(crate) async fn put_off(
        &self,
        delivery: &Delivery,
        pause: u64,
        attempt: &Attempt<'_>,
    ) -> Result<u64, StoreError> {
        let error = attempt.error.unwrap_or_default();
        let error: String = error.chars().take(LONGEST_ERROR).collect();
        let mut transaction = self.write().await?;
        let failing_for: Option<i64> = sqlx::query_scalar(
            "UPDATE webhooks SET failing_since = coalesce(failing_since, unixepoch()), last_error = $1 WHERE id = $2
             RETURNING unixepoch() - failing_since",
        )
        .bind(error)
        .bind(&delivery.webhook)
        .fetch_optional(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE deliveries SET attempts = attempts + 1, due_at = unixepoch() + $1, leased_until = 0 WHERE id = $2",
        )
        .bind(rows::int(pause))
        .bind(delivery.id)
        .execute(&mut *transaction)
        .await?;
        webhook_attempts::keep(&mut transaction, attempt).await?;
        transaction.commit().await?;
        Ok(failing_for
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or_default())
    }

    /// Tells a webhook nothing more until somebody turns it on again.
    pub(crate) async fn give_webhook_up(&self, id: &str) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        turn_off(&mut transaction, id).await?;
        let actor = Actor::Controller;
        audit::write(&mut transaction, &actor, "webhook.give_up", None, id).await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn turn_off(connection: &mut AnyConnection, id: &str) -> Result<(), sqlx::Error> {
    for statement in [
        "UPDATE webhooks SET disabled_at = coalesce(disabled_at, unixepoch()) WHERE id = $1",
        "DELETE FROM deliveries WHERE webhook = $1",
    ] {
        sqlx::query(statement)
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A webhook that nobody else changes until the transaction ends.
async fn lock(connection: &mut AnyConnection, id: &str) -> Result<Option<Webhook>, StoreError> {
    sqlx::query("UPDATE webhooks SET url = url WHERE id = $1")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    webhook_in(connection, id).await
}

async fn webhook_in(
    connection: &mut AnyConnection,
    id: &str,
) -> Result<Option<Webhook>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1");
    let found = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(id)
        .fetch_optional(connection)
        .await?;
    found.as_ref().map(webhook).transpose()
}

pub(super) async fn write(
    connection: &mut AnyConnection,
    actor: &Actor,
    action: &str,
    subject: &str,
    trace: &Trace,
) -> Result<(), sqlx::Error> {
    let entry = audit::Entry {
        actor,
        action,
        network: None,
        subject,
        trace,
    };
    audit::append(connection, &[entry]).await
}

fn shown(url: &str, kinds: &[String], network: Option<NetworkId>, is_on: bool) -> Value {
    json!({ "url": url, "events": kinds, "network": network, "enabled": is_on })
}

fn kinds_text(kinds: &[String]) -> String {
    if kinds.is_empty() {
        String::new()
    } else {
        format!(",{},", kinds.join(","))
    }
}

fn webhook(row: &AnyRow) -> Result<Webhook, StoreError> {
    let time = |column: &'static str| -> Result<Option<u64>, StoreError> {
        let seconds: Option<i64> = row.try_get(column)?;
        Ok(seconds.and_then(|seconds| u64::try_from(seconds).ok()))
    };
    let network: Option<String> = row.try_get("network")?;
    let kinds = rows::text(row, "kinds")?;
    let kinds = kinds.split(',').filter(|kind| !kind.is_empty());
    Ok(Webhook {
        id: rows::text(row, "id")?,
        url: rows::text(row, "url")?,
        events: kinds.map(str::to_owned).collect(),
        network: network.and_then(|id| id.parse().ok()),
        created_at: rows::number(row, "created_at")?,
        delivered_at: time("delivered_at")?,
        failing_since: time("failing_since")?,
        last_error: row.try_get("last_error")?,
        disabled_at: time("disabled_at")?,
        waiting: rows::number(row, "waiting")?,
    })
}
