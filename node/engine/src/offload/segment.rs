//! One super-packet into the packets it stands for, written where they are sealed and sent.
//!
//! A [`Segmenter`] fills a buffer with frames of equal length (the last of all may be shorter), each of them room for the
//! lane header, a complete packet, and room for the tag. So one filled buffer, sealed frame by frame, is one UDP send
//! with `UDP_SEGMENT`. A super-packet that does not fit one send is continued by the next call.
//!
//! The rules are those of the kernel's own segmentation (`inet_gso_segment`, `tcp_gso_segment`, `__udp_gso_segment`):
//!
//! | field | in segment n of a super-packet |
//! |---|---|
//! | IPv4 total length, IPv6 payload length, UDP length | its own |
//! | IPv4 identification | the super-packet's + n |
//! | TCP sequence | the super-packet's + what the segments before carry |
//! | TCP FIN, PSH | on the last only |
//! | TCP CWR | on the first only |
//! | checksums | complete |
//! | everything else, options and extension headers included | as in the super-packet |
//!
//! The length of the headers is computed from the packet, never taken from the virtio header's `hdr_len`, which says only
//! how much of the packet the kernel holds in one piece.

mod split;

use tombolo_proto::frame::{LANE_HEADER, LANE_OVERHEAD, LANE_TAG};

use super::{
    checksum::Sum,
    headers::put,
    virtio::{PartialChecksum, VirtioHeader},
};
use split::Split;

/// Why a packet from the kernel cannot be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// A super-packet that is not one well-formed, whole IP packet.
    #[error("not a whole IP packet")]
    NotIp,
    /// A super-packet of another protocol than the virtio header says.
    #[error("the virtio header does not fit the packet's protocol")]
    WrongProtocol,
    /// The checksum is left to do at another place than the headers say, or beyond the end.
    #[error("the virtio header's checksum field does not fit the packet")]
    WrongChecksumField,
    /// A TCP or UDP header that is cut off, or a TCP header that claims to be shorter than it can be.
    #[error("no complete transport header")]
    NoTransport,
    /// The buffer does not hold a single frame.
    #[error("no room for a frame of {0} bytes")]
    NoRoom(usize),
}

/// Frames written into the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Run {
    /// Bytes of every frame, rooms included; the last one may be shorter.
    pub frame: usize,
    /// Bytes of all frames together.
    pub total: usize,
}

impl Run {
    /// A single frame.
    pub const fn one(length: usize) -> Self {
        Self {
            frame: length,
            total: length,
        }
    }

    /// How many frames there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.total.div_ceil(self.frame)
    }

    /// The frames, in order.
    pub fn frames(self, buffer: &mut [u8]) -> impl ExactSizeIterator<Item = &mut [u8]> {
        let written = buffer.get_mut(..self.total).unwrap_or_default();
        written.chunks_mut(self.frame)
    }
}

/// Writes the packets that one read from a TUN stands for.
#[derive(Debug)]
pub struct Segmenter<'a> {
    plan: Plan,
    headers: &'a [u8],
    /// What has not been written yet.
    payload: &'a [u8],
    /// Payload of every segment but the last.
    size: usize,
    is_done: bool,
}

/// How the packets differ from what was read.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// An ordinary packet, perhaps with its checksum left to do.
    Whole(Option<PartialChecksum>),
    /// A super-packet.
    Split(Split),
}

impl<'a> Segmenter<'a> {
    /// Prepares the packet that was read behind `header`. An ordinary packet gives one frame; its bytes are looked at only
    /// where the virtio header asks for it.
    pub fn new(header: &VirtioHeader, packet: &'a [u8]) -> Result<Self, SegmentError> {
        let Some(gso) = header.gso else {
            if header
                .partial
                .is_some_and(|partial| !field_is_within(partial, packet))
            {
                return Err(SegmentError::WrongChecksumField);
            }
            return Ok(Self {
                plan: Plan::Whole(header.partial),
                headers: &[],
                payload: packet,
                size: packet.len(),
                is_done: false,
            });
        };
        let split = Split::new(gso, header.partial, packet)?;
        let (headers, payload) = packet
            .split_at_checked(split.header_length())
            .ok_or(SegmentError::NoTransport)?;
        Ok(Self {
            plan: Plan::Split(split),
            headers,
            payload,
            size: usize::from(gso.size.get()),
            is_done: false,
        })
    }

    /// Whether all frames have been written.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Bytes of every frame but the last, rooms included.
    #[must_use]
    pub fn frame_length(&self) -> usize {
        LANE_OVERHEAD + self.headers.len() + self.size.min(self.payload.len())
    }

    /// Writes as many frames as fit `buffer`, at most `most`; `None` when all have been written.
    pub fn fill(&mut self, buffer: &mut [u8], most: usize) -> Result<Option<Run>, SegmentError> {
        if self.is_done {
            return Ok(None);
        }
        let frame = self.frame_length();
        if frame > buffer.len() || most == 0 {
            return Err(SegmentError::NoRoom(frame));
        }
        let mut total = 0;
        for slot in buffer.chunks_mut(frame).take(most) {
            let payload = self.size.min(self.payload.len());
            let length = LANE_OVERHEAD + self.headers.len() + payload;
            let Some(packet) = slot
                .get_mut(..length)
                .and_then(|slot| slot.get_mut(LANE_HEADER..length - LANE_TAG))
            else {
                break;
            };
            self.write(packet, payload)
                .ok_or(SegmentError::NoTransport)?;
            total += length;
            if self.is_done {
                break;
            }
        }
        Ok(Some(Run { frame, total }))
    }

    fn write(&mut self, packet: &mut [u8], payload: usize) -> Option<()> {
        let (now, rest) = self.payload.split_at_checked(payload)?;
        let (header_room, payload_room) = packet.split_at_mut_checked(self.headers.len())?;
        header_room.copy_from_slice(self.headers);
        payload_room.copy_from_slice(now);
        let is_last = rest.is_empty();
        match &mut self.plan {
            Plan::Whole(None) => {}
            Plan::Whole(Some(partial)) => complete_checksum(*partial, packet)?,
            Plan::Split(split) => split.write(header_room, payload_room, is_last)?,
        }
        self.payload = rest;
        self.is_done = is_last;
        Some(())
    }
}

/// As `skb_checksum_help` does: whatever the protocol, the sum goes from `start` to the end, and zero becomes ones.
fn complete_checksum(partial: PartialChecksum, packet: &mut [u8]) -> Option<()> {
    let covered = packet.get_mut(usize::from(partial.start)..)?;
    let checksum = Sum::of(covered).udp_checksum();
    put(covered, usize::from(partial.offset), checksum.to_be_bytes())
}

fn field_is_within(partial: PartialChecksum, packet: &[u8]) -> bool {
    usize::from(partial.start) + usize::from(partial.offset) + 2 <= packet.len()
}

#[cfg(test)]
mod tests;
