//! Packets of one flow that follow each other and will be one super-packet.
//!
//! The first packet stays where it is; its headers become those of the super-packet when the group is handed out. Of the
//! others only the place of the payload is kept. A packet joins if the super-packet, cut again by the kernel, gives
//! exactly that packet back; see [`Group::fits`].

use std::{num::NonZeroU16, ops::Range};

use super::{
    UDP_MAX_SEGMENTS,
    checksum::Sum,
    flow::{Candidate, CandidateKind},
    headers::{
        IPV4_DF, IPV4_HEADER, IPV6_HEADER, Layout, TCP_CWR, TCP_FIN, TCP_PSH, Version,
        pseudo_header, put, word,
    },
    virtio::{Gso, GsoKind, PartialChecksum, VirtioHeader},
};

/// Most packets in a group. For UDP it is the kernel's limit; 64 full TCP segments exceed 64 KiB anyway.
pub(super) const MAX_PACKETS: usize = UDP_MAX_SEGMENTS;

/// Longest super-packet: what the length field of IPv4 can state, and the kernel's own limit (`GSO_LEGACY_MAX_SIZE`, less
/// one) for IPv6.
const MAX_LENGTH: usize = 65_535;

/// Where something lies in the memory of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) length: usize,
}

impl Span {
    pub(super) const fn new(range: &Range<usize>) -> Self {
        Self {
            start: range.start,
            length: range.end.saturating_sub(range.start),
        }
    }

    pub(super) fn of(self, memory: &[u8]) -> Option<&[u8]> {
        memory.get(self.start..)?.get(..self.length)
    }

    pub(super) fn of_mut(self, memory: &mut [u8]) -> Option<&mut [u8]> {
        memory.get_mut(self.start..)?.get_mut(..self.length)
    }
}

/// What came of the attempt to add a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// It is in, and another may follow.
    Open,
    /// It is in, and nothing may follow.
    Full,
    /// It stays out. It may start a group of its own.
    No,
    /// It stays out and goes alone: its checksum is wrong.
    Damaged,
}

/// An open group. The places of its packets are kept beside it, in `spans`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) head: Candidate,
    pub(super) spans: usize,
    /// Payload of the first packet, and of every other but the last.
    size: usize,
    /// Bytes of the super-packet.
    length: usize,
    /// Whether the checksums of the first packet have been verified. A packet that nothing joins is not.
    is_verified: bool,
    /// Whether all packets have one identification, which only those that may not be fragmented can.
    has_one_id: bool,
    /// FIN and PSH of the last packet.
    last_flags: u8,
}

impl Group {
    pub(super) const fn new(head: Candidate, packet: Span) -> Self {
        Self {
            head,
            spans: 1,
            size: packet.length - head.payload,
            length: packet.length,
            is_verified: false,
            has_one_id: false,
            last_flags: 0,
        }
    }

    /// Adds a packet of the same flow if it fits; `spans` is this group's, its first entry the first packet.
    pub(super) fn join(
        &mut self,
        spans: &mut [Span; MAX_PACKETS],
        memory: &[u8],
        candidate: &Candidate,
        packet: Span,
    ) -> Joined {
        let [head_span, ..] = *spans;
        let (Some(head), Some(bytes)) = (head_span.of(memory), packet.of(memory)) else {
            return Joined::No;
        };
        let payload = packet.length - candidate.payload;
        if candidate.is_opening()
            || candidate.transport != self.head.transport
            || candidate.payload != self.head.payload
            || payload > self.size
            || self.length + payload > MAX_LENGTH
            || self.fits(head, candidate, bytes).is_none()
        {
            return Joined::No;
        }
        if !self.is_verified {
            if !self.head.is_intact(head) {
                return Joined::No;
            }
            self.is_verified = true;
        }
        if !candidate.is_intact(bytes) {
            return Joined::Damaged;
        }
        let Some(free) = spans.get_mut(self.spans) else {
            return Joined::No;
        };
        *free = Span {
            start: packet.start + candidate.payload,
            length: payload,
        };
        if self.spans == 1 && self.head.flow.version == Version::V4 {
            self.has_one_id = word(head, 4) == word(bytes, 4);
        }
        self.spans += 1;
        self.length += payload;
        if let CandidateKind::Tcp { flags, .. } = candidate.kind {
            self.last_flags = flags & (TCP_FIN | TCP_PSH);
        }
        if candidate.is_closing() || payload < self.size || self.spans == MAX_PACKETS {
            Joined::Full
        } else {
            Joined::Open
        }
    }

