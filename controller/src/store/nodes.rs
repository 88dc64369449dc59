//! What nodes report of themselves: software, presence, clashes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use sqlx::Row as _;
use tombolo_proto::{
    control::Capabilities,
    id::{NetworkId, NodeId},
    key::IdentityKey,
};

use super::{Store, StoreError, rows};

/// What a node says of its software.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    /// Program and version, for people.
    pub name: String,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// When and with what a node was last connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// With what.
    pub software: Software,
    /// When.
    pub last_seen: u64,
    /// Whether it is connected to a replica that runs, other than the one that asks.
    pub is_elsewhere: bool,
}

impl Store {
    /// Notes that a node is connected to a replica now.
    pub async fn saw(
        &self,
        identity: &IdentityKey,
        software: &Software,
        home: &IdentityKey,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO presence (identity, software, capabilities, last_seen, home) VALUES ($1, $2, $3, unixepoch(), $4)
             ON CONFLICT (identity) DO UPDATE SET software = excluded.software, capabilities = excluded.capabilities,
                 last_seen = excluded.last_seen, home = excluded.home",
        )
        .bind(&identity.0[..])
        .bind(&software.name)
        .bind(software.capabilities.0.cast_signed())
        .bind(&home.0[..])
        .execute(&mut *self.report().await?)
        .await?;
        Ok(())
    }

    /// Notes that a node is not connected to a replica any more; it may be to another one.
    pub async fn saw_off(
        &self,
        identity: &IdentityKey,
        home: &IdentityKey,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE presence SET home = NULL, last_seen = unixepoch() WHERE identity = $1 AND home = $2",
        )
        .bind(&identity.0[..])
        .bind(&home.0[..])
        .execute(&mut *self.report().await?)
        .await?;
        Ok(())
    }

    /// Presence of the members and waiting nodes of a network from one node address to another. Who is connected to the
    /// replica that asks is what it knows itself, and sooner.
    pub async fn presence(
        &self,
        network: NetworkId,
        nodes: &RangeInclusive<NodeId>,
        here: &IdentityKey,
    ) -> Result<BTreeMap<IdentityKey, Presence>, StoreError> {
        let found = sqlx::query(
            "SELECT presence.identity, presence.software, presence.capabilities, presence.last_seen, replicas.key AS home
             FROM presence
             LEFT JOIN replicas ON replicas.key = presence.home AND replicas.last_seen > unixepoch() - 30
                 AND replicas.key <> $4
             WHERE presence.identity IN (
                 SELECT identity FROM members WHERE network = $1 AND node BETWEEN $2 AND $3
                 UNION SELECT identity FROM requests WHERE network = $1 AND node BETWEEN $2 AND $3)",
        )
        .bind(rows::key(&network))
        .bind(rows::key(nodes.start()))
        .bind(rows::key(nodes.end()))
        .bind(&here.0[..])
        .fetch_all(&mut *self.connection().await?)
        .await?;
        found
            .iter()
            .map(|row| {
                let presence = Presence {
                    software: Software {
                        name: rows::text(row, "software")?,
                        capabilities: Capabilities(
                            row.try_get::<i64, _>("capabilities")?.cast_unsigned(),
                        ),
                    },
                    last_seen: rows::number(row, "last_seen")?,
                    is_elsewhere: row.try_get::<Option<Vec<u8>>, _>("home")?.is_some(),
                };
                Ok((IdentityKey(rows::bytes32(row, "identity")?), presence))
            })
            .collect()
    }

    /// Members of a network that are connected to a replica that runs, other than this one.
    pub async fn connected_elsewhere(
        &self,
        network: NetworkId,
        here: &IdentityKey,
    ) -> Result<BTreeSet<IdentityKey>, StoreError> {
        let found = sqlx::query(
            "SELECT members.identity FROM members
             JOIN presence ON presence.identity = members.identity
             JOIN replicas ON replicas.key = presence.home AND replicas.last_seen > unixepoch() - 30
             WHERE members.network = $1 AND presence.home <> $2",
        )
        .bind(rows::key(&network))
        .bind(&here.0[..])
        .fetch_all(&mut *self.connection().await?)
        .await?;
        let identity = |row| Ok(IdentityKey(rows::bytes32(row, "identity")?));
        found.iter().map(identity).collect()
    }

    /// Forgets nodes that are in no network and were not seen for a month.
    pub async fn forget_strangers(&self) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM presence WHERE last_seen < unixepoch() - 2592000
             AND identity NOT IN (SELECT identity FROM members)",
        )
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(())
    }

    /// Replaces what a member says clashes on its host.
    pub async fn put_clashes(
        &self,
        network: NetworkId,
        identity: &IdentityKey,
        clashes: &[String],
    ) -> Result<(), StoreError> {
        // What nearly every node says: no reason to wait for the one that writes.
        if clashes.is_empty() && !self.has_clashes(network, identity).await? {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO clashes (network, identity, clashes)
             SELECT network, identity, $3 FROM members WHERE network = $1 AND identity = $2
             ON CONFLICT (network, identity) DO UPDATE SET clashes = excluded.clashes",
        )
        .bind(rows::key(&network))
        .bind(&identity.0[..])
        .bind(rows::to_json(&clashes))
        .execute(&mut *self.report().await?)
        .await?;
        Ok(())
    }

    async fn has_clashes(
        &self,
        network: NetworkId,
        identity: &IdentityKey,
    ) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT 1 FROM clashes WHERE network = $1 AND identity = $2")
            .bind(rows::key(&network))
            .bind(&identity.0[..])
            .fetch_optional(&mut *self.connection().await?)
            .await?;
        Ok(found.is_some())
    }

    /// What clashes on the hosts of a network's members.
    pub async fn clashes(
        &self,
        network: NetworkId,
    ) -> Result<BTreeMap<IdentityKey, Vec<String>>, StoreError> {
        let found = sqlx::query("SELECT identity, clashes FROM clashes WHERE network = $1")
            .bind(rows::key(&network))
            .fetch_all(&mut *self.connection().await?)
            .await?;
        found
            .iter()
            .map(|row| {
                Ok((
                    IdentityKey(rows::bytes32(row, "identity")?),
                    rows::json(row, "clashes")?,
                ))
            })
            .collect()
    }
}
