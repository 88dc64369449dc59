//! The audit log: appended in the transaction of what it tells, each line chained to the one before it.

use data_encoding::HEXLOWER;
use serde_json::Value;
use sqlx::{AnyConnection, Row as _, any::AnyRow};
use tombolo_domain::audit::{Chain, Line};
use tombolo_proto::{
    api::{AuditEntry, AuditHead, Event},
    id::{NetworkId, UnixSeconds},
};

use super::{Actor, Store, StoreError, many, rows, webhooks};

/// Lines of an older controller that one transaction gives their places.
const ADOPTED_TOGETHER: i64 = 500;

/// What something was before it was changed, and what it became: JSON without spaces, never with secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// None if it was not there.
    pub before: Option<String>,
    /// None if it is gone.
    pub after: Option<String>,
}

impl Trace {
    /// Something new.
    pub(crate) fn made(after: &Value) -> Self {
        Self {
            before: None,
            after: Some(after.to_string()),
        }
    }

    /// Something that is gone.
    pub(crate) fn removed(before: &Value) -> Self {
        Self {
            before: Some(before.to_string()),
            after: None,
        }
    }

    /// Something that became different.
    pub(crate) fn changed(before: &Value, after: &Value) -> Self {
        Self {
            before: Some(before.to_string()),
            after: Some(after.to_string()),
        }
    }
}

/// A line to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) actor: &'a Actor,
    pub(super) action: &'a str,
    pub(super) network: Option<NetworkId>,
    pub(super) subject: &'a str,
    pub(super) trace: &'a Trace,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) network: Option<NetworkId>,
    /// From this second on.
    pub(crate) since: Option<u64>,
    /// Before this second.
    pub(crate) until: Option<u64>,
    pub(crate) newest_first: bool,
}

/// Writes a line that says nothing of before and after.
pub(super) async fn write(
    connection: &mut AnyConnection,
    actor: &Actor,
    action: &str,
    network: Option<NetworkId>,
    subject: &str,
) -> Result<(), sqlx::Error> {
    let entry = Entry {
        actor,
        action,
        network,
        subject,
        trace: &Trace::default(),
    };
    append(connection, &[entry]).await
}

/// Writes lines. From here to its end the transaction holds the end of the chain, so nothing that may wait for others may
/// follow.
pub(super) async fn append(
    connection: &mut AnyConnection,
    entries: &[Entry<'_>],
) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let (mut chain, at) = hold_end(connection).await?;
    let mut written = Vec::with_capacity(entries.len());
    for entry in entries {
        let (actor, network) = (
            entry.actor.to_string(),
            entry.network.as_ref().map(rows::key),
        );
        let line = Line {
            place: chain.place + 1,
            at,
            actor: &actor,
            action: entry.action,
            network: network.as_deref(),
            subject: entry.subject,
            before: entry.trace.before.as_deref(),
            after: entry.trace.after.as_deref(),
        };
        let hash = chain.append(&line);
        written.push((entry, actor, network, chain.place, hash));
    }
    let statement = (
        "INSERT INTO audit (at, actor, action, network, subject, state_before, state_after, place, hash) VALUES",
        9,
        "",
    );
    many::execute(connection, statement, &written, |row, line| {
        let (entry, actor, network, place, hash) = line;
        row.bind(rows::int(at))
            .bind(actor)
            .bind(entry.action)
            .bind(network)
            .bind(entry.subject)
            .bind(&entry.trace.before)
            .bind(&entry.trace.after)
            .bind(rows::int(*place))
            .bind(&hash[..])
    })
    .await?;
    put_end(connection, &chain).await
}

/// The end of the chain and the time; nobody else appends until the transaction ends.
pub(super) async fn hold_end(connection: &mut AnyConnection) -> Result<(Chain, u64), sqlx::Error> {
    let row = sqlx::query(
        "UPDATE audit_head SET place = place WHERE id = 1 RETURNING place, hash, unixepoch() AS at",
    )
    .fetch_one(connection)
    .await?;
    let at: i64 = row.try_get("at")?;
    Ok((end(&row)?, u64::try_from(at).unwrap_or_default()))
}

fn end(row: &AnyRow) -> Result<Chain, sqlx::Error> {
    let (place, hash): (i64, Vec<u8>) = (row.try_get("place")?, row.try_get("hash")?);
    Ok(Chain {
        place: u64::try_from(place).unwrap_or_default(),
        hash: hash.try_into().unwrap_or_default(),
    })
}

async fn put_end(connection: &mut AnyConnection, chain: &Chain) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE audit_head SET place = $1, hash = $2 WHERE id = 1")
        .bind(rows::int(chain.place))
        .bind(&chain.hash[..])
        .execute(connection)
        .await
        .map(|_| ())
}

