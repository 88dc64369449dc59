//! A borrowed view of an IP header: version, addresses, length; nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Source and destination of a well-formed packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpView {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
}

/// Reads a packet that is exactly one IPv4 (RFC 791) or IPv6 (RFC 8200) packet; `None` if its version, header length
/// or total length do not fit the bytes.
#[must_use]
pub fn view(packet: &[u8]) -> Option<IpView> {
    match packet.first()? >> 4 {
        4 => {
            let (header, _) = packet.split_first_chunk::<20>()?;
            let header_length = usize::from(header[0] & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
            (header_length >= 20 && header_length <= total && total == packet.len()).then(|| {
                IpView {
                    source: Ipv4Addr::new(s0, s1, s2, s3).into(),
                    destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
                }
            })
        }
        6 => {
            let (header, payload) = packet.split_first_chunk::<40>()?;
            let (addresses, _) = header.get(8..)?.split_first_chunk::<32>()?;
            let (source, destination) = addresses.split_at(16);
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            (length == payload.len()).then_some(IpView {
                source: Ipv6Addr::from(<[u8; 16]>::try_from(source).ok()?).into(),
                destination: Ipv6Addr::from(<[u8; 16]>::try_from(destination).ok()?).into(),
            })
        }
        _ => None,
    }
}
