//! What the first bytes of a UDP datagram on a node's data socket mean, and the header of lane frames.
//!
//! | first bytes | frame |
//! |---|---|
//! | `00 \| 01 ..`, magic cookie at byte 4 | STUN (RFC 8489) |
//! | `01..04 00 00 00` | WireGuard handshake: initiation, response, cookie reply, transport |
//! | `10` | lane data: a sealed inner packet |
//! | `11` | lane control: a sealed message between the two sessions |
//! | `12` | lane fragment: a sealed part of an inner packet that is too large for the way |
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
    /// Sealed part of an inner packet.
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

/// Bytes in front of a part of an inner packet, sealed with it.
pub const PART_HEADER: usize = 4;
/// Most parts of one packet: the largest packet of a jumbo network over the narrowest way.
pub const MAX_PARTS: u8 = 8;

/// What stands in front of a part of an inner packet in a [`LANE_FRAGMENT`] frame: `{index u8, count u8, length u16}`,
/// little endian. The frames of one packet have consecutive counters, that of part 0 first, so the counter of any of them
/// names the packet. All parts are `length / count` bytes, rounded up; the last is filled up with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartHeader {
    /// Which part, from 0.
    pub index: u8,
    /// How many there are: 2 to [`MAX_PARTS`].
    pub count: u8,
    /// Bytes of the packet.
    pub length: u16,
}

impl PartHeader {
    /// Bytes of each part.
    #[must_use]
    pub const fn part(self) -> usize {
        (self.length as usize).div_ceil(self.count as usize)
    }

    /// The bytes in front of the part.
    #[must_use]
    pub fn encode(self) -> [u8; PART_HEADER] {
        let [low, high] = self.length.to_le_bytes();
        [self.index, self.count, low, high]
    }

    /// Takes an opened payload apart; `None` unless the numbers fit each other and the part has its length.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&[index, count, low, high], part) = payload.split_first_chunk::<PART_HEADER>()?;
        let header = Self {
            index,
            count,
            length: u16::from_le_bytes([low, high]),
        };
        let fits = (2..=MAX_PARTS).contains(&count) && index < count && header.length > 0;
        (fits && part.len() == header.part()).then_some((header, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_part_has_the_encoding_it_had_from_the_start() {
        let header = PartHeader {
            index: 1,
            count: 2,
            length: 1399,
        };
        let payload = [&[1, 2, 0x77, 0x05][..], &[9; 700]].concat();

        assert_eq!(header.encode(), payload[..PART_HEADER]);
        assert_eq!(
            PartHeader::decode(&payload),
            Some((header, &payload[PART_HEADER..]))
        );
    }

    #[test]
    fn numbers_that_do_not_fit_each_other_are_refused() {
        for (index, count, length, part) in [
            (0, 0, 1400, 1400),
            (0, 1, 1400, 1400),
            (2, 2, 1400, 700),
            (0, 9, 1400, 156),
            (0, 2, 0, 0),
            (0, 2, 1400, 699),
            (1, 2, 1400, 701),
        ] {
            let header = PartHeader {
                index,
                count,
                length,
            };
            let payload = [&header.encode()[..], &vec![0; part]].concat();
            assert_eq!(PartHeader::decode(&payload), None, "{header:?}");
        }
        assert_eq!(PartHeader::decode(&[0, 2, 1]), None);
    }
}
