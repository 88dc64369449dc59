//! What the first bytes of a UDP datagram on a node's data socket mean, and the header of lane frames.
//!
//! | first bytes | frame |
//! |---|---|
//! | `00 \| 01 ..`, magic cookie at byte 4 | STUN (RFC 8489) |
//! | `01..04 00 00 00` | WireGuard handshake: initiation, response, cookie reply, transport |
//! | `10` | lane data: a sealed inner packet |
//! | `11` | lane control: a sealed message between the two sessions |
//! | `12` | lane fragment: a sealed inner packet split over two datagrams |
//! | `20` | probe |
//! | `30` | relayed frame |
//!
//! Anything else is nothing: counted and dropped.

use crate::{id::LaneIndex, stun};

/// First byte of a lane data frame.
pub const LANE_DATA: u8 = 0x10;
/// First byte of a lane control frame.
pub const LANE_CONTROL: u8 = 0x11;
/// First byte of a lane fragment.
pub const LANE_FRAGMENT: u8 = 0x12;
/// First byte of a probe.
pub const PROBE: u8 = 0x20;
/// First byte of a relayed frame.
pub const RELAY: u8 = 0x30;

/// Bytes of the lane header, all of them authenticated.
pub const LANE_HEADER: usize = 16;
/// Bytes of the authentication tag at the end of a lane frame.
pub const LANE_TAG: usize = 16;
/// What a lane adds to an inner packet: the same 32 bytes as WireGuard.
pub const LANE_OVERHEAD: usize = LANE_HEADER + LANE_TAG;

/// The kind of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// STUN message.
    Stun,
    /// WireGuard message.
    WireGuard(WireGuardKind),
    /// Sealed inner packet.
    LaneData,
    /// Sealed message between sessions.
    LaneControl,
    /// Half of a sealed inner packet.
    LaneFragment,
    /// Probe.
    Probe,
    /// Frame forwarded by a relay.
    Relay,
}

/// The kind of a WireGuard message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireGuardKind {
    /// Message 1, 148 bytes.
    Initiation,
    /// Message 2, 92 bytes.
    Response,
    /// Cookie reply, 64 bytes.
    Cookie,
    /// Transport: here it carries only lane negotiation.
    Transport,
}

/// Tells what a datagram claims to be; `None` for what is nothing of ours.
#[must_use]
pub fn kind(datagram: &[u8]) -> Option<FrameKind> {
    match datagram {
        [LANE_DATA, ..] => Some(FrameKind::LaneData),
        [LANE_CONTROL, ..] => Some(FrameKind::LaneControl),
        [LANE_FRAGMENT, ..] => Some(FrameKind::LaneFragment),
        [PROBE, ..] => Some(FrameKind::Probe),
        [RELAY, ..] => Some(FrameKind::Relay),
        [1, 0, 0, 0, ..] => Some(FrameKind::WireGuard(WireGuardKind::Initiation)),
        [2, 0, 0, 0, ..] => Some(FrameKind::WireGuard(WireGuardKind::Response)),
        [3, 0, 0, 0, ..] => Some(FrameKind::WireGuard(WireGuardKind::Cookie)),
        [4, 0, 0, 0, ..] => Some(FrameKind::WireGuard(WireGuardKind::Transport)),
        [0 | 1, _, _, _, cookie @ ..] if cookie.starts_with(&stun::MAGIC_COOKIE) => {
            Some(FrameKind::Stun)
        }
        _ => None,
    }
}

/// The header of lane frames: `{kind u8, flags u8 = 0, reserved u16 = 0, receiver u32, counter u64}`, little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneHeader {
    /// [`LANE_DATA`], [`LANE_CONTROL`] or [`LANE_FRAGMENT`].
    pub kind: u8,
    /// The lane, in the receiver's numbering.
    pub receiver: LaneIndex,
    /// Number of the frame under its key, from 0; also the AEAD nonce.
    pub counter: u64,
}

impl LaneHeader {
    /// The bytes on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; LANE_HEADER] {
        let mut bytes = [0; LANE_HEADER];
        bytes[0] = self.kind;
        bytes[4..8].copy_from_slice(&self.receiver.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }

    /// Reads the header of a frame long enough to hold header and tag; `None` for other kinds, or flags and reserved
    /// bytes that this version does not know.
    #[must_use]
    pub fn decode(frame: &[u8]) -> Option<Self> {
        if frame.len() < LANE_OVERHEAD {
            return None;
        }
        let [
            kind @ (LANE_DATA | LANE_CONTROL | LANE_FRAGMENT),
            0,
            0,
            0,
            rest @ ..,
        ] = frame
        else {
            return None;
        };
        let (receiver, rest) = rest.split_first_chunk::<4>()?;
        let (counter, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            kind: *kind,
            receiver: LaneIndex(u32::from_le_bytes(*receiver)),
            counter: u64::from_le_bytes(*counter),
        })
    }
}
