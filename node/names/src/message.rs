//! DNS messages (RFC 1035), by way of `hickory_proto`.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, SOA},
    },
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use crate::{Answer, Family, TTL, table::Errand};

/// Most that is answered over UDP without fragments (DNS flag day 2020), to those who can take more than 512 bytes.
const UDP_PAYLOAD: u16 = 1232;
/// Most that everybody takes over UDP (RFC 1035).
const OLD_UDP_PAYLOAD: u16 = 512;
/// A message has a header of this many bytes.
const HEADER: usize = 12;

/// A question that can be answered.
#[derive(Debug, Clone)]
pub struct Question {
    message: Message,
    query: Query,
}

/// What came in.
#[derive(Debug)]
pub enum Received {
    /// A question.
    Question(Box<Question>),
    /// Something that is answered at once, with this.
    Wrong(Vec<u8>),
    /// Nothing that deserves an answer.
    Nothing,
}

/// Reads a message from who knows whom.
#[must_use]
pub fn read(bytes: &[u8]) -> Received {
    let Ok(header) = Header::read(&mut BinDecoder::new(bytes)) else {
        return Received::Nothing;
    };
    let header = header.metadata;
    // An answer to an answer would go on for ever.
    if header.message_type == MessageType::Response {
        return Received::Nothing;
    }
    let wrong = |code| {
        let message = Message::error_msg(header.id, header.op_code, code);
        message.to_vec().map_or(Received::Nothing, Received::Wrong)
    };
    if header.op_code != OpCode::Query {
        return wrong(ResponseCode::NotImp);
    }
    let Ok(message) = Message::from_vec(bytes) else {
        return wrong(ResponseCode::FormErr);
    };
    match message.queries.as_slice() {
        [query] if query.query_class == DNSClass::IN => Received::Question(Box::new(Question {
            query: query.clone(),
            message,
        })),
        [_] => wrong(ResponseCode::Refused),
        _ => wrong(ResponseCode::FormErr),
    }
}

impl Question {
    /// The name's labels in lower case. Labels that are not text match nothing.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        let labels = self.query.name.iter();
        labels
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect()
    }

    /// Which addresses are asked for; none for all other kinds of records.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        if self.query.query_type == RecordType::A {
            Some(Family::V4)
        } else if self.query.query_type == RecordType::AAAA {
            Some(Family::V6)
        } else {
            None
        }
    }

    /// The answer as it is sent, `None` if it cannot be written. Over UDP it is cut to what the asker takes.
    #[must_use]
    pub fn reply(&self, answer: &Answer, over_udp: bool) -> Option<Vec<u8>> {
        let asked = &self.message.metadata;
        let mut reply = Message::response(asked.id, OpCode::Query);
        reply.metadata.recursion_desired = asked.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.authoritative = matches!(answer, Answer::Addresses(_) | Answer::NoSuchName);
        reply.metadata.response_code = match answer {
            Answer::Addresses(_) => ResponseCode::NoError,
            Answer::NoSuchName => ResponseCode::NXDomain,
            Answer::Refused => ResponseCode::Refused,
            Answer::Failed => ResponseCode::ServFail,
        };
        reply.add_query(self.query.clone());
        if self.message.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD);
            reply.set_edns(edns);
        }
        if let (Answer::Addresses(addresses), Some(family)) = (answer, self.family()) {
            let right = addresses.iter().filter(|address| family.has(address));
            reply.add_answers(right.map(|address| self.record(*address)));
        }
        if reply.metadata.authoritative && reply.answers.is_empty() {
            reply.add_authority(self.authority());
        }
        let bytes = reply.to_vec().ok()?;
        if over_udp && bytes.len() > self.udp_payload() {
            return reply.truncate().to_vec().ok();
        }
        Some(bytes)
    }

    fn udp_payload(&self) -> usize {
        let offered = self.message.edns.as_ref().map(Edns::max_payload);
        let offered = offered.unwrap_or(OLD_UDP_PAYLOAD);
        offered.clamp(OLD_UDP_PAYLOAD, UDP_PAYLOAD).into()
    }

    fn record(&self, address: IpAddr) -> Record {
        let data = match address {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        };
        Record::from_rdata(self.query.name.clone(), TTL, data)
    }

    /// Says how long one may believe that there is nothing (RFC 2308).
    fn authority(&self) -> Record {
        let zone = self.query.name.trim_to(1);
        let time = i32::try_from(TTL).unwrap_or_default();
        let data = SOA::new(zone.clone(), zone.clone(), 1, time, time, time, TTL);
        Record::from_rdata(zone, TTL, RData::SOA(data))
    }
}

