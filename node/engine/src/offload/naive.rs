//! Slow and simple forms of what this module does fast, for tests to compare with. They share nothing with it.

/// RFC 1071, a word at a time.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}

/// The sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1) for `length` bytes above IP.
pub(super) fn pseudo_header(packet: &[u8], protocol: u8, length: usize) -> u16 {
    let mut bytes = match packet[0] >> 4 {
        4 => packet[12..20].to_vec(),
        _ => packet[8..40].to_vec(),
    };
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, protocol]);
    sum(&bytes)
}

/// Makes lengths and checksums of a packet right whose transport header begins at `transport`.
pub(super) fn finish(packet: &mut [u8], transport: usize, protocol: u8) {
    let above = packet.len() - transport;
    if packet[0] >> 4 == 4 {
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[10..12].fill(0);
        let checksum = !sum(&packet[..transport]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        let length = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
    }
    let field = transport + if protocol == 6 { 16 } else { 6 };
    if protocol == 17 {
        packet[transport + 4..transport + 6].copy_from_slice(&(above as u16).to_be_bytes());
    }
    packet[field..field + 2].fill(0);
    let mut covered = pseudo_header(packet, protocol, above)
        .to_be_bytes()
        .to_vec();
    covered.extend_from_slice(&packet[transport..]);
    let checksum = match !sum(&covered) {
        0 if protocol == 17 => 0xffff,
        checksum => checksum,
    };
    packet[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// The packets that a super-packet stands for.
pub(super) fn segments(
    super_packet: &[u8],
    transport: usize,
    protocol: u8,
    size: usize,
) -> Vec<Vec<u8>> {
    let header = match protocol {
        6 => transport + usize::from(super_packet[transport + 12] >> 4) * 4,
        _ => transport + 8,
    };
    let payload = &super_packet[header..];
    let count = payload.len().div_ceil(size).max(1);
    let mut packets = Vec::new();
    for number in 0..count {
        let from = number * size;
        let to = payload.len().min(from + size);
        let mut packet = super_packet[..header].to_vec();
        packet.extend_from_slice(&payload[from..to]);
        if packet[0] >> 4 == 4 {
            let id = u16::from_be_bytes([packet[4], packet[5]]).wrapping_add(number as u16);
            packet[4..6].copy_from_slice(&id.to_be_bytes());
        }
        if protocol == 6 {
            let tcp = &mut packet[transport..];
            let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            tcp[4..8].copy_from_slice(&sequence.wrapping_add(from as u32).to_be_bytes());
            if number > 0 {
                tcp[13] &= !0x80;
            }
            if number + 1 < count {
                tcp[13] &= !0x09;
            }
        }
        finish(&mut packet, transport, protocol);
        packets.push(packet);
    }
    packets
}
