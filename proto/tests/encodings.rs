//! Every encoding round-trips; every decoder refuses truncation, trailing bytes and non-canonical forms; no input panics.

mod strategies;

use std::fmt::Debug;

use proptest::{collection, prelude::*};
use serde::{Serialize, de::DeserializeOwned};
use strategies::{messages::*, *};
use tombolo_proto::{
    config::*,
    control::{self, Message, MessageError, ToController, ToNode},
    frame::{self, LaneHeader},
    id::*,
    ip,
    link::{HostPort, JoinLink},
    links::Carried,
    rules::{AccessRules, Rule},
    signed::{Signed, VerifyError},
    sixplane, stun,
    wire::{self, DecodeError},
};

macro_rules! encoding {
    ($($name:ident: $strategy:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $(
                #[test]
                fn $name(value in $strategy) {
                    round_trips_and_refuses_the_rest(&value)?;
                }
            )*
        }
    };
}

encoding! {
    keyrings_encode_in_exactly_one_way: a_keyring();
    member_certificates_encode_in_exactly_one_way: a_member_cert();
    revocations_encode_in_exactly_one_way: a_revocation();
    announcements_encode_in_exactly_one_way: an_announcement();
    messages_to_a_controller_encode_in_exactly_one_way: to_controller();
    messages_to_a_node_encode_in_exactly_one_way: to_node();
}

fn round_trips_and_refuses_the_rest<T>(value: &T) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    round_trips_and_refuses_what_is_cut(value, None)
}

/// `whole` is a length at which the encoding of another value ends.
fn round_trips_and_refuses_what_is_cut<T>(
    value: &T,
    whole: Option<usize>,
) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = wire::encode(value);
    let decoded = wire::decode::<T>(&bytes);
    prop_assert_eq!(decoded.as_ref(), Ok(value));
    for length in (0..bytes.len()).filter(|length| Some(*length) != whole) {
        prop_assert!(
            wire::decode::<T>(&bytes[..length]).is_err(),
            "cut at {}",
            length
        );
    }
    let trailing = [&bytes[..], &[0]].concat();
    prop_assert_eq!(wire::decode::<T>(&trailing), Err(DecodeError::NotCanonical));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn network_documents_encode_in_exactly_one_way(doc in a_network_doc()) {
        // Without its rules it is the document of a network that has none.
        let without = NetworkDoc { rules: AccessRules::default(), ..doc.clone() };
        round_trips_and_refuses_the_rest(&without)?;
        round_trips_and_refuses_what_is_cut(&doc, Some(wire::encode(&without).len()))?;
    }

    #[test]
    fn rules_are_read_as_they_are_written(rule in a_rule()) {
        let written: Result<Rule<String>, _> = rule.to_string().parse();
        let read = written.map(|written| written.rename_members(|key| key.parse()));
        prop_assert_eq!(read, Ok(Ok(rule)));
    }
}

