//! What is sent through the stages: TCP over IPv4 with timestamps, as Linux sends it.

use std::num::NonZeroU16;

use tombolo_engine::offload::{
    checksum::Sum,
    segment::Segmenter,
    virtio::{Gso, GsoKind, PartialChecksum, VirtioHeader},
};

/// Bytes of IPv4, TCP and its timestamp option.
pub(crate) const HEADERS: usize = 52;
/// What a packet of the usual MTU of 1,400 holds.
pub(crate) const SEGMENT: u16 = 1348;
/// Segments of the largest super-packet, the last one full as well.
pub(crate) const SEGMENTS: usize = 48;
/// SYN in the TCP flags.
pub(crate) const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A packet of so many bytes in all. In the checksum of TCP stands the sum of the pseudo-header, as if it were left to do.
pub(crate) fn tcp(source: [u8; 4], destination: [u8; 4], length: usize, flags: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((length as u16).to_be_bytes());
    packet.extend([0, 7, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend([
        0x9c,
        0x40,
        0x14,
        0x51,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0x80,
        flags | ACK,
        1,
        0,
    ]);
    packet.extend([0, 0, 0, 0]);
    if flags & SYN == 0 {
        // Nothing, nothing, timestamps.
        packet.extend([1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4]);
    } else {
        // The largest segment: 1,460 bytes. The rest is nothing.
        packet.extend([2, 4, 0x05, 0xb4, 1, 1, 1, 1, 1, 1, 1, 1]);
    }
    packet.extend((packet.len()..length).map(|at| at as u8));
    let checksum = Sum::of(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    let pseudo = Sum::of(&packet[12..20]).word(6).word((length - 20) as u16);
    packet[36..38].copy_from_slice(&pseudo.fold().to_be_bytes());
    packet
}

/// What a read from a TUN brings: a virtio header and a super-packet, its checksum left to do.
pub(crate) fn super_packet(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let header = VirtioHeader {
        partial: Some(PartialChecksum {
            start: 20,
            offset: 16,
        }),
        data_valid: false,
        gso: Some(Gso {
            kind: GsoKind::TcpV4,
            ecn: false,
            size: NonZeroU16::new(SEGMENT).expect("not zero"),
            hdr_len: HEADERS as u16,
        }),
    };
    let length = HEADERS + SEGMENTS * usize::from(SEGMENT);
    let mut read = header.encode().to_vec();
    read.extend(tcp(source, destination, length, 0));
    read
}

/// The segments of a super-packet, each between room for a lane header and a tag, and their length.
pub(crate) fn segments(read: &[u8]) -> (Vec<u8>, usize) {
    let (header, packet) = VirtioHeader::parse(read).expect("our own");
    let mut segmenter = Segmenter::new(&header, packet).expect("our own");
    let mut buffer = vec![0; SEGMENTS * segmenter.frame_length()];
    let run = segmenter
        .fill(&mut buffer, SEGMENTS)
        .expect("room for all")
        .expect("some");
    (buffer, run.frame)
}
