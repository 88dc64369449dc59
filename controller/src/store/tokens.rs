//! API tokens and join tokens. Only SHA-256 hashes are kept.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use serde_json::json;
use sqlx::any::AnyRow;
use tombolo_proto::{
    api::{JoinToken, Token},
    id::{NetworkId, UnixSeconds},
};

use super::{Actor, CommitError, Kept, Store, StoreError, Trace, answers, audit, rows, violates};

/// An API token with what is needed to check it.
#[derive(Debug, Clone)]
pub(crate) struct StoredToken {
    pub(crate) token: Token,
    pub(crate) hash: [u8; 32],
    /// Seconds since it was shown last, as far as the store knows.
    unused_for: Option<u64>,
}

/// An API token to be made.
#[derive(Debug)]
pub(crate) struct FreshToken<'a> {
    pub(crate) id: &'a str,
    pub(crate) hash: &'a [u8; 32],
    pub(crate) name: &'a str,
    pub(crate) scopes: &'a [String],
    pub(crate) expires_in: Option<u64>,
}

/// A join token to be made.
#[derive(Debug)]
pub(crate) struct FreshJoinToken<'a> {
    pub(crate) network: NetworkId,
    pub(crate) id: &'a str,
    pub(crate) hash: &'a [u8; 32],
    pub(crate) uses: u32,
    pub(crate) expires_in: u64,
}

/// The store is told once in so many seconds that a token is in use: not at every request.
const TOUCH_SECONDS: u64 = 60;