proptest! {
    #[test]
    fn whatever_decodes_is_canonical(bytes in collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = wire::decode::<MemberCert>(&bytes) {
            prop_assert_eq!(wire::encode(&value), bytes.clone());
        }
        if let Ok(value) = control::decode::<ToController>(&bytes) {
            prop_assert_eq!(wire::encode(&value), bytes.clone());
        }
        if let Ok(value) = control::decode::<ToNode>(&bytes) {
            prop_assert_eq!(wire::encode(&value), bytes);
        }
    }

    #[test]
    fn a_flipped_bit_in_a_signed_document_is_refused(
        cert in a_member_cert(), network in a_network_id(), key in a_secret(), position in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let signed = Signed::sign(&cert, network.into(), &key);
        let mut bytes = wire::encode(&signed);
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;

        if let Ok(forged) = wire::decode::<Signed<MemberCert>>(&bytes) {
            prop_assert!(forged.verify(network.into(), |signer| *signer == key.public()).is_err());
        }
        prop_assert_eq!(signed.verify(network.into(), |signer| *signer == key.public()), Ok(cert));
    }

    #[test]
    fn a_signature_counts_for_its_network_its_kind_and_its_key_alone(
        out in a_revocation(), network in a_network_id(), other in a_network_id(), key in a_secret(), stranger in a_secret(),
    ) {
        prop_assume!(network != other && key.public() != stranger.public());
        let signed = Signed::sign(&out, network.into(), &key);
        let as_cert: Signed<MemberCert> = wire::decode(&wire::encode(&signed)).expect("the envelope is the same");

        prop_assert_eq!(signed.verify(other.into(), |_| true), Err(VerifyError::BadSignature));
        prop_assert_eq!(as_cert.verify(network.into(), |_| true), Err(VerifyError::BadSignature));
        prop_assert_eq!(
            signed.verify(network.into(), |signer| *signer == stranger.public()),
            Err(VerifyError::UntrustedSigner)
        );
    }

    #[test]
    fn join_links_round_trip_and_need_no_quoting(link in a_link()) {
        let text = link.to_string();
        prop_assert_eq!(text.parse(), Ok(link));
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/:.@,-_".contains(&byte)), "{}", text);
    }

    #[test]
    fn text_never_panics_a_parser(text in ".{0,80}") {
        let _ = text.parse::<JoinLink>();
        let _ = text.parse::<HostPort>();
        let _ = text.parse::<NetworkId>();
        let _ = text.parse::<NodeId>();
        let _ = format!("tombolo://{text}").parse::<JoinLink>();
    }

    #[test]
    fn ids_round_trip_as_text(network in a_network_id(), node in a_node_id()) {
        prop_assert_eq!(network.to_string().parse(), Ok(network));
        prop_assert_eq!(node.to_string().parse(), Ok(node));
    }

    #[test]
    fn every_automatic_address_leads_back_to_its_member(network in a_network_id(), node in a_node_id(), number in 1u16..) {
        let container = sixplane::container_network(network, node, number).expect("not number 0");
        for address in [
            sixplane::node_address(network, node),
            sixplane::rfc4193_address(network, node),
            container.network(),
            container.broadcast(),
        ] {
            prop_assert_eq!(sixplane::owner(network, address), Some(node));
        }
    }

    #[test]
    fn lane_headers_round_trip(
        kind in prop::sample::select(vec![frame::LANE_DATA, frame::LANE_CONTROL, frame::LANE_FRAGMENT]),
        receiver in any::<u32>(), counter in any::<u64>(), flaw in 1usize..4, value in 1u8..,
    ) {
        let header = LaneHeader { kind, receiver: LaneIndex(receiver), counter };
        let mut framed = [&header.encode()[..], &[0; frame::LANE_TAG]].concat();

        prop_assert_eq!(LaneHeader::decode(&framed), Some(header));
        prop_assert_eq!(LaneHeader::decode(&framed[..framed.len() - 1]), None);
        framed[flaw] = value;
        prop_assert_eq!(LaneHeader::decode(&framed), None);
    }

    #[test]
    fn no_datagram_panics(datagram in collection::vec(any::<u8>(), 0..120)) {
        let _ = frame::kind(&datagram);
        let _ = LaneHeader::decode(&datagram);
        let _ = stun::read_request(&datagram);
        let _ = stun::read_response(&datagram);
        let _ = ip::view(&datagram);
    }

    #[test]
    fn no_stun_body_panics(body in collection::vec(any::<u8>(), 0..60)) {
        let length = (body.len() as u16).to_be_bytes();
        let message = [&[1, 1][..], &length, &stun::MAGIC_COOKIE, &[0; 12], &body].concat();
        let _ = stun::read_response(&message);
    }
}

#[test]
fn a_message_of_a_newer_version_is_told_from_a_broken_one() {
    let newer = [ToNode::VARIANTS as u8, 1, 2, 3];
    assert_eq!(
        control::decode::<ToNode>(&newer),
        Err(MessageError::Unknown(ToNode::VARIANTS))
    );
    assert_eq!(
        control::decode::<ToNode>(&[2]),
        Err(MessageError::Malformed(DecodeError::Malformed))
    );
    assert_eq!(
        control::decode::<ToController>(&[]),
        Err(MessageError::Malformed(DecodeError::Malformed))
    );
}

#[test]
fn every_known_variant_is_counted() {
    let unknown = |number: u32| wire::encode(&number);
    for number in 0..ToController::VARIANTS {
        assert_ne!(
            control::decode::<ToController>(&unknown(number)),
            Err(MessageError::Unknown(number))
        );
    }
    let last = ToController::Carries {
        network: a_fixed_network(),
        carried: Carried::default(),
    };
    assert_eq!(
        wire::variant(&wire::encode(&last)),
        Some(ToController::VARIANTS - 1)
    );
    let last = ToNode::EndpointsUpto {
        network: a_fixed_network(),
        moment: UnixSeconds(1),
    };
    assert_eq!(
        wire::variant(&wire::encode(&last)),
        Some(ToNode::VARIANTS - 1)
    );
}

#[test]
fn the_newest_common_protocol_is_spoken_and_none_is_said() {
    assert_eq!(control::negotiate(1, 1), Some(1));
    assert_eq!(control::negotiate(1, 9), Some(control::PROTOCOL));
    assert_eq!(control::negotiate(control::PROTOCOL + 1, 9), None);
    assert_eq!(control::negotiate(0, 0), None);
}

fn a_fixed_network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}
