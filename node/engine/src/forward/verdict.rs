//! What becomes of a packet or a datagram.

use std::ops::Range;

use tombolo_proto::id::LaneIndex;
use tombolo_relay::Outlet;

use crate::{
    counters::DropReason,
    fib::{NetworkSlot, PeerSlot},
    path::way::{RelaySlot, Way},
};

/// Longest handshake or STUN message that is looked at: above the 1,200 bytes that a node keeps its own messages below.
pub(super) const MAX_PUNTED: usize = 1280;

/// What becomes of a packet from a TUN device.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Outbound {
    /// The frame is sealed: send all of it.
    Send {
        /// The way to the peer.
        to: Way,
        /// Whose packet it is.
        peer: PeerSlot,
    },
    /// The packet was too large for the way: send these sealed frames in its place.
    SendParts {
        /// The way to the peer.
        to: Way,
        /// Its parts.
        frames: Vec<Vec<u8>>,
    },
    /// For the slow path.
    Punt(Punt),
    /// Counted already.
    Drop(DropReason),
}

/// What becomes of a datagram from a UDP socket.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Inbound {
    /// An inner packet for a TUN device.
    Deliver {
        /// Which TUN device.
        network: NetworkSlot,
        /// Where the packet lies in the datagram.
        packet: Range<usize>,
        /// For the slow path.
        note: Option<Punt>,
    },
    /// A part of an inner packet: give it to [`gather`](crate::fib::Fib::gather).
    Part {
        /// Which lane it came on.
        lane: LaneIndex,
        /// The number of its frame.
        counter: u64,
        /// Where the part lies in the datagram.
        payload: Range<usize>,
        /// For the slow path.
        note: Option<Punt>,
    },
    /// For the slow path.
    Punt(Punt),
    /// For somebody else: send all of it, as it is now.
    Relayed(Outlet),
    /// Counted already.
    Drop(DropReason),
}

/// Everything the fast path hands to the slow path. A punt that is lost does no harm but delay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Punt {
    /// A packet for a peer without a usable lane.
    Packet {
        /// The peer it was routed to.
        peer: PeerSlot,
        /// The inner packet.
        packet: Vec<u8>,
    },
    /// A handshake or STUN message.
    Datagram {
        /// Where it came from.
        from: Way,
        /// All of it.
        datagram: Vec<u8>,
    },
    /// An opened control message.
    Control {
        /// Which lane it came on.
        lane: LaneIndex,
        /// Where it came from.
        from: Way,
        /// The message.
        message: Vec<u8>,
    },
    /// A first data frame on a lane that was not confirmed.
    Confirmed {
        /// Which lane.
        lane: LaneIndex,
        /// Where it came from.
        from: Way,
    },
    /// A relay answered a ping.
    RelayPong {
        /// Which relay.
        relay: RelaySlot,
        /// From the ping.
        counter: u64,
    },
    /// A newest data frame from another address than the peer's endpoint.
    Roamed {
        /// Which lane it came on.
        lane: LaneIndex,
        /// Where it came from.
        from: Way,
    },
}
