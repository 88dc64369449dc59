//! The daemon's socket: one JSON line asks, one JSON line answers.

pub mod client;
pub mod server;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tombolo_proto::{
    id::{NetworkId, NodeId},
    key::KeyDigest,
    link::HostPort,
};

use crate::{
    cli::SettingName,
    docker::DockerRequest,
    failure::{Failure, FailureKind},
    state_dir::settings::Token,
};

/// What a verb asks of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    /// `node id`
    Id,
    /// `node status`, `node networks`
    Status,
    /// `node peers`
    Peers,
    /// `node routes`
    Routes,
    /// One question of `node ping`
    Ping {
        /// Which network.
        network: NetworkId,
        /// Which member.
        node: NodeId,
        /// How long an answer may take.
        patience_ms: u32,
    },
    /// `node why`
    Why {
        /// What was typed.
        member: String,
        /// Which network, if said.
        network: Option<NetworkId>,
    },
    /// What the daemon adds to `node doctor`
    Doctor,
    /// `node join`
    Join(JoinRequest),
    /// `node leave`
    Leave {
        /// Which network.
        network: NetworkId,
        /// Even if containers are attached to networks that go with it.
        #[serde(default)]
        force: bool,
    },
    /// `node set`
    Set {
        /// Which network.
        network: NetworkId,
        /// What to change.
        settings: Vec<(SettingName, bool)>,
    },
    /// `node route add`, `node route rm`
    Route {
        /// Which network, if said.
        network: Option<NetworkId>,
        /// The prefix, possibly with host bits.
        prefix: IpNet,
        /// Add or remove.
        publish: bool,
    },
    /// `node docker …`
    Docker(DockerRequest),
}

/// What `node join` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Which network.
    pub network: NetworkId,
    /// What the link says of the authority's key.
    pub digest: Option<KeyDigest>,
    /// Where controllers are.
    pub controllers: Vec<HostPort>,
    /// Authorises at once.
    pub token: Option<Token>,
    /// The TUN's name.
    pub interface: Option<String>,
    /// Seconds to wait for authorisation.
    pub wait: Option<u64>,
}

/// What the daemon answers: a report, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One of the types in [`crate::report`], as JSON.
    Done(serde_json::Value),
    /// It did not work.
    Failed(Failure),
}

impl Answer {
    /// An answer that says what was asked.
    #[must_use]
    pub fn done(report: &impl Serialize) -> Self {
        match serde_json::to_value(report) {
            Ok(value) => Self::Done(value),
            Err(error) => Self::failed(
                FailureKind::Failed,
                format!("failed to encode the answer: {error}"),
            ),
        }
    }

    /// An answer that says why not.
    #[must_use]
    pub fn failed(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(kind, message))
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<anyhow::Error> for Answer {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error.into())
    }
}
