//! How members say that they reach their peers.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection as _};
use tombolo_proto::{
    id::{NetworkId, NodeId},
    key::IdentityKey,
    links::{Carried, LinkReport},
    wire,
};

use super::{Store, StoreError, rows};
use crate::links::Told;

/// A member that has told nothing for so many seconds is gone or cannot tell: three reports.
const FRESH_SECONDS: u64 = 90;

/// Sorts after every node address: those are hexadecimal.
const BEYOND: &str = "g";

/// What a member told last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLinks {
    pub(crate) node: NodeId,
    pub(crate) identity: IdentityKey,
    pub(crate) told_at: u64,
    pub(crate) report: LinkReport,
}

impl Store {
    /// Replaces what members told, all at once. Whoever is no member any more is passed over.
    pub(crate) async fn put_links(
        &self,
        told: &BTreeMap<(NetworkId, IdentityKey), Told>,
    ) -> Result<(), StoreError> {
        let mut connection = self.report().await?;
        let mut transaction = connection.begin().await?;
        for ((network, identity), Told { report, carried }) in told {
            sqlx::query(
                "INSERT INTO links (network, identity, told_at, sent, received, links, relayed, carried_clients, carried_bytes)
                 SELECT network, identity, unixepoch(), $3, $4, $5, $6, $7, $8 FROM members WHERE network = $1 AND identity = $2
                 ON CONFLICT (network, identity) DO UPDATE SET told_at = excluded.told_at, sent = excluded.sent,
                     received = excluded.received, links = excluded.links, relayed = excluded.relayed,
                     carried_clients = excluded.carried_clients, carried_bytes = excluded.carried_bytes",
            )
            .bind(rows::key(network))
            .bind(&identity.0[..])
            .bind(rows::int(report.sent))
            .bind(rows::int(report.received))
            .bind(wire::encode(report))
            .bind(rows::int(relayed(report).count() as u64))
            .bind(carried.map(|carried| rows::int(carried.clients)))
            .bind(carried.map(|carried| rows::int(carried.bytes)))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// What members from one node address to another told of late, in order of address. Without an end, all of them.
    pub(crate) async fn links(
        &self,
        network: NetworkId,
        (first, last): (Option<NodeId>, Option<NodeId>),
        limit: u32,
    ) -> Result<Vec<StoredLinks>, StoreError> {
        let found = sqlx::query(
            "SELECT members.node AS node, links.identity AS identity, told_at, links FROM links
             JOIN members ON members.network = links.network AND members.identity = links.identity
             WHERE links.network = $1 AND told_at > unixepoch() - $2 AND members.node >= $3 AND members.node <= $4
             ORDER BY members.node LIMIT $5",
        )
        .bind(rows::key(&network))
        .bind(rows::int(FRESH_SECONDS))
        .bind(first.map_or_else(String::new, |node| node.to_string()))
        .bind(last.map_or_else(|| BEYOND.to_owned(), |node| node.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        let read = |row| -> Result<StoredLinks, StoreError> {
            Ok(StoredLinks {
                node: rows::parsed(row, "node")?,
                identity: IdentityKey(rows::bytes32(row, "identity")?),
                told_at: rows::number(row, "told_at")?,
                // What a newer version wrote is passed over.
                report: rows::encoded(row, "links").unwrap_or_default(),
            })
        };
        found.iter().map(read).collect()
    }

    /// How many links go by each relay, as members told of late. A link that both its ends told of is one.
    pub(crate) async fn relay_use(
        &self,
        network: NetworkId,
    ) -> Result<BTreeMap<Option<NodeId>, u64>, StoreError> {
        let found = sqlx::query(
            "SELECT members.node AS node, links FROM links
             JOIN members ON members.network = links.network AND members.identity = links.identity
             WHERE links.network = $1 AND told_at > unixepoch() - $2 AND relayed > 0",
        )
        .bind(rows::key(&network))
        .bind(rows::int(FRESH_SECONDS))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        let mut pairs = BTreeSet::new();
        for row in &found {
            let node: NodeId = rows::parsed(row, "node")?;
            let report: LinkReport = rows::encoded(row, "links").unwrap_or_default();
            pairs.extend(relayed(&report).map(|(peer, via)| (via, node.min(peer), node.max(peer))));
        }
        let mut used = BTreeMap::new();
        for (via, _, _) in pairs {
            *used.entry(via).or_insert(0) += 1;
        }
        Ok(used)
    }

    /// What some members told of late that they carry for others.
    pub(crate) async fn carried(
        &self,
        network: NetworkId,
        members: &[IdentityKey],
    ) -> Result<BTreeMap<IdentityKey, Carried>, StoreError> {
        if members.is_empty() {
            return Ok(BTreeMap::new());
        }
        let places: Vec<String> = (3..members.len() + 3)
            .map(|place| format!("${place}"))
            .collect();
        let statement = format!(
            "SELECT identity, carried_clients, carried_bytes FROM links
             WHERE network = $1 AND told_at > unixepoch() - $2 AND carried_clients IS NOT NULL
                 AND carried_bytes IS NOT NULL AND identity IN ({})",
            places.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(statement))
            .bind(rows::key(&network))
            .bind(rows::int(FRESH_SECONDS));
        for identity in members {
            query = query.bind(&identity.0[..]);
        }
        let found = query.fetch_all(&mut *self.connection().await?).await?;
        let read = |row| {
            let carried = Carried {
                clients: rows::number(row, "carried_clients")?,
                bytes: rows::number(row, "carried_bytes")?,
            };
            Ok((IdentityKey(rows::bytes32(row, "identity")?), carried))
        };
        found.iter().map(read).collect()
    }

    /// Bytes per second that members told of late: sent and received.
    pub(crate) async fn traffic(&self, network: NetworkId) -> Result<(u64, u64), StoreError> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(sent), 0) AS BIGINT) AS sent, CAST(COALESCE(SUM(received), 0) AS BIGINT) AS received
             FROM links WHERE network = $1 AND told_at > unixepoch() - $2",
        )
        .bind(rows::key(&network))
        .bind(rows::int(FRESH_SECONDS))
        .fetch_one(&mut *self.connection().await?)
        .await?;
        Ok((rows::number(&row, "sent")?, rows::number(&row, "received")?))
    }
}

/// The peers that are reached by a relay, and by which.
fn relayed(report: &LinkReport) -> impl Iterator<Item = (NodeId, Option<NodeId>)> {
    let links = report.links.iter();
    links.filter_map(|link| Some((link.peer, link.way.relay()?)))
}
