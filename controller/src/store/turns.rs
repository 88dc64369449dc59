//! Replicas that want to change the same network wait for each other instead of colliding: whoever loses a race has decided
//! and signed in vain, and the one that is faster by a little would win every time.
//!
//! It is a courtesy and no more. What keeps two changes apart is the network's sequence, which a commit names.

use sqlx::{Any, Transaction};
use tombolo_proto::id::NetworkId;

use super::{Store, StoreError, StoreUrl};

/// SQLSTATE of a lock that was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// Whoever has waited so long goes on without: the holder may have died with its connection open.
const PATIENCE: &str = "SET LOCAL lock_timeout = 1000";

/// A network's turn. It ends when this is released or dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Transaction<'static, Any>>);

impl Turn {
    /// Somebody else may go on.
    pub(crate) async fn release(self) {
        if let Some(transaction) = self.0 {
            // If the connection is lost, so is the lock.
            let _ = transaction.rollback().await;
        }
    }
}

impl Store {
    /// Waits for a network's turn among all replicas. The only replica of a file needs none.
    pub(crate) async fn turn(&self, network: NetworkId) -> Result<Turn, StoreError> {
        if matches!(self.url, StoreUrl::Sqlite(_)) {
            return Ok(Turn(None));
        }
        self.health.check()?;
        let mut transaction = self.health.judge(self.turns.begin().await)?;
        sqlx::query(PATIENCE).execute(&mut *transaction).await?;
        let taken = sqlx::query("SELECT 1 FROM pg_advisory_xact_lock($1)")
            .bind(number(network))
            .execute(&mut *transaction)
            .await;
        match taken {
            Ok(_) => Ok(Turn(Some(transaction))),
            Err(error) if is_late(&error) => Ok(Turn(None)),
            Err(error) => self.health.judge(Err(error)),
        }
    }
}

fn is_late(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|database| database.code())
        .is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// Locks have numbers, and a database of our own has no others.
fn number(network: NetworkId) -> i64 {
    network.get().cast_signed()
}
