mod documents;
mod sides;

use std::collections::BTreeSet;

use proptest::prelude::*;
use tombolo_proto::{
    gossip::{Digest, MAX_MESSAGE},
    wire,
};

use super::*;
use documents::{Change, a_change, a_digest, a_directory, a_message, endpoint, identity, now};
use sides::{Pair, Side, view};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn two_nodes_come_to_hold_what_either_held(
        ours in prop::collection::vec(a_change(), 0..40),
        theirs in prop::collection::vec(a_change(), 0..40),
    ) {
        let mut both = a_directory();
        let _ = both.accept(ours.iter().chain(&theirs).map(Change::signed).collect());
        let mut pair = Pair::new(&ours, &theirs);

        pair.run(Duration::from_secs(40));

        for side in &pair.sides {
            prop_assert_eq!(view(&side.directory), view(&both));
        }
    }

    #[test]
    fn no_message_makes_a_node_panic_or_answer_beyond_its_budget(
        messages in prop::collection::vec(a_message(), 0..400),
    ) {
        let mut pair = Pair::new(&[Change::Member(3, 4), Change::Member(5, 6)], &[]);
        let (now, from) = (pair.now, pair.sides[1].me);

        for message in messages {
            let side = &mut pair.sides[0];
            side.gossip.handle_message(from, message, Some(endpoint()), &mut side.rng, now);
        }

        let sent = pair.sides[0].sent();
        prop_assert!(sent.iter().all(|message| message.encoded_len() <= MAX_MESSAGE));
        // A burst of answers, a digest for each question that is looked at, and own questions.
        prop_assert!(sent.len() <= 128 + 32 + 8, "{}", sent.len());
    }
}

#[test]
fn one_missing_removal_among_two_thousand_members_costs_a_few_messages() {
    let members: Vec<Change> = (0..2_000).map(|number| Change::Member(number, 4)).collect();
    let more: Vec<Change> = members
        .iter()
        .copied()
        .chain([Change::Removal(77, 9)])
        .collect();
    let mut pair = Pair::new(&members, &more);

    pair.run(Duration::from_secs(2));

    assert!(pair.sides[0].directory.is_revoked(&identity(77)));
    assert!(pair.bytes < 8_000, "{} bytes", pair.bytes);
}

#[test]
fn who_knows_nobody_catches_up_with_two_thousand_members_at_little_more_than_their_size() {
    let members: Vec<Change> = (0..2_000).map(|number| Change::Member(number, 4)).collect();
    let size: usize = members
        .iter()
        .map(|member| wire::encode(&member.signed()).len())
        .sum();
    let mut pair = Pair::new(&[], &members);

    pair.run(Duration::from_secs(40));

    assert_eq!(pair.sides[0].directory.certs_in_force().count(), 2_000);
    assert!(pair.bytes < size * 2, "{} for {size}", pair.bytes);
}

#[test]
fn a_certificate_with_as_many_routes_as_one_may_have_travels_in_parts() {
    let mut pair = Pair::new(&[], &[Change::Router(3, 4)]);

    pair.run(Duration::from_secs(5));

    let cert = pair.sides[0].directory.member(&identity(3), NOW);
    assert_eq!(cert.map(|cert| cert.routes.len()), Some(256));
}

#[test]
fn what_comes_again_goes_nowhere() {
    let mut pair = Pair::new(&[Change::Member(3, 4)], &[Change::Member(3, 4)]);
    pair.run(Duration::from_secs(5));
    let (now, from) = (pair.now, pair.sides[1].me);
    let repeated = GossipMessage::Documents(vec![Gossiped::Entry(Change::Member(3, 4).signed())]);

    for _ in 0..100 {
        pair.deliver(0, from, repeated.clone());
    }
    pair.sides[0].tick(now);

    assert_eq!(pair.sides[0].sent(), []);
}

#[test]
fn two_must_agree_on_where_this_node_is_unless_there_is_only_one() {
    let mut side = Side::new(1, &[]);
    let now = now();
    let [first, second, third] = [11, 12, 13].map(identity);
    let [here, there]: [SocketAddr; 2] =
        ["192.0.2.1:1", "192.0.2.2:2"].map(|it| it.parse().expect("an endpoint"));
    for peer in [first, second, third] {
        side.gossip.handle_session_up(peer, &mut side.rng, now);
    }

    side.sees(first, here, now);
    assert_eq!(side.seen(), [vec![here]]);
    side.sees(second, there, now);
    assert_eq!(side.seen(), Vec::<Vec<SocketAddr>>::new());
    side.sees(third, there, now);
    assert_eq!(side.seen(), [vec![there]]);
}

#[test]
fn a_node_keeps_four_neighbours_and_replaces_those_that_do_not_answer() {
    let members: Vec<Change> = (0..50).map(|number| Change::Member(number, 4)).collect();
    let mut side = Side::new(1, &members);
    let mut now = now();
    side.tick(now);
    let first = side.kept.clone();
    assert_eq!(first.len(), neighbours::STANDING);
    let dead: BTreeSet<IdentityKey> = first.iter().take(2).copied().collect();
    for peer in first.difference(&dead) {
        side.gossip.handle_session_up(*peer, &mut side.rng, now);
    }

    for _ in 0..20 {
        now += Duration::from_secs(1);
        side.tick(now);
        let fresh: Vec<IdentityKey> = side.kept.difference(&first).copied().collect();
        for peer in fresh {
            if !side.gossip.peers.contains_key(&peer) {
                side.gossip.handle_session_up(peer, &mut side.rng, now);
            }
        }
    }

    let alive = side.kept.difference(&dead).count();
    assert_eq!(alive, neighbours::STANDING);
    for _ in 0..300 {
        now += Duration::from_secs(1);
        side.tick(now);
        let alive = side.kept.difference(&dead).count();
        assert_eq!(
            alive,
            neighbours::STANDING,
            "the dead are tried beside the living"
        );
    }
}

#[test]
fn members_that_say_they_are_public_are_preferred() {
    let members: Vec<Change> = (0..50).map(|number| Change::Member(number, 4)).collect();
    let mut side = Side::new(1, &members);
    let now = now();
    let public: BTreeSet<IdentityKey> = (20..24).map(identity).collect();
    for peer in &public {
        side.gossip.handle_session_up(*peer, &mut side.rng, now);
        let digest = Digest {
            public: true,
            ..a_digest(None)
        };
        let message = GossipMessage::Digest(digest);
        side.gossip
            .handle_message(*peer, message, Some(endpoint()), &mut side.rng, now);
    }

    side.tick(now);

    assert_eq!(side.kept, public);
}
