//! What access rules look at: addresses, protocol, ports, and what says whether a packet begins something.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tombolo_proto::ip;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers that are looked behind: each kind once, destination options twice (RFC 8200 section 4.1), and some.
const MAX_EXTENSIONS: usize = 8;

/// TCP flags (RFC 9293 section 3.1).
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

/// A packet as rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) kind: Kind,
    /// Identification of the datagram it begins, if it is a first fragment.
    pub(super) begins: Option<u32>,
}

/// What stands behind the IP headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// TCP.
    Tcp {
        source: u16,
        destination: u16,
        flags: u8,
    },
    /// UDP.
    Udp { source: u16, destination: u16 },
    /// An ICMP or ICMPv6 echo.
    Echo { id: u16, is_request: bool },
    /// An ICMP or ICMPv6 error about a packet.
    Error(Option<Quoted>),
    /// Any other message of ICMP or ICMPv6.
    Message,
    /// A protocol without ports.
    Other,
    /// A later fragment of the datagram with this identification.
    Later { id: u32 },
    /// A header of TCP or UDP that is cut short.
    Short,
}

/// The packet that an error is about, as far as it tells a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quoted {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    /// Source and destination port; of an echo request its id and 0.
    pub(super) ports: (u16, u16),
    pub(super) is_echo: bool,
}

impl Segment {
    /// Reads a packet; `None` if it is not exactly one IPv4 or IPv6 packet.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let view = ip::view(packet)?;
        let ports = Header::read(packet)?;
        let payload = packet.get(ports.payload..).unwrap_or_default();
        let kind = match ports.fragment {
            Some((id, offset)) if offset > 0 => Kind::Later { id },
            Some(_) | None => Kind::of(ports.protocol, payload),
        };
        Some(Self {
            source: view.source,
            destination: view.destination,
            protocol: ports.protocol,
            kind,
            begins: ports
                .fragment
                .and_then(|(id, offset)| (offset == 0).then_some(id)),
        })
    }

    /// The destination port, where there is one.
    pub(super) const fn port(&self) -> Option<u16> {
        match self.kind {
            Kind::Tcp { destination, .. } | Kind::Udp { destination, .. } => Some(destination),
            Kind::Echo { .. }
            | Kind::Error(_)
            | Kind::Message
            | Kind::Other
            | Kind::Later { .. }
            | Kind::Short => None,
        }
    }
}

impl Kind {
    fn of(protocol: u8, payload: &[u8]) -> Self {
        match protocol {
            TCP => match payload.first_chunk::<14>() {
                Some(header) => {
                    let (source, destination) = ports(header);
                    Self::Tcp {
                        source,
                        destination,
                        flags: header[13],
                    }
                }
                None => Self::Short,
            },
            UDP => match payload.first_chunk::<8>() {
                Some(header) => {
                    let (source, destination) = ports(header);
                    Self::Udp {
                        source,
                        destination,
                    }
                }
                None => Self::Short,
            },
            ICMP | ICMPV6 => match payload.first_chunk::<8>() {
                Some(header) => Self::of_icmp(protocol, header, payload),
                None => Self::Message,
            },
            _ => Self::Other,
        }
    }

    fn of_icmp(protocol: u8, header: &[u8; 8], payload: &[u8]) -> Self {
        let id = u16::from_be_bytes([header[4], header[5]]);
        match (protocol, header[0]) {
            (ICMP, 8) | (ICMPV6, 128) => Self::Echo {
                id,
                is_request: true,
            },
            (ICMP, 0) | (ICMPV6, 129) => Self::Echo {
                id,
                is_request: false,
            },
            // Unreachable, time exceeded, parameter problem; packet too big (RFC 792, RFC 4443).
            (ICMP, 3 | 11 | 12) | (ICMPV6, 1..=4) => {
                Self::Error(Quoted::read(payload.get(8..).unwrap_or_default()))
            }
            _ => Self::Message,
        }
    }
}

impl Quoted {
    /// Reads the beginning of a packet, of which the rest may be cut off.
    fn read(packet: &[u8]) -> Option<Self> {
        let (source, destination) = match packet.first()? >> 4 {
            4 => {
                let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *packet.first_chunk::<20>()?;
                (
                    IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
                    IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
                )
            }
            6 => {
                let (addresses, _) = packet.get(8..)?.split_first_chunk::<32>()?;
                let (source, destination) = addresses.split_at(16);
                (
                    IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(source).ok()?)),
                    IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(destination).ok()?)),
                )
            }
            _ => return None,
        };
        let header = Header::read(packet)?;
        if header.fragment.is_some_and(|(_, offset)| offset > 0) {
            return None;
        }
        let payload = packet.get(header.payload..)?;
        let is_echo = matches!(header.protocol, ICMP | ICMPV6);
        let ports = match header.protocol {
            TCP | UDP => ports(payload.first_chunk::<4>()?),
            ICMP | ICMPV6 => {
                let header = payload.first_chunk::<8>()?;
                (u16::from_be_bytes([header[4], header[5]]), 0)
            }
            _ => (0, 0),
        };
        Some(Self {
            source,
            destination,
            protocol: header.protocol,
            ports,
            is_echo,
        })
    }
}

/// Where the IP headers end.
struct Header {
    protocol: u8,
    /// Offset of what follows them.
    payload: usize,
    /// Identification and offset, in units of 8 bytes.
    fragment: Option<(u32, u16)>,
}

impl Header {
    fn read(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let header = packet.first_chunk::<20>()?;
                let place = u16::from_be_bytes([header[6], header[7]]);
                let id = u16::from_be_bytes([header[4], header[5]]);
                // More fragments, or an offset.
                let is_fragment = place & 0x3fff != 0;
                Some(Self {
                    protocol: header[9],
                    payload: usize::from(header[0] & 0x0f) * 4,
                    fragment: is_fragment.then_some((u32::from(id), place & 0x1fff)),
                })
            }
            6 => Self::behind_extensions(packet),
            _ => None,
        }
    }

    fn behind_extensions(packet: &[u8]) -> Option<Self> {
        let mut found = Self {
            protocol: *packet.get(6)?,
            payload: 40,
            fragment: None,
        };
        for _ in 0..MAX_EXTENSIONS {
            let rest = packet.get(found.payload..).unwrap_or_default();
            match (found.protocol, rest.first_chunk::<8>()) {
                (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS, Some(header)) => {
                    found.protocol = header[0];
                    found.payload += (usize::from(header[1]) + 1) * 8;
                }
                (FRAGMENT, Some(header)) => {
                    let [next, _, place, more, i0, i1, i2, i3] = *header;
                    let place = u16::from_be_bytes([place, more]);
                    found.protocol = next;
                    found.payload += 8;
                    // A fragment that is the whole datagram is none (RFC 6946).
                    if place & 0xfff9 != 0 {
                        let id = u32::from_be_bytes([i0, i1, i2, i3]);
                        found.fragment = Some((id, place >> 3));
                        if place >> 3 > 0 {
                            return Some(found);
                        }
                    }
                }
                _ => return Some(found),
            }
        }
        Some(found)
    }
}

fn ports(header: &[u8]) -> (u16, u16) {
    match *header {
        [s0, s1, d0, d1, ..] => (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])),
        _ => (0, 0),
    }
}
