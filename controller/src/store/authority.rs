//! The authority's public half and its keyring.

use tombolo_proto::{
    config::Keyring,
    id::{Epoch, Revision, Version},
    key::IdentityKey,
    signed::Signed,
    wire,
};

use super::{Store, StoreError, rows};

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
        let row = sqlx::query("SELECT * FROM authority WHERE id = 1")
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

    /// Replaces the keyring by a newer one. Tells whether it was newer.
    pub async fn put_keyring(
        &self,
        version: Version,
        keyring: &Signed<Keyring>,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query(
            "UPDATE authority SET epoch = $1, revision = $2, keyring = $3
             WHERE id = 1 AND (epoch < $1 OR (epoch = $1 AND revision < $2))",
        )
        .bind(rows::int(version.epoch.0))
        .bind(rows::int(version.revision.0))
        .bind(wire::encode(keyring))
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(updated.rows_affected() == 1)
    }
}
