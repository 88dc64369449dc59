//! What coalescing has to know of one packet: which flow it belongs to, and whether it can be part of a super-packet.
//!
//! The rules are those of Linux's GRO (`inet_gro_receive`, `ipv6_gro_receive`, `tcp_gro_receive`, `udp_gro_receive`). A
//! packet goes alone if it
//! - has IPv4 options, or is a fragment;
//! - is TCP with SYN, RST or URG, without ACK, or without payload;
//! - is UDP without a checksum, without payload, or with another length than IP says.
//!
//! Packets of one flow must stay in order, so even a packet that goes alone says which flow it is of.

use super::{
    checksum::Sum,
    headers::{
        IPV4_HEADER, Layout, PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_CHECKSUM, TCP_CWR, TCP_FIN,
        TCP_HEADER, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG, UDP_CHECKSUM, UDP_HEADER, Version, get,
        layout, pseudo_header, word,
    },
};

/// Source and destination, one after the other; IPv4 addresses in front, zeros behind.
pub(super) type Addresses = [u8; 32];

/// What the packets of one flow share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    /// Source and destination port, as they stand in the packet.
    pub(super) ports: [u8; 4],
    pub(super) version: Version,
    pub(super) protocol: u8,
    pub(super) addresses: Addresses,
}

/// How a packet relates to flows and super-packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It may be merged with what is before it or after it.
    Mergeable(Candidate),
    /// It goes alone, in its place within this flow.
    Alone(Flow),
    /// It goes alone and may be of any flow between these addresses: a fragment, or damaged.
    Between(Addresses),
    /// It goes alone and is of no flow that is ever merged.
    Stranger,
}

/// A packet that may be part of a super-packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) flow: Flow,
    /// Where the transport header begins.
    pub(super) transport: usize,
    /// Where the payload begins; it goes to the end of the packet and is not empty.
    pub(super) payload: usize,
    pub(super) kind: CandidateKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CandidateKind {
    Tcp { sequence: u32, flags: u8 },
    Udp,
}

impl Candidate {
    /// Whether nothing can follow it in a super-packet.
    pub(super) const fn is_closing(&self) -> bool {
        match self.kind {
            CandidateKind::Tcp { flags, .. } => flags & (TCP_PSH | TCP_FIN) != 0,
            CandidateKind::Udp => false,
        }
    }

    /// Whether it starts a super-packet or is none: CWR is for the first segment.
    pub(super) const fn is_opening(&self) -> bool {
        match self.kind {
            CandidateKind::Tcp { flags, .. } => flags & TCP_CWR != 0,
            CandidateKind::Udp => false,
        }
    }

    /// Where the checksum is in the transport header.
    pub(super) const fn checksum_offset(&self) -> usize {
        match self.kind {
            CandidateKind::Tcp { .. } => TCP_CHECKSUM,
            CandidateKind::Udp => UDP_CHECKSUM,
        }
    }

    /// Whether all checksums of the packet are right, and what a segmenter would write.
    ///
    /// A super-packet has its checksums written anew; merging a damaged packet would hide the damage. The second half is
    /// about the two representations of zero: computed checksums of IPv4 headers and TCP segments are never 0xffff.
    pub(super) fn is_intact(&self, packet: &[u8]) -> bool {
        let layout = Layout {
            version: self.flow.version,
            protocol: self.flow.protocol,
            transport: self.transport,
            is_fragment: false,
        };
        let Some((ip, transport)) = packet.split_at_checked(self.transport) else {
            return false;
        };
        if layout.version == Version::V4
            && !(Sum::of(ip).is_valid() && word(ip, 10) != Some(0xffff))
        {
            return false;
        }
        if layout.protocol == PROTOCOL_TCP && word(transport, TCP_CHECKSUM) == Some(0xffff) {
            return false;
        }
        pseudo_header(packet, &layout, transport.len())
            .plus(Sum::of(transport))
            .is_valid()
    }
}

/// Says what a packet is to the coalescer.
pub(super) fn classify(packet: &[u8]) -> Class {
    let Some(layout) = layout(packet) else {
        return addresses(packet).map_or(Class::Stranger, Class::Between);
    };
    let Some(addresses) = addresses(packet) else {
        return Class::Stranger;
    };
    if layout.is_fragment {
        return Class::Between(addresses);
    }
    if !matches!(layout.protocol, PROTOCOL_TCP | PROTOCOL_UDP) {
        return Class::Stranger;
    }
    let transport = packet.get(layout.transport..).unwrap_or_default();
    let Some(ports) = get(transport, 0) else {
        return Class::Between(addresses);
    };
    let flow = Flow {
        ports,
        version: layout.version,
        protocol: layout.protocol,
        addresses,
    };
    let kind = if layout.protocol == PROTOCOL_TCP {
        tcp(transport)
    } else {
        udp(transport)
    };
    let has_options = layout.version == Version::V4 && layout.transport != IPV4_HEADER;
    match kind {
        Some((kind, header)) if !has_options => Class::Mergeable(Candidate {
            flow,
            transport: layout.transport,
            payload: layout.transport + header,
            kind,
        }),
        _ => Class::Alone(flow),
    }
}

fn tcp(transport: &[u8]) -> Option<(CandidateKind, usize)> {
    let header = transport.first_chunk::<TCP_HEADER>()?;
    let length = usize::from(header[12] >> 4) * 4;
    let flags = header[13];
    let sequence = u32::from_be_bytes(get(header, 4)?);
    (length >= TCP_HEADER
        && length < transport.len()
        && flags & (TCP_SYN | TCP_RST | TCP_URG | TCP_ACK) == TCP_ACK)
        .then_some((CandidateKind::Tcp { sequence, flags }, length))
}

fn udp(transport: &[u8]) -> Option<(CandidateKind, usize)> {
    let length = usize::from(word(transport, 4)?);
    let checksum = word(transport, UDP_CHECKSUM)?;
    (length == transport.len() && length > UDP_HEADER && checksum != 0)
        .then_some((CandidateKind::Udp, UDP_HEADER))
}

fn addresses(packet: &[u8]) -> Option<Addresses> {
    let mut addresses = [0; 32];
    match packet.first()? >> 4 {
        4 => *addresses.first_chunk_mut()? = get::<8>(packet, 12)?,
        6 => addresses = get(packet, 8)?,
        _ => return None,
    }
    Some(addresses)
}
