//! What a replica asks to learn whether others changed something: numbers that only grow, and what is above them.

use sqlx::Row as _;
use tombolo_proto::{
    config::{DirectoryEntry, EndpointAnnouncement},
    id::{Epoch, NetworkId, Revision, UnixSeconds, Version},
    key::IdentityKey,
    signed::Signed,
};

use super::{SignedDocument, Store, StoreError, rows};

/// Where PostgreSQL carries hints. Channels belong to a database.
pub(crate) const CHANNEL: &str = "tombolo";
pub(super) const HINT: &str = "NOTIFY tombolo";

/// The last change of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) network: NetworkId,
    pub(crate) sequence: u64,
}

/// An announcement that came not long ago.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) network: NetworkId,
    pub(crate) identity: IdentityKey,
    pub(crate) sequence: u64,
    pub(crate) announcement: Signed<EndpointAnnouncement>,
    pub(crate) stored_at: UnixSeconds,
}

impl Store {
    /// The last change of every network.
    pub(crate) async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        let found = sqlx::query("SELECT id, sequence FROM networks ORDER BY id")
            .fetch_all(&mut *self.connection().await?)
            .await?;
        found
            .iter()
            .map(|row| {
                Ok(Head {
                    network: rows::parsed(row, "id")?,
                    sequence: rows::number(row, "sequence")?,
                })
            })
            .collect()
    }

    /// The documents of a network above a version, in order of version.
    pub(crate) async fn documents_above(
        &self,
        network: NetworkId,
        have: Version,
    ) -> Result<Vec<SignedDocument>, StoreError> {
        let found = sqlx::query(
            "SELECT kind, identity, epoch, revision, issued_at, entry FROM documents
             WHERE network = $1 AND (epoch > $2 OR (epoch = $2 AND revision > $3))
             ORDER BY epoch, revision",
        )
        .bind(rows::key(&network))
        .bind(rows::int(have.epoch.0))
        .bind(rows::int(have.revision.0))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        found
            .iter()
            .map(|row| {
                let entry: DirectoryEntry = rows::encoded(row, "entry")?;
                let identity = match entry {
                    DirectoryEntry::Network(_) => None,
                    DirectoryEntry::Member(_) | DirectoryEntry::Revocation(_) => {
                        Some(IdentityKey(rows::bytes32(row, "identity")?))
                    }
                };
                Ok(SignedDocument {
                    version: Version {
                        epoch: Epoch(rows::number(row, "epoch")?),
                        revision: Revision(rows::number(row, "revision")?),
                    },
                    identity,
                    issued_at: UnixSeconds(rows::number(row, "issued_at")?),
                    entry,
                })
            })
            .collect()
    }

    /// Announcements that came since a moment, of those that are asked for by network, member and sequence.
    pub(crate) async fn announced_since(
        &self,
        since: UnixSeconds,
        is_wanted: impl Fn(NetworkId, &IdentityKey, u64) -> bool,
    ) -> Result<Vec<Announced>, StoreError> {
        let found = sqlx::query(
            "SELECT network, identity, sequence, announcement, stored_at FROM announcements WHERE stored_at >= $1",
        )
        .bind(rows::int(since.0))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        let mut announced = Vec::new();
        for row in &found {
            let network = rows::parsed(row, "network")?;
            let identity = IdentityKey(rows::bytes32(row, "identity")?);
            let sequence = u64::try_from(row.try_get::<i64, _>("sequence")?).unwrap_or_default();
            if is_wanted(network, &identity, sequence) {
                announced.push(Announced {
                    network,
                    identity,
                    sequence,
                    announcement: rows::encoded(row, "announcement")?,
                    stored_at: UnixSeconds(rows::number(row, "stored_at")?),
                });
            }
        }
        Ok(announced)
    }
}
