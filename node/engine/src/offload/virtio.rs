//! `struct virtio_net_hdr` of `include/uapi/linux/virtio_net.h`: what stands before every packet of a TUN opened with
//! `IFF_VNET_HDR`.
//!
//! ```text
//! flags u8 | gso_type u8 | hdr_len u16 | gso_size u16 | csum_start u16 | csum_offset u16
//! ```
//!
//! This is the legacy layout of 10 bytes (no `num_buffers`), which a TUN has unless told otherwise. Its fields are in
//! the machine's byte order, unless `TUNSETVNETLE` or `TUNSETVNETBE` say otherwise; every platform that Tombolo runs on
//! is little endian.

use std::num::NonZeroU16;

/// Bytes of the header.
pub const VIRTIO_NET_HDR_LEN: usize = 10;

/// The checksum from `csum_start` on is left to do; its field holds the sum of the pseudo-header.
pub const VIRTIO_NET_HDR_F_NEEDS_CSUM: u8 = 1;
/// The kernel, or the network card, has found the checksum to be right.
pub const VIRTIO_NET_HDR_F_DATA_VALID: u8 = 2;

/// An ordinary packet.
pub const VIRTIO_NET_HDR_GSO_NONE: u8 = 0;
/// TCP over IPv4, to be segmented.
pub const VIRTIO_NET_HDR_GSO_TCPV4: u8 = 1;
/// A UDP datagram to be cut into IP fragments. Never asked for, hence refused.
pub const VIRTIO_NET_HDR_GSO_UDP: u8 = 3;
/// TCP over IPv6, to be segmented.
pub const VIRTIO_NET_HDR_GSO_TCPV6: u8 = 4;
/// UDP over either IP version, to be cut into datagrams.
pub const VIRTIO_NET_HDR_GSO_UDP_L4: u8 = 5;
/// Beside the TCP types: the first segment carries CWR.
pub const VIRTIO_NET_HDR_GSO_ECN: u8 = 0x80;

/// Why a virtio header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VirtioError {
    /// Fewer bytes than a header.
    #[error("shorter than a virtio header")]
    Short,
    /// A kind of super-packet that was not asked for.
    #[error("unknown kind of super-packet {0}")]
    UnknownGso(u8),
    /// Segments of no length.
    #[error("segments without a size")]
    NoSize,
}

/// A virtio header in words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    /// Where a checksum is left to do, if one is.
    pub partial: Option<PartialChecksum>,
    /// Whether the checksum has been found right already.
    pub data_valid: bool,
    /// How a super-packet is to be cut; `None` for an ordinary packet.
    pub gso: Option<Gso>,
}

/// A checksum that is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where the summed bytes begin; they go to the end of the packet.
    pub start: u16,
    /// Where the field is, counted from `start`.
    pub offset: u16,
}

/// How a super-packet is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gso {
    /// What it is.
    pub kind: GsoKind,
    /// Whether the first segment carries CWR.
    pub ecn: bool,
    /// Payload of every segment but the last.
    pub size: NonZeroU16,
    /// Bytes of all headers together. Only a hint: the kernel states here how much of the packet is contiguous.
    pub hdr_len: u16,
}

/// The kinds of super-packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over IPv4 or IPv6.
    UdpL4,
}

impl VirtioHeader {
    /// Splits what a TUN read brought into header and packet.
    pub fn parse(read: &[u8]) -> Result<(Self, &[u8]), VirtioError> {
        let (header, packet) = read
            .split_first_chunk::<VIRTIO_NET_HDR_LEN>()
            .ok_or(VirtioError::Short)?;
        Ok((Self::decode(*header)?, packet))
    }

