//! Which replicas there are. Whether one may sign is what the keyring says.

use tombolo_domain::keyring::Replica;
use tombolo_proto::{key::IdentityKey, link::HostPort};
use tombolo_relay::RelayTotals;

use super::{Store, StoreError, rows};

/// Program and version, as replicas tell each other.
const SOFTWARE: &str = concat!("tombolo-controller ", env!("CARGO_PKG_VERSION"));

/// A replica as the store knows it.
#[derive(Debug, Clone)]
pub(crate) struct KnownReplica {
    pub(crate) replica: Replica,
    pub(crate) software: String,
    /// Seconds since it last said that it runs.
    pub(crate) silent_for: u64,
    pub(crate) relayed: Relayed,
}

/// What a replica says of itself as a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Relayed {
    /// Members that it relays for now, of all networks.
    pub(crate) clients: u64,
    /// Bytes that it relayed since it started.
    pub(crate) bytes: u64,
}

impl From<RelayTotals> for Relayed {
    fn from(totals: RelayTotals) -> Self {
        Self {
            clients: totals.clients,
            bytes: totals.bytes,
        }
    }
}

impl Store {
    /// Notes that a replica is there and where nodes reach it.
    pub(crate) async fn register_replica(
        &self,
        key: &IdentityKey,
        endpoints: &[HostPort],
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        sqlx::query(
            "INSERT INTO replicas (key, endpoints, software, registered_at, last_seen)
             VALUES ($1, $2, $3, unixepoch(), unixepoch())
             ON CONFLICT (key) DO UPDATE SET endpoints = excluded.endpoints, software = excluded.software,
                 last_seen = excluded.last_seen",
        )
        .bind(&key.0[..])
        .bind(rows::to_json(&endpoints))
        .bind(SOFTWARE)
        .execute(&mut *transaction)
        .await?;
        // Whoever was connected before this start is not any more.
        sqlx::query("UPDATE presence SET home = NULL WHERE home = $1")
            .bind(&key.0[..])
            .execute(&mut *transaction)
            .await?;
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Notes that a replica runs, and what it relays.
    pub(crate) async fn beat(&self, key: &IdentityKey, relayed: Relayed) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE replicas SET last_seen = unixepoch(), relay_clients = $2, relay_bytes = $3 WHERE key = $1",
        )
        .bind(&key.0[..])
        .bind(rows::int(relayed.clients))
        .bind(rows::int(relayed.bytes))
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(())
    }

    /// Every replica that ever registered, in the order in which they did.
    pub(crate) async fn known_replicas(&self) -> Result<Vec<KnownReplica>, StoreError> {
        let found = sqlx::query(
            "SELECT key, endpoints, software, revoked, relay_clients, relay_bytes, unixepoch() - last_seen AS silent_for
             FROM replicas ORDER BY registered_at, key",
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        found
            .iter()
            .map(|row| {
                Ok(KnownReplica {
                    replica: Replica {
                        key: IdentityKey(rows::bytes32(row, "key")?),
                        endpoints: rows::json(row, "endpoints")?,
                        revoked: rows::flag(row, "revoked")?,
                    },
                    software: rows::text(row, "software")?,
                    silent_for: rows::number::<i64>(row, "silent_for")?
                        .try_into()
                        .unwrap_or_default(),
                    relayed: Relayed {
                        clients: rows::number(row, "relay_clients")?,
                        bytes: rows::number(row, "relay_bytes")?,
                    },
                })
            })
            .collect()
    }

    /// The same, as the rules of keyrings take them.
    pub(crate) async fn replicas(&self) -> Result<Vec<Replica>, StoreError> {
        let known = self.known_replicas().await?;
        Ok(known.into_iter().map(|known| known.replica).collect())
    }
}
