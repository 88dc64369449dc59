use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};

use super::*;
use crate::handshake::{Abilities, Offered};

#[test]
fn a_message_survives_its_wrapping_and_what_is_not_one_is_ignored() {
    for message in an_offer(false, 1)
        .messages()
        .into_iter()
        .chain(an_offer(true, 1).messages())
    {
        let wrapped = message.wrap();

        assert_eq!(Negotiation::unwrap(&wrapped).as_ref(), Some(&message));
        for length in 0..wrapped.len() {
            assert_eq!(Negotiation::unwrap(&wrapped[..length]), None);
        }
        let mut of_a_later_version = wrapped;
        of_a_later_version[IP_HEADER] = 9;
        assert_eq!(Negotiation::unwrap(&of_a_later_version), None);
    }
}

#[test]
fn an_offer_with_a_key_goes_in_two_parts_that_fit_and_one_without_goes_whole() {
    let plain = an_offer(false, 1).messages();
    let hybrid = an_offer(true, 1).messages();

    assert_eq!((plain.len(), hybrid.len()), (1, PARTS));
    for message in plain.into_iter().chain(hybrid) {
        assert!(message.wrap().len() + ENVELOPE <= MAX_DATAGRAM);
    }
}

#[test]
fn parts_may_come_in_any_order_and_more_than_once() {
    let offer = an_offer(true, 1);
    for order in [
        &[0, 1][..],
        &[1, 0],
        &[0, 0, 1],
        &[1, 1, 1, 0],
        &[0, 1, 1, 0],
    ] {
        let mut assembly = Assembly::default();
        let parts = parts(&offer);

        let complete: Vec<Offer> = order
            .iter()
            .filter_map(|number| assembly.take(parts[*number].clone()))
            .collect();

        assert!(!complete.is_empty(), "{order:?}");
        assert!(complete.iter().all(|taken| *taken == offer), "{order:?}");
    }
}

#[test]
fn parts_of_different_offers_are_not_mixed() {
    let (first, second) = (parts(&an_offer(true, 1)), parts(&an_offer(true, 2)));
    let mut assembly = Assembly::default();

    assert_eq!(assembly.take(first[0].clone()), None);
    assert_eq!(assembly.take(second[1].clone()), None);
    assert_eq!(assembly.take(first[1].clone()), None);
    assert_eq!(assembly.take(first[0].clone()), Some(an_offer(true, 1)));
}

#[test]
fn parts_that_make_no_offer_or_that_of_another_lane_are_nothing() {
    let genuine = parts(&an_offer(true, 1));
    let relabelled = genuine.clone().map(|part| Part {
        lane: LaneIndex(9),
        ..part
    });
    let beyond = Part {
        number: 2,
        ..genuine[1].clone()
    };
    let mut assembly = Assembly::default();

    for part in relabelled {
        assert_eq!(assembly.take(part), None);
    }
    assert_eq!(assembly.take(genuine[0].clone()), None);
    assert_eq!(assembly.take(beyond), None);
    let mut short = genuine[1].clone();
    short.bytes.pop();
    assert_eq!(assembly.take(short), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(packet in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Negotiation::unwrap(&packet);
    }

    #[test]
    fn no_parts_panic_or_pile_up(
        parts in prop::collection::vec((0u32..3, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
    ) {
        let mut assembly = Assembly::default();
        for (lane, number, bytes) in parts {
            let _ = assembly.take(Part { lane: LaneIndex(lane), number, bytes });
        }
        prop_assert!(assembly.parts.iter().flatten().count() <= PARTS);
    }
}

fn parts(offer: &Offer) -> [Part; PARTS] {
    let parts: Vec<Part> = offer
        .messages()
        .into_iter()
        .filter_map(|message| match message {
            Negotiation::Part(part) => Some(part),
            Negotiation::Offer(_) | Negotiation::Answer(_) => None,
        })
        .collect();
    parts.try_into().expect("two parts")
}

fn an_offer(post_quantum: bool, lane: u32) -> Offer {
    let abilities = Abilities {
        aes: true,
        post_quantum,
    };
    let mut rng = StdRng::seed_from_u64(u64::from(lane));
    Offered::new(LaneIndex(lane), abilities, &mut rng).offer
}
