//! The whole store as values: to move it to another database, or into a backup and out of it again.

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{
    MadeBackup, Store, StoreError, StoreUrl,
    backups::{self, Done},
};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Bytes,
}

use Kind::{Bytes, Number, Text};

/// A table and its columns. Tables that others refer to come first. Sessions, the setup link and answers to repeated requests are of the
/// moment and stay behind.
struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
}

#[rustfmt::skip]
const TABLES: &[Table] = &[
    Table { name: "authority", columns: &[("id", Number), ("root_key", Bytes), ("epoch", Number), ("revision", Number), ("keyring", Bytes)] },
    Table { name: "replicas", columns: &[("key", Bytes), ("endpoints", Text), ("software", Text), ("registered_at", Number), ("last_seen", Number), ("revoked", Number)] },
    Table { name: "networks", columns: &[("id", Text), ("number", Number), ("name", Text), ("name_key", Text), ("private", Number), ("mtu", Number),
        ("v4_ranges", Text), ("on_link", Text), ("subnet_pools", Text), ("v6_modes", Text), ("member_routes", Text), ("access_rules", Text), ("revision", Number), ("sequence", Number)] },
    Table { name: "members", columns: &[("network", Text), ("identity", Bytes), ("node", Text), ("name", Text), ("name_key", Text), ("transport", Bytes),
        ("transport_epoch", Number), ("state", Text), ("tags", Text), ("relay", Number), ("serial", Number), ("issued_at", Number), ("not_after", Number)] },
    Table { name: "member_addresses", columns: &[("network", Text), ("address", Text), ("identity", Bytes)] },
    Table { name: "requests", columns: &[("network", Text), ("identity", Bytes), ("node", Text), ("name", Text), ("transport", Bytes),
        ("transport_epoch", Number), ("source", Text), ("requested_at", Number)] },
    Table { name: "routes", columns: &[("id", Number), ("network", Text), ("target", Text), ("via", Bytes), ("mode", Text), ("metric", Number), ("state", Text),
        ("by_member", Number)] },
    Table { name: "documents", columns: &[("network", Text), ("kind", Text), ("identity", Bytes), ("epoch", Number), ("revision", Number), ("issued_at", Number),
        ("entry", Bytes)] },
    Table { name: "announcements", columns: &[("network", Text), ("identity", Bytes), ("sequence", Number), ("announcement", Bytes), ("stored_at", Number)] },
    Table { name: "clashes", columns: &[("network", Text), ("identity", Bytes), ("clashes", Text)] },
    Table { name: "presence", columns: &[("identity", Bytes), ("software", Text), ("capabilities", Number), ("last_seen", Number), ("home", Bytes)] },
    Table { name: "join_tokens", columns: &[("id", Text), ("network", Text), ("hash", Bytes), ("uses_left", Number), ("created_at", Number), ("expires_at", Number)] },
    Table { name: "api_tokens", columns: &[("id", Text), ("name", Text), ("hash", Bytes), ("scopes", Text), ("created_at", Number), ("expires_at", Number),
        ("last_used_at", Number)] },
    Table { name: "users", columns: &[("id", Text), ("name", Text), ("name_key", Text), ("password", Text), ("role", Text), ("created_at", Number)] },
    Table { name: "user_roles", columns: &[("user_id", Text), ("network", Text), ("role", Text)] },
    Table { name: "second_factors", columns: &[("user_id", Text), ("secret", Bytes), ("last_step", Number)] },
    Table { name: "recovery_codes", columns: &[("user_id", Text), ("hash", Text)] },
    Table { name: "identities", columns: &[("issuer", Text), ("subject", Text), ("user_id", Text)] },
    Table { name: "webhooks", columns: &[("id", Text), ("url", Text), ("secret", Bytes), ("kinds", Text), ("network", Text), ("created_at", Number),
        ("failing_since", Number), ("last_error", Text), ("delivered_at", Number), ("disabled_at", Number), ("sealed_by", Text)] },
    Table { name: "deliveries", columns: &[("id", Number), ("webhook", Text), ("message", Text), ("event", Text), ("created_at", Number),
        ("attempts", Number), ("due_at", Number), ("leased_until", Number)] },
    Table { name: "last_backup", columns: &[("id", Number), ("made_at", Number), ("actor", Text), ("encrypted", Number), ("root_key", Number), ("bytes", Number)] },
    Table { name: "audit", columns: &[("id", Number), ("at", Number), ("actor", Text), ("action", Text), ("network", Text), ("subject", Text),
        ("state_before", Text), ("state_after", Text), ("place", Number), ("hash", Bytes)] },
    Table { name: "audit_head", columns: &[("id", Number), ("place", Number), ("hash", Bytes), ("forgotten_place", Number), ("forgotten_hash", Bytes)] },
];

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Value {
    Nothing(u8),
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rows {
    table: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// Everything that a store holds, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents(Vec<Rows>);

/// Why a store did not take contents.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It holds something.
    #[error("the store {0} is not empty: name an empty one")]
    NotEmpty(StoreUrl),
    /// The contents name what this version does not know.
    #[error("the contents hold {0:?}, which this version does not know: use a newer one")]
    Unknown(String),
    /// It failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PutError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Contents {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|table| table.rows.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Store {
    /// Everything, as of one moment.
    pub async fn contents(&self) -> Result<Contents, StoreError> {
        let mut transaction = self.read().await?;
        let mut tables = Vec::new();
        for table in TABLES {
            let columns: Vec<String> = table
                .columns
                .iter()
                .map(|(name, kind)| match kind {
                    // SQLite's type for flags has to be cast away.
                    Number => format!("CAST({name} AS BIGINT) AS {name}"),
                    Text | Bytes => (*name).to_owned(),
                })
                .collect();
            let statement = format!("SELECT {} FROM {}", columns.join(", "), table.name);
            let found = sqlx::query(AssertSqlSafe(statement))
                .fetch_all(&mut *transaction)
                .await?;
            tables.push(Rows {
                table: table.name.to_owned(),
                columns: table
                    .columns
                    .iter()
                    .map(|(name, _)| (*name).to_owned())
                    .collect(),
                rows: found
                    .iter()
                    .map(|row| values(table, row))
                    .collect::<Result<_, _>>()?,
            });
        }
        Ok(Contents(tables))
    }

    /// Puts everything into this store, which must be empty: all of it or nothing. Revisions go on `gap` further, so that
    /// nothing signed from now on can be taken for something signed before. If they come from a backup, that is the last one
    /// from now on: what it holds cannot tell of it.
    pub async fn put_contents(
        &self,
        contents: &Contents,
        gap: u32,
        from: Option<&MadeBackup>,
    ) -> Result<(), PutError> {
        let mut transaction = self.write().await?;
        let holds: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM authority) + (SELECT count(*) FROM networks) + (SELECT count(*) FROM api_tokens)",
        )
        .fetch_one(&mut *transaction)
        .await?;
        if holds != 0 {
            return Err(PutError::NotEmpty(self.url().clone()));
        }
        for rows in &contents.0 {
            // A new store has one row that is no content.
            if rows.table == "audit_head" {
                sqlx::query("DELETE FROM audit_head")
                    .execute(&mut *transaction)
                    .await?;
            }
            put_rows(&mut transaction, rows).await?;
        }
        sqlx::query("UPDATE networks SET revision = revision + $1, sequence = sequence + $1")
            .bind(i64::from(gap))
            .execute(&mut *transaction)
            .await?;
        if matches!(self.url(), StoreUrl::Postgres(_)) {
            for statement in [
                "SELECT setval(pg_get_serial_sequence('audit', 'id'), (SELECT coalesce(max(id), 0) + 1 FROM audit), false)",
                "SELECT setval(pg_get_serial_sequence('deliveries', 'id'), (SELECT coalesce(max(id), 0) + 1 FROM deliveries), false)",
            ] {
                sqlx::query(statement).execute(&mut *transaction).await?;
            }
        }
        self.hint(&mut transaction).await?;
        if let Some(backup) = from {
            backups::note(&mut transaction, backup, Done::Restored).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn put_rows(connection: &mut AnyConnection, rows: &Rows) -> Result<(), PutError> {
    let table = TABLES
        .iter()
        .find(|table| table.name == rows.table)
        .ok_or_else(|| PutError::Unknown(rows.table.clone()))?;
    let known = |column: &String| table.columns.iter().any(|(name, _)| name == column);
    if let Some(unknown) = rows.columns.iter().find(|column| !known(column)) {
        return Err(PutError::Unknown(unknown.clone()));
    }
    let places: Vec<String> = (1..=rows.columns.len())
        .map(|number| format!("${number}"))
        .collect();
    // Names come from the list above, values are bound.
    let statement = format!(
        "INSERT INTO {} ({}) VALUES ({})",
        table.name,
        rows.columns.join(", "),
        places.join(", ")
    );
    for row in &rows.rows {
        let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
        for value in row {
            query = match value {
                Value::Nothing(0) => query.bind(None::<i64>),
                Value::Nothing(1) => query.bind(None::<String>),
                Value::Nothing(_) => query.bind(None::<Vec<u8>>),
                Value::Number(number) => query.bind(*number),
                Value::Text(text) => query.bind(text.clone()),
                Value::Bytes(bytes) => query.bind(bytes.clone()),
            };
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn values(table: &Table, row: &AnyRow) -> Result<Vec<Value>, StoreError> {
    table
        .columns
        .iter()
        .map(|(name, kind)| {
            Ok(match kind {
                Number => row
                    .try_get::<Option<i64>, _>(*name)?
                    .map_or(Value::Nothing(0), Value::Number),
                Text => row
                    .try_get::<Option<String>, _>(*name)?
                    .map_or(Value::Nothing(1), Value::Text),
                Bytes => row
                    .try_get::<Option<Vec<u8>>, _>(*name)?
                    .map_or(Value::Nothing(2), Value::Bytes),
            })
        })
        .collect()
}
