use rand::SeedableRng as _;
use tombolo_proto::{
    frame::{LANE_DATA, LaneHeader},
    key::Seed,
};

use super::*;
use crate::{
    lane::{Lane, framed},
    session::{ENVELOPE, MAX_DATAGRAM},
};

#[test]
fn both_sides_arrive_at_the_same_lane_whatever_each_can_do() {
    let all = [(true, true), (true, false), (false, true), (false, false)];
    for (of_a, of_b) in all.into_iter().flat_map(|a| all.map(|b| (a, b))) {
        let (a, b) = two_parties();
        let mut rng = StdRng::seed_from_u64(1);
        let offered = Offered::new(LaneIndex(1), able(of_a), &mut rng);

        let (answer, b_keys) =
            answer(&offered.offer, LaneIndex(2), able(of_b), &b, &mut rng).expect("a proper offer");
        let a_keys = offered.accept(&answer, &a).expect("an answer to it");

        let has_both = (of_a.0 && of_b.0, of_a.1 && of_b.1);
        let (aes, hybrid) = (
            answer.aead == Aead::Aes256Gcm,
            answer.key_exchange() == KeyExchange::Hybrid,
        );
        assert_eq!((aes, hybrid), has_both);
        assert!(they_understand_each_other(&a_keys, &b_keys));
    }
}

#[test]
fn an_answer_fits_into_a_datagram() {
    let (_, b) = two_parties();
    let mut rng = StdRng::seed_from_u64(1);
    let offered = Offered::new(LaneIndex(u32::MAX), BOTH, &mut rng);

    let (answer, _) =
        answer(&offered.offer, LaneIndex(u32::MAX), BOTH, &b, &mut rng).expect("a proper offer");

    let length = Negotiation::Answer(Box::new(answer)).wrap().len() + ENVELOPE;
    assert!(length <= MAX_DATAGRAM, "{length} bytes");
}

#[test]
fn a_key_needs_both_secrets_of_a_hybrid_lane() {
    let (a, _) = two_parties();
    let mut rng = StdRng::seed_from_u64(1);
    let offered = Offered::new(LaneIndex(1), BOTH, &mut rng);
    let (answer, _) = {
        let (_, b) = two_parties();
        answer(&offered.offer, LaneIndex(2), BOTH, &b, &mut rng).expect("a proper offer")
    };
    let derive = |secret, kem| {
        Agreement {
            network: a.network,
            offerer: a.local,
            answerer: a.remote,
            offer: &offered.offer,
            answer: &answer,
            secret: Zeroizing::new(secret),
            kem,
        }
        .derive()
    };
    let kem = |byte| Some(Zeroizing::new([byte; 32]));

    let keys = [
        derive([1; 32], kem(2)),
        derive([3; 32], kem(2)),
        derive([1; 32], kem(3)),
        derive([2; 32], kem(1)),
        derive([1; 32], None),
        derive([2; 32], None),
    ];

    let distinct: std::collections::BTreeSet<_> =
        keys.as_flattened().iter().map(|key| **key).collect();
    assert_eq!(distinct.len(), 2 * keys.len());
}

#[test]
fn whatever_differs_between_the_two_views_parts_them() {
    let (a, b) = two_parties();
    let mut rng = StdRng::seed_from_u64(1);
    let offered = Offered::new(LaneIndex(1), BOTH, &mut rng);
    let (genuine, b_keys) =
        answer(&offered.offer, LaneIndex(2), BOTH, &b, &mut rng).expect("a proper offer");
    let other_network = NetworkId::from_bits(0x8056_c2e2_1c00_0009).expect("a network id");
    let stranger = Seed::from_bytes([9; 32]).transport(a.network, 0).public();

    let mut other_ciphertext = Vec::from(genuine.kem.clone().expect("both take part"));
    other_ciphertext[7] ^= 1;
    let other_ciphertext = KemCiphertext::try_from(other_ciphertext).expect("the right length");

    let changed = |change: &dyn Fn(&mut Answer)| {
        let mut answer = genuine.clone();
        change(&mut answer);
        (answer, a)
    };
    let views = [
        (
            genuine.clone(),
            Parties {
                network: other_network,
                ..a
            },
        ),
        (
            genuine.clone(),
            Parties {
                local: stranger,
                ..a
            },
        ),
        (
            genuine.clone(),
            Parties {
                remote: stranger,
                ..a
            },
        ),
        changed(&|answer| answer.lane = LaneIndex(3)),
        changed(&|answer| answer.aead = Aead::ChaCha20Poly1305),
        changed(&|answer| answer.ephemeral = stranger.0),
        changed(&|answer| answer.kem = Some(other_ciphertext.clone())),
        changed(&|answer| answer.kem = None),
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
fn an_offer_that_was_changed_on_the_way_makes_no_lane() {
    let (a, b) = two_parties();
    let mut rng = StdRng::seed_from_u64(1);
    let offered = Offered::new(LaneIndex(1), BOTH, &mut rng);
    let other = Offered::new(LaneIndex(1), BOTH, &mut rng).offer;
    let genuine = &offered.offer;

    let changed = [
        Offer {
            aes: false,
            ..genuine.clone()
        },
        Offer {
            kem: None,
            ..genuine.clone()
        },
        Offer {
            kem: other.kem,
            ..genuine.clone()
        },
        Offer {
            ephemeral: other.ephemeral,
            ..genuine.clone()
        },
    ];

    for offer in changed {
        let (answer, b_keys) =
            answer(&offer, LaneIndex(2), BOTH, &b, &mut rng).expect("a proper offer");
        let a_keys = offered
            .accept(&answer, &a)
            .expect("it looks like an answer");
        assert!(!they_understand_each_other(&a_keys, &b_keys), "{offer:?}");
    }
}

#[test]
fn answers_to_other_offers_unwanted_ciphers_and_weak_keys_are_refused() {
    let (a, b) = two_parties();
    let mut rng = StdRng::seed_from_u64(1);
    let offered = Offered::new(LaneIndex(1), able((false, true)), &mut rng);
    let (genuine, _) =
        answer(&offered.offer, LaneIndex(2), BOTH, &b, &mut rng).expect("a proper offer");

    let plain = Offered::new(LaneIndex(1), able((true, false)), &mut rng);
    assert!(plain.accept(&genuine, &a).is_none());

    for answer in [
        Answer {
            offered: LaneIndex(7),
            ..genuine.clone()
        },
        Answer {
            aead: Aead::Aes256Gcm,
            ..genuine.clone()
        },
        Answer {
            ephemeral: [0; 32],
            ..genuine
        },
    ] {
        assert!(offered.accept(&answer, &a).is_none(), "{answer:?}");
    }
    let no_key = KemKey::try_from(vec![0xff; kem::KEY]).expect("the right length");
    for weak in [
        Offer {
            ephemeral: [0; 32],
            ..offered.offer.clone()
        },
        Offer {
            kem: Some(no_key),
            ..offered.offer.clone()
        },
    ] {
        assert!(answer(&weak, LaneIndex(2), BOTH, &b, &mut rng).is_none());
    }
}

const BOTH: Abilities = Abilities {
    aes: true,
    post_quantum: true,
};

fn able((aes, post_quantum): (bool, bool)) -> Abilities {
    Abilities { aes, post_quantum }
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
