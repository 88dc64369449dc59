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

use tombolo_proto::frame::{LANE_HEADER, LANE_OVERHEAD, LANE_TAG};

use super::{
    checksum::Sum,
    headers::{
        IPV6_HEADER, Layout, PROTOCOL_TCP, PROTOCOL_UDP, TCP_CHECKSUM, TCP_CWR, TCP_FIN, TCP_HEADER, TCP_PSH,
        UDP_CHECKSUM, UDP_HEADER, Version, get, layout, pseudo_header, put, word,
    },
    virtio::{Gso, GsoKind, PartialChecksum, VirtioHeader},
};

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
    header: &'a [u8],
    /// What has not been written yet.
    payload: &'a [u8],
    /// Payload of every segment but the last.
    size: usize,
    /// How many segments have been written.
    written: u16,
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

/// What all segments have in common, with the checksums as far as they are the same.
#[derive(Debug, Clone, Copy)]
struct Split {
    network: Network,
    transport_at: usize,
    transport: Transport,
    /// Sum of pseudo-header and transport header without what differs between segments.
    sum: Sum,
}

#[derive(Debug, Clone, Copy)]
enum Network {
    V4 {
        identification: u16,
        /// Sum of the header without total length, identification and checksum.
        sum: Sum,
    },
    V6,
}

#[derive(Debug, Clone, Copy)]
enum Transport {
    Tcp {
        sequence: u32,
        /// The word of data offset, reserved bits and flags.
        flags: u16,
    },
    Udp,
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
                header: &[],
                payload: packet,
                size: packet.len(),
                written: 0,
                is_done: false,
            });
        };
        let layout = super_packet_layout(gso, packet)?;
        let transport = packet.get(layout.transport..).unwrap_or_default();
        let length = transport_header(gso.kind, transport).ok_or(SegmentError::NoTransport)?;
        let (headers, payload) = packet
            .split_at_checked(layout.transport + length)
            .ok_or(SegmentError::NoTransport)?;
        let split = Split::new(gso, header.partial, packet, &layout, length)?;
        Ok(Self {
            plan: Plan::Split(split),
            header: headers,
            payload,
            size: usize::from(gso.size.get()),
            written: 0,
            is_done: false,
        })
    }

    /// Bytes of every frame but the last, rooms included.
    #[must_use]
    pub fn frame_length(&self) -> usize {
        LANE_OVERHEAD + self.header.len() + self.size.min(self.payload.len())
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
            let length = LANE_OVERHEAD + self.header.len() + payload;
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
        let (header_room, payload_room) = packet.split_at_mut_checked(self.header.len())?;
        header_room.copy_from_slice(self.header);
        payload_room.copy_from_slice(now);
        let is_last = rest.is_empty();
        match &mut self.plan {
            Plan::Whole(None) => {}
            Plan::Whole(Some(partial)) => complete_checksum(*partial, packet)?,
            Plan::Split(split) => split.write(header_room, payload_room, self.written == 0, is_last)?,
        }
        self.payload = rest;
        self.written = self.written.saturating_add(1);
        self.is_done = is_last;
        Some(())
    }
}

impl Split {
    fn new(
        gso: Gso,
        partial: Option<PartialChecksum>,
        packet: &[u8],
        layout: &Layout,
        header_length: usize,
    ) -> Result<Self, SegmentError> {
        let at = layout.transport;
        let field = match gso.kind {
            GsoKind::TcpV4 | GsoKind::TcpV6 => TCP_CHECKSUM,
            GsoKind::UdpL4 => UDP_CHECKSUM,
        };
        let header = packet
            .get(at..at + header_length)
            .ok_or(SegmentError::NoTransport)?;
        let mut sum = Sum::of(header);
        let length = packet.len() - at;
        match partial {
            // The field holds the sum of the pseudo-header and is already in the sum. It is better than the addresses in
            // the header: under a routing header those are not the ones that the checksum is about.
            Some(partial) => {
                if usize::from(partial.start) != at || usize::from(partial.offset) != field {
                    return Err(SegmentError::WrongChecksumField);
                }
            }
            None => {
                let field = word(header, field).ok_or(SegmentError::NoTransport)?;
                sum = sum
                    .without(field)
                    .plus(pseudo_header(packet, layout, length));
            }
        }
        sum = sum.without_double_word(length as u32);
        let transport = match gso.kind {
            GsoKind::TcpV4 | GsoKind::TcpV6 => {
                let sequence = get(header, 4).ok_or(SegmentError::NoTransport)?;
                let flags = word(header, 12).ok_or(SegmentError::NoTransport)?;
                let sequence = u32::from_be_bytes(sequence);
                sum = sum.without_double_word(sequence).without(flags);
                Transport::Tcp { sequence, flags }
            }
            GsoKind::UdpL4 => {
                sum = sum.without(word(header, 4).ok_or(SegmentError::NoTransport)?);
                Transport::Udp
            }
        };
        let network = match layout.version {
            Version::V4 => {
                let ip = packet.get(..at).unwrap_or_default();
                let field = |at| word(ip, at).ok_or(SegmentError::NotIp);
                let identification = field(4)?;
                Network::V4 {
                    identification,
                    sum: Sum::of(ip)
                        .without(field(2)?)
                        .without(identification)
                        .without(field(10)?),
                }
            }
            Version::V6 => Network::V6,
        };
        Ok(Self {
            network,
            transport_at: at,
            transport,
            sum,
        })
    }