    /// Compares everything that segments of one super-packet have in common, and what must follow on.
    fn fits(&self, head: &[u8], candidate: &Candidate, packet: &[u8]) -> Option<()> {
        let same = |range: Range<usize>| {
            let first = head.get(range.clone());
            first.is_some() && first == packet.get(range)
        };
        let must = |holds: bool| holds.then_some(());
        let at = self.head.transport;
        match self.head.flow.version {
            Version::V4 => {
                // TOS with the congestion mark; flags; time to live.
                must(same(0..2) && same(6..9))?;
                let (first, id) = (word(head, 4)?, word(packet, 4)?);
                let is_next = id == first.wrapping_add(self.spans as u16);
                let may_be_same = word(head, 6)? & IPV4_DF != 0;
                let is_same = id == first && may_be_same;
                must(match self.spans {
                    1 => is_next || is_same,
                    _ if self.has_one_id => is_same,
                    _ => is_next,
                })?;
            }
            // Traffic class and flow label; hop limit; extension headers.
            Version::V6 => must(same(0..4) && same(6..8) && same(IPV6_HEADER..at))?,
        }
        match (self.head.kind, candidate.kind) {
            (
                CandidateKind::Tcp {
                    sequence: first, ..
                },
                CandidateKind::Tcp { sequence, flags },
            ) => {
                // Acknowledgement; data offset and reserved bits; window; urgent pointer and options.
                must(same(at + 8..at + 13) && same(at + 14..at + 16))?;
                must(same(at + 18..self.head.payload))?;
                let may_differ = TCP_CWR | TCP_FIN | TCP_PSH;
                must((self.flags() ^ flags) & !may_differ == 0)?;
                let carried = self.length - self.head.payload;
                must(sequence == first.wrapping_add(carried as u32))
            }
            (CandidateKind::Udp, CandidateKind::Udp) => Some(()),
            _ => None,
        }
    }

    const fn flags(&self) -> u8 {
        match self.head.kind {
            CandidateKind::Tcp { flags, .. } => flags,
            CandidateKind::Udp => 0,
        }
    }

    /// Makes the first packet's headers those of the super-packet and says what the kernel has to do with it. A group of
    /// one packet is left as it came.
    pub(super) fn finish(&self, first: &mut [u8]) -> Option<VirtioHeader> {
        if self.spans == 1 {
            return Some(VirtioHeader::default());
        }
        let at = self.head.transport;
        let above = self.length - at;
        let layout = Layout {
            version: self.head.flow.version,
            protocol: self.head.flow.protocol,
            transport: at,
            is_fragment: false,
        };
        let pseudo_header = pseudo_header(first, &layout, above).fold();
        match layout.version {
            Version::V4 => {
                put(first, 2, (self.length as u16).to_be_bytes())?;
                put(first, 10, [0, 0])?;
                let checksum = Sum::of(first.get(..IPV4_HEADER)?).checksum();
                put(first, 10, checksum.to_be_bytes())?;
            }
            Version::V6 => {
                let length = (self.length - IPV6_HEADER) as u16;
                put(first, 4, length.to_be_bytes())?;
            }
        }
        let kind = match (self.head.kind, layout.version) {
            (CandidateKind::Tcp { flags, .. }, version) => {
                put(first, at + 13, [flags | self.last_flags])?;
                match version {
                    Version::V4 => GsoKind::TcpV4,
                    Version::V6 => GsoKind::TcpV6,
                }
            }
            (CandidateKind::Udp, _) => {
                put(first, at + 4, (above as u16).to_be_bytes())?;
                GsoKind::UdpL4
            }
        };
        let offset = self.head.checksum_offset();
        put(first, at + offset, pseudo_header.to_be_bytes())?;
        Some(VirtioHeader {
            partial: Some(PartialChecksum {
                start: at as u16,
                offset: offset as u16,
            }),
            data_valid: false,
            gso: Some(Gso {
                kind,
                ecn: self.flags() & TCP_CWR != 0,
                size: NonZeroU16::new(self.size as u16)?,
                hdr_len: self.head.payload as u16,
            }),
        })
    }
}
