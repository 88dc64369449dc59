//! Which rows of a network a change touched, so that a replica that knows an older state reads those alone: in a network
//! of ten thousand members, a few rows instead of thirty thousand.
//!
//! Each commit writes down one line. A line that is missing, because the change was no ordinary one, was made by a version
//! that writes none, or is long ago, means that the network has to be read whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sqlx::{Any, AnyConnection, AssertSqlSafe, any::AnyRow, query::Query};
use tombolo_domain::{change::Change, managed_route::RouteId, member::Member, network::Network};
use tombolo_proto::{
    id::{NetworkId, Revision},
    key::IdentityKey,
    wire,
};

use super::{
    Loaded, Store, StoreError,
    networks::{self, MEMBERS, NETWORK, REQUESTS, ROUTES},
    rows,
};

/// Lines that are kept of each network. Whoever missed more reads all of it.
const KEPT: u64 = 256;
/// Keys that one statement asks for: so many, or fewer.
const AT_ONCE: usize = 128;
const PLACES: [usize; 3] = [1, 16, AT_ONCE];

/// Rows that one or several changes touched. The network's own is always read.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Touched {
    members: BTreeSet<IdentityKey>,
    requests: BTreeSet<IdentityKey>,
    routes: BTreeSet<u32>,
}

impl Touched {
    fn by(changes: &[Change]) -> Self {
        let mut touched = Self::default();
        for change in changes {
            match change {
                Change::Settings(_) => {}
                Change::RequestPut(request) => {
                    touched.requests.insert(request.identity);
                }
                Change::RequestRemoved(identity) => {
                    touched.requests.insert(*identity);
                }
                Change::MemberPut(member) => {
                    touched.members.insert(member.identity);
                }
                Change::MemberRemoved(identity) => {
                    touched.members.insert(*identity);
                }
                Change::RoutePut(route) => {
                    touched.routes.insert(route.id.0);
                }
                Change::RouteRemoved(id) => {
                    touched.routes.insert(id.0);
                }
            }
        }
        touched
    }

    fn merge(&mut self, other: Self) {
        self.members.extend(other.members);
        self.requests.extend(other.requests);
        self.routes.extend(other.routes);
    }
}

/// Notes what a commit touched.
pub(super) async fn note(
    connection: &mut AnyConnection,
    network: &str,
    sequence: u64,
    changes: &[Change],
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO changed (network, sequence, touched) VALUES ($1, $2, $3)")
        .bind(network)
        .bind(rows::int(sequence))
        .bind(wire::encode(&Touched::by(changes)))
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM changed WHERE network = $1 AND sequence <= $2")
        .bind(network)
        .bind(rows::int(sequence.saturating_sub(KEPT)))
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// One network as it is now, given how it was: like [`Store::load`], for the price of what changed.
    pub async fn load_again(&self, known: &Loaded) -> Result<Option<Loaded>, StoreError> {
        let id = known.network.id();
        let mut transaction = self.read().await?;
        match changed_since(&mut transaction, known).await? {
            Some(loaded) => Ok(Some(loaded)),
            None => networks::load_in(&mut transaction, id).await,
        }
    }
}

/// None if it cannot be told from what is written down.
async fn changed_since(
    connection: &mut AnyConnection,
    known: &Loaded,
) -> Result<Option<Loaded>, StoreError> {
    let id = known.network.id();
    let key = rows::key(&id);
    let row = sqlx::query(NETWORK)
        .bind(&key)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let sequence: u64 = rows::number(&row, "sequence")?;
    let Some(touched) = touched_since(connection, id, known.sequence, sequence).await? else {
        return Ok(None);
    };
    let mut changes = Vec::new();
    changes.extend(members(connection, &key, &touched.members).await?);
    changes.extend(requests(connection, &key, &touched.requests).await?);
    changes.extend(routes(connection, &key, &touched.routes).await?);
    let revision = Revision(rows::number(&row, "revision")?);
    let network: Network = known
        .network
        .follow(revision, rows::settings(&row)?, changes);
    Ok(Some(Loaded { network, sequence }))
}

