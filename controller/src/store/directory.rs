//! What is served to nodes: stored documents and announcements.

use tombolo_proto::{
    config::{DirectoryEntry, EndpointAnnouncement},
    id::{Epoch, NetworkId, Revision, UnixSeconds, Version},
    key::IdentityKey,
    signed::Signed,
    wire,
};

use super::{Store, StoreError, rows};

/// The documents above a version, read at one moment.
#[derive(Debug, Clone)]
pub struct DirectoryPart {
    /// In order of version.
    pub entries: Vec<DirectoryEntry>,
    /// What a node holds that has taken them.
    pub upto: Version,
}

impl Store {
    /// Every document above `have`, for a member; none if `reader` is not an authorised member.
    pub async fn directory(
        &self,
        network: NetworkId,
        reader: &IdentityKey,
        have: Version,
        epoch: Epoch,
    ) -> Result<Option<DirectoryPart>, StoreError> {
        let key = rows::key(&network);
        let mut transaction = self.read().await?;
        let revision = sqlx::query(
            "SELECT revision FROM networks JOIN members ON members.network = networks.id
             WHERE networks.id = $1 AND members.identity = $2 AND members.state = 'authorized'",
        )
        .bind(&key)
        .bind(&reader.0[..])
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(revision) = revision else {
            return Ok(None);
        };
        let found = sqlx::query(
            "SELECT entry FROM documents
             WHERE network = $1 AND (epoch > $2 OR (epoch = $2 AND revision > $3))
             ORDER BY epoch, revision",
        )
        .bind(&key)
        .bind(rows::int(have.epoch.0))
        .bind(rows::int(have.revision.0))
        .fetch_all(&mut *transaction)
        .await?;
        Ok(Some(DirectoryPart {
            entries: found
                .iter()
                .map(|row| rows::encoded(row, "entry"))
                .collect::<Result<_, _>>()?,
            upto: Version {
                epoch,
                revision: Revision(rows::number(&revision, "revision")?),
            },
        }))
    }

    /// Keeps a member's announcement if it is newer than the one held. Tells when, if it was.
    pub async fn put_announcement(
        &self,
        network: NetworkId,
        identity: &IdentityKey,
        sequence: u64,
        announcement: &Signed<EndpointAnnouncement>,
    ) -> Result<Option<UnixSeconds>, StoreError> {
        let mut connection = self.report().await?;
        let kept = sqlx::query(
            "INSERT INTO announcements (network, identity, sequence, announcement, stored_at)
             SELECT network, identity, $3, $4, unixepoch() FROM members
             WHERE network = $1 AND identity = $2 AND state = 'authorized'
             ON CONFLICT (network, identity) DO UPDATE
             SET sequence = excluded.sequence, announcement = excluded.announcement, stored_at = excluded.stored_at
             WHERE excluded.sequence > announcements.sequence
             RETURNING stored_at",
        )
        .bind(rows::key(&network))
        .bind(&identity.0[..])
        .bind(rows::int(sequence))
        .bind(wire::encode(announcement))
        .fetch_optional(&mut *connection)
        .await?;
        let Some(kept) = kept else {
            return Ok(None);
        };
        self.hint_others(&mut connection).await?;
        Ok(Some(UnixSeconds(rows::number(&kept, "stored_at")?)))
    }

    /// The last announcement of every member of a network.
    pub async fn announcements(
        &self,
        network: NetworkId,
    ) -> Result<Vec<(IdentityKey, Signed<EndpointAnnouncement>)>, StoreError> {
        let found = sqlx::query(
            "SELECT identity, announcement FROM announcements WHERE network = $1 ORDER BY identity",
        )
        .bind(rows::key(&network))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        found
            .iter()
            .map(|row| {
                Ok((
                    IdentityKey(rows::bytes32(row, "identity")?),
                    rows::encoded(row, "announcement")?,
                ))
            })
            .collect()
    }
}
