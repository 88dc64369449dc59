//! Users, their roles, and the link that makes the first one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{AnyConnection, any::AnyRow};
use tombolo_domain::{name::Name, rights::Rights};
use tombolo_proto::{
    api::{Role, User},
    id::NetworkId,
};

use super::{
    Actor, CommitError, Expected, Kept, Store, StoreError, Trace, answers, audit, rows, violates,
};

/// A user to be made.
#[derive(Debug)]
pub(crate) struct FreshUser<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a Name,
    /// The hash of the password; none: they sign in with an account at an identity provider.
    pub(crate) password: Option<&'a str>,
    pub(crate) role: Role,
    pub(crate) networks: &'a BTreeMap<NetworkId, Role>,
}

/// What shall become different.
#[derive(Debug)]
pub(crate) struct UserChange<'a> {
    /// The hash of a new password.
    pub(crate) password: Option<&'a str>,
    pub(crate) role: Option<Role>,
    pub(crate) networks: Option<&'a BTreeMap<NetworkId, Role>>,
}

/// How changing a user ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Done,
    /// There is no such user.
    Unknown,
    /// The caller saw another state.
    Stale,
    /// Nobody would be left who may do everything.
    LastAdmin,
}

/// A user with what is needed to check a password.
#[derive(Debug, Clone)]
pub(crate) struct StoredUser {
    pub(crate) user: User,
    /// The hash, if they have one.
    pub(crate) password: Option<String>,
}

impl Store {
    /// Adds a user.
    pub(crate) async fn add_user(
        &self,
        fresh: &FreshUser<'_>,
        actor: &Actor,
        answer: &(dyn Fn(&User) -> Option<Kept> + Send + Sync),
    ) -> Result<User, CommitError> {
        let mut transaction = self.write().await?;
        insert(&mut transaction, fresh).await?;
        let row =
            sqlx::query("SELECT id, name, password, role, created_at FROM users WHERE id = $1")
                .bind(fresh.id)
                .fetch_one(&mut *transaction)
                .await?;
        let user = user(&mut transaction, &row).await?;
        if let Some(kept) = answer(&user) {
            answers::keep(&mut transaction, &kept).await?;
        }
        let (name, trace) = (fresh.name.as_str(), made(fresh));
        write(&mut transaction, actor, "user.create", name, &trace).await?;
        transaction.commit().await?;
        Ok(user)
    }

