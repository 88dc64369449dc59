use proptest::prelude::*;
use rand::SeedableRng as _;
use tombolo_proto::{
    frame::{LANE_DATA, LaneHeader},
    key::Seed,
};

use super::*;
use crate::lane::{Lane, framed};

#[test]
fn both_sides_arrive_at_the_same_lane() {
    for (aes_a, aes_b, expected) in [
        (true, true, Aead::Aes256Gcm),
        (true, false, Aead::ChaCha20Poly1305),
        (false, true, Aead::ChaCha20Poly1305),
        (false, false, Aead::ChaCha20Poly1305),
    ] {
        let (a, b) = two_parties();
        let mut rng = StdRng::seed_from_u64(1);
        let offered = Offered::new(LaneIndex(1), aes_a, &mut rng);

        let (answer, b_keys) =
            answer(&offered.offer, LaneIndex(2), aes_b, &b, &mut rng).expect("a proper offer");
        let a_keys = offered.accept(&answer, &a).expect("an answer to it");

        assert_eq!(answer.aead, expected);
        assert!(they_understand_each_other(&a_keys, &b_keys));
    }
}

#[test]
fn whatever_differs_between_the_two_views_parts_them() {
    let (a, b) = two_parties();
    let mut rng = StdRng::seed_from_u64(1);
    let offered = Offered::new(LaneIndex(1), true, &mut rng);
    let (genuine, b_keys) =
        answer(&offered.offer, LaneIndex(2), true, &b, &mut rng).expect("a proper offer");
    let other_network = NetworkId::from_bits(0x8056_c2e2_1c00_0009).expect("a network id");
    let stranger = Seed::from_bytes([9; 32]).transport(a.network, 0).public();

    let views = [
        (
            genuine,
            Parties {
                network: other_network,
                ..a
            },
        ),
        (
            genuine,
            Parties {
                local: stranger,
                ..a
            },
        ),
        (
            genuine,
            Parties {
                remote: stranger,
                ..a
            },
        ),
        (
            Answer {
                lane: LaneIndex(3),
                ..genuine
            },
            a,
        ),
        (
            Answer {
                aead: Aead::ChaCha20Poly1305,
                ..genuine
            },
            a,
        ),
        (
            Answer {
                ephemeral: stranger.0,
                ..genuine
            },
            a,
        ),
    ];

    for (answer, parties) in views {
        let keys = offered
            .accept(&answer, &parties)
            .expect("it looks like an answer");
        assert!(
            !they_understand_each_other(&keys, &b_keys),
            "{answer:?} {parties:?}"
        );
    }
}

#[test]
fn answers_to_other_offers_unwanted_ciphers_and_weak_keys_are_refused() {
    let (a, b) = two_parties();
    let mut rng = StdRng::seed_from_u64(1);
    let offered = Offered::new(LaneIndex(1), false, &mut rng);
    let (genuine, _) =
        answer(&offered.offer, LaneIndex(2), true, &b, &mut rng).expect("a proper offer");

    for answer in [
        Answer {
            offered: LaneIndex(7),
            ..genuine
        },
        Answer {
            aead: Aead::Aes256Gcm,
            ..genuine
        },
        Answer {
            ephemeral: [0; 32],
            ..genuine
        },
    ] {
        assert!(offered.accept(&answer, &a).is_none(), "{answer:?}");
    }
    let weak = Offer {
        ephemeral: [0; 32],
        ..offered.offer
    };
    assert!(answer(&weak, LaneIndex(2), true, &b, &mut rng).is_none());
}

#[test]
fn a_message_survives_its_wrapping_and_what_is_not_one_is_ignored() {
    let offer = Offered::new(LaneIndex(77), true, &mut StdRng::seed_from_u64(1)).offer;
    let message = Negotiation::Offer(offer);
    let wrapped = message.wrap();

    assert_eq!(Negotiation::unwrap(&wrapped), Some(message));
    for length in 0..wrapped.len() {
        assert_eq!(Negotiation::unwrap(&wrapped[..length]), None);
    }
    let mut of_a_later_version = wrapped;
    of_a_later_version[IP_HEADER] = 9;
    assert_eq!(Negotiation::unwrap(&of_a_later_version), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(packet in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Negotiation::unwrap(&packet);
    }
}

fn two_parties() -> (Parties, Parties) {
    let network = NetworkId::from_bits(0x8056_c2e2_1c00_0001).expect("a network id");
    let [a, b] = [1, 2].map(|seed| Seed::from_bytes([seed; 32]).transport(network, 0).public());
    (
        Parties {
            network,
            local: a,
            remote: b,
        },
        Parties {
            network,
            local: b,
            remote: a,
        },
    )
}

fn they_understand_each_other(a: &LaneKeys, b: &LaneKeys) -> bool {
    let a = Lane::new(LaneIndex(1), LaneIndex(2), Aead::Aes256Gcm, a);
    let b = Lane::new(LaneIndex(2), LaneIndex(1), Aead::Aes256Gcm, b);
    let passes = |from: &Lane, to: &Lane| {
        let mut frame = framed(b"hello");
        from.seal(LANE_DATA, &mut frame).expect("a fresh lane");
        let header = LaneHeader::decode(&frame).expect("a lane frame");
        to.open(header, &mut frame).is_ok()
    };
    passes(&a, &b) && passes(&b, &a)
}
