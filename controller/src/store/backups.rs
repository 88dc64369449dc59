//! When the last backup was made, and of what kind it is. The backup itself is a file somewhere.

use serde_json::json;
use sqlx::AnyConnection;
use tombolo_proto::{api::LastBackup, id::UnixSeconds, key::IdentityKey};

use super::{
    Actor, Store, StoreError, Trace,
    audit::{self, Entry},
    rows,
};

/// A backup that lies in its file.
#[derive(Debug, Clone)]
pub struct MadeBackup {
    /// When what it holds was read.
    pub made_at: UnixSeconds,
    /// The replica that made it.
    pub made_by: IdentityKey,
    /// Whether a passphrase is needed to read it.
    pub encrypted: bool,
    /// Whether the root key is in it.
    pub root_key: bool,
    /// Size of the file.
    pub bytes: u64,
}

/// What happened to a backup, as the audit log calls it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Done {
    Made,
    Restored,
}

impl Store {
    /// Notes that a backup was made, with a line of the audit log.
    pub async fn note_backup(&self, made: &MadeBackup) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        note(&mut transaction, made, Done::Made).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The last backup, if there was one.
    pub(crate) async fn last_backup(&self) -> Result<Option<LastBackup>, StoreError> {
        let found =
            sqlx::query("SELECT made_at, actor, encrypted, root_key, bytes FROM last_backup")
                .fetch_optional(&mut *self.connection().await?)
                .await?;
        found
            .map(|row| {
                Ok(LastBackup {
                    made_at: rows::number(&row, "made_at")?,
                    made_by: rows::text(&row, "actor")?,
                    encrypted: rows::flag(&row, "encrypted")?,
                    root_key: rows::flag(&row, "root_key")?,
                    bytes: rows::number(&row, "bytes")?,
                })
            })
            .transpose()
    }
}

/// Makes a backup the last one, and writes down what was done. One that was begun later stays the last.
pub(super) async fn note(
    connection: &mut AnyConnection,
    backup: &MadeBackup,
    done: Done,
) -> Result<(), sqlx::Error> {
    let actor = Actor::Replica(backup.made_by);
    sqlx::query(
        "INSERT INTO last_backup (id, made_at, actor, encrypted, root_key, bytes) VALUES (1, $1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET made_at = excluded.made_at, actor = excluded.actor,
             encrypted = excluded.encrypted, root_key = excluded.root_key, bytes = excluded.bytes
         WHERE excluded.made_at >= last_backup.made_at",
    )
    .bind(rows::int(backup.made_at.0))
    .bind(actor.to_string())
    .bind(i64::from(backup.encrypted))
    .bind(i64::from(backup.root_key))
    .bind(rows::int(backup.bytes))
    .execute(&mut *connection)
    .await?;
    let shown = json!({
        "made_at": backup.made_at.0,
        "encrypted": backup.encrypted,
        "root_key": backup.root_key,
        "bytes": backup.bytes,
    });
    let entry = Entry {
        actor: &actor,
        action: match done {
            Done::Made => "backup.make",
            Done::Restored => "backup.restore",
        },
        network: None,
        subject: &backup.made_by.to_string(),
        trace: &Trace::made(&shown),
    };
    audit::append(connection, &[entry]).await
}