    /// Users, in order of id, after the given one.
    pub(crate) async fn users(&self, after: &str, limit: u32) -> Result<Vec<User>, StoreError> {
        let mut transaction = self.read().await?;
        let found = sqlx::query("SELECT * FROM users WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&mut *transaction)
            .await?;
        let mut users = Vec::new();
        for row in &found {
            users.push(user(&mut transaction, row).await?);
        }
        Ok(users)
    }

    /// A user by id.
    pub(crate) async fn user(&self, id: &str) -> Result<Option<User>, StoreError> {
        let mut transaction = self.read().await?;
        let found = sqlx::query("SELECT * FROM users WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        match found {
            Some(row) => user(&mut transaction, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// A user by name, to sign in.
    pub(crate) async fn user_to_check(
        &self,
        name: &Name,
    ) -> Result<Option<StoredUser>, StoreError> {
        let mut transaction = self.read().await?;
        let found = sqlx::query("SELECT * FROM users WHERE name_key = $1")
            .bind(name.key())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(row) = found else {
            return Ok(None);
        };
        let password = rows::text(&row, "password")?;
        Ok(Some(StoredUser {
            user: user(&mut transaction, &row).await?,
            password: (!password.is_empty()).then_some(password),
        }))
    }

    /// Changes a user who is as `expected`. A new password ends every session and removes the second factor.
    pub(crate) async fn change_user(
        &self,
        id: &str,
        change: &UserChange<'_>,
        expected: Expected<'_, User>,
        actor: &Actor,
    ) -> Result<Changed, StoreError> {
        let mut transaction = self.write().await?;
        let Some(user) = lock(&mut transaction, id).await? else {
            return Ok(Changed::Unknown);
        };
        if !expected(&user) {
            return Ok(Changed::Stale);
        }
        let role = user.role;
        let wanted = change.role.unwrap_or(role);
        if wanted < role && is_last_admin(&mut transaction, role).await? {
            return Ok(Changed::LastAdmin);
        }
        put_role(&mut transaction, id, wanted).await?;
        if let Some(password) = change.password {
            sqlx::query("UPDATE users SET password = $1 WHERE id = $2")
                .bind(password)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            // The second factor is sealed under the old password.
            for statement in [
                "DELETE FROM sessions WHERE user_id = $1",
                "DELETE FROM second_factors WHERE user_id = $1",
                "DELETE FROM recovery_codes WHERE user_id = $1",
            ] {
                sqlx::query(statement)
                    .bind(id)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        if let Some(networks) = change.networks {
            put_roles(&mut transaction, id, networks).await?;
        }
        let after = roles(&mut transaction, id).await?;
        let mut is = shown(wanted, &after);
        if change.password.is_some() {
            is["password"] = "changed".into();
        }
        let trace = Trace::changed(&shown(role, &user.networks), &is);
        write(&mut transaction, actor, "user.update", &user.name, &trace).await?;
        transaction.commit().await?;
        Ok(Changed::Done)
    }

    /// Removes a user who is as `expected`, and ends every session.
    pub(crate) async fn remove_user(
        &self,
        id: &str,
        expected: Expected<'_, User>,
        actor: &Actor,
    ) -> Result<Changed, StoreError> {
        let mut transaction = self.write().await?;
        let Some(user) = lock(&mut transaction, id).await? else {
            return Ok(Changed::Unknown);
        };
        if !expected(&user) {
            return Ok(Changed::Stale);
        }
        if is_last_admin(&mut transaction, user.role).await? {
            return Ok(Changed::LastAdmin);
        }
        sqlx::query("DELETE FROM users WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        let trace = Trace::removed(&shown(user.role, &user.networks));
        write(&mut transaction, actor, "user.delete", &user.name, &trace).await?;
        transaction.commit().await?;
        Ok(Changed::Done)
    }

    /// Makes this the one link that makes the first user. Tells whether there is a use for it: no user yet.
    pub(crate) async fn put_setup_link(
        &self,
        hash: &[u8; 32],
        lifetime: u64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.write().await?;
        if count_users(&mut transaction).await? > 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO setup_link (id, hash, expires_at) VALUES (1, $1, unixepoch() + $2)
             ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at",
        )
        .bind(&hash[..])
        .bind(rows::int(lifetime))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether a setup link works now.
    pub(crate) async fn setup_link_works(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let found: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM setup_link WHERE hash = $1 AND expires_at > unixepoch()",
        )
        .bind(&hash[..])
        .fetch_one(&mut *self.connection().await?)
        .await?;
        Ok(found == 1)
    }

    /// Uses the setup link up to make the first user. Tells whether it worked.
    pub(crate) async fn set_up(
        &self,
        hash: &[u8; 32],
        fresh: &FreshUser<'_>,
    ) -> Result<bool, CommitError> {
        let mut transaction = self.write().await?;
        let used =
            sqlx::query("DELETE FROM setup_link WHERE hash = $1 AND expires_at > unixepoch()")
                .bind(&hash[..])
                .execute(&mut *transaction)
                .await?;
        if used.rows_affected() != 1 || count_users(&mut transaction).await? > 0 {
            return Ok(false);
        }
        insert(&mut transaction, fresh).await?;
        let (actor, name) = (Actor::Controller, fresh.name.as_str());
        let trace = made(fresh);
        write(&mut transaction, &actor, "user.setup", name, &trace).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    fresh: &FreshUser<'_>,
) -> Result<(), CommitError> {
    sqlx::query(
        "INSERT INTO users (id, name, name_key, password, role, created_at)
         VALUES ($1, $2, $3, $4, $5, unixepoch())",
    )
    .bind(fresh.id)
    .bind(fresh.name.as_str())
    .bind(fresh.name.key())
    .bind(fresh.password.unwrap_or_default())
    .bind(rows::role(fresh.role))
    .execute(&mut *connection)
    .await
    .map_err(|error| {
        if violates(&error, "users", "name_key") {
            CommitError::NameTaken
        } else {
            error.into()
        }
    })?;
    put_roles(connection, fresh.id, fresh.networks).await?;
    Ok(())
}

async fn write(
    connection: &mut AnyConnection,
    actor: &Actor,
    action: &str,
    subject: &str,
    trace: &Trace,
) -> Result<(), sqlx::Error> {
    let entry = audit::Entry {
        actor,
        action,
        network: None,
        subject,
        trace,
    };
    audit::append(connection, &[entry]).await
}

/// Makes a user's rights these; what was changed, if anything.
pub(super) async fn assign(
    connection: &mut AnyConnection,
    id: &str,
    rights: &Rights,
) -> Result<Option<Trace>, StoreError> {
    let Some(held) = lock(connection, id).await? else {
        return Ok(None);
    };
    let before = roles(connection, id).await?;
    put_role(connection, id, rights.everywhere).await?;
    put_roles(connection, id, &rights.networks).await?;
    let after = roles(connection, id).await?;
    let (was, is) = (shown(held.role, &before), shown(rights.everywhere, &after));
    Ok((was != is).then(|| Trace::changed(&was, &is)))
}

pub(super) async fn name(connection: &mut AnyConnection, id: &str) -> Result<String, StoreError> {
    let row = sqlx::query("SELECT name FROM users WHERE id = $1")
        .bind(id)
        .fetch_one(connection)
        .await?;
    rows::text(&row, "name")
}

/// What the audit log shows of a new user.
pub(super) fn made(fresh: &FreshUser<'_>) -> Trace {
    Trace::made(&shown(fresh.role, fresh.networks))
}

/// What the audit log shows of a user.
fn shown(role: Role, networks: &BTreeMap<NetworkId, Role>) -> Value {
    json!({ "role": role, "networks": networks })
}

async fn put_role(
    connection: &mut AnyConnection,
    user: &str,
    role: Role,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET role = $1 WHERE id = $2")
        .bind(rows::role(role))
        .bind(user)
        .execute(connection)
        .await?;
    Ok(())
}

/// Roles in networks that are not there are forgotten.
async fn put_roles(
    connection: &mut AnyConnection,
    user: &str,
    networks: &BTreeMap<NetworkId, Role>,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM user_roles WHERE user_id = $1")
        .bind(user)
        .execute(&mut *connection)
        .await?;
    for (network, role) in networks {
        sqlx::query(
            "INSERT INTO user_roles (user_id, network, role) SELECT $1, id, $3 FROM networks WHERE id = $2",
        )
        .bind(user)
        .bind(rows::key(network))
        .bind(rows::role(*role))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// A user's name and role; nobody else changes a role until the transaction ends.
async fn lock(connection: &mut AnyConnection, id: &str) -> Result<Option<User>, StoreError> {
    // Touches every administrator, so that two of them never put each other out at once.
    sqlx::query("UPDATE users SET role = role WHERE role = 'admin' OR id = $1")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let found = sqlx::query("SELECT id, name, password, role, created_at FROM users WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    match found {
        Some(row) => user(connection, &row).await.map(Some),
        None => Ok(None),
    }
}

async fn is_last_admin(connection: &mut AnyConnection, role: Role) -> Result<bool, sqlx::Error> {
    let admins: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE role = 'admin'")
        .fetch_one(connection)
        .await?;
    Ok(role == Role::Admin && admins == 1)
}

async fn count_users(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(connection)
        .await
}

pub(super) async fn user(connection: &mut AnyConnection, row: &AnyRow) -> Result<User, StoreError> {
    let id = rows::text(row, "id")?;
    Ok(User {
        name: rows::text(row, "name")?,
        role: rows::role_of(row)?,
        networks: roles(connection, &id).await?,
        has_password: !rows::text(row, "password")?.is_empty(),
        created_at: rows::number(row, "created_at")?,
        id,
    })
}

async fn roles(
    connection: &mut AnyConnection,
    user: &str,
) -> Result<BTreeMap<NetworkId, Role>, StoreError> {
    let found = sqlx::query("SELECT network, role FROM user_roles WHERE user_id = $1")
        .bind(user)
        .fetch_all(connection)
        .await?;
    found
        .iter()
        .map(|row| Ok((rows::parsed(row, "network")?, rows::role_of(row)?)))
        .collect()
}
