//! Packets for tests, built field by field.

use std::num::NonZeroU16;

use super::{
    naive,
    virtio::{Gso, GsoKind, PartialChecksum, VirtioHeader},
};

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// A packet in words.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) version: u8,
    pub(super) protocol: u8,
    /// Tells flows apart: the source port. Every fourth flow has the same addresses.
    pub(super) flow: u8,
    pub(super) tos: u8,
    pub(super) hops: u8,
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    pub(super) flow_label: u16,
    /// Words of IPv4 options, or IPv6 destination option headers of eight bytes.
    pub(super) extensions: usize,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) window: u16,
    pub(super) flags: u8,
    /// TCP options: a multiple of four bytes.
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// A plain data packet with 100 bytes of payload.
pub(super) fn a_packet(version: u8, protocol: u8) -> Sample {
    Sample {
        version,
        protocol,
        flow: 1,
        tos: 0,
        hops: 64,
        id: 7,
        dont_fragment: true,
        flow_label: 0x1234,
        extensions: 0,
        sequence: 1000,
        acknowledgement: 5000,
        window: 502,
        flags: 0x10,
        options: vec![1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4],
        payload: some_bytes(100, 1),
    }
}

/// Bytes without a pattern that a sum would not notice.
pub(super) fn some_bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

impl Sample {
    /// Where the transport header begins.
    pub(super) fn transport(&self) -> usize {
        match self.version {
            4 => 20 + self.extensions * 4,
            _ => 40 + self.extensions * 8,
        }
    }

    /// A whole packet with all lengths and checksums.
    pub(super) fn build(&self) -> Vec<u8> {
        let mut packet = self.ip_header();
        packet.extend_from_slice(&[0x9c, self.flow, 0, 80]);
        if self.protocol == TCP {
            packet.extend_from_slice(&self.sequence.to_be_bytes());
            packet.extend_from_slice(&self.acknowledgement.to_be_bytes());
            let offset = ((20 + self.options.len()) / 4) << 4;
            packet.extend_from_slice(&[offset as u8, self.flags]);
            packet.extend_from_slice(&self.window.to_be_bytes());
            packet.extend_from_slice(&[0; 4]);
            packet.extend_from_slice(&self.options);
        } else {
            packet.extend_from_slice(&[0; 4]);
        }
        packet.extend_from_slice(&self.payload);
        naive::finish(&mut packet, self.transport(), self.protocol);
        packet
    }

    /// The same as the kernel would hand it over to be cut into segments of `size`.
    pub(super) fn build_super(&self, size: u16) -> (VirtioHeader, Vec<u8>) {
        let mut packet = self.build();
        let start = self.transport();
        let offset = if self.protocol == TCP { 16 } else { 6 };
        let sum = naive::pseudo_header(&packet, self.protocol, packet.len() - start);
        packet[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
        let header = VirtioHeader {
            partial: Some(PartialChecksum {
                start: start as u16,
                offset: offset as u16,
            }),
            data_valid: false,
            gso: Some(Gso {
                kind: match (self.protocol, self.version) {
                    (TCP, 4) => GsoKind::TcpV4,
                    (TCP, _) => GsoKind::TcpV6,
                    _ => GsoKind::UdpL4,
                },
                ecn: self.protocol == TCP && self.flags & 0x80 != 0,
                size: NonZeroU16::new(size).expect("a size"),
                hdr_len: 0,
            }),
        };
        (header, packet)
    }

    fn ip_header(&self) -> Vec<u8> {
        let mut header;
        if self.version == 4 {
            header = vec![0x45 + self.extensions as u8, self.tos, 0, 0];
            header.extend_from_slice(&self.id.to_be_bytes());
            header.extend_from_slice(&[u8::from(self.dont_fragment) << 6, 0]);
            header.extend_from_slice(&[self.hops, self.protocol, 0, 0]);
            header.extend_from_slice(&[172, 27, 0, self.flow % 4, 172, 27, 1, 2]);
            header.extend(std::iter::repeat_n(1, self.extensions * 4));
        } else {
            header = vec![0x60 | self.tos >> 4, self.tos << 4];
            header.extend_from_slice(&self.flow_label.to_be_bytes());
            let first = if self.extensions == 0 {
                self.protocol
            } else {
                60
            };
            header.extend_from_slice(&[0, 0, first, self.hops]);
            header.extend_from_slice(&[0xfc; 15]);
            header.push(self.flow % 4);
            header.extend_from_slice(&[0xfd; 16]);
            for left in (0..self.extensions).rev() {
                let next = if left == 0 { self.protocol } else { 60 };
                header.extend_from_slice(&[next, 0, 1, 4, 0, 0, 0, 0]);
            }
        }
        header
    }
}
