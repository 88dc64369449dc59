//! STUN Binding (RFC 8489): asking "which address do you see me at?", and answering it. Nothing else of STUN is used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// RFC 8489 section 5.
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE_PADDING: u16 = 0x8022;
const HEADER: usize = 20;
/// A request is as long as the longest answer (IPv6), so that a forged source gains nothing.
const REQUEST_LENGTH: usize = HEADER + 24;

/// Pairs an answer with its request.
pub type TransactionId = [u8; 12];

/// A Binding request.
#[must_use]
pub fn request(transaction: &TransactionId) -> Vec<u8> {
    let padding = REQUEST_LENGTH - HEADER - 4;
    let mut bytes = header(BINDING_REQUEST, REQUEST_LENGTH - HEADER, transaction);
    bytes.extend_from_slice(&SOFTWARE_PADDING.to_be_bytes());
    bytes.extend_from_slice(&(padding as u16).to_be_bytes());
    bytes.resize(REQUEST_LENGTH, b' ');
    bytes
}

/// The transaction of a well-formed Binding request that is long enough to be answered.
#[must_use]
pub fn read_request(datagram: &[u8]) -> Option<TransactionId> {
    if datagram.len() < REQUEST_LENGTH {
        return None;
    }
    let (transaction, _) = split(datagram, BINDING_REQUEST)?;
    Some(transaction)
}

/// The answer: the address the request came from. IPv4-mapped IPv6 addresses are answered as IPv4.
#[must_use]
pub fn response(transaction: &TransactionId, seen: SocketAddr) -> Vec<u8> {
    let port = (seen.port() ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]])).to_be_bytes();
    let (family, address) = match seen.ip().to_canonical() {
        IpAddr::V4(address) => (1, xor(&address.octets(), transaction)),
        IpAddr::V6(address) => (2, xor(&address.octets(), transaction)),
    };
    let mut bytes = header(BINDING_SUCCESS, 8 + address.len(), transaction);
    bytes.extend_from_slice(&XOR_MAPPED_ADDRESS.to_be_bytes());
    bytes.extend_from_slice(&(4 + address.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, family, port[0], port[1]]);
    bytes.extend_from_slice(&address);
    bytes
}

/// Transaction and address of a Binding success response.
#[must_use]
pub fn read_response(datagram: &[u8]) -> Option<(TransactionId, SocketAddr)> {
    let (transaction, mut attributes) = split(datagram, BINDING_SUCCESS)?;
    while let Some((head, rest)) = attributes.split_first_chunk::<4>() {
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        if kind == XOR_MAPPED_ADDRESS {
            return Some((transaction, mapped_address(value, &transaction)?));
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn mapped_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let ([_, family, port_high, port_low], address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([port_high ^ MAGIC_COOKIE[0], port_low ^ MAGIC_COOKIE[1]]);
    let plain = xor(address, transaction);
    let ip: IpAddr = match family {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(plain).ok()?).into(),
        2 => Ipv6Addr::from(<[u8; 16]>::try_from(plain).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn xor(address: &[u8], transaction: &TransactionId) -> Vec<u8> {
    let mask = MAGIC_COOKIE.iter().chain(transaction);
    address
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect()
}

fn header(kind: [u8; 2], length: usize, transaction: &TransactionId) -> Vec<u8> {
    [
        &kind[..],
        &(length as u16).to_be_bytes(),
        &MAGIC_COOKIE,
        transaction,
    ]
    .concat()
}

fn split(datagram: &[u8], kind: [u8; 2]) -> Option<(TransactionId, &[u8])> {
    let rest = datagram.strip_prefix(&kind)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let rest = rest.strip_prefix(&MAGIC_COOKIE)?;
    let (transaction, attributes) = rest.split_first_chunk::<12>()?;
    (attributes.len() == usize::from(u16::from_be_bytes(*length)))
        .then_some((*transaction, attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_carries_the_address_seen_and_is_never_longer_than_the_request() {
        let transaction = [9; 12];
        for seen in ["203.0.113.7:9790", "[2001:db8::7]:1"] {
            let seen: SocketAddr = seen.parse().expect("an address");
            let request = request(&transaction);

            let answer = response(&read_request(&request).expect("our own request"), seen);

            assert_eq!(read_response(&answer), Some((transaction, seen)));
            assert!(answer.len() <= request.len());
        }
    }

    #[test]
    fn the_sample_response_of_rfc_5769_decodes() {
        // RFC 5769 section 2.2, without the integrity and fingerprint attributes.
        let answer = [
            &[0x01, 0x01, 0x00, 0x1c][..],
            &MAGIC_COOKIE,
            &[
                0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
            ],
            &[0x80, 0x22, 0x00, 0x0b],
            b"test vector ",
            &[
                0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
            ],
        ]
        .concat();

        let (_, seen) = read_response(&answer).expect("the RFC's own sample");

        assert_eq!(seen.to_string(), "192.0.2.1:32853");
    }
}