impl Store {
    /// Adds an API token.
    pub(crate) async fn add_token(
        &self,
        fresh: &FreshToken<'_>,
        actor: &Actor,
        answer: Option<&Kept>,
    ) -> Result<(), CommitError> {
        let mut transaction = self.write().await?;
        sqlx::query(
            "INSERT INTO api_tokens (id, name, hash, scopes, created_at, expires_at)
             VALUES ($1, $2, $3, $4, unixepoch(), unixepoch() + $5)",
        )
        .bind(fresh.id)
        .bind(fresh.name)
        .bind(&fresh.hash[..])
        .bind(rows::to_json(&fresh.scopes))
        .bind(fresh.expires_in.map(rows::int))
        .execute(&mut *transaction)
        .await
        .map_err(|error| {
            if violates(&error, "api_tokens", "name") {
                CommitError::NameTaken
            } else {
                error.into()
            }
        })?;
        if let Some(kept) = answer {
            answers::keep(&mut transaction, kept).await?;
        }
        let made = json!({
            "id": fresh.id,
            "scopes": fresh.scopes,
            "expires_in": fresh.expires_in,
        });
        let entry = audit::Entry {
            actor,
            action: "token.create",
            network: None,
            subject: fresh.name,
            trace: &Trace::made(&made),
        };
        audit::append(&mut transaction, &[entry]).await?;
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The API token with this id, unless it has expired. While the store is unreachable, as it was last seen there.
    pub(crate) async fn live_token(&self, id: &str) -> Result<Option<StoredToken>, StoreError> {
        let asked = tokio::select! {
            biased;
            answered = self.stored_token(id) => answered,
            () = self.health().wait_down() => Err(StoreError::Unreachable),
        };
        match asked {
            Err(error) if error.is_outage() => {
                self.health().suspect(&error);
                Ok(self.tokens.get(id))
            }
            answered => answered,
        }
    }

    async fn stored_token(&self, id: &str) -> Result<Option<StoredToken>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, hash, scopes, created_at, expires_at, last_used_at, unixepoch() - last_used_at AS unused_for
             FROM api_tokens WHERE id = $1 AND (expires_at IS NULL OR expires_at > unixepoch())",
        )
        .bind(id)
        .fetch_optional(&mut *self.connection().await?)
        .await?;
        row.as_ref().map(stored).transpose()
    }

    /// Writes down that a token was shown, unless that stands there already. Nothing depends on it, so a store that does
    /// not answer is no error.
    pub(crate) async fn touch_token(&self, shown: &StoredToken) {
        if shown
            .unused_for
            .is_some_and(|seconds| seconds < TOUCH_SECONDS)
        {
            return;
        }
        let touch = async {
            sqlx::query("UPDATE api_tokens SET last_used_at = unixepoch() WHERE id = $1")
                .bind(&shown.token.id)
                .execute(&mut *self.report().await?)
                .await?;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = touch.await {
            tracing::debug!(%error, "the use of a token is not written down");
        }
    }

    /// Remembers every API token, for the time in which the store cannot be asked.
    pub(crate) async fn remember_tokens(&self) -> Result<(), StoreError> {
        let now = self.now().await?;
        let found =
            sqlx::query(
                "SELECT id, name, hash, scopes, created_at, expires_at, last_used_at, unixepoch() - last_used_at AS unused_for
                 FROM api_tokens",
            )
                .fetch_all(&mut *self.connection().await?)
                .await?;
        let tokens = found
            .iter()
            .map(|row| stored(row).map(|token| (token.token.id.clone(), token)))
            .collect::<Result<_, _>>()?;
        self.tokens.remember(tokens, now);
        Ok(())
    }

    /// API tokens, in order of id, after the given one.
    pub(crate) async fn tokens(&self, after: &str, limit: u32) -> Result<Vec<Token>, StoreError> {
        let found = sqlx::query(
            "SELECT id, name, scopes, created_at, expires_at, last_used_at FROM api_tokens
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        found.iter().map(api_token).collect()
    }

    /// Removes an API token. Tells whether it was there.
    pub(crate) async fn remove_token(&self, id: &str, actor: &Actor) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let removed = sqlx::query(
            "DELETE FROM api_tokens WHERE id = $1 RETURNING id, name, scopes, created_at, expires_at, last_used_at",
        )
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(row) = &removed {
            let gone = api_token(row)?;
            let entry = audit::Entry {
                actor,
                action: "token.delete",
                network: None,
                subject: id,
                trace: &Trace::removed(&json!({ "name": gone.name, "scopes": gone.scopes })),
            };
            audit::append(&mut transaction, &[entry]).await?;
        }
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(removed.is_some())
    }

    /// Adds a join token. Tells whether the network was there.
    pub(crate) async fn add_join_token(
        &self,
        fresh: &FreshJoinToken<'_>,
        actor: &Actor,
        answer: Option<&Kept>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let added = sqlx::query(
            "INSERT INTO join_tokens (id, network, hash, uses_left, created_at, expires_at)
             SELECT $1, id, $3, $4, unixepoch(), unixepoch() + $5 FROM networks WHERE id = $2",
        )
        .bind(fresh.id)
        .bind(rows::key(&fresh.network))
        .bind(&fresh.hash[..])
        .bind(i64::from(fresh.uses))
        .bind(rows::int(fresh.expires_in))
        .execute(&mut *transaction)
        .await?;
        if added.rows_affected() != 1 {
            return Ok(false);
        }
        if let Some(kept) = answer {
            answers::keep(&mut transaction, kept).await?;
        }
        let made = json!({ "uses": fresh.uses, "expires_in": fresh.expires_in });
        let entry = audit::Entry {
            actor,
            action: "join_token.create",
            network: Some(fresh.network),
            subject: fresh.id,
            trace: &Trace::made(&made),
        };
        audit::append(&mut transaction, &[entry]).await?;
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Join tokens of a network, in order of id, after the given one.
    pub(crate) async fn join_tokens(
        &self,
        network: NetworkId,
        after: &str,
        limit: u32,
    ) -> Result<Vec<JoinToken>, StoreError> {
        let found = sqlx::query(
            "SELECT id, uses_left, created_at, expires_at FROM join_tokens
             WHERE network = $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(rows::key(&network))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        found
            .iter()
            .map(|row| {
                Ok(JoinToken {
                    id: rows::text(row, "id")?,
                    uses_left: rows::number(row, "uses_left")?,
                    created_at: rows::number(row, "created_at")?,
                    expires_at: rows::number(row, "expires_at")?,
                })
            })
            .collect()
    }

    /// Removes a join token. Tells whether it was there.
    pub(crate) async fn remove_join_token(
        &self,
        network: NetworkId,
        id: &str,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let removed = sqlx::query("DELETE FROM join_tokens WHERE network = $1 AND id = $2")
            .bind(rows::key(&network))
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if removed.rows_affected() == 1 {
            audit::write(
                &mut transaction,
                actor,
                "join_token.delete",
                Some(network),
                id,
            )
            .await?;
        }
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(removed.rows_affected() == 1)
    }

    /// Forgets join tokens that expired a week ago or longer.
    pub(crate) async fn forget_old_join_tokens(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM join_tokens WHERE expires_at < unixepoch() - 604800")
            .execute(&mut *self.connection().await?)
            .await?;
        Ok(())
    }
}

/// The API tokens as they were when the store last answered.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownTokens(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    tokens: HashMap<String, StoredToken>,
    /// The database's time, and ours, of that answer: its clock goes on by ours.
    at: Option<(UnixSeconds, Instant)>,
}

impl KnownTokens {
    fn remember(&self, tokens: HashMap<String, StoredToken>, now: UnixSeconds) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Known {
            tokens,
            at: Some((now, Instant::now())),
        };
    }

    fn get(&self, id: &str) -> Option<StoredToken> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (then, since) = known.at?;
        let now = then.0 + since.elapsed().as_secs();
        known
            .tokens
            .get(id)
            .filter(|stored| stored.token.expires_at.is_none_or(|end| end > now))
            .cloned()
    }
}

fn stored(row: &AnyRow) -> Result<StoredToken, StoreError> {
    use sqlx::Row as _;
    let unused_for: Option<i64> = row.try_get("unused_for")?;
    Ok(StoredToken {
        hash: rows::bytes32(row, "hash")?,
        token: api_token(row)?,
        unused_for: unused_for.map(|seconds| u64::try_from(seconds).unwrap_or_default()),
    })
}

fn api_token(row: &AnyRow) -> Result<Token, StoreError> {
    use sqlx::Row as _;
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    let last_used_at: Option<i64> = row.try_get("last_used_at")?;
    Ok(Token {
        id: rows::text(row, "id")?,
        name: rows::text(row, "name")?,
        scopes: rows::json(row, "scopes")?,
        created_at: rows::number(row, "created_at")?,
        expires_at: expires_at.and_then(|at| u64::try_from(at).ok()),
        last_used_at: last_used_at.and_then(|at| u64::try_from(at).ok()),
    })
}
