//! What messages to webhooks are signed with. Every replica signs, so the secrets are in the store, sealed if there is a key.

use sqlx::{Row as _, any::AnyRow};

use super::{Actor, Store, StoreError, Trace, rows, webhooks};
use crate::sealing::Sealed;

/// Where to send something, and what to sign it with.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) secret: Vec<u8>,
}

/// Where a webhook's messages go, as far as this replica can tell.
#[derive(Debug, Clone)]
pub(crate) enum Addressed {
    /// There.
    At(Receiver),
    /// The secret is sealed with a key that this replica does not have.
    Sealed,
    /// There is no such webhook.
    Unknown,
}

/// What came of sealing secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sealing {
    /// Secrets that were not sealed with the newest key, and are now.
    pub(crate) sealed: u64,
    /// Secrets that are sealed with a key that this replica does not have.
    pub(crate) unreadable: u64,
}

impl Store {
    /// Where a webhook's messages go.
    pub(crate) async fn receiver(&self, id: &str) -> Result<Addressed, StoreError> {
        let row = sqlx::query("SELECT url, secret, sealed_by FROM webhooks WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *self.connection().await?)
            .await?;
        let Some(row) = row else {
            return Ok(Addressed::Unknown);
        };
        let url = rows::text(&row, "url")?;
        let opened = self.secret_keys.open(id, &sealed(&row)?);
        Ok(opened.map_or(Addressed::Sealed, |secret| {
            Addressed::At(Receiver { url, secret })
        }))
    }

    /// Seals with the newest key what is not, or with an older one.
    pub(crate) async fn seal_secrets(&self) -> Result<Sealing, StoreError> {
        let keys = &self.secret_keys;
        let mut done = Sealing::default();
        let mut transaction = self.write().await?;
        let found = sqlx::query("SELECT id, secret, sealed_by FROM webhooks WHERE sealed_by <> $1")
            .bind(keys.current())
            .fetch_all(&mut *transaction)
            .await?;
        for row in found {
            let (id, before) = (rows::text(&row, "id")?, sealed(&row)?);
            let Some(secret) = keys.open(&id, &before) else {
                done.unreadable += 1;
                continue;
            };
            let after = keys.seal(&id, &secret);
            let statement =
                "UPDATE webhooks SET secret = $1, sealed_by = $2 WHERE id = $3 AND sealed_by = $4";
            // Another replica that starts now may have done it.
            let sealed = sqlx::query(statement)
                .bind(after.bytes)
                .bind(after.by)
                .bind(&id)
                .bind(before.by)
                .execute(&mut *transaction)
                .await?;
            done.sealed += sealed.rows_affected();
        }
        if done.sealed > 0 {
            let (actor, trace) = (Actor::Controller, Trace::default());
            webhooks::write(
                &mut transaction,
                &actor,
                "webhook.seal",
                keys.current(),
                &trace,
            )
            .await?;
        }
        transaction.commit().await?;
        Ok(done)
    }
}

fn sealed(row: &AnyRow) -> Result<Sealed, StoreError> {
    Ok(Sealed {
        by: rows::text(row, "sealed_by")?,
        bytes: row.try_get("secret")?,
    })
}
