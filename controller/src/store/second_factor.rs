//! The second step of signing in, and what users change of their own.

use super::{Actor, Store, StoreError, TokenClaim, audit, rows};

/// The second factor of a user who has one.
#[derive(Debug, Clone)]
pub(crate) struct SecondFactor {
    /// The secret of the codes, sealed under the user's password.
    pub(crate) secret: Vec<u8>,
    /// Recovery codes that were not used.
    pub(crate) codes_left: u64,
}

impl Store {
    /// The second factor of a user.
    pub(crate) async fn second_factor(
        &self,
        user: &str,
    ) -> Result<Option<SecondFactor>, StoreError> {
        let found = sqlx::query(
            "SELECT secret, (SELECT count(*) FROM recovery_codes WHERE user_id = $1) AS codes_left
             FROM second_factors WHERE user_id = $1",
        )
        .bind(user)
        .fetch_optional(&mut *self.connection().await?)
        .await?;
        found
            .map(|row| {
                Ok(SecondFactor {
                    secret: sqlx::Row::try_get(&row, "secret")?,
                    codes_left: rows::number(&row, "codes_left")?,
                })
            })
            .transpose()
    }

    /// Switches a second factor on, with new recovery codes. `step` is that of the code that proved it.
    pub(crate) async fn put_second_factor(
        &self,
        (user, name): (&str, &str),
        secret: &[u8],
        step: u64,
        recovery: &[String],
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        sqlx::query(
            "INSERT INTO second_factors (user_id, secret, last_step) VALUES ($1, $2, $3)
             ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, last_step = excluded.last_step",
        )
        .bind(user)
        .bind(secret)
        .bind(rows::int(step))
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1")
            .bind(user)
            .execute(&mut *transaction)
            .await?;
        for hash in recovery {
            sqlx::query("INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2)")
                .bind(user)
                .bind(hash)
                .execute(&mut *transaction)
                .await?;
        }
        let actor = Actor::User(name.to_owned());
        audit::write(&mut transaction, &actor, "user.two_step_on", None, name).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Switches the second factor off.
    pub(crate) async fn remove_second_factor(
        &self,
        (user, name): (&str, &str),
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        for statement in [
            "DELETE FROM second_factors WHERE user_id = $1",
            "DELETE FROM recovery_codes WHERE user_id = $1",
        ] {
            sqlx::query(statement)
                .bind(user)
                .execute(&mut *transaction)
                .await?;
        }
        let actor = Actor::User(name.to_owned());
        audit::write(&mut transaction, &actor, "user.two_step_off", None, name).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Uses a code of this time step up. `false` if it, or a later one, was used already.
    pub(crate) async fn use_step(&self, user: &str, step: u64) -> Result<bool, StoreError> {
        let used = sqlx::query(
            "UPDATE second_factors SET last_step = $2 WHERE user_id = $1 AND last_step < $2",
        )
        .bind(user)
        .bind(rows::int(step))
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(used.rows_affected() == 1)
    }

    /// Uses a recovery code up. `false` if it is none of this user's.
    pub(crate) async fn use_recovery_code(
        &self,
        user: &str,
        hash: &str,
    ) -> Result<bool, StoreError> {
        let used = sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2")
            .bind(user)
            .bind(hash)
            .execute(&mut *self.connection().await?)
            .await?;
        Ok(used.rows_affected() == 1)
    }

    /// A new password of the user's own: every session but this one ends. `secret` is that of the second factor, sealed
    /// under the new password, if there is one.
    pub(crate) async fn change_own_password(
        &self,
        (user, name): (&str, &str),
        password: &str,
        secret: Option<&[u8]>,
        kept: &TokenClaim,
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        sqlx::query("UPDATE users SET password = $2 WHERE id = $1")
            .bind(user)
            .bind(password)
            .execute(&mut *transaction)
            .await?;
        if let Some(secret) = secret {
            sqlx::query("UPDATE second_factors SET secret = $2 WHERE user_id = $1")
                .bind(user)
                .bind(secret)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2")
            .bind(user)
            .bind(&kept.id)
            .execute(&mut *transaction)
            .await?;
        let actor = Actor::User(name.to_owned());
        audit::write(&mut transaction, &actor, "user.password", None, name).await?;
        transaction.commit().await?;
        Ok(())
    }
}
