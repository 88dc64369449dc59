//! Who signs in with an account at an identity provider, and for whom that stands.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::json;
use sqlx::AnyConnection;
use tombolo_domain::{name::Name, rights::Rights};
use tombolo_proto::api::Role;

use super::{
    Actor, CommitError, FreshUser, Store, StoreError, TokenClaim, Trace, audit, rows, sessions,
    users,
};
use crate::token;

/// Somebody for whom a provider vouches.
#[derive(Debug)]
pub(crate) struct Vouched<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    /// What they are called: counts while nobody is known by the subject.
    pub(crate) name: &'a Name,
    /// What they may do from now on; none: what an administrator gave them.
    pub(crate) rights: Option<&'a Rights>,
    /// Where they ask from.
    pub(crate) source: IpAddr,
    /// Make a user if there is none.
    pub(crate) create: bool,
}

/// How signing in with a provider's account ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignOn {
    Done,
    /// There is no such user.
    Unknown,
    /// The name is that of a user with a password, or of one whom somebody else's account stands for. A provider does not
    /// take users over by calling somebody the same.
    Taken,
}

/// A line for the audit log. They are written last, because whoever writes one holds up everybody else who wants to.
struct Told {
    actor: Actor,
    action: &'static str,
    trace: Trace,
}

impl Store {
    /// Begins a session for somebody for whom a provider vouches.
    pub(crate) async fn sign_on(
        &self,
        vouched: &Vouched<'_>,
        session: &TokenClaim,
    ) -> Result<SignOn, CommitError> {
        let mut transaction = self.write().await?;
        let mut told = Vec::new();
        let user = match known(&mut transaction, vouched).await? {
            Some(user) => user,
            None => match introduce(&mut transaction, vouched, &mut told).await? {
                Ok(user) => user,
                Err(refused) => return Ok(refused),
            },
        };
        if let Some(rights) = vouched.rights
            && let Some(trace) = users::assign(&mut transaction, &user, rights).await?
        {
            told.push(by_controller("user.update", trace));
        }
        let name = users::name(&mut transaction, &user).await?;
        sessions::insert(&mut transaction, session, &user).await?;
        told.push(Told {
            actor: Actor::User(name.clone()),
            action: "user.sign_in",
            trace: Trace::made(
                &json!({ "source": vouched.source.to_canonical(), "issuer": vouched.issuer }),
            ),
        });
        let entries: Vec<_> = told.iter().map(|told| told.entry(&name)).collect();
        audit::append(&mut transaction, &entries).await?;
        transaction.commit().await?;
        Ok(SignOn::Done)
    }

    /// Ends the sessions of somebody whom the provider no longer lets do anything.
    pub(crate) async fn end_sessions(&self, issuer: &str, subject: &str) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM sessions WHERE user_id IN (SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2)",
        )
        .bind(issuer)
        .bind(subject)
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(())
    }
}

impl Told {
    const fn entry<'a>(&'a self, name: &'a str) -> audit::Entry<'a> {
        audit::Entry {
            actor: &self.actor,
            action: self.action,
            network: None,
            subject: name,
            trace: &self.trace,
        }
    }
}

const fn by_controller(action: &'static str, trace: Trace) -> Told {
    Told {
        actor: Actor::Controller,
        action,
        trace,
    }
}

/// The user whom the account stands for; nobody else signs in with it until the transaction ends.
async fn known(
    connection: &mut AnyConnection,
    vouched: &Vouched<'_>,
) -> Result<Option<String>, StoreError> {
    let found = sqlx::query(
        "UPDATE identities SET subject = subject WHERE issuer = $1 AND subject = $2 RETURNING user_id",
    )
    .bind(vouched.issuer)
    .bind(vouched.subject)
    .fetch_optional(connection)
    .await?;
    found.map(|row| rows::text(&row, "user_id")).transpose()
}

/// Has the account stand for the user of that name, who was made for this, or for a new one.
async fn introduce(
    connection: &mut AnyConnection,
    vouched: &Vouched<'_>,
    told: &mut Vec<Told>,
) -> Result<Result<String, SignOn>, CommitError> {
    let found = sqlx::query(
        "SELECT id, password, (SELECT count(*) FROM identities WHERE user_id = users.id AND issuer = $2) AS accounts
         FROM users WHERE name_key = $1",
    )
    .bind(vouched.name.key())
    .bind(vouched.issuer)
    .fetch_optional(&mut *connection)
    .await?;
    let user = match found {
        Some(row) => {
            let accounts: u64 = rows::number(&row, "accounts")?;
            if accounts > 0 || !rows::text(&row, "password")?.is_empty() {
                return Ok(Err(SignOn::Taken));
            }
            rows::text(&row, "id")?
        }
        None if vouched.create => {
            let id = token::id();
            let fresh = FreshUser {
                id: &id,
                name: vouched.name,
                password: None,
                role: Role::None,
                networks: &BTreeMap::new(),
            };
            users::insert(connection, &fresh).await?;
            told.push(by_controller("user.create", users::made(&fresh)));
            id
        }
        None => return Ok(Err(SignOn::Unknown)),
    };
    sqlx::query("INSERT INTO identities (issuer, subject, user_id) VALUES ($1, $2, $3)")
        .bind(vouched.issuer)
        .bind(vouched.subject)
        .bind(&user)
        .execute(&mut *connection)
        .await?;
    let account = json!({ "issuer": vouched.issuer, "subject": vouched.subject });
    told.push(by_controller("user.identity", Trace::made(&account)));
    Ok(Ok(user))
}
