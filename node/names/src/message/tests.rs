use hickory_proto::rr::rdata::CNAME;
use proptest::prelude::*;

use super::*;
use crate::table::tests::errand as an_errand;

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message.to_vec().expect("small")
}

fn read_question(bytes: &[u8]) -> Question {
    match read(bytes) {
        Received::Question(question) => *question,
        Received::Wrong(_) | Received::Nothing => panic!("a question"),
    }
}

fn replied(bytes: &[u8], answer: &Answer) -> Message {
    let reply = read_question(bytes).reply(answer, true).expect("written");
    assert!(is_reply(bytes, &reply));
    Message::from_vec(&reply).expect("well formed")
}

fn both() -> Answer {
    let addresses = ["10.1.0.2", "fd00::2"];
    Answer::Addresses(
        addresses
            .map(|text| text.parse().expect("an address"))
            .into(),
    )
}

#[test]
fn each_family_gets_its_addresses_and_other_records_none() {
    for (kind, expected) in [
        (RecordType::A, Some("10.1.0.2")),
        (RecordType::AAAA, Some("fd00::2")),
        (RecordType::MX, None),
    ] {
        let reply = replied(&question("Web.H1.home.", kind), &both());
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.metadata.authoritative && reply.metadata.recursion_desired);
        let addresses: Vec<_> = reply
            .answers
            .iter()
            .map(|record| record.data.ip_addr())
            .collect();
        let expected: Vec<_> = expected.into_iter().map(|text| text.parse().ok()).collect();
        assert_eq!(addresses, expected);
        assert_eq!(reply.authorities.len(), usize::from(expected.is_empty()));
        assert!(reply.all_sections().all(|record| record.ttl == TTL));
    }
}

#[test]
fn what_is_not_there_is_said_in_the_right_way() {
    for (answer, code) in [
        (Answer::NoSuchName, ResponseCode::NXDomain),
        (Answer::Refused, ResponseCode::Refused),
        (Answer::Failed, ResponseCode::ServFail),
    ] {
        let reply = replied(&question("x.home.", RecordType::A), &answer);
        assert_eq!(
            (reply.metadata.response_code, reply.answers.len()),
            (code, 0)
        );
        assert_eq!(
            reply.authorities.len(),
            usize::from(answer == Answer::NoSuchName)
        );
    }
}

#[test]
fn labels_are_compared_in_lower_case() {
    let bytes = question("Web.H1.HOME.", RecordType::A);
    assert_eq!(read_question(&bytes).labels(), ["web", "h1", "home"]);
}

#[test]
fn answers_too_long_for_udp_are_cut_and_marked() {
    let many = (0..100)
        .map(|last| IpAddr::from([10, 1, 0, last]))
        .collect();
    let (bytes, many) = (
        question("web.h1.home.", RecordType::A),
        Answer::Addresses(many),
    );

    let cut = replied(&bytes, &many);
    assert!(cut.metadata.truncation && cut.answers.is_empty());

    let whole = read_question(&bytes).reply(&many, false).expect("written");
    let whole = Message::from_vec(&whole).expect("well formed");
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 100);
}

#[test]
fn what_is_no_question_is_refused_or_ignored() {
    let reply = question("x.home.", RecordType::A);
    let mut response = reply.clone();
    response[2] |= 0x80;
    assert!(matches!(read(&response), Received::Nothing));
    assert!(matches!(read(&reply[..5]), Received::Nothing));
    assert!(matches!(read(&reply[..14]), Received::Wrong(_)));
    let mut update = reply;
    update[2] |= 5 << 3;
    let Received::Wrong(said) = read(&update) else {
        panic!("an answer is due");
    };
    let said = Message::from_vec(&said).expect("well formed");
    assert_eq!(
        (said.metadata.id, said.metadata.response_code),
        (7, ResponseCode::NotImp)
    );
}

#[test]
fn a_member_answers_for_its_own_addresses_alone() {
    let asked = errand(9, &an_errand("db.1"), Family::V4).expect("written");
    let labels = read_question(&asked).labels();
    assert_eq!(labels[..2], ["db", "1"]);
    let addresses = ["10.2.0.3", "192.0.2.1"].map(|text| text.parse().expect("an address"));
    let reply = read_question(&asked).reply(&Answer::Addresses(addresses.into()), true);
    let reply = reply.expect("written");

    let believed = answer(&asked, &reply, |address| *address == addresses[0]);

    assert_eq!(believed, Some(Answer::Addresses(vec![addresses[0]])));
    let refused = read_question(&asked)
        .reply(&Answer::Refused, true)
        .expect("written");
    assert_eq!(answer(&asked, &refused, |_| true), None);
    let mut other = reply;
    set_id(&mut other, 10);
    assert_eq!(answer(&asked, &other, |_| true), None);
}

#[test]
fn a_resolver_is_asked_for_a_host_and_answers_with_the_addresses_of_its_alias() {
    let asked = host_question(9, "ctl.example.org", Family::V6).expect("written");
    let read = read_question(&asked);
    assert_eq!(read.labels(), ["ctl", "example", "org"]);
    assert_eq!(read.family(), Some(Family::V6));
    let mut reply = Message::from_vec(&asked).expect("a message");
    assert!(reply.metadata.recursion_desired);
    reply.metadata.message_type = MessageType::Response;
    let [host, alias] =
        ["ctl.example.org.", "a.example.net."].map(|name| Name::from_ascii(name).expect("a name"));
    let address = "2001:db8::1".parse().expect("an address");
    reply.add_answers([
        Record::from_rdata(host, TTL, RData::CNAME(CNAME(alias.clone()))),
        Record::from_rdata(alias, TTL, RData::AAAA(AAAA(address))),
    ]);
    let reply = reply.to_vec().expect("written");

    assert_eq!(host_addresses(&asked, &reply), [IpAddr::V6(address)]);

    let another = host_question(10, "ctl.example.org", Family::V6).expect("written");
    assert_eq!(host_addresses(&another, &reply), [] as [IpAddr; 0]);
    assert_eq!(host_question(9, &"x".repeat(64), Family::V4), None);
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let asked = errand(9, &an_errand("web"), Family::V4).expect("written");
        let _ = (answer(&asked, &bytes, |_| true), host_addresses(&asked, &bytes));
        if let Received::Question(question) = read(&bytes) {
            let _ = (question.labels(), question.reply(&both(), true));
        }
    }

    #[test]
    fn no_damaged_message_does_harm(
        cut in 0_usize..80,
        damage in prop::collection::vec((0_usize..80, any::<u8>()), 0..6),
    ) {
        let asked = question("web.h1.home.", RecordType::A);
        let reply = read_question(&asked).reply(&both(), true).expect("written");
        for mut bytes in [asked.clone(), reply] {
            for (at, value) in &damage {
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte = *value;
                }
            }
            bytes.truncate(cut);
            let _ = (answer(&asked, &bytes, |_| true), host_addresses(&asked, &bytes));
            if let Received::Question(question) = read(&bytes) {
                prop_assert!(question.reply(&both(), true).is_none_or(|reply| reply.len() <= UDP_PAYLOAD.into()));
            }
        }
    }
}