    /// Makes the copied headers those of the next segment.
    fn write(
        &mut self,
        header: &mut [u8],
        payload: &[u8],
        is_first: bool,
        is_last: bool,
    ) -> Option<()> {
        let length = header.len() + payload.len();
        let (ip, transport) = header.split_at_mut_checked(self.transport_at)?;
        match &mut self.network {
            Network::V4 {
                identification,
                sum,
            } => {
                let total = length as u16;
                let checksum = sum.word(total).word(*identification).checksum();
                put(ip, 2, total.to_be_bytes())?;
                put(ip, 4, identification.to_be_bytes())?;
                put(ip, 10, checksum.to_be_bytes())?;
                *identification = identification.wrapping_add(1);
            }
            Network::V6 => {
                let above = (length - IPV6_HEADER) as u16;
                put(ip, 4, above.to_be_bytes())?;
            }
        }
        let above = length - self.transport_at;
        let sum = self
            .sum
            .double_word(above as u32)
            .plus(Sum::of(payload));
        match &mut self.transport {
            Transport::Tcp { sequence, flags } => {
                let mut cleared = 0;
                if !is_first {
                    cleared |= TCP_CWR;
                }
                if !is_last {
                    cleared |= TCP_FIN | TCP_PSH;
                }
                let flags = *flags & !u16::from(cleared);
                let checksum = sum.double_word(*sequence).word(flags).checksum();
                put(transport, 4, sequence.to_be_bytes())?;
                put(transport, 12, flags.to_be_bytes())?;
                put(transport, TCP_CHECKSUM, checksum.to_be_bytes())?;
                *sequence = sequence.wrapping_add(payload.len() as u32);
            }
            Transport::Udp => {
                let above = above as u16;
                let checksum = sum.word(above).udp_checksum();
                put(transport, 4, above.to_be_bytes())?;
                put(transport, UDP_CHECKSUM, checksum.to_be_bytes())?;
            }
        }
        Some(())
    }
}

/// Does in place what the kernel has left to do in an ordinary packet; a packet without a partial checksum is not
/// touched.
pub fn complete(header: &VirtioHeader, packet: &mut [u8]) -> Result<(), SegmentError> {
    let Some(partial) = header.partial else {
        return Ok(());
    };
    if !field_is_within(partial, packet) {
        return Err(SegmentError::WrongChecksumField);
    }
    complete_checksum(partial, packet).ok_or(SegmentError::WrongChecksumField)
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

fn super_packet_layout(gso: Gso, packet: &[u8]) -> Result<Layout, SegmentError> {
    let layout = layout(packet).ok_or(SegmentError::NotIp)?;
    if layout.is_fragment {
        return Err(SegmentError::NotIp);
    }
    let fits = match gso.kind {
        GsoKind::TcpV4 => layout.version == Version::V4 && layout.protocol == PROTOCOL_TCP,
        GsoKind::TcpV6 => layout.version == Version::V6 && layout.protocol == PROTOCOL_TCP,
        GsoKind::UdpL4 => layout.protocol == PROTOCOL_UDP,
    };
    if fits {
        Ok(layout)
    } else {
        Err(SegmentError::WrongProtocol)
    }
}

/// The length of the transport header, if all of it is there.
fn transport_header(kind: GsoKind, transport: &[u8]) -> Option<usize> {
    let length = match kind {
        GsoKind::TcpV4 | GsoKind::TcpV6 => {
            let [offset] = get(transport, 12)?;
            usize::from(offset >> 4) * 4
        }
        GsoKind::UdpL4 => UDP_HEADER,
    };
    let least = match kind {
        GsoKind::TcpV4 | GsoKind::TcpV6 => TCP_HEADER,
        GsoKind::UdpL4 => UDP_HEADER,
    };
    (length >= least && length <= transport.len()).then_some(length)
}

#[cfg(test)]
mod tests;
