//! API tokens and join tokens. Only SHA-256 hashes are kept.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use sqlx::any::AnyRow;
use tombolo_proto::{
    api::{JoinToken, Token},
    id::{NetworkId, UnixSeconds},
};

use super::{Actor, CommitError, Store, StoreError, audit, rows, violates};

/// An API token with what is needed to check it.
#[derive(Debug, Clone)]
pub(crate) struct StoredToken {
    pub(crate) token: Token,
    pub(crate) hash: [u8; 32],
}

impl Store {
    /// Adds an API token.
    pub(crate) async fn add_token(
        &self,
        id: &str,
        hash: &[u8; 32],
        name: &str,
        scopes: &[String],
        expires_in: Option<u64>,
        actor: &Actor,
    ) -> Result<(), CommitError> {
        let mut transaction = self.write().await?;
        sqlx::query(
            "INSERT INTO api_tokens (id, name, hash, scopes, created_at, expires_at)
             VALUES ($1, $2, $3, $4, unixepoch(), unixepoch() + $5)",
        )
        .bind(id)
        .bind(name)
        .bind(&hash[..])
        .bind(rows::to_json(&scopes))
        .bind(expires_in.map(rows::int))
        .execute(&mut *transaction)
        .await
        .map_err(|error| {
            if violates(&error, "api_tokens", "name") {
                CommitError::NameTaken
            } else {
                error.into()
            }
        })?;
        audit::write(&mut transaction, actor, "token.create", None, name).await?;
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
            "SELECT id, name, hash, scopes, created_at, expires_at FROM api_tokens
             WHERE id = $1 AND (expires_at IS NULL OR expires_at > unixepoch())",
        )
        .bind(id)
        .fetch_optional(&mut *self.connection().await?)
        .await?;
        row.as_ref().map(stored).transpose()
    }

    /// Remembers every API token, for the time in which the store cannot be asked.
    pub(crate) async fn remember_tokens(&self) -> Result<(), StoreError> {
        let now = self.now().await?;
        let found =
            sqlx::query("SELECT id, name, hash, scopes, created_at, expires_at FROM api_tokens")
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
            "SELECT id, name, scopes, created_at, expires_at FROM api_tokens
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
        let removed = sqlx::query("DELETE FROM api_tokens WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if removed.rows_affected() == 1 {
            audit::write(&mut transaction, actor, "token.delete", None, id).await?;
        }
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(removed.rows_affected() == 1)
    }

    /// Adds a join token. Tells whether the network was there.
    pub(crate) async fn add_join_token(
        &self,
        network: NetworkId,
        id: &str,
        hash: &[u8; 32],
        uses: u32,
        expires_in: u64,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        let added = sqlx::query(
            "INSERT INTO join_tokens (id, network, hash, uses_left, created_at, expires_at)
             SELECT $1, id, $3, $4, unixepoch(), unixepoch() + $5 FROM networks WHERE id = $2",
        )
        .bind(id)
        .bind(rows::key(&network))
        .bind(&hash[..])
        .bind(i64::from(uses))
        .bind(rows::int(expires_in))
        .execute(&mut *transaction)
        .await?;
        audit::write(
            &mut transaction,
            actor,
            "join_token.create",
            Some(network),
            id,
        )
        .await?;
        self.hint(&mut transaction).await?;
        transaction.commit().await?;
        Ok(added.rows_affected() == 1)
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
    Ok(StoredToken {
        hash: rows::bytes32(row, "hash")?,
        token: api_token(row)?,
    })
}

fn api_token(row: &AnyRow) -> Result<Token, StoreError> {
    use sqlx::Row as _;
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    Ok(Token {
        id: rows::text(row, "id")?,
        name: rows::text(row, "name")?,
        scopes: rows::json(row, "scopes")?,
        created_at: rows::number(row, "created_at")?,
        expires_at: expires_at.and_then(|at| u64::try_from(at).ok()),
    })
}
