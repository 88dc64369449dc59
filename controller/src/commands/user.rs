//! `controller user`

use std::{collections::BTreeMap, io::BufRead as _, path::Path};

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use tombolo_proto::api::{NewUser, Role, User, UserPatch};

use super::{Client, Failure, Output, table::Table};
use crate::cli::UserVerb;

pub(super) fn run(verb: &UserVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    match verb {
        UserVerb::Add {
            name,
            role,
            networks,
            password_file,
            no_password,
        } => {
            let password = if *no_password {
                None
            } else {
                Some(Password::take(password_file.as_deref())?)
            };
            let body = NewUser {
                name: name.clone(),
                password: password.as_ref().map(|password| password.text.clone()),
                role: *role,
                networks: networks.iter().copied().collect(),
            };
            let user: User = client.post("/users", &body)?;
            match password {
                Some(password) => out.object(&password.with(user), lines),
                None => out.object(&user, describe),
            }
        }
        UserVerb::Ls => out.list(&client.all("/users")?, table),
        UserVerb::Set {
            user,
            role,
            networks,
            no_networks,
        } => {
            let networks: BTreeMap<_, _> = networks.iter().copied().collect();
            let body = UserPatch {
                role: *role,
                networks: (*no_networks || !networks.is_empty()).then_some(networks),
                password: None,
            };
            let changed: User = client.patch(&path(client, user)?, &body)?;
            out.object(&changed, describe);
        }
        UserVerb::Rm { user } => {
            client.delete(&path(client, user)?)?;
            out.done(&format!("user {user} deleted"));
        }
        UserVerb::Password {
            user,
            password_file,
        } => {
            let path = path(client, user)?;
            let password = Password::take(password_file.as_deref())?;
            let body = UserPatch {
                password: Some(password.text.clone()),
                ..UserPatch::default()
            };
            let changed: User = client.patch(&path, &body)?;
            out.object(&password.with(changed), lines);
        }
    }
    Ok(())
}

struct Password {
    text: String,
    is_new: bool,
}

/// A user, with the password that was made for them.
#[derive(Debug, Serialize)]
struct Given {
    #[serde(flatten)]
    user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl Password {
    /// From the first line of a file; otherwise a new one with 144 random bits.
    fn take(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = file else {
            return Ok(Self {
                text: BASE64URL_NOPAD.encode(&rand::random::<[u8; 18]>()),
                is_new: true,
            });
        };
        let mut text = String::new();
        let read = if file == Path::new("-") {
            std::io::stdin().lock().read_line(&mut text).map(|_| ())
        } else {
            std::fs::read_to_string(file).map(|read| text = read)
        };
        read.map_err(|cause| {
            Failure::Usage(format!(
                "cannot read the password {}: {cause}; check --password-file",
                file.display()
            ))
        })?;
        Ok(Self {
            text: text.lines().next().unwrap_or_default().to_owned(),
            is_new: false,
        })
    }

    fn with(self, user: User) -> Given {
        Given {
            user,
            password: self.is_new.then_some(self.text),
        }
    }
}

/// The path of a user, by name or id. A name counts first: people type those.
fn path(client: &Client, text: &str) -> Result<String, Failure> {
    let users: Vec<User> = client.all("/users")?;
    let named = |user: &&User| user.name.eq_ignore_ascii_case(text);
    let found = users
        .iter()
        .find(named)
        .or_else(|| users.iter().find(|user| user.id == text));
    let found = found.ok_or_else(|| {
        Failure::Other(format!(
            "there is no user {text:?}: `tombolo-controller user ls` shows those there are"
        ))
    })?;
    Ok(format!("/users/{}", found.id))
}

fn lines(given: &Given) -> String {
    let password = given
        .password
        .as_ref()
        .map(|password| format!("\npassword  {password}"));
    describe(&given.user) + &password.unwrap_or_default()
}

fn describe(user: &User) -> String {
    format!(
        "user      {} ({})\nrole      {}\nnetworks  {}",
        user.name,
        user.id,
        role(user.role),
        networks(user)
    )
}

fn table(users: &[User]) -> Table {
    Table::new(
        ["ID", "NAME", "ROLE", "NETWORKS"],
        users.iter().map(|user| {
            [
                user.id.clone(),
                user.name.clone(),
                role(user.role).to_owned(),
                networks(user),
            ]
        }),
    )
}

fn networks(user: &User) -> String {
    let roles: Vec<String> = user
        .networks
        .iter()
        .map(|(network, granted)| format!("{network}={}", role(*granted)))
        .collect();
    if roles.is_empty() {
        "-".to_owned()
    } else {
        roles.join(", ")
    }
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::None => "none",
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}