    /// Reads a header. `hdr_len` and the fields that the flags give no meaning to are not looked at.
    pub fn decode(bytes: [u8; VIRTIO_NET_HDR_LEN]) -> Result<Self, VirtioError> {
        let [flags, gso_type, l0, l1, s0, s1, c0, c1, o0, o1] = bytes;
        let kind = match gso_type & !VIRTIO_NET_HDR_GSO_ECN {
            VIRTIO_NET_HDR_GSO_NONE => None,
            VIRTIO_NET_HDR_GSO_TCPV4 => Some(GsoKind::TcpV4),
            VIRTIO_NET_HDR_GSO_TCPV6 => Some(GsoKind::TcpV6),
            VIRTIO_NET_HDR_GSO_UDP_L4 => Some(GsoKind::UdpL4),
            unknown => return Err(VirtioError::UnknownGso(unknown)),
        };
        let gso = match kind {
            None => None,
            Some(kind) => Some(Gso {
                kind,
                ecn: gso_type & VIRTIO_NET_HDR_GSO_ECN != 0,
                size: NonZeroU16::new(u16::from_le_bytes([s0, s1])).ok_or(VirtioError::NoSize)?,
                hdr_len: u16::from_le_bytes([l0, l1]),
            }),
        };
        let partial = (flags & VIRTIO_NET_HDR_F_NEEDS_CSUM != 0).then(|| PartialChecksum {
            start: u16::from_le_bytes([c0, c1]),
            offset: u16::from_le_bytes([o0, o1]),
        });
        Ok(Self {
            partial,
            data_valid: flags & VIRTIO_NET_HDR_F_DATA_VALID != 0,
            gso,
        })
    }

    /// The bytes to write before a packet.
    #[must_use]
    pub fn encode(self) -> [u8; VIRTIO_NET_HDR_LEN] {
        let mut flags = 0;
        let mut gso_type = VIRTIO_NET_HDR_GSO_NONE;
        let (mut hdr_len, mut gso_size) = (0, 0);
        if let Some(gso) = self.gso {
            gso_type = match gso.kind {
                GsoKind::TcpV4 => VIRTIO_NET_HDR_GSO_TCPV4,
                GsoKind::TcpV6 => VIRTIO_NET_HDR_GSO_TCPV6,
                GsoKind::UdpL4 => VIRTIO_NET_HDR_GSO_UDP_L4,
            };
            if gso.ecn {
                gso_type |= VIRTIO_NET_HDR_GSO_ECN;
            }
            hdr_len = gso.hdr_len;
            gso_size = gso.size.get();
        }
        let (mut start, mut offset) = (0, 0);
        if let Some(partial) = self.partial {
            flags |= VIRTIO_NET_HDR_F_NEEDS_CSUM;
            start = partial.start;
            offset = partial.offset;
        }
        if self.data_valid {
            flags |= VIRTIO_NET_HDR_F_DATA_VALID;
        }
        let [l0, l1] = u16::to_le_bytes(hdr_len);
        let [s0, s1] = u16::to_le_bytes(gso_size);
        let [c0, c1] = u16::to_le_bytes(start);
        let [o0, o1] = u16::to_le_bytes(offset);
        [flags, gso_type, l0, l1, s0, s1, c0, c1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tcp_super_packet_is_written_as_the_kernel_lays_it_out() {
        let header = VirtioHeader {
            partial: Some(PartialChecksum {
                start: 20,
                offset: 16,
            }),
            data_valid: false,
            gso: Some(Gso {
                kind: GsoKind::TcpV4,
                ecn: true,
                size: NonZeroU16::new(1348).expect("not zero"),
                hdr_len: 52,
            }),
        };

        assert_eq!(header.encode(), [1, 0x81, 52, 0, 0x44, 0x05, 20, 0, 16, 0]);
    }

    #[test]
    fn fragmentation_offload_unknown_kinds_and_empty_segments_are_refused() {
        let refused =
            |gso_type, size| VirtioHeader::decode([1, gso_type, 0, 0, size, 0, 20, 0, 6, 0]);

        assert_eq!(refused(3, 1), Err(VirtioError::UnknownGso(3)));
        assert_eq!(refused(0x83, 1), Err(VirtioError::UnknownGso(3)));
        assert_eq!(refused(2, 1), Err(VirtioError::UnknownGso(2)));
        assert_eq!(refused(1, 0), Err(VirtioError::NoSize));
        assert_eq!(VirtioHeader::parse(&[0; 9]), Err(VirtioError::Short));
    }

    #[test]
    fn an_ordinary_packet_has_a_header_of_zeros() {
        let read = [&[0; 10][..], b"packet"].concat();

        assert_eq!(
            VirtioHeader::parse(&read),
            Ok((VirtioHeader::default(), &b"packet"[..]))
        );
        assert_eq!(VirtioHeader::default().encode(), [0; 10]);
    }

    proptest! {
        #[test]
        fn whatever_is_read_says_the_same_when_written(bytes: [u8; VIRTIO_NET_HDR_LEN]) {
            if let Ok(header) = VirtioHeader::decode(bytes) {
                prop_assert_eq!(VirtioHeader::decode(header.encode()), Ok(header));
            }
        }
    }
}
