//! Messages between members: frozen encodings, limits, and what becomes of junk.

#[expect(dead_code, reason = "the other encodings have tests of their own")]
mod strategies;

use proptest::{collection, option, prelude::*};
use strategies::*;
use tombolo_proto::{
    config::{DirectoryEntry, MAX_ENDPOINTS},
    gossip::*,
    id::{UnixSeconds, Version},
    key::IdentityKey,
    signed::Signed,
    wire,
};

#[test]
fn every_kind_of_message_has_the_encoding_it_had_from_the_start() {
    let key = KeyPrefix([1, 2, 3, 4, 5, 6, 7, 8]);
    let digest = Digest {
        keyring: Version::first_epoch(1),
        network: Version::first_epoch(300),
        shelves: [[1; 8], [2; 8], [3; 8]],
        seen: Some("192.0.2.1:9790".parse().expect("an endpoint")),
        public: true,
        standing: false,
        ask: true,
    };
    let frozen = [
        (
            GossipMessage::Digest(digest),
            "00000100ac02010101010101010102020202020202020303030303030303 0100c0000201be4c 010001",
        ),
        (
            GossipMessage::Compare {
                shelf: Shelf::Revocations,
                buckets: vec![9, 8],
            },
            "0100020908",
        ),
        (
            GossipMessage::Listing {
                shelf: Shelf::Members,
                first: key,
                last: key,
                lines: vec![Line { key, order: 300 }],
            },
            "0201 0102030405060708 0102030405060708 01 0102030405060708 ac02",
        ),
        (
            GossipMessage::Want {
                shelf: Shelf::Endpoints,
                keys: vec![key],
            },
            "030201 0102030405060708",
        ),
        (GossipMessage::WantRoot(Root::Keyring), "0400"),
        (GossipMessage::WantRoot(Root::Network), "0401"),
        (GossipMessage::Documents(Vec::new()), "0500"),
        (
            GossipMessage::Part {
                document: 300,
                index: 1,
                count: 2,
                bytes: vec![7],
            },
            "06 ac02 01 02 01 07",
        ),
    ];
    for (message, expected) in frozen {
        assert_eq!(hex(&wire::encode(&message)), expected.replace(' ', ""));
    }
}

#[test]
fn the_longest_questions_fit_in_a_message() {
    let key = KeyPrefix([u8::MAX; 8]);
    let line = Line {
        key,
        order: u64::MAX,
    };
    for message in [
        GossipMessage::Compare {
            shelf: Shelf::Endpoints,
            buckets: vec![0; BUCKETS * BUCKET_HASH],
        },
        GossipMessage::Listing {
            shelf: Shelf::Endpoints,
            first: key,
            last: key,
            lines: vec![line; MAX_LISTED],
        },
        GossipMessage::Want {
            shelf: Shelf::Endpoints,
            keys: vec![key; MAX_WANTED],
        },
        GossipMessage::Part {
            document: u32::MAX,
            index: MAX_PARTS,
            count: MAX_PARTS,
            bytes: vec![0; PART],
        },
    ] {
        assert!(message.encoded_len() <= MAX_MESSAGE, "{message:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_encode_in_exactly_one_way(message in a_message()) {
        let bytes = wire::encode(&message);
        prop_assert_eq!(wire::decode::<GossipMessage>(&bytes), Ok(message));
        for length in 0..bytes.len() {
            prop_assert!(wire::decode::<GossipMessage>(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn an_announcement_of_as_many_endpoints_as_there_may_be_fits(
        mut announcement in an_announcement(), key in a_secret(), network in a_network_id(),
    ) {
        announcement.endpoints = vec!["[2001:db8::1]:65535".parse().expect("an endpoint"); MAX_ENDPOINTS];
        let announcement = Signed::sign(&announcement, network.into(), &key);
        let document = Gossiped::Endpoints { identity: key.public(), announcement };
        prop_assert!(GossipMessage::Documents(vec![document]).encoded_len() <= MAX_MESSAGE);
    }

    #[test]
    fn a_removal_fits(mut revocation in a_revocation(), key in a_secret(), network in a_network_id()) {
        revocation.issued_at = UnixSeconds(u64::MAX);
        let revocation = Signed::sign(&revocation, network.into(), &key);
        let document = Gossiped::Entry(DirectoryEntry::Revocation(revocation));
        prop_assert!(GossipMessage::Documents(vec![document]).encoded_len() <= MAX_MESSAGE);
    }

    #[test]
    fn junk_never_decodes_to_what_it_is_not(bytes in collection::vec(any::<u8>(), 0..1200)) {
        if let Ok(message) = wire::decode::<GossipMessage>(&bytes) {
            prop_assert_eq!(wire::encode(&message), bytes);
        }
    }
}

fn a_message() -> impl Strategy<Value = GossipMessage> {
    let shelf = || prop::sample::select(Shelf::ALL.to_vec());
    let key = || any::<[u8; 8]>().prop_map(KeyPrefix);
    let line = (key(), any::<u64>()).prop_map(|(key, order)| Line { key, order });
    prop_oneof![
        a_digest().prop_map(GossipMessage::Digest),
        (shelf(), collection::vec(any::<u8>(), 0..40))
            .prop_map(|(shelf, buckets)| GossipMessage::Compare { shelf, buckets }),
        (shelf(), key(), key(), collection::vec(line, 0..5)).prop_map(
            |(shelf, first, last, lines)| GossipMessage::Listing {
                shelf,
                first,
                last,
                lines
            }
        ),
        (shelf(), collection::vec(key(), 0..5))
            .prop_map(|(shelf, keys)| GossipMessage::Want { shelf, keys }),
        prop::sample::select(vec![Root::Keyring, Root::Network]).prop_map(GossipMessage::WantRoot),
        collection::vec(a_document(), 0..3).prop_map(GossipMessage::Documents),
        (
            any::<u32>(),
            any::<(u8, u8)>(),
            collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(document, (index, count), bytes)| GossipMessage::Part {
                document,
                index,
                count,
                bytes
            }),
    ]
}

fn a_digest() -> impl Strategy<Value = Digest> {
    (
        any::<(u64, u64)>(),
        any::<[[u8; 8]; 3]>(),
        option::of(any::<(std::net::IpAddr, u16)>().prop_map(Into::into)),
        any::<(bool, bool, bool)>(),
    )
        .prop_map(
            |((keyring, network), shelves, seen, (public, standing, ask))| Digest {
                keyring: Version::first_epoch(keyring),
                network: Version::first_epoch(network),
                shelves,
                seen,
                public,
                standing,
                ask,
            },
        )
}

fn a_document() -> impl Strategy<Value = Gossiped> {
    let sign = || (a_network_id(), a_secret());
    prop_oneof![
        (a_keyring(), sign()).prop_map(|(keyring, (id, key))| Gossiped::Keyring(Signed::sign(
            &keyring,
            id.into(),
            &key
        ))),
        (a_revocation(), sign()).prop_map(|(out, (id, key))| Gossiped::Entry(
            DirectoryEntry::Revocation(Signed::sign(&out, id.into(), &key))
        )),
        (an_announcement(), sign(), any::<[u8; 32]>()).prop_map(|(said, (id, key), other)| {
            Gossiped::Endpoints {
                identity: IdentityKey(other),
                announcement: Signed::sign(&said, id.into(), &key),
            }
        }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
