//! TCP MSS clamping: a SYN that announces more than the overlay carries is rewritten on its way, in both directions, so
//! that endpoints with a larger MTU behind a member never depend on ICMP (RFC 6691, RFC 1624 for the checksum).

use tombolo_proto::id::Mtu;

const PROTOCOL_TCP: u8 = 6;
const FLAG_SYN: u8 = 0x02;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
/// IPv4 and TCP headers without options.
const OVERHEAD_V4: u16 = 40;
/// IPv6 and TCP headers without options.
const OVERHEAD_V6: u16 = 60;

/// Lowers the MSS option of a TCP SYN in `packet` to what fits `mtu`; any other packet is left alone.
///
/// IPv6 extension headers are not searched: a SYN behind one is rare and falls back on ICMPv6 "packet too big".
pub fn clamp(packet: &mut [u8], mtu: Mtu) {
    let Some((tcp, overhead)) = syn(packet) else {
        return;
    };
    let limit = mtu.0.saturating_sub(overhead);
    let Some(position) = mss_position(tcp) else {
        return;
    };
    let Some(&[high, low]) = tcp.get(position..).and_then(|rest| rest.first_chunk()) else {
        return;
    };
    let announced = u16::from_be_bytes([high, low]);
    if announced <= limit {
        return;
    }
    let before = aligned_words(tcp, position);
    if let Some(value) = tcp
        .get_mut(position..)
        .and_then(|rest| rest.first_chunk_mut())
    {
        *value = limit.to_be_bytes();
    }
    let after = aligned_words(tcp, position);
    if let Some(checksum) = tcp.get_mut(16..).and_then(|rest| rest.first_chunk_mut()) {
        *checksum = adjusted(u16::from_be_bytes(*checksum), before, after).to_be_bytes();
    }
}

/// The TCP segment of an unfragmented SYN, and the header bytes that the MTU has to leave room for.
fn syn(packet: &mut [u8]) -> Option<(&mut [u8], u16)> {
    let (offset, overhead) = match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<20>()?;
            let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
            if header[9] != PROTOCOL_TCP || is_fragment {
                return None;
            }
            (usize::from(header[0] & 0x0f) * 4, OVERHEAD_V4)
        }
        6 => {
            let header = packet.first_chunk::<40>()?;
            if header[6] != PROTOCOL_TCP {
                return None;
            }
            (40, OVERHEAD_V6)
        }
        _ => return None,
    };
    let tcp = packet.get_mut(offset..)?;
    (tcp.get(13)? & FLAG_SYN != 0).then_some((tcp, overhead))
}

/// Where the value of the MSS option stands in a TCP segment.
fn mss_position(tcp: &[u8]) -> Option<usize> {
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    let options = tcp.get(..header)?;
    let mut position = 20;
    loop {
        match *options.get(position)? {
            OPTION_END => return None,
            OPTION_NOP => position += 1,
            kind => {
                let length = usize::from(*options.get(position + 1)?);
                if kind == OPTION_MSS {
                    return (length == 4 && position + 4 <= header).then_some(position + 2);
                }
                if length < 2 {
                    return None;
                }
                position += length;
            }
        }
    }
}

/// The one or two 16-bit words that hold the two bytes at `position`.
fn aligned_words(tcp: &[u8], position: usize) -> [u16; 2] {
    let word = |at: usize| match tcp.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(bytes) => u16::from_be_bytes(*bytes),
        None => 0,
    };
    let start = position & !1;
    if start == position {
        [word(start), 0]
    } else {
        [word(start), word(start + 2)]
    }
}

/// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
fn adjusted(checksum: u16, before: [u16; 2], after: [u16; 2]) -> u16 {
    let mut sum = u32::from(!checksum);
    for word in before {
        sum += u32::from(!word);
    }
    for word in after {
        sum += u32::from(word);
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_large_mss_is_lowered_and_the_checksum_still_holds() {
        for version in [4, 6] {
            let mut packet = a_syn(version, &[OPTION_MSS, 4, 5, 180]);
            clamp(&mut packet, Mtu(1400));

            let expected = if version == 4 { 1360u16 } else { 1340 };
            assert_eq!(announced(&packet), expected);
            assert_eq!(checksum_residue(&packet), 0);
        }
    }

    #[test]
    fn an_mss_at_an_odd_offset_keeps_the_checksum_right() {
        let mut packet = a_syn(
            4,
            &[
                OPTION_NOP, OPTION_MSS, 4, 5, 180, OPTION_NOP, OPTION_NOP, OPTION_NOP,
            ],
        );
        clamp(&mut packet, Mtu(1400));

        assert_eq!(checksum_residue(&packet), 0);
        assert_eq!(u16::from_be_bytes([packet[43], packet[44]]), 1360);
    }

    #[test]
    fn a_small_mss_a_plain_segment_and_a_fragment_are_left_alone() {
        let small = a_syn(4, &[OPTION_MSS, 4, 2, 24]);
        let mut plain = a_syn(4, &[OPTION_MSS, 4, 5, 180]);
        plain[33] = 0x10;
        let mut fragment = a_syn(4, &[OPTION_MSS, 4, 5, 180]);
        fragment[6] = 0x20;

        for packet in [small, plain, fragment] {
            let mut clamped = packet.clone();
            clamp(&mut clamped, Mtu(1400));
            assert_eq!(clamped, packet);
        }
    }

    proptest! {
        #[test]
        fn any_options_leave_the_checksum_right_and_never_panic(
            version in prop_oneof![Just(4u8), Just(6)],
            options in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let padded = { let mut padded = options; padded.resize(padded.len().next_multiple_of(4), 0); padded };
            let mut packet = a_syn(version, &padded);
            clamp(&mut packet, Mtu(1400));
            prop_assert!(matches!(checksum_residue(&packet), 0 | 0xffff));
        }

        #[test]
        fn no_bytes_panic(mut packet in prop::collection::vec(any::<u8>(), 0..100)) {
            clamp(&mut packet, Mtu(1400));
        }
    }

    fn a_syn(version: u8, options: &[u8]) -> Vec<u8> {
        let mut tcp = vec![0; 20];
        tcp[0..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        tcp[12] = (((20 + options.len()) / 4) << 4) as u8;
        tcp[13] = FLAG_SYN;
        tcp.extend_from_slice(options);
        let mut packet = if version == 4 {
            vec![0; 20]
        } else {
            vec![0; 40]
        };
        if version == 4 {
            packet[0] = 0x45;
            packet[9] = PROTOCOL_TCP;
            packet[12..20].copy_from_slice(&[172, 27, 0, 1, 172, 27, 0, 2]);
        } else {
            packet[0] = 0x60;
            packet[6] = PROTOCOL_TCP;
            packet[8..40].copy_from_slice(&[0xfc; 32]);
        }
        let at = packet.len();
        packet.extend_from_slice(&tcp);
        let checksum = !residue_sum(&packet);
        packet[at + 16..at + 18].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    fn tcp_of(packet: &[u8]) -> (&[u8], &[u8]) {
        if packet[0] >> 4 == 4 {
            (&packet[12..20], &packet[20..])
        } else {
            (&packet[8..40], &packet[40..])
        }
    }

    fn announced(packet: &[u8]) -> u16 {
        let (_, tcp) = tcp_of(packet);
        u16::from_be_bytes([tcp[22], tcp[23]])
    }

    fn residue_sum(packet: &[u8]) -> u16 {
        let (addresses, tcp) = tcp_of(packet);
        let pseudo = u32::from(PROTOCOL_TCP) + tcp.len() as u32;
        let mut sum = [addresses, tcp]
            .iter()
            .flat_map(|part| part.chunks(2))
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
            .sum::<u32>()
            + pseudo;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    fn checksum_residue(packet: &[u8]) -> u16 {
        !residue_sum(packet)
    }
}
