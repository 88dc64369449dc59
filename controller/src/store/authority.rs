//! The authority's public half and its keyring.

use std::collections::BTreeSet;

use tombolo_domain::network::Network;
use tombolo_proto::{
    config::Keyring,
    id::{Epoch, NetworkId, Revision, Version},
    key::IdentityKey,
    signed::Signed,
    wire,
};

use super::{
    Actor, CommitError, SignedDocument, Store, StoreError, audit, networks, rows, writing,
};

/// What the store knows of the authority.
#[derive(Debug, Clone)]
pub struct StoredAuthority {
    /// The root key.
    pub root: IdentityKey,
    /// The order of the keyring.
    pub version: Version,
    /// The keyring as it is served.
    pub keyring: Signed<Keyring>,
}

impl Store {
    /// The authority, if there is one yet.
    pub async fn authority(&self) -> Result<Option<StoredAuthority>, StoreError> {
        let row =
            sqlx::query("SELECT root_key, epoch, revision, keyring FROM authority WHERE id = 1")
                .fetch_optional(&mut *self.connection().await?)
                .await?;
        row.map(|row| {
            Ok(StoredAuthority {
                root: IdentityKey(rows::bytes32(&row, "root_key")?),
                version: Version {
                    epoch: Epoch(rows::number(&row, "epoch")?),
                    revision: Revision(rows::number(&row, "revision")?),
                },
                keyring: rows::encoded(&row, "keyring")?,
            })
        })
        .transpose()
    }

    /// Makes this the authority of an empty store. Tells whether it became it: false if another was first.
    pub async fn found_authority(&self, authority: &StoredAuthority) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let made = sqlx::query(
            "INSERT INTO authority (id, root_key, epoch, revision, keyring) VALUES (1, $1, $2, $3, $4)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&authority.root.0[..])
        .bind(rows::int(authority.version.epoch.0))
        .bind(rows::int(authority.version.revision.0))
        .bind(wire::encode(&authority.keyring))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(made.rows_affected() == 1)
    }

    /// Replaces the keyring by a newer one of the same epoch. Tells whether it was newer.
    pub async fn put_keyring(
        &self,
        version: Version,
        keyring: &Signed<Keyring>,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let updated = sqlx::query(
            "UPDATE authority SET revision = $2, keyring = $3
             WHERE id = 1 AND epoch = $1 AND revision < $2",
        )
        .bind(rows::int(version.epoch.0))
        .bind(rows::int(version.revision.0))
        .bind(wire::encode(keyring))
        .execute(&mut *transaction)
        .await?;
        if updated.rows_affected() == 1 {
            let subject = format!("epoch {} revision {}", version.epoch.0, version.revision.0);
            audit::write(&mut transaction, actor, "keyring.update", None, &subject).await?;
        }
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Begins a new epoch: the keyring becomes `keyring`, `revoked` never comes back, and every live document is replaced
    /// by the one that `sign` makes of it. All of it or nothing; false if another keyring was first.
    pub async fn begin_epoch(
        &self,
        keyring: (&Keyring, &Signed<Keyring>),
        revoked: &BTreeSet<IdentityKey>,
        sign: impl Fn(&Network, Epoch) -> Vec<SignedDocument>,
        actor: &Actor,
    ) -> Result<bool, CommitError> {
        let (keyring, signed) = keyring;
        let epoch = keyring.version.epoch;
        let mut transaction = self.write().await?;
        // Whoever commits in the old epoch has finished now, or finds it over.
        let updated = sqlx::query(
            "UPDATE authority SET epoch = $1, revision = $2, keyring = $3 WHERE id = 1 AND epoch = $1 - 1",
        )
        .bind(rows::int(epoch.0))
        .bind(rows::int(keyring.version.revision.0))
        .bind(wire::encode(signed))
        .execute(&mut *transaction)
        .await?;
        if updated.rows_affected() != 1 {
            return Ok(false);
        }
        for key in revoked {
            sqlx::query("UPDATE replicas SET revoked = 1 WHERE key = $1")
                .bind(&key.0[..])
                .execute(&mut *transaction)
                .await?;
        }
        let ids = sqlx::query("SELECT id FROM networks ORDER BY id")
            .fetch_all(&mut *transaction)
            .await?;
        for row in &ids {
            let id: NetworkId = rows::parsed(row, "id").map_err(CommitError::from)?;
            let Some(loaded) = networks::load_in(&mut transaction, id).await? else {
                continue;
            };
            for statement in [
                "DELETE FROM documents WHERE network = $1",
                "UPDATE networks SET sequence = sequence + 1 WHERE id = $1",
            ] {
                sqlx::query(statement)
                    .bind(rows::key(&id))
                    .execute(&mut *transaction)
                    .await?;
            }
            let documents = sign(&loaded.network, epoch);
            writing::put_documents(&mut transaction, &rows::key(&id), &documents).await?;
        }
        let subject = format!("epoch {}", epoch.0);
        audit::write(&mut transaction, actor, "keyring.revoke", None, &subject).await?;
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }
}
