//! What is told at once and what waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tombolo_domain::{
    command::{Command, MemberPatch},
    decide::decide,
    network::Network,
    pacing::{Pace, Waiting, urgent_certificates},
};
use tombolo_proto::id::UnixSeconds;

use crate::scene::{NOW, Step, a_network, a_request};

const PACE: Pace = Pace {
    interval: Duration::from_secs(1),
    bytes: 100,
};

#[test]
fn the_first_goes_at_once_and_the_next_ones_together_after_the_interval() {
    let start = some_instant();
    let mut waiting = Waiting::default();

    waiting.put("a", 40, 'a');
    assert_eq!(waiting.portion(PACE, start), ['a']);

    waiting.put("b", 40, 'b');
    waiting.put("c", 40, 'c');
    assert_eq!(waiting.poll_timeout(start), Some(start + PACE.interval));
    let early = start + PACE.interval - Duration::from_millis(1);
    assert_eq!(waiting.portion(PACE, early), []);
    assert_eq!(waiting.portion(PACE, start + PACE.interval), ['b', 'c']);
    assert_eq!(waiting.poll_timeout(start), None);
}

#[test]
fn an_item_above_the_budget_goes_alone() {
    let start = some_instant();
    let mut waiting = Waiting::default();
    waiting.put(1, 101, 'a');
    waiting.put(2, 1, 'b');

    assert_eq!(waiting.portion(PACE, start), ['a']);
}

#[test]
fn many_nodes_get_portions_seldom_and_no_more_than_the_budget_of_all() {
    for nodes in [0, 1, 10, 500, 2_000, 10_000] {
        let pace = Pace::of(nodes);
        let per_second = pace.bytes as f64 / pace.interval.as_secs_f64();

        assert!(per_second <= f64::from(128 << 10), "{nodes}: {pace:?}");
        assert!(per_second * nodes as f64 <= f64::from(16 << 20));
        assert!(nodes as f64 / pace.interval.as_secs_f64() <= 5000.0);
        assert!(pace.interval <= Duration::from_millis(2500));
    }
}

proptest! {
    #[test]
    fn of_every_key_the_newest_is_told_once_unless_it_was_withdrawn(
        steps in prop::collection::vec((0u8..3, 0u8..6, 1usize..60), 1..80)
    ) {
        let mut now = some_instant();
        let mut waiting = Waiting::default();
        let mut model: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
        for (number, (action, key, bytes)) in steps.into_iter().enumerate() {
            match action {
                0 => {
                    waiting.put(key, bytes, (key, bytes, number));
                    model.insert(key, (bytes, number));
                }
                1 => {
                    waiting.withdraw(&key);
                    model.remove(&key);
                }
                _ => {
                    now += PACE.interval;
                    let portion = waiting.portion(PACE, now);
                    let total: usize = portion.iter().map(|(_, bytes, _)| bytes).sum();
                    prop_assert!(total <= PACE.bytes || portion.len() == 1);
                    prop_assert_eq!(portion.is_empty(), model.is_empty());
                    for (key, bytes, number) in portion {
                        prop_assert_eq!(model.remove(&key), Some((bytes, number)));
                    }
                }
            }
        }
        prop_assert_eq!(waiting.iter().count(), model.len());
    }
}

#[test]
fn a_changed_certificate_is_urgent_and_a_new_or_renewed_one_is_not() {
    let empty = a_network();
    let joined = after(&empty, join(0));
    let second = after(&joined, join(1));
    let [first, new] = [a_request(0, 0).identity, a_request(1, 0).identity];

    assert_eq!(
        urgent_certificates(&[new], &joined, &second),
        BTreeSet::new()
    );

    let renamed = after(
        &second,
        Command::UpdateMember {
            identity: first,
            patch: MemberPatch {
                name: Some("another".parse().expect("a name")),
                ..MemberPatch::default()
            },
        },
    );
    assert_eq!(
        urgent_certificates(&[first], &second, &renamed),
        BTreeSet::from([first])
    );

    let much_later = UnixSeconds(NOW.0 + 60 * 24 * 3600);
    let upkeep = Command::Upkeep {
        requests_since: NOW,
    };
    let changes = decide(upkeep, &second, much_later).expect("renewals");
    let renewed = second.apply(&changes);
    assert!(renewed.revision() > second.revision());
    assert_eq!(
        urgent_certificates(&[first, new], &second, &renewed),
        BTreeSet::new()
    );
}

#[test]
fn a_member_that_comes_back_is_as_new() {
    let inside = after(&a_network(), join(0));
    let outside = after(&inside, Step::Authorize(0, false).command(&inside));
    let back = after(&outside, Step::Authorize(0, true).command(&outside));
    let identity = a_request(0, 0).identity;

    assert_eq!(
        urgent_certificates(&[identity], &outside, &back),
        BTreeSet::new()
    );
}

fn join(who: u8) -> Command {
    Command::Join {
        request: a_request(who, 0),
        granted: true,
    }
}

fn after(network: &Network, command: Command) -> Network {
    let changes = decide(command, network, NOW).expect("allowed");
    network.apply(&changes)
}

#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
fn some_instant() -> Instant {
    Instant::now()
}
