//! Inner packets that can be told apart.

use std::net::IpAddr;

/// What a test packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// Which packet it is.
    pub number: u64,
}

/// A protocol number that nothing interprets (RFC 3692).
const EXPERIMENTAL: u8 = 254;

impl Message {
    /// The packet, filled up to `length` bytes; the number stands at its end. IPv4 only.
    #[must_use]
    pub fn encode_long(&self, length: u16) -> Vec<u8> {
        let mut packet = self.encode();
        let body = packet.split_off(20);
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet.resize(usize::from(length) - body.len(), 0x55);
        packet.extend(body);
        packet
    }

    /// The packet. Both addresses are of one family.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = self.number.to_be_bytes();
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, EXPERIMENTAL, 0, 0];
                packet.extend_from_slice(&from.octets());
                packet.extend_from_slice(&to.octets());
                packet.extend_from_slice(&body);
                packet
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut packet = vec![0x60, 0, 0, 0, 0, 8, EXPERIMENTAL, 64];
                packet.extend_from_slice(&from.octets());
                packet.extend_from_slice(&to.octets());
                packet.extend_from_slice(&body);
                packet
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                panic!("two families in one packet: {self:?}")
            }
        }
    }

    /// Reads a packet made by [`Self::encode`].
    #[must_use]
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let view = tombolo_proto::ip::view(packet)?;
        let number = u64::from_be_bytes(*packet.last_chunk::<8>()?);
        Some(Self {
            from: view.source,
            to: view.destination,
            number,
        })
    }
}