async fn touched_since(
    connection: &mut AnyConnection,
    network: NetworkId,
    from: u64,
    to: u64,
) -> Result<Option<Touched>, StoreError> {
    let missed = to.saturating_sub(from);
    if from > to || missed > KEPT {
        return Ok(None);
    }
    let found = sqlx::query(
        "SELECT touched FROM changed WHERE network = $1 AND sequence > $2 AND sequence <= $3",
    )
    .bind(rows::key(&network))
    .bind(rows::int(from))
    .bind(rows::int(to))
    .fetch_all(connection)
    .await?;
    if found.len() as u64 != missed {
        return Ok(None);
    }
    let mut all = Touched::default();
    for row in &found {
        // A newer version may have written what this one cannot read.
        match rows::encoded(row, "touched") {
            Ok(touched) => all.merge(touched),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(all))
}

async fn members(
    connection: &mut AnyConnection,
    network: &str,
    wanted: &BTreeSet<IdentityKey>,
) -> Result<Vec<Change>, StoreError> {
    let keys: Vec<Vec<u8>> = wanted.iter().map(|key| key.0.to_vec()).collect();
    let mut found: BTreeMap<IdentityKey, Member> = BTreeMap::new();
    for row in &among(connection, MEMBERS, "identity", network, &keys).await? {
        let member = rows::member(row)?;
        found.insert(member.identity, member);
    }
    let addresses = "SELECT identity, address FROM member_addresses WHERE network = $1";
    for row in &among(connection, addresses, "identity", network, &keys).await? {
        let owner = IdentityKey(rows::bytes32(row, "identity")?);
        if let Some(member) = found.get_mut(&owner) {
            member.addresses.insert(rows::parsed(row, "address")?);
        }
    }
    let change = |identity: &IdentityKey| match found.remove(identity) {
        Some(member) => Change::MemberPut(member),
        None => Change::MemberRemoved(*identity),
    };
    Ok(wanted.iter().map(change).collect())
}

async fn requests(
    connection: &mut AnyConnection,
    network: &str,
    wanted: &BTreeSet<IdentityKey>,
) -> Result<Vec<Change>, StoreError> {
    let keys: Vec<Vec<u8>> = wanted.iter().map(|key| key.0.to_vec()).collect();
    let mut changes = Vec::new();
    let mut gone = wanted.clone();
    for row in &among(connection, REQUESTS, "identity", network, &keys).await? {
        let request = rows::request(row)?;
        gone.remove(&request.identity);
        changes.push(Change::RequestPut(request));
    }
    changes.extend(gone.into_iter().map(Change::RequestRemoved));
    Ok(changes)
}

async fn routes(
    connection: &mut AnyConnection,
    network: &str,
    wanted: &BTreeSet<u32>,
) -> Result<Vec<Change>, StoreError> {
    let keys: Vec<i64> = wanted.iter().copied().map(i64::from).collect();
    let mut changes = Vec::new();
    let mut gone = wanted.clone();
    for row in &among(connection, ROUTES, "id", network, &keys).await? {
        let route = rows::route(row)?;
        gone.remove(&route.id.0);
        changes.push(Change::RoutePut(route));
    }
    changes.extend(gone.into_iter().map(|id| Change::RouteRemoved(RouteId(id))));
    Ok(changes)
}

/// The rows of a statement, whose only condition is the network, that have one of these keys.
async fn among<'k, K>(
    connection: &mut AnyConnection,
    statement: &str,
    column: &str,
    network: &'k str,
    keys: &'k [K],
) -> Result<Vec<AnyRow>, StoreError>
where
    K: Clone + Send + sqlx::Encode<'k, Any> + sqlx::Type<Any> + 'k,
{
    let mut found = Vec::new();
    for keys in keys.chunks(AT_ONCE) {
        // As many places as in other statements, the last key in those that are left: so the databases know them again.
        let count = PLACES.into_iter().find(|count| *count >= keys.len());
        let count = count.unwrap_or(AT_ONCE);
        let places: Vec<String> = (0..count)
            .map(|place| format!("(${})", place + 2))
            .collect();
        // A table to join with: PostgreSQL compares a list with every row.
        let statement = format!(
            "WITH wanted (key) AS (VALUES {}) {statement} AND {column} IN (SELECT key FROM wanted)",
            places.join(", ")
        );
        let mut query: Query<'_, Any, _> = sqlx::query(AssertSqlSafe(statement)).bind(network);
        let last = keys.last().into_iter().cycle();
        for key in keys.iter().chain(last).take(count) {
            query = query.bind(key.clone());
        }
        found.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_version_notes_is_not_misread() {
        #[derive(Serialize)]
        struct Newer {
            touched: Touched,
            more: BTreeSet<u32>,
        }
        let newer = Newer {
            touched: Touched {
                routes: BTreeSet::from([7]),
                ..Touched::default()
            },
            more: BTreeSet::from([1]),
        };

        assert!(wire::decode::<Touched>(&wire::encode(&newer)).is_err());
        assert_eq!(
            wire::decode(&wire::encode(&newer.touched)).ok(),
            Some(newer.touched)
        );
    }
}
