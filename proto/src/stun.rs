//! STUN Binding (RFC 8489): asking "which address do you see me at?", and answering it. Of the discovery of what a NAT does
//! (RFC 5780) there is what one host with two ports can do: an answer names the other port, and a question may ask to be
//! answered from there. Nothing else of STUN is used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// RFC 8489 section 5.
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE_PADDING: u16 = 0x8022;
/// RFC 5780 section 7.2.
const CHANGE_REQUEST: u16 = 0x0003;
const CHANGE_PORT: [u8; 4] = [0, 0, 0, 2];
/// RFC 5780 section 7.4.
const OTHER_ADDRESS: u16 = 0x802c;
const HEADER: usize = 20;
/// A request is as long as the longest answer (IPv6, and the other port), so that a forged source gains nothing.
const REQUEST_LENGTH: usize = HEADER + 24 + OTHER_PORT_LENGTH;
/// As long as an answer that names no other port; older nodes ask so.
const MIN_REQUEST_LENGTH: usize = HEADER + 24;
/// The attribute for the other port; always of IPv4, because its address says nothing.
const OTHER_PORT_LENGTH: usize = 12;

/// Pairs an answer with its request.
pub type TransactionId = [u8; 12];

/// A Binding request.
#[must_use]
pub fn request(transaction: &TransactionId) -> Vec<u8> {
    padded(&[], transaction)
}

/// A Binding request that asks to be answered from the other port: the answer passes only NATs and firewalls that let in
/// what nobody has asked for at that port.
#[must_use]
pub fn request_from_other_port(transaction: &TransactionId) -> Vec<u8> {
    let change = [
        &CHANGE_REQUEST.to_be_bytes()[..],
        &(CHANGE_PORT.len() as u16).to_be_bytes(),
        &CHANGE_PORT,
    ]
    .concat();
    padded(&change, transaction)
}

fn padded(attributes: &[u8], transaction: &TransactionId) -> Vec<u8> {
    let padding = REQUEST_LENGTH - HEADER - attributes.len() - 4;
    let mut bytes = header(BINDING_REQUEST, REQUEST_LENGTH - HEADER, transaction);
    bytes.extend_from_slice(attributes);
    bytes.extend_from_slice(&SOFTWARE_PADDING.to_be_bytes());
    bytes.extend_from_slice(&(padding as u16).to_be_bytes());
    bytes.resize(REQUEST_LENGTH, b' ');
    bytes
}

/// A Binding request that may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// To be returned.
    pub transaction: TransactionId,
    /// Whether the answer is to come from the other port.
    pub from_other_port: bool,
    /// Whether it is long enough for an answer that names the other port.
    pub has_room: bool,
}

/// A well-formed Binding request that is long enough to be answered.
#[must_use]
pub fn read_request(datagram: &[u8]) -> Option<Question> {
    if datagram.len() < MIN_REQUEST_LENGTH {
        return None;
    }
    let (transaction, attributes) = split(datagram, BINDING_REQUEST)?;
    let change = Attributes(attributes).find(|(kind, _)| *kind == CHANGE_REQUEST);
    Some(Question {
        transaction,
        from_other_port: change.is_some_and(|(_, value)| value == CHANGE_PORT),
        has_room: datagram.len() >= REQUEST_LENGTH,
    })
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

/// The same answer, which also says at which port of the same host the question would be answered too. The attribute's
/// address is left unspecified: whoever listens on all addresses does not know at which one it was asked.
#[must_use]
pub fn response_with_other_port(
    transaction: &TransactionId,
    seen: SocketAddr,
    other_port: u16,
) -> Vec<u8> {
    let mut bytes = response(transaction, seen);
    bytes.extend_from_slice(&OTHER_ADDRESS.to_be_bytes());
    bytes.extend_from_slice(&8u16.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(&other_port.to_be_bytes());
    bytes.extend_from_slice(&Ipv4Addr::UNSPECIFIED.octets());
    let length = (bytes.len() - HEADER) as u16;
    if let Some(field) = bytes.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

/// Transaction and address of a Binding success response.
#[must_use]
pub fn read_response(datagram: &[u8]) -> Option<(TransactionId, SocketAddr)> {
    let (transaction, attributes) = split(datagram, BINDING_SUCCESS)?;
    let (_, value) = Attributes(attributes).find(|(kind, _)| *kind == XOR_MAPPED_ADDRESS)?;
    Some((transaction, mapped_address(value, &transaction)?))
}

/// The other port that a Binding success response names.
#[must_use]
pub fn other_port(datagram: &[u8]) -> Option<u16> {
    let (_, attributes) = split(datagram, BINDING_SUCCESS)?;
    let (_, value) = Attributes(attributes).find(|(kind, _)| *kind == OTHER_ADDRESS)?;
    let [_, _, high, low, ..] = value else {
        return None;
    };
    Some(u16::from_be_bytes([*high, *low])).filter(|port| *port != 0)
}

/// Kind and value of each attribute, up to the first that is cut short.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        self.0 = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
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

            let question = read_request(&request).expect("our own request");
            assert!(!question.from_other_port && question.has_room);

            let answer = response(&question.transaction, seen);
            let longer = response_with_other_port(&question.transaction, seen, 9794);

            assert_eq!(read_response(&answer), Some((transaction, seen)));
            assert_eq!(read_response(&longer), Some((transaction, seen)));
            assert_eq!(
                [other_port(&answer), other_port(&longer)],
                [None, Some(9794)]
            );
            assert!(longer.len() <= request.len());
        }
    }

    #[test]
    fn a_question_may_ask_to_be_answered_from_the_other_port() {
        let asked = request_from_other_port(&[9; 12]);

        let question = read_request(&asked).expect("our own request");

        assert!(question.from_other_port);
        assert_eq!(asked.len(), request(&[9; 12]).len());
    }

    #[test]
    fn a_question_of_an_older_node_gets_an_answer_that_is_no_longer() {
        let mut asked = header(BINDING_REQUEST, 24, &[9; 12]);
        asked.extend_from_slice(&SOFTWARE_PADDING.to_be_bytes());
        asked.extend_from_slice(&20u16.to_be_bytes());
        asked.resize(MIN_REQUEST_LENGTH, b' ');

        let question = read_request(&asked).expect("a request");

        assert!(!question.has_room);
        let seen: SocketAddr = "[2001:db8::7]:1".parse().expect("an address");
        assert!(response(&question.transaction, seen).len() <= asked.len());
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
