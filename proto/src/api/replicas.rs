//! A controller, and its replicas.

use serde::{Deserialize, Serialize};

use crate::{id::NodeId, key::IdentityKey};

json! {
    /// The controller itself.
    pub struct Status {
        /// Program version.
        pub version: String,
        /// The authority's address, the first 10 digits of every network id.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub authority: NodeId,
        /// The authority's root key.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub authority_key: IdentityKey,
        /// This replica's key.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub replica_key: IdentityKey,
        /// Where nodes find controllers.
        pub endpoints: Vec<String>,
        /// How many networks there are.
        pub networks: u64,
        /// How many nodes are connected now.
        pub connected_nodes: u64,
        /// Whether the keyring names this replica. Until it does, it serves no nodes and changes nothing.
        #[serde(default)]
        pub admitted: bool,
        /// The epoch of every live document; a revoked replica ends one.
        #[serde(default)]
        pub epoch: u64,
        /// Where everything is kept: `sqlite` or `postgres`.
        #[serde(default)]
        pub store: String,
        /// For how long the store has not answered; null while it does. Answers may be out of date by that much.
        #[serde(default)]
        pub store_unreachable_seconds: Option<u64>,
        /// The last backup; null if there was none yet, and while the store does not answer.
        #[serde(default)]
        pub last_backup: Option<LastBackup>,
        /// Seconds since it started.
        pub uptime: u64,
    }

    /// A backup of everything, in a file that the controller does not know.
    pub struct LastBackup {
        /// When what it holds was read.
        pub made_at: u64,
        /// Who made it, as the audit log names them: a replica, by the first letters of its key.
        pub made_by: String,
        /// Whether a passphrase is needed to read it.
        pub encrypted: bool,
        /// Whether the root key is in it.
        pub root_key: bool,
        /// Size of the file.
        pub bytes: u64,
    }

    /// The keyring, and every replica that registered.
    pub struct Keyring {
        /// Ended by every revocation of a replica.
        pub epoch: u64,
        /// Counts keyrings.
        pub revision: u64,
        /// The key that signs keyrings.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub root_key: IdentityKey,
        /// Where nodes find controllers.
        pub endpoints: Vec<String>,
        /// Replicas, in the order in which they registered.
        pub replicas: Vec<Replica>,
        /// The keyring as nodes get it: hexadecimal.
        pub signed: String,
    }

    /// A controller of this authority.
    pub struct Replica {
        /// Its signing key.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub key: IdentityKey,
        /// Whether it may sign.
        pub state: ReplicaState,
        /// Where it says that nodes reach it.
        pub endpoints: Vec<String>,
        /// Its software.
        pub version: String,
        /// Whether it has reached the store within half a minute.
        pub alive: bool,
        /// Whether it is the one that answers.
        pub this: bool,
    }

    /// What shall become different in the keyring: one of the three.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct KeyringEdit {
        /// These replicas may sign as well.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
        pub admit: Vec<IdentityKey>,
        /// So may every replica that waits.
        #[serde(default)]
        pub admit_pending: bool,
        /// This one may not any more, and nothing that it ever signed counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub revoke: Option<IdentityKey>,
    }

    /// A keyring for the root key to sign.
    pub struct KeyringDraft {
        /// Whether it says anything that the one in force does not.
        pub differs: bool,
        /// The keyring without signature: hexadecimal.
        pub body: String,
    }

    /// A keyring that the root key signed.
    #[serde(deny_unknown_fields)]
    pub struct SignedKeyring {
        /// The keyring with its signature: hexadecimal.
        pub signed: String,
    }
}

/// Whether a replica may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// The keyring names it.
    Admitted,
    /// It waits for `controller keyring add`.
    Pending,
    /// It was revoked and never comes back.
    Revoked,
}
