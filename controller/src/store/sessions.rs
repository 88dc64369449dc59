//! Who is signed in. Every replica accepts every session; only SHA-256 hashes are kept.

use std::{net::IpAddr, sync::Arc, time::Duration};

use dashmap::DashMap;
use serde_json::json;
use sqlx::AnyConnection;
use tokio::time::Instant;
use tombolo_proto::api::User;

use super::{
    Actor, Store, StoreError, TokenClaim, Trace,
    audit::{self, Entry},
    rows, users,
};
use crate::token;

/// Seconds without a request after which a session ends.
pub(crate) const IDLE_SECONDS: u64 = 12 * 3600;
/// Seconds after which a session ends whatever happens.
pub(crate) const LIFETIME_SECONDS: u64 = 7 * 24 * 3600;
/// Seconds after which the store is told that a session is still in use: not at every request.
const TOUCH_SECONDS: u64 = 60;
/// Sessions that are remembered for the time in which the store cannot be asked.
const MAX_KNOWN: usize = 1024;
/// For how long: a session that ends elsewhere meanwhile is not heard of.
const KNOWN_FOR: Duration = Duration::from_secs(3600);

/// What somebody showed beside a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondStep {
    /// A code that their app shows.
    App,
    /// One of the codes for the day on which the app is lost.
    RecoveryCode,
}

/// Sessions that were asked for while the store answered.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownSessions(Arc<DashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    hash: [u8; 32],
    user: User,
    at: Instant,
}

impl Store {
    /// Begins a session for somebody who showed their password, and perhaps a second step.
    pub(crate) async fn sign_in(
        &self,
        session: &TokenClaim,
        (user, name): (&str, &str),
        source: IpAddr,
        step: Option<SecondStep>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        insert(&mut transaction, session, user).await?;
        let second_step = step.map(|step| match step {
            SecondStep::App => "app",
            SecondStep::RecoveryCode => "recovery code",
        });
        let trace = Trace::made(&match second_step {
            Some(step) => json!({ "source": source.to_canonical(), "second_step": step }),
            None => json!({ "source": source.to_canonical() }),
        });
        let actor = Actor::User(name.to_owned());
        told(&mut transaction, &actor, "user.sign_in", name, &trace).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Writes down that somebody was not let in. The name is that of a user, or empty: what else was typed may be a
    /// password. `earlier` ones have no line of their own.
    pub(crate) async fn sign_in_refused(
        &self,
        name: &str,
        source: IpAddr,
        earlier: u64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        let trace = Trace::made(&match earlier {
            0 => json!({ "source": source.to_canonical() }),
            _ => json!({ "source": source.to_canonical(), "earlier_refusals": earlier }),
        });
        let action = "user.sign_in_refused";
        told(&mut transaction, &Actor::Nobody, action, name, &trace).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Whose session this is, unless it is over. While the store is unreachable, as it was last seen there.
    pub(crate) async fn live_session(
        &self,
        session: &TokenClaim,
    ) -> Result<Option<User>, StoreError> {
        let asked = tokio::select! {
            biased;
            answered = self.stored_session(session) => answered,
            () = self.health().wait_down() => Err(StoreError::Unreachable),
        };
        match asked {
            Ok(Some(user)) => {
                self.sessions.remember(session, &user);
                Ok(Some(user))
            }
            Ok(None) => {
                self.sessions.0.remove(&session.id);
                Ok(None)
            }
            Err(error) if error.is_outage() => {
                self.health().suspect(&error);
                Ok(self.sessions.get(session))
            }
            Err(error) => Err(error),
        }
    }

    async fn stored_session(&self, session: &TokenClaim) -> Result<Option<User>, StoreError> {
        let mut transaction = self.read().await?;
        let found = sqlx::query(
            "SELECT users.*, sessions.hash AS hash, unixepoch() - sessions.seen_at AS idle
             FROM sessions JOIN users ON users.id = sessions.user_id
             WHERE sessions.id = $1 AND expires_at > unixepoch() AND seen_at > unixepoch() - $2",
        )
        .bind(&session.id)
        .bind(rows::int(IDLE_SECONDS))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = found else {
            return Ok(None);
        };
        if !token::same(&rows::bytes32(&row, "hash")?, &session.hash) {
            return Ok(None);
        }
        let user = users::user(&mut transaction, &row).await?;
        let idle: i64 = sqlx::Row::try_get(&row, "idle")?;
        drop(transaction);
        if idle > rows::int(TOUCH_SECONDS) {
            sqlx::query("UPDATE sessions SET seen_at = unixepoch() WHERE id = $1")
                .bind(&session.id)
                .execute(&mut *self.connection().await?)
                .await?;
        }
        Ok(Some(user))
    }

    /// Ends a session of the user of this name.
    pub(crate) async fn sign_out(
        &self,
        session: &TokenClaim,
        name: &str,
        source: IpAddr,
    ) -> Result<(), StoreError> {
        self.sessions.0.remove(&session.id);
        let mut transaction = self.write().await?;
        let ended = sqlx::query("DELETE FROM sessions WHERE id = $1 AND hash = $2")
            .bind(&session.id)
            .bind(&session.hash[..])
            .execute(&mut *transaction)
            .await?;
        if ended.rows_affected() == 1 {
            let trace = Trace::made(&json!({ "source": source.to_canonical() }));
            let actor = Actor::User(name.to_owned());
            told(&mut transaction, &actor, "user.sign_out", name, &trace).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets sessions that are over.
    pub(crate) async fn forget_old_sessions(&self) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM sessions WHERE expires_at <= unixepoch() OR seen_at <= unixepoch() - $1",
        )
        .bind(rows::int(IDLE_SECONDS))
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(())
    }
}

async fn told(
    connection: &mut AnyConnection,
    actor: &Actor,
    action: &str,
    name: &str,
    trace: &Trace,
) -> Result<(), sqlx::Error> {
    let entry = Entry {
        actor,
        action,
        network: None,
        subject: name,
        trace,
    };
    audit::append(connection, &[entry]).await
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    session: &TokenClaim,
    user: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO sessions (id, hash, user_id, seen_at, expires_at)
         VALUES ($1, $2, $3, unixepoch(), unixepoch() + $4)",
    )
    .bind(&session.id)
    .bind(&session.hash[..])
    .bind(user)
    .bind(rows::int(LIFETIME_SECONDS))
    .execute(connection)
    .await?;
    Ok(())
}

impl KnownSessions {
    fn remember(&self, session: &TokenClaim, user: &User) {
        if self.0.len() >= MAX_KNOWN {
            self.0.clear();
        }
        let known = Known {
            hash: session.hash,
            user: user.clone(),
            at: Instant::now(),
        };
        self.0.insert(session.id.clone(), known);
    }

    fn get(&self, session: &TokenClaim) -> Option<User> {
        let known = self.0.get(&session.id)?;
        let counts = token::same(&known.hash, &session.hash) && known.at.elapsed() < KNOWN_FOR;
        counts.then(|| known.user.clone())
    }
}
