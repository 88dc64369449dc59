//! How a member reaches its peers, told to a controller for people to look at. Nothing is decided by it.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// Links that one report holds at most: those with the most traffic. More than anybody looks at of one member.
pub const MAX_LINKS: usize = 256;

/// What a member tells of its links. Replaces what it told before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkReport {
    /// The peers it has a session with.
    pub links: Vec<Link>,
    /// Inner bytes per second sent to all peers since the last report.
    pub sent: u64,
    /// Inner bytes per second received from all peers since the last report.
    pub received: u64,
}

/// What a member carries for the others of one network. It says nothing of other networks, which may have other controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Carried {
    /// Members that it relays for now.
    pub clients: u64,
    /// Bytes that it relayed since it started.
    pub bytes: u64,
}

/// The way to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Who.
    pub peer: NodeId,
    /// How it is reached.
    pub way: LinkWay,
    /// Smoothed round-trip time in microseconds, once it was measured.
    pub latency: Option<u32>,
}

/// How a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LinkWay {
    /// Straight.
    Direct,
    /// By a member that relays, or by a controller if none is named.
    Relayed(Option<NodeId>),
    /// Straight, by TCP. Controllers keep it; nodes say it by [`crate::control::ToController::ByTcp`], because controllers
    /// of earlier builds would not understand a report that holds it.
    DirectByTcp,
    /// By a relay that is reached by TCP.
    RelayedByTcp(Option<NodeId>),
}

impl LinkWay {
    /// The same by TCP.
    #[must_use]
    pub const fn by_tcp(self) -> Self {
        match self {
            Self::Direct | Self::DirectByTcp => Self::DirectByTcp,
            Self::Relayed(via) | Self::RelayedByTcp(via) => Self::RelayedByTcp(via),
        }
    }

    /// Whether it goes by TCP.
    #[must_use]
    pub const fn is_by_tcp(self) -> bool {
        matches!(self, Self::DirectByTcp | Self::RelayedByTcp(_))
    }

    /// Who relays, if anybody does; a controller if none is named.
    #[must_use]
    pub const fn relay(self) -> Option<Option<NodeId>> {
        match self {
            Self::Direct | Self::DirectByTcp => None,
            Self::Relayed(via) | Self::RelayedByTcp(via) => Some(via),
        }
    }
}