/// The question for an errand. Ids stand in it, so that both sides mean the same whatever the names are.
#[must_use]
pub fn errand(id: u16, errand: &Errand, family: Family) -> Option<Vec<u8>> {
    let (node, network) = (errand.node.to_string(), errand.network.to_string());
    let container = errand.container.split('.');
    let labels = container.chain([node.as_str(), network.as_str()]);
    let name = Name::from_labels(labels.map(str::as_bytes)).ok()?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, kind_of(family)));
    message.to_vec().ok()
}

/// The question for the addresses of a host, for a resolver that finds out; `None` if the name cannot be one.
#[must_use]
pub fn host_question(id: u16, host: &str, family: Family) -> Option<Vec<u8>> {
    let mut name = Name::from_ascii(host).ok()?;
    name.set_fqdn(true);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind_of(family)));
    message.to_vec().ok()
}

/// The addresses that a resolver answered to such a question. Which of them belongs to which alias is its business.
#[must_use]
pub fn host_addresses(question: &[u8], reply: &[u8]) -> Vec<IpAddr> {
    if !is_reply(question, reply) {
        return Vec::new();
    }
    let Ok(message) = Message::from_vec(reply) else {
        return Vec::new();
    };
    let records = message.answers.iter();
    records.filter_map(|record| record.data.ip_addr()).collect()
}

const fn kind_of(family: Family) -> RecordType {
    match family {
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    }
}

/// What a member answered to a question of ours; none if it cannot be used. Of the addresses, those count that `is_its`
/// says are the member's: it speaks for nobody else.
#[must_use]
pub fn answer(question: &[u8], reply: &[u8], is_its: impl Fn(&IpAddr) -> bool) -> Option<Answer> {
    if !is_reply(question, reply) {
        return None;
    }
    let message = Message::from_vec(reply).ok()?;
    if message.metadata.response_code == ResponseCode::NXDomain {
        return Some(Answer::NoSuchName);
    }
    if message.metadata.response_code != ResponseCode::NoError || message.metadata.truncation {
        return None;
    }
    let asked = &message.queries.first()?.name;
    let records = message
        .answers
        .iter()
        .filter(|record| record.name == *asked);
    let addresses = records.filter_map(|record| record.data.ip_addr());
    Some(Answer::Addresses(addresses.filter(is_its).collect()))
}

/// Whether a message answers another: the same id, the same question. The records may be anything.
#[must_use]
pub fn is_reply(question: &[u8], reply: &[u8]) -> bool {
    let (Some((asked, about)), Some((said, of))) = (start(question), start(reply)) else {
        return false;
    };
    said.metadata.message_type == MessageType::Response
        && said.metadata.id == asked.metadata.id
        && about == of
}

fn start(bytes: &[u8]) -> Option<(Header, Query)> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    Some((header, Query::read(&mut decoder).ok()?))
}

/// Writes another id into a message.
pub fn set_id(message: &mut [u8], id: u16) {
    if message.len() >= HEADER {
        message[..2].copy_from_slice(&id.to_be_bytes());
    }
}

/// The id of a message.
#[must_use]
pub fn id(message: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*message.first()?, *message.get(1)?]))
}

#[cfg(test)]
mod tests;
