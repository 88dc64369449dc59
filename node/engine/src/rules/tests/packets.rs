//! Packets of all sorts, between the addresses 10.0.0.N and fd00::N.

use super::super::packet::{ACK, RST, SYN};

pub(super) fn syn(from: u8, to: u8, source: u16, destination: u16) -> Vec<u8> {
    tcp(from, to, source, destination, SYN)
}

pub(super) fn syn_ack(from: u8, to: u8, source: u16, destination: u16) -> Vec<u8> {
    tcp(from, to, source, destination, SYN | ACK)
}

pub(super) fn ack(from: u8, to: u8, source: u16, destination: u16) -> Vec<u8> {
    tcp(from, to, source, destination, ACK)
}

pub(super) fn rst(from: u8, to: u8, source: u16, destination: u16) -> Vec<u8> {
    tcp(from, to, source, destination, RST)
}

pub(super) fn tcp(from: u8, to: u8, source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let mut header = [0; 20];
    header[..2].copy_from_slice(&source.to_be_bytes());
    header[2..4].copy_from_slice(&destination.to_be_bytes());
    header[12] = 0x50;
    header[13] = flags;
    v4(from, to, 6, &header)
}

pub(super) fn udp(from: u8, to: u8, source: u16, destination: u16) -> Vec<u8> {
    let mut header = [0; 12];
    header[..2].copy_from_slice(&source.to_be_bytes());
    header[2..4].copy_from_slice(&destination.to_be_bytes());
    header[5] = 12;
    v4(from, to, 17, &header)
}

pub(super) fn ping(from: u8, to: u8, id: u16) -> Vec<u8> {
    icmp(from, to, 8, id, &[])
}

pub(super) fn pong(from: u8, to: u8, id: u16) -> Vec<u8> {
    icmp(from, to, 0, id, &[])
}

pub(super) fn unreachable(from: u8, to: u8, about: &[u8]) -> Vec<u8> {
    icmp(from, to, 3, 0, about)
}

pub(super) fn other(from: u8, to: u8, protocol: u8) -> Vec<u8> {
    v4(from, to, protocol, &[1, 2, 3])
}

fn icmp(from: u8, to: u8, message: u8, id: u16, rest: &[u8]) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let header = [message, 0, 0, 0, high, low, 0, 1];
    v4(from, to, 1, &[&header, rest].concat())
}

fn v4(from: u8, to: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend_from_slice(&[10, 0, 0, from, 10, 0, 0, to]);
    packet.extend_from_slice(payload);
    with_length(&packet)
}

/// A fragment of a packet: all of its payload, as if it began `offset` bytes further on.
pub(super) fn fragment(packet: &[u8], id: u16, offset: u16, more: bool) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    let place = (offset / 8) | (u16::from(more) << 13);
    packet[6..8].copy_from_slice(&place.to_be_bytes());
    packet
}

/// The same in IPv6, behind so many extension headers.
pub(super) fn v6(packet: &[u8], extensions: usize) -> Vec<u8> {
    let mut payload = packet[20..].to_vec();
    let mut protocol = if packet[9] == 1 { 58 } else { packet[9] };
    if protocol == 58 {
        payload[0] = if payload[0] == 8 { 128 } else { 129 };
    }
    for extension in [60, 43, 0].into_iter().take(extensions) {
        payload = [&[protocol, 0, 0, 0, 0, 0, 0, 0], &payload[..]].concat();
        protocol = extension;
    }
    let mut ipv6 = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
    for number in [packet[15], packet[19]] {
        ipv6.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]);
    }
    ipv6.extend_from_slice(&payload);
    with_length(&ipv6)
}

/// Writes the length that a packet has into it.
pub(super) fn with_length(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let length = packet.len() as u16;
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 4 => packet[2..4].copy_from_slice(&length.to_be_bytes()),
        Some(6) if packet.len() >= 40 => packet[4..6].copy_from_slice(&(length - 40).to_be_bytes()),
        _ => {}
    }
    packet
}
