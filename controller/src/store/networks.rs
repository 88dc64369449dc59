//! Reading networks.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use tombolo_domain::{change::Change, network::Network};
use tombolo_proto::{
    id::{NetworkId, Revision},
    key::IdentityKey,
};

use super::{Store, StoreError, rows};

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
        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query("SELECT * FROM networks WHERE id = $1")
            .bind(rows::key(&id))
            .fetch_optional(&mut *transaction)
            .await?;
        match row {
            Some(row) => load_rest(&mut transaction, id, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The number of the last change, to tell whether a loaded network is still what the store holds.
    pub async fn sequence(&self, id: NetworkId) -> Result<Option<u64>, StoreError> {
        let row = sqlx::query("SELECT sequence FROM networks WHERE id = $1")
            .bind(rows::key(&id))
            .fetch_optional(&self.pool)
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
            .fetch_all(&self.pool)
            .await?;
        found.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    /// How many networks there are.
    pub async fn network_count(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM networks")
            .fetch_one(&self.pool)
            .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

async fn load_rest(
    connection: &mut SqliteConnection,
    id: NetworkId,
    row: &SqliteRow,
) -> Result<Loaded, StoreError> {
    let key = rows::key(&id);
    let members = sqlx::query("SELECT * FROM members WHERE network = $1 ORDER BY identity")
        .bind(&key)
        .fetch_all(&mut *connection)
        .await?;
    let addresses = sqlx::query("SELECT * FROM member_addresses WHERE network = $1")
        .bind(&key)
        .fetch_all(&mut *connection)
        .await?;
    let requests = sqlx::query("SELECT * FROM requests WHERE network = $1")
        .bind(&key)
        .fetch_all(&mut *connection)
        .await?;
    let routes = sqlx::query("SELECT * FROM routes WHERE network = $1")
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
