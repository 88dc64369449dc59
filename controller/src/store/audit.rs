//! The audit log: appended in the transaction of what it tells.

use sqlx::{AnyConnection, Row as _};
use tombolo_proto::{api::AuditEntry, id::NetworkId};

use super::{Actor, Store, StoreError, rows};

pub(super) async fn write(
    connection: &mut AnyConnection,
    actor: &Actor,
    action: &str,
    network: Option<NetworkId>,
    subject: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit (at, actor, action, network, subject) VALUES (unixepoch(), $1, $2, $3, $4)",
    )
    .bind(actor.to_string())
    .bind(action)
    .bind(network.map(|id| id.to_string()))
    .bind(subject)
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Audit lines, oldest first, after the given one.
    pub(crate) async fn audit(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let found = sqlx::query("SELECT id, at, actor, action, network, subject FROM audit WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(rows::int(after))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection().await?)
            .await?;
        found
            .iter()
            .map(|row| {
                let network: Option<String> = row.try_get("network")?;
                Ok(AuditEntry {
                    id: rows::number(row, "id")?,
                    at: rows::number(row, "at")?,
                    actor: rows::text(row, "actor")?,
                    action: rows::text(row, "action")?,
                    network: network.and_then(|id| id.parse().ok()),
                    subject: rows::text(row, "subject")?,
                })
            })
            .collect()
    }

    /// Deletes a network with everything in it. Tells whether it was there.
    pub(crate) async fn remove_network(
        &self,
        network: NetworkId,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let removed = sqlx::query("DELETE FROM networks WHERE id = $1")
            .bind(rows::key(&network))
            .execute(&mut *transaction)
            .await?;
        if removed.rows_affected() == 1 {
            write(&mut transaction, actor, "network.delete", Some(network), "").await?;
        }
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(removed.rows_affected() == 1)
    }
}
