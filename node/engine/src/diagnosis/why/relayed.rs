//! Why a path is relayed.

use crate::{control::PeerStatus, nat::Mapping, path::way::Way};

/// What is known of the two ends of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// Whether this node's controller or its relays are reached by TCP, because nothing answers over UDP.
    pub is_udp_blocked: bool,
    /// This node's NATs towards IPv4 and IPv6.
    pub mapping: [Mapping; 2],
}

/// Why a path is relayed, or would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// No UDP passes to this node.
    UdpBlocked,
    /// No UDP passes to the other, as it says.
    OtherUdpBlocked,
    /// Both NATs give every destination another port, so nobody can be told where to call.
    BothDependent,
    /// This node's NAT does, and the other's lets nothing in from a port that it did not call.
    Dependent,
    /// The other's NAT does, and this node's lets nothing in from a port that it did not call.
    OtherDependent,
    /// The other has told nobody where it is.
    Unknown,
    /// It was tried, and nothing came back: a firewall, or a NAT that nothing is known of.
    Silent,
}

impl Because {
    /// What explains best that there is no direct path.
    #[must_use]
    pub fn of(ends: &Ends, peer: &PeerStatus) -> Self {
        let is_dependent = ends.mapping.iter().any(|mapping| mapping.is_dependent());
        // Whoever does not know its own port announces none.
        let is_other_dependent = peer.candidates.iter().any(|at| at.port() == 0);
        if ends.is_udp_blocked {
            Self::UdpBlocked
        } else if peer.is_without_udp {
            Self::OtherUdpBlocked
        } else if is_dependent && is_other_dependent {
            Self::BothDependent
        } else if peer.candidates.is_empty() {
            Self::Unknown
        } else if is_dependent {
            Self::Dependent
        } else if is_other_dependent {
            Self::OtherDependent
        } else {
            Self::Silent
        }
    }

    /// For a path that is relayed; nothing for one that is not.
    #[must_use]
    pub fn of_relayed(ends: &Ends, peer: &PeerStatus) -> Option<Self> {
        matches!(peer.way, Some(Way::Relay { .. })).then(|| Self::of(ends, peer))
    }

    /// As scripts read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UdpBlocked => "udp_blocked",
            Self::OtherUdpBlocked => "other_udp_blocked",
            Self::BothDependent => "both_nats_dependent",
            Self::Dependent => "own_nat_dependent",
            Self::OtherDependent => "other_nat_dependent",
            Self::Unknown => "no_endpoint_known",
            Self::Silent => "unanswered",
        }
    }

    /// As people read it, behind "because".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::UdpBlocked => "UDP is blocked on this side: everything is reached by TCP",
            Self::OtherUdpBlocked => {
                "UDP is blocked on the other side: it reaches everything by TCP"
            }
            Self::BothDependent => {
                "both sides are behind NATs with another port for every destination"
            }
            Self::Dependent => {
                "this side's NAT has another port for every destination, and the other side lets nothing in from one that it did not call"
            }
            Self::OtherDependent => {
                "the other side's NAT has another port for every destination, and this side lets nothing in from one that it did not call"
            }
            Self::Unknown => "the other side has told nobody where it is",
            Self::Silent => "no direct try was answered",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn mend(self) -> &'static str {
        match self {
            Self::UdpBlocked => "let UDP out of this network: tombolo doctor",
            Self::OtherUdpBlocked => {
                "let UDP out of the other side's network: tombolo doctor there"
            }
            Self::BothDependent
            | Self::Dependent
            | Self::OtherDependent
            | Self::Unknown
            | Self::Silent => {
                "open a UDP port on one of the two sides: tombolo up --advertise HOST:PORT"
            }
        }
    }
}