impl Store {
    /// The end of the chain.
    pub(crate) async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        let row = sqlx::query(
            "SELECT place, hash, forgotten_place, forgotten_hash FROM audit_head WHERE id = 1",
        )
        .fetch_one(&mut *self.connection().await?)
        .await?;
        let end = end(&row)?;
        Ok(AuditHead {
            id: end.place,
            hash: HEXLOWER.encode(&end.hash),
            forgotten_id: rows::number(&row, "forgotten_place")?,
            forgotten_hash: HEXLOWER.encode(&rows::bytes32(&row, "forgotten_hash")?),
        })
    }

    /// Audit lines that are wanted, beyond the given one.
    pub(crate) async fn audit(
        &self,
        beyond: Option<u64>,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let (statement, first) = if filter.newest_first {
            (
                "SELECT place, at, actor, action, network, subject, state_before, state_after, hash FROM audit
                 WHERE place < $1 AND ($2 = '' OR actor = $2) AND ($3 = '' OR action = $3)
                     AND ($4 = '' OR network = $4) AND at >= $5 AND at < $6
                 ORDER BY place DESC LIMIT $7",
                u64::MAX,
            )
        } else {
            (
                "SELECT place, at, actor, action, network, subject, state_before, state_after, hash FROM audit
                 WHERE place > $1 AND ($2 = '' OR actor = $2) AND ($3 = '' OR action = $3)
                     AND ($4 = '' OR network = $4) AND at >= $5 AND at < $6
                 ORDER BY place LIMIT $7",
                0,
            )
        };
        let found = sqlx::query(statement)
            .bind(rows::int(beyond.unwrap_or(first)))
            .bind(filter.actor.as_deref().unwrap_or_default())
            .bind(filter.action.as_deref().unwrap_or_default())
            .bind(filter.network.as_ref().map(rows::key).unwrap_or_default())
            .bind(rows::int(filter.since.unwrap_or_default()))
            .bind(rows::int(filter.until.unwrap_or(u64::MAX)))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection().await?)
            .await?;
        found.iter().map(entry).collect()
    }

    /// Gives lines that an older controller wrote their places in the chain.
    pub(crate) async fn chain_old_lines(&self) -> Result<(), StoreError> {
        let statement = "SELECT count(*) FROM audit WHERE place IS NULL";
        loop {
            let old: i64 = sqlx::query_scalar(statement)
                .fetch_one(&mut *self.connection().await?)
                .await?;
            if old == 0 {
                return Ok(());
            }
            self.chain_some().await?;
        }
    }

    async fn chain_some(&self) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        let (mut chain, _) = hold_end(&mut transaction).await?;
        let found = sqlx::query(
            "SELECT id, at, actor, action, network, subject, state_before, state_after FROM audit
             WHERE place IS NULL ORDER BY id LIMIT $1",
        )
        .bind(ADOPTED_TOGETHER)
        .fetch_all(&mut *transaction)
        .await?;
        for row in &found {
            let (actor, action) = (rows::text(row, "actor")?, rows::text(row, "action")?);
            let subject = rows::text(row, "subject")?;
            let network: Option<String> = row.try_get("network")?;
            let (before, after): (Option<String>, Option<String>) =
                (row.try_get("state_before")?, row.try_get("state_after")?);
            let line = Line {
                place: chain.place + 1,
                at: rows::number(row, "at")?,
                actor: &actor,
                action: &action,
                network: network.as_deref(),
                subject: &subject,
                before: before.as_deref(),
                after: after.as_deref(),
            };
            let hash = chain.append(&line);
            sqlx::query("UPDATE audit SET place = $1, hash = $2 WHERE id = $3")
                .bind(rows::int(chain.place))
                .bind(&hash[..])
                .bind(row.try_get::<i64, _>("id")?)
                .execute(&mut *transaction)
                .await?;
        }
        put_end(&mut transaction, &chain).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// When the log first tells of a network: in general, when it was made, or since when the log is kept. What was deleted
    /// is still told of.
    pub(crate) async fn first_told_of(
        &self,
        network: NetworkId,
    ) -> Result<Option<UnixSeconds>, StoreError> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT at FROM audit WHERE network = $1 AND place IS NOT NULL ORDER BY place LIMIT 1",
        )
        .bind(rows::key(&network))
        .fetch_optional(&mut *self.connection().await?)
        .await?;
        Ok(at.map(|at| UnixSeconds(u64::try_from(at).unwrap_or_default())))
    }

    /// Deletes a network with everything in it. Tells whether it was there.
    pub(crate) async fn remove_network(
        &self,
        network: NetworkId,
        actor: &Actor,
        trace: &Trace,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let removed = sqlx::query("DELETE FROM networks WHERE id = $1")
            .bind(rows::key(&network))
            .execute(&mut *transaction)
            .await?;
        if removed.rows_affected() == 1 {
            let entry = Entry {
                actor,
                action: "network.delete",
                network: Some(network),
                subject: "",
                trace,
            };
            let event = Event {
                network,
                revision: None,
                kind: "deleted".to_owned(),
            };
            webhooks::post(&mut transaction, &event).await?;
            append(&mut transaction, &[entry]).await?;
        }
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(removed.rows_affected() == 1)
    }
}

fn entry(row: &AnyRow) -> Result<AuditEntry, StoreError> {
    let network: Option<String> = row.try_get("network")?;
    let hash: Vec<u8> = row.try_get("hash")?;
    let json = |column: &'static str| -> Result<Option<Value>, StoreError> {
        let text: Option<String> = row.try_get(column)?;
        // What somebody made of it that is no JSON is shown all the same: it does not fit the hash.
        Ok(text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))))
    };
    Ok(AuditEntry {
        id: rows::number(row, "place")?,
        at: rows::number(row, "at")?,
        actor: rows::text(row, "actor")?,
        action: rows::text(row, "action")?,
        network: network.and_then(|id| id.parse().ok()),
        subject: rows::text(row, "subject")?,
        before: json("state_before")?,
        after: json("state_after")?,
        hash: HEXLOWER.encode(&hash),
    })
}
