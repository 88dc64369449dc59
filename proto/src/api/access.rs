//! Who may join, and who may use the API and the panel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::NetworkId;

json! {
    /// Creates a join token.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct NewJoinToken {
        /// How many nodes may join with it; 1 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub uses: Option<u32>,
        /// Seconds until it expires; an hour by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires_in: Option<u64>,
    }

    /// A join token, as far as it can be shown later.
    pub struct JoinToken {
        /// Names the token.
        pub id: String,
        /// How many more nodes may join with it.
        pub uses_left: u32,
        /// When it was made.
        pub created_at: u64,
        /// When it expires.
        pub expires_at: u64,
    }

    /// Creates an API token.
    #[serde(deny_unknown_fields)]
    pub struct NewToken {
        /// What it is for.
        pub name: String,
        /// Up to 64 of `read` (reading only), `write` (deciding on members, routes and join tokens) and `admin`
        /// (everything), each alone or for one network, as in `read:8056c2e21c000001`.
        pub scopes: Vec<String>,
        /// Seconds until it expires; never by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires_in: Option<u64>,
    }

    /// An API token, as far as it can be shown later.
    pub struct Token {
        /// Names the token.
        pub id: String,
        /// What it is for.
        pub name: String,
        /// What it may do.
        pub scopes: Vec<String>,
        /// When it was made.
        pub created_at: u64,
        /// When it expires; null if never.
        pub expires_at: Option<u64>,
        /// When it was last used, to the minute; null if never.
        #[serde(default)]
        pub last_used_at: Option<u64>,
    }

    /// A new token's secret, shown once.
    pub struct CreatedToken {
        /// Names the token.
        pub id: String,
        /// The secret.
        pub token: String,
        /// For join tokens: the complete link for `node join`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub join_link: Option<String>,
    }

    /// Somebody who may sign in to the panel.
    pub struct User {
        /// Names the user.
        pub id: String,
        /// What is typed to sign in.
        pub name: String,
        /// What they may do in every network, and with the controller itself.
        pub role: Role,
        /// What they may do beyond that, by network id.
        #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Role>))]
        pub networks: BTreeMap<NetworkId, Role>,
        /// Whether they can sign in with a password; otherwise only with an account at an identity provider.
        pub has_password: bool,
        /// When it was made.
        pub created_at: u64,
    }

    /// Creates a user.
    #[serde(deny_unknown_fields)]
    pub struct NewUser {
        /// What is typed to sign in: unique, written like the name of a network.
        pub name: String,
        /// 10 to 256 characters. Without one they sign in with their account at the identity provider: the one that is
        /// called the same there.
        #[serde(default)]
        pub password: Option<String>,
        /// What they may do in every network, and with the controller itself; `none` by default.
        #[serde(default)]
        pub role: Role,
        /// What they may do beyond that, by network id.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Role>))]
        pub networks: BTreeMap<NetworkId, Role>,
    }

    /// Changes a user.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct UserPatch {
        /// A new password; ends every session of the user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub password: Option<String>,
        /// What they may do in every network, and with the controller itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub role: Option<Role>,
        /// What they may do beyond that, by network id; replaces all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, Role>>))]
        pub networks: Option<BTreeMap<NetworkId, Role>>,
    }
}

/// What somebody may do; each includes those before it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing.
    #[default]
    None,
    /// Read.
    Viewer,
    /// Decide on members, routes and join tokens.
    Operator,
    /// Everything: settings, creation and deletion of networks; with that role everywhere, users and API tokens too.
    Admin,
}
