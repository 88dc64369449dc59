//! The headers of a segment: what all segments of a super-packet have in common, and what each has of its own.
//!
//! The sums of what is common are computed once, so a segment costs the sum of its payload and a few additions.

use super::SegmentError;
use crate::offload::{
    checksum::Sum,
    headers::{
        IPV6_HEADER, Layout, PROTOCOL_TCP, PROTOCOL_UDP, TCP_CHECKSUM, TCP_CWR, TCP_FIN,
        TCP_HEADER, TCP_PSH, UDP_CHECKSUM, UDP_HEADER, Version, get, layout, pseudo_header, put,
        word,
    },
    virtio::{Gso, GsoKind, PartialChecksum},
};

/// What all segments have in common, with the checksums as far as they are the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    network: Network,
    transport_at: usize,
    header_length: usize,
    transport: Transport,
    /// Sum of pseudo-header and transport header without what differs between segments.
    sum: Sum,
    /// Whether no segment has been written yet.
    is_first: bool,
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

impl Split {
    /// Prepares for a super-packet of the kind that the virtio header says.
    pub(super) fn new(
        gso: Gso,
        partial: Option<PartialChecksum>,
        packet: &[u8],
    ) -> Result<Self, SegmentError> {
        let layout = super_packet_layout(gso, packet)?;
        let at = layout.transport;
        let transport = packet.get(at..).unwrap_or_default();
        let header_length =
            transport_header(gso.kind, transport).ok_or(SegmentError::NoTransport)?;
        let header = transport
            .get(..header_length)
            .ok_or(SegmentError::NoTransport)?;
        let field = match gso.kind {
            GsoKind::TcpV4 | GsoKind::TcpV6 => TCP_CHECKSUM,
            GsoKind::UdpL4 => UDP_CHECKSUM,
        };
        let mut sum = Sum::of(header);
        let length = transport.len();
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
                    .plus(pseudo_header(packet, &layout, length));
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
            header_length: at + header_length,
            transport,
            sum,
            is_first: true,
        })
    }

    /// Bytes of all headers together.
    pub(super) const fn header_length(&self) -> usize {
        self.header_length
    }

    /// Makes the copied headers those of the next segment.
    pub(super) fn write(&mut self, header: &mut [u8], payload: &[u8], is_last: bool) -> Option<()> {
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
        let sum = self.sum.double_word(above as u32).plus(Sum::of(payload));
        match &mut self.transport {
            Transport::Tcp { sequence, flags } => {
                let mut cleared = 0;
                if !self.is_first {
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
        self.is_first = false;
        Some(())
    }
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
    match kind {
        GsoKind::TcpV4 | GsoKind::TcpV6 => {
            let [offset] = get(transport, 12)?;
            let length = usize::from(offset >> 4) * 4;
            (length >= TCP_HEADER && length <= transport.len()).then_some(length)
        }
        GsoKind::UdpL4 => (transport.len() >= UDP_HEADER).then_some(UDP_HEADER),
    }
}
