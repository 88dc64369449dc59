//! The verbs about who may do something: tokens and users.

use std::path::PathBuf;

use clap::Subcommand;
use tombolo_proto::{api::Role, id::NetworkId};

/// `controller token`
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Create an API token and print it, once
    Create {
        /// What it is for
        name: String,
        /// What it may do: read, write or admin, or in one network only: read:NETWORK-ID; may be repeated
        #[arg(long = "scope", default_value = "admin")]
        scopes: Vec<String>,
        /// Seconds until it expires
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
    },
    /// List API tokens
    Ls,
    /// Delete an API token
    Rm {
        /// Token id
        id: String,
    },
}

/// `controller user`
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Add a user; without --password-file a password is made and printed, once
    Add {
        /// What is typed to sign in
        name: String,
        /// What they may do everywhere: none, viewer, operator or admin
        #[arg(long, default_value = "none", value_parser = parse_role)]
        role: Role,
        /// What they may do beyond that in one network; may be repeated
        #[arg(long = "in", value_name = "NETWORK-ID=ROLE", value_parser = parse_role_in)]
        networks: Vec<(NetworkId, Role)>,
        /// File with the password, in its first line; - for the input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// None: they sign in with the account of that name at the identity provider
        #[arg(long, conflicts_with = "password_file")]
        no_password: bool,
    },
    /// List users
    Ls,
    /// Change what a user may do
    Set {
        /// Name or id
        user: String,
        /// What they may do everywhere: none, viewer, operator or admin
        #[arg(long, value_parser = parse_role)]
        role: Option<Role>,
        /// What they may do beyond that in one network, instead of all they might; may be repeated
        #[arg(long = "in", value_name = "NETWORK-ID=ROLE", value_parser = parse_role_in)]
        networks: Vec<(NetworkId, Role)>,
        /// Nothing beyond that in any network
        #[arg(long, conflicts_with = "networks")]
        no_networks: bool,
    },
    /// Delete a user and end every session
    Rm {
        /// Name or id
        user: String,
    },
    /// Give a user a new password and end every session; without --password-file one is made and printed, once
    Password {
        /// Name or id
        user: String,
        /// File with the password, in its first line; - for the input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "none" => Ok(Role::None),
        "viewer" => Ok(Role::Viewer),
        "operator" => Ok(Role::Operator),
        "admin" => Ok(Role::Admin),
        _ => Err("a role is none, viewer, operator or admin".to_owned()),
    }
}

fn parse_role_in(text: &str) -> Result<(NetworkId, Role), String> {
    let (network, role) = text
        .split_once('=')
        .ok_or("write NETWORK-ID=ROLE, such as 8056c2e21c000001=operator")?;
    let network = network
        .parse()
        .map_err(|error| format!("{network:?} is not a network id: {error}"))?;
    Ok((network, parse_role(role)?))
}

/// `controller join-token`
#[derive(Debug, Subcommand)]
pub enum JoinTokenVerb {
    /// Create a join token and print it and the complete join link, once
    Create {
        /// Network id or name
        network: String,
        /// How many nodes may join with it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// Seconds until it expires
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        expires_in: u64,
    },
    /// List join tokens
    Ls {
        /// Network id or name
        network: String,
    },
    /// Delete a join token
    Rm {
        /// Network id or name
        network: String,
        /// Token id
        id: String,
    },
}
