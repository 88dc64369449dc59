//! Where the transport header of an IP packet begins, and what little of the headers segmenting and coalescing share.

use super::checksum::Sum;

pub(super) const PROTOCOL_TCP: u8 = 6;
pub(super) const PROTOCOL_UDP: u8 = 17;

/// Bytes of an IPv4 header without options.
pub(super) const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header without extension headers.
pub(super) const IPV6_HEADER: usize = 40;
/// Bytes of a TCP header without options.
pub(super) const TCP_HEADER: usize = 20;
/// Bytes of a UDP header.
pub(super) const UDP_HEADER: usize = 8;
/// Where the checksum is in a TCP header.
pub(super) const TCP_CHECKSUM: usize = 16;
/// Where the checksum is in a UDP header.
pub(super) const UDP_CHECKSUM: usize = 6;

pub(super) const TCP_FIN: u8 = 0x01;
pub(super) const TCP_SYN: u8 = 0x02;
pub(super) const TCP_RST: u8 = 0x04;
pub(super) const TCP_PSH: u8 = 0x08;
pub(super) const TCP_ACK: u8 = 0x10;
pub(super) const TCP_URG: u8 = 0x20;
pub(super) const TCP_CWR: u8 = 0x80;

/// "Don't fragment" in the IPv4 flags and fragment offset field.
pub(super) const IPV4_DF: u16 = 0x4000;
/// "More fragments" and the fragment offset: zero in a whole packet.
const IPV4_FRAGMENT: u16 = 0x3fff;

const NEXT_HOP_BY_HOP: u8 = 0;
const NEXT_ROUTING: u8 = 43;
const NEXT_FRAGMENT: u8 = 44;
const NEXT_DESTINATION: u8 = 60;
/// Extension headers followed before giving up. RFC 8200 section 4.1 recommends no order with more than five of them; a
/// bound keeps a packet full of empty ones from costing more than others.
const MAX_EXTENSIONS: usize = 8;

/// The version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// The headers of a packet up to the transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) version: Version,
    /// What follows the IP header and its extensions.
    pub(super) protocol: u8,
    /// Where it begins: within the packet or at its end.
    pub(super) transport: usize,
    /// Whether the packet is one of several fragments. Then `protocol` may be that of a fragment header.
    pub(super) is_fragment: bool,
}

/// Finds the transport header; `None` unless version, header lengths and total length fit the bytes.
///
/// Of the IPv6 extension headers it follows those that the kernel's own segmentation follows: hop-by-hop options,
/// routing and destination options.
pub(super) fn layout(packet: &[u8]) -> Option<Layout> {
    match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<IPV4_HEADER>()?;
            let transport = usize::from(header[0] & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let fragment = u16::from_be_bytes([header[6], header[7]]) & IPV4_FRAGMENT;
            (transport >= IPV4_HEADER && transport <= total && total == packet.len()).then_some(
                Layout {
                    version: Version::V4,
                    protocol: header[9],
                    transport,
                    is_fragment: fragment != 0,
                },
            )
        }
        6 => {
            let (header, payload) = packet.split_first_chunk::<IPV6_HEADER>()?;
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            if length != payload.len() {
                return None;
            }
            let (protocol, transport) = skip_extensions(packet, header[6])?;
            Some(Layout {
                version: Version::V6,
                protocol,
                transport,
                is_fragment: protocol == NEXT_FRAGMENT,
            })
        }
        _ => None,
    }
}

fn skip_extensions(packet: &[u8], first: u8) -> Option<(u8, usize)> {
    let (mut next, mut at) = (first, IPV6_HEADER);
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(next, NEXT_HOP_BY_HOP | NEXT_ROUTING | NEXT_DESTINATION) {
            return Some((next, at));
        }
        let [following, length] = get(packet, at)?;
        next = following;
        at += (usize::from(length) + 1) * 8;
        if at > packet.len() {
            return None;
        }
    }
    None
}

/// The sum of the pseudo-header of `length` bytes above IP, of a packet that has a layout.
pub(super) fn pseudo_header(packet: &[u8], layout: &Layout, length: usize) -> Sum {
    let addresses = match layout.version {
        Version::V4 => packet.get(12..20),
        Version::V6 => packet.get(8..40),
    };
    Sum::of(addresses.unwrap_or_default())
        .word(u16::from(layout.protocol))
        .double_word(length as u32)
}

/// The `N` bytes at `at`.
pub(super) fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The big-endian word at `at`.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    get(bytes, at).map(u16::from_be_bytes)
}

/// Overwrites the `N` bytes at `at`; `None` if they are not all there.
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value;
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_transport_header_follows_ipv4_options() {
        let mut packet = [0; 32];
        packet[..10].copy_from_slice(&[0x46, 0, 0, 32, 0, 0, 0x40, 0, 64, PROTOCOL_UDP]);

        let layout = layout(&packet).expect("well-formed");

        assert_eq!((layout.protocol, layout.transport), (PROTOCOL_UDP, 24));
        assert!(!layout.is_fragment);
    }

    #[test]
    fn every_fragment_is_told_from_a_whole_packet() {
        for flags in [[0x20, 0], [0, 1], [0x20, 1]] {
            let mut packet = [0; 28];
            packet[..10].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, flags[0], flags[1], 64, 17]);
            assert!(layout(&packet).expect("well-formed").is_fragment);
        }
        let mut packet = [0; 56];
        packet[..7].copy_from_slice(&[0x60, 0, 0, 0, 0, 16, NEXT_FRAGMENT]);
        assert!(layout(&packet).expect("well-formed").is_fragment);
    }

    #[test]
    fn extension_headers_are_followed_and_unknown_ones_are_not() {
        let mut packet = [0; 84];
        packet[..7].copy_from_slice(&[0x60, 0, 0, 0, 0, 44, NEXT_HOP_BY_HOP]);
        packet[40..42].copy_from_slice(&[NEXT_DESTINATION, 0]);
        packet[48..50].copy_from_slice(&[PROTOCOL_TCP, 1]);
        assert_eq!(
            layout(&packet).map(|layout| (layout.protocol, layout.transport)),
            Some((PROTOCOL_TCP, 64))
        );

        packet[40] = 51;
        assert_eq!(
            layout(&packet).map(|layout| (layout.protocol, layout.transport)),
            Some((51, 48))
        );
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let mut packet = [0; 40];
        packet[..4].copy_from_slice(&[0x45, 0, 0, 40]);
        assert!(layout(&packet).is_some());
        for wrong in [[0x44, 40], [0x45, 39], [0x4b, 40], [0x55, 40]] {
            packet[0] = wrong[0];
            packet[3] = wrong[1];
            assert_eq!(layout(&packet), None);
        }
        let endless = [&[0x60, 0, 0, 0, 0, 80, 0][..], &[0; 113]].concat();
        assert_eq!(layout(&endless), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_the_transport_header_is_never_beyond_the_end(
            mut packet in prop::collection::vec(any::<u8>(), 0..200),
            version in 4u8..7,
        ) {
            if let Some(first) = packet.first_mut() {
                *first = version << 4 | (*first & 0x0f);
            }
            if let Some(layout) = layout(&packet) {
                prop_assert!(layout.transport <= packet.len());
                let _ = pseudo_header(&packet, &layout, packet.len());
            }
        }
    }
}
