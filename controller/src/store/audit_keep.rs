//! Forgetting old lines of the audit log. What is left is verified from the last line that was forgotten: its place and
//! hash stay beside the end of the chain, and a line of the log says them too, so that nobody moves them unseen.

use data_encoding::HEXLOWER;
use serde_json::json;
use sqlx::AnyConnection;

use super::{
    Actor, Store, StoreError, Trace,
    audit::{self, Entry, hold_end},
    rows,
};

/// What the line is called that tells of it.
pub(crate) const ACTION: &str = "audit.forget";
/// Lines that one transaction forgets: others wait for it.
const FORGOTTEN_TOGETHER: u64 = 5_000;

impl Store {
    /// Forgets lines that are older than so many days, and writes down that it did. Returns how many.
    pub(crate) async fn forget_audit(&self, days: u32) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let forgotten = self.forget_some(days).await?;
            total += forgotten;
            if forgotten < FORGOTTEN_TOGETHER {
                return Ok(total);
            }
        }
    }

    async fn forget_some(&self, days: u32) -> Result<u64, StoreError> {
        let mut transaction = self.write().await?;
        let (end, now) = hold_end(&mut transaction).await?;
        let from: u64 = {
            let row = sqlx::query("SELECT forgotten_place FROM audit_head WHERE id = 1")
                .fetch_one(&mut *transaction)
                .await?;
            rows::number(&row, "forgotten_place")?
        };
        let since = now.saturating_sub(u64::from(days) * 86_400);
        // Up to the first line that is to stay: clocks were set back perhaps, but the order is that of the places.
        let kept: Option<i64> =
            sqlx::query_scalar("SELECT min(place) FROM audit WHERE place IS NOT NULL AND at >= $1")
                .bind(rows::int(since))
                .fetch_one(&mut *transaction)
                .await?;
        let last_old = match kept {
            Some(place) => u64::try_from(place).unwrap_or_default().saturating_sub(1),
            None => end.place,
        };
        let through = last_old.min(from + FORGOTTEN_TOGETHER);
        if through <= from {
            return Ok(0);
        }
        let hash = hash_of(&mut transaction, through).await?;
        sqlx::query("DELETE FROM audit WHERE place <= $1")
            .bind(rows::int(through))
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE audit_head SET forgotten_place = $1, forgotten_hash = $2 WHERE id = 1")
            .bind(rows::int(through))
            .bind(&hash[..])
            .execute(&mut *transaction)
            .await?;
        let trace = Trace::made(&json!({
            "through": through,
            "hash": HEXLOWER.encode(&hash),
            "older_than_days": days,
        }));
        let subject = format!("lines {} to {through}", from + 1);
        let entry = Entry {
            actor: &Actor::Controller,
            action: ACTION,
            network: None,
            subject: &subject,
            trace: &trace,
        };
        audit::append(&mut transaction, &[entry]).await?;
        transaction.commit().await?;
        Ok(through - from)
    }
}

async fn hash_of(connection: &mut AnyConnection, place: u64) -> Result<[u8; 32], StoreError> {
    let row = sqlx::query("SELECT hash FROM audit WHERE place = $1")
        .bind(rows::int(place))
        .fetch_one(connection)
        .await?;
    rows::bytes32(&row, "hash")
}
