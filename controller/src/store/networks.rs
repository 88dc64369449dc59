//! Reading networks.

use sqlx::{AnyConnection, Row as _, any::AnyRow};
use tombolo_domain::{change::Change, network::Network};
use tombolo_proto::{
    id::{NetworkId, Revision},
    key::IdentityKey,
};

use super::{Store, StoreError, rows};

// SQLite's type for flags has to be cast away.
pub(super) const NETWORK: &str = "SELECT id, name, CAST(private AS INTEGER) AS private, mtu, v4_ranges, on_link, subnet_pools, \
     v6_modes, member_routes, access_rules, revision, sequence FROM networks WHERE id = $1";
pub(super) const MEMBERS: &str = "SELECT identity, node, name, transport, transport_epoch, state, tags, \
     CAST(relay AS INTEGER) AS relay, serial, issued_at, not_after FROM members WHERE network = $1";
pub(super) const ROUTES: &str = "SELECT id, target, via, mode, metric, state, CAST(by_member AS INTEGER) AS by_member \
     FROM routes WHERE network = $1";
pub(super) const REQUESTS: &str = "SELECT identity, node, name, transport, transport_epoch, source, requested_at \
     FROM requests WHERE network = $1";

/// A network as it was at one moment.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The network.
    pub network: Network,
    /// Which of all its changes was the last: a commit names it.
    pub sequence: u64,
}

impl Store {
    /// One network, whole.
    pub async fn load(&self, id: NetworkId) -> Result<Option<Loaded>, StoreError> {
        load_in(&mut *self.read().await?, id).await
    }

    /// The number of the last change, to tell whether a loaded network is still what the store holds.
    pub async fn sequence(&self, id: NetworkId) -> Result<Option<u64>, StoreError> {
        let row = sqlx::query("SELECT sequence FROM networks WHERE id = $1")
            .bind(rows::key(&id))
            .fetch_optional(&mut *self.connection().await?)
            .await?;
        row.map(|row| rows::number(&row, "sequence")).transpose()
    }

    /// Ids of networks, in order, after the given one.
    pub async fn network_ids(
        &self,
        after: Option<NetworkId>,
        limit: u32,
    ) -> Result<Vec<NetworkId>, StoreError> {
        let found = sqlx::query("SELECT id FROM networks WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after.map(|id| id.to_string()).unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection().await?)
            .await?;
        found.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    /// How many networks there are.
    pub async fn network_count(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM networks")
            .fetch_one(&mut *self.connection().await?)
            .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

/// One network, as the transaction sees it.
pub(super) async fn load_in(
    connection: &mut AnyConnection,
    id: NetworkId,
) -> Result<Option<Loaded>, StoreError> {
    let row = sqlx::query(NETWORK)
        .bind(rows::key(&id))
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        Some(row) => load_rest(connection, id, &row).await.map(Some),
        None => Ok(None),
    }
}

async fn load_rest(
    connection: &mut AnyConnection,
    id: NetworkId,
    row: &AnyRow,
) -> Result<Loaded, StoreError> {
    let key = rows::key(&id);
    let members = sqlx::query(MEMBERS)
        .bind(&key)
        .fetch_all(&mut *connection)
        .await?;
    let addresses =
        sqlx::query("SELECT identity, address FROM member_addresses WHERE network = $1")
            .bind(&key)
            .fetch_all(&mut *connection)
            .await?;
    let requests = sqlx::query(REQUESTS)
        .bind(&key)
        .fetch_all(&mut *connection)
        .await?;
    let routes = sqlx::query(ROUTES)
        .bind(&key)
        .fetch_all(&mut *connection)
        .await?;

    let mut members = members
        .iter()
        .map(|row| rows::member(row).map(|member| (member.identity, member)))
        .collect::<Result<std::collections::BTreeMap<_, _>, _>>()?;
    for row in &addresses {
        let owner = IdentityKey(rows::bytes32(row, "identity")?);
        if let Some(member) = members.get_mut(&owner) {
            member.addresses.insert(rows::parsed(row, "address")?);
        }
    }
    let mut contents: Vec<Change> = members.into_values().map(Change::MemberPut).collect();
    for row in &requests {
        contents.push(Change::RequestPut(rows::request(row)?));
    }
    for row in &routes {
        contents.push(Change::RoutePut(rows::route(row)?));
    }
    Ok(Loaded {
        network: Network::restore(
            id,
            Revision(rows::number(row, "revision")?),
            rows::settings(row)?,
            contents,
        ),
        sequence: u64::try_from(row.try_get::<i64, _>("sequence")?).unwrap_or_default(),
    })
}
