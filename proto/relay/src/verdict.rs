//! What becomes of a frame, and how much may.

use std::net::SocketAddr;

/// How much a relay does for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients of all networks together.
    pub clients: usize,
    /// Channels that one client may ask for.
    pub channels: usize,
    /// Bytes per second that one client may send, and half of that at once.
    pub client_rate: u64,
    /// Bytes per second of all clients, and half of that at once.
    pub total_rate: u64,
}

impl Default for Limits {
    /// 100 Mbit/s for a client and 400 Mbit/s for all: more than the direct path of most who need a relay, and no more
    /// than a small server has to spare.
    fn default() -> Self {
        Self {
            clients: 1024,
            channels: 128,
            client_rate: 12_500_000,
            total_rate: 50_000_000,
        }
    }
}

/// Where a client is, as its relay sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outlet {
    /// Behind this address.
    Udp(SocketAddr),
    /// At the other end of a stream that the shell has numbered.
    Stream(u64),
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Send it, as it is now, to the other end of its channel.
    Forward(Outlet),
    /// Send it, as it is now, back to where it came from.
    Answer,
    /// Counted already.
    Drop,
}
