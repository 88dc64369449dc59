//! A way to a peer: straight to one of its endpoints, or through a relay that cannot read what it passes on.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Dense index of a relay on this node, over all networks: a member or a controller that passes frames on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelaySlot(pub u16);

/// What a relay calls one of the nodes that it passes frames on to. Means something only together with the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Circuit(pub u32);

/// One of the sockets that a node behind a NAT opens besides the one that all peers share: see [`crate::punch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketSlot(pub u16);

/// Where a datagram for a peer goes, or where one came from. Complete: nothing else needs to be known to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// Straight to the peer's endpoint; at a loopback address, by a stream to it that the shell keeps.
    Direct(SocketAddr),
    /// Straight too, but from or to a socket of its own.
    Through {
        /// Which of this node's sockets.
        socket: SocketSlot,
        /// The peer's endpoint.
        endpoint: SocketAddr,
    },
    /// By a relay.
    Relay {
        /// Which.
        relay: RelaySlot,
        /// What it calls the peer.
        circuit: Circuit,
    },
}

impl Way {
    /// The peer's endpoint; `None` by a relay, which does not tell.
    #[must_use]
    pub const fn endpoint(self) -> Option<SocketAddr> {
        match self {
            Self::Direct(endpoint) | Self::Through { endpoint, .. } => Some(endpoint),
            Self::Relay { .. } => None,
        }
    }

    /// What stands for the sender where sources are counted: its address, or one of its own for everybody behind a relay,
    /// from the block that nobody sends from (RFC 6666).
    #[must_use]
    pub const fn source(self) -> IpAddr {
        match self {
            Self::Direct(endpoint) | Self::Through { endpoint, .. } => endpoint.ip(),
            Self::Relay { relay, circuit } => {
                let bits = (relay.0 as u128) << 32 | circuit.0 as u128;
                IpAddr::V6(Ipv6Addr::from_bits(0x0100 << 112 | bits))
            }
        }
    }
}

impl From<SocketAddr> for Way {
    fn from(endpoint: SocketAddr) -> Self {
        Self::Direct(endpoint)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(endpoint) => endpoint.fmt(f),
            Self::Through { socket, endpoint } => write!(f, "{endpoint} by socket {}", socket.0),
            Self::Relay { relay, circuit } => write!(f, "relay {}/{}", relay.0, circuit.0),
        }
    }
}
