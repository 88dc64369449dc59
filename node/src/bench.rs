//! Measuring a way through the overlay, `node bench`: TCP from the verb's process to the other member's daemon, through
//! both TUN devices, so that it finds what containers get.
//!
//! A daemon listens on its overlay addresses at [`PORT`], on the TUN device only, and speaks with members only. Every
//! connection opens with one line of JSON that is answered by one:
//!
//! ```text
//! control   measure {protocol, flows, seconds}  ->  welcome {ticket}, or refused {busy | limits | protocol}
//!           then one byte a second, as long as the measurement goes on; its end ends everything
//! echo      echo {ticket}  ->  go               then 8 bytes there and the same 8 bytes back, again and again
//! up        up {ticket}    ->  go               then bytes until the end of the stream  ->  received {bytes, micros}
//! down      down {ticket}  ->  go               then one byte there, and bytes back for the seconds asked for
//! ```
//!
//! A daemon serves one measurement at a time and a bounded number of connections, each by a thread of its own with
//! blocking calls: the forwarding threads and the slow path share nothing with them but the CPU. Whoever is silent for
//! [`PATIENCE`] is hung up on. Nothing is sent to an address that has not completed a TCP handshake as a member.

mod desk;
pub mod initiator;
pub(crate) mod listener;
mod responder;
pub mod round_trips;
mod stream;
mod wire;

use std::time::Duration;

/// TCP port on the overlay addresses: the number of the data sockets, which are UDP.
pub const PORT: u16 = 9790;
/// Most connections that carry data side by side: more tells nothing new about a path.
pub const MAX_FLOWS: u8 = 16;
/// Longest transfer in one direction, in seconds: a measurement fills the path for everybody else on it.
pub const MAX_SECONDS: u8 = 60;
/// Silence after which the other side is given up. Longer than any queue on a working path holds a packet.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// What a measurement takes besides its two transfers: connecting, idle round trips, emptying queues.
const SLACK: Duration = Duration::from_secs(30);
/// Bytes handed to the kernel at once: the largest write that is worth it on loopback.
const CHUNK: usize = 128 * 1024;

/// What to measure with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    flows: u8,
    seconds: u8,
}

impl Plan {
    /// `None` beyond [`MAX_FLOWS`] or [`MAX_SECONDS`], or without either.
    #[must_use]
    pub fn new(flows: u8, seconds: u8) -> Option<Self> {
        let is_sane = (1..=MAX_FLOWS).contains(&flows) && (1..=MAX_SECONDS).contains(&seconds);
        is_sane.then_some(Self { flows, seconds })
    }

    /// Connections side by side.
    #[must_use]
    pub const fn flows(self) -> u8 {
        self.flows
    }

    /// How long to fill each direction.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds as u64)
    }

    /// When the responder ends it, however far it is.
    const fn longest(self) -> Duration {
        Duration::from_secs(2 * self.seconds as u64 + SLACK.as_secs())
    }

    /// Connections over the whole measurement: the flows of both directions and the echo.
    const fn connections(self) -> u8 {
        2 * self.flows + 1
    }
}
