use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use proptest::{collection, prelude::*, sample};
use tombolo_proto::{
    id::{NodeId, UnixSeconds, Version},
    key::TransportKey,
    rules::Protocol,
};

use super::*;

mod model;
mod packets;
use packets::*;

const ME: u8 = 9;

#[test]
fn a_rule_stops_what_it_names_and_answers_to_what_began_here_pass() {
    let guard = a_guard(&["allow tcp 80 from tag:web", "deny icmp"], Action::Deny);

    assert_eq!(guard.admit(peer(1), &syn(1, ME, 40_000, 80)), Ok(()));
    let denied = Err(DropReason::AccessRule);
    assert_eq!(guard.admit(peer(2), &syn(2, ME, 40_000, 80)), denied);
    assert_eq!(guard.admit(peer(1), &syn(1, ME, 40_000, 22)), denied);
    assert_eq!(guard.admit(peer(1), &ping(1, ME, 7)), denied);
    assert_eq!(guard.admit(peer(2), &udp(2, ME, 53, 40_000)), denied);

    guard.sent(&udp(ME, 2, 40_000, 53));
    guard.sent(&ping(ME, 1, 7));
    guard.sent(&syn(ME, 2, 50_000, 5432));

    assert_eq!(guard.admit(peer(2), &udp(2, ME, 53, 40_000)), Ok(()));
    assert_eq!(guard.admit(peer(2), &udp(2, ME, 54, 40_000)), denied);
    assert_eq!(guard.admit(peer(1), &pong(1, ME, 7)), Ok(()));
    assert_eq!(guard.admit(peer(1), &pong(1, ME, 8)), denied);
    assert_eq!(guard.admit(peer(1), &ping(1, ME, 7)), denied, "no answer");
    assert_eq!(guard.admit(peer(2), &syn_ack(2, ME, 5432, 50_000)), Ok(()));
    assert_eq!(guard.admit(peer(2), &ack(2, ME, 5432, 50_000)), Ok(()));
    assert_eq!(
        guard.admit(peer(2), &syn(2, ME, 5432, 50_000)),
        denied,
        "a connection in the other direction is no answer"
    );
}

#[test]
fn what_is_stopped_is_counted_by_rule_and_listed_by_flow() {
    let guard = a_guard(&["allow tcp 80", "deny tcp 22 from tag:web"], Action::Deny);
    for _ in 0..3 {
        let _ = guard.admit(peer(1), &syn(1, ME, 40_000, 22));
    }
    let _ = guard.admit(peer(2), &udp(2, ME, 1, 5));

    let status = guard.status();

    let counts: Vec<u64> = status.rules.iter().map(|(_, packets)| *packets).collect();
    assert_eq!(counts, [0, 3]);
    assert_eq!(status.stopped_by_default, 1);
    let stopped = &status.lately.iter().find(|(flow, _)| flow.rule == Some(2));
    let (flow, _) = stopped.expect("the second rule stopped something");
    assert_eq!(&*flow.text, "deny tcp 22 from tag:web to any");
    assert_eq!((flow.port, flow.packets, flow.peer), (Some(22), 3, peer(1)));
    assert_eq!(flow.source, address(1));

    let named = a_guard(&["deny any from member:1,member:4"], Action::Allow);
    let text = format!("deny any from member:m1,member:{} to any", key(4));
    assert_eq!(
        named.status().rules,
        [(text, 0)],
        "members by name, strangers by key"
    );

    let more = ["deny tcp 25", "allow tcp 80", "deny tcp 22 from tag:web"];
    let after = changed(&guard, &more, Action::Deny);
    let counts: Vec<u64> = after.status().rules.iter().map(|rule| rule.1).collect();
    assert_eq!(counts, [0, 0, 3], "counters follow their rules");
    assert_eq!(after.status().stopped_by_default, 1);
}

#[test]
fn a_rule_that_is_taken_away_cuts_the_flows_it_allowed_and_no_others() {
    let guard = a_guard(&["allow tcp 80", "allow udp 53"], Action::Deny);
    assert_eq!(guard.admit(peer(1), &syn(1, ME, 40_000, 80)), Ok(()));
    assert_eq!(guard.admit(peer(1), &udp(1, ME, 40_000, 53)), Ok(()));
    guard.sent(&syn_ack(ME, 1, 80, 40_000));
    guard.sent(&udp(ME, 1, 53, 40_000));
    guard.sent(&syn(ME, 1, 50_000, 80));
    assert_eq!(guard.admit(peer(1), &ack(1, ME, 40_000, 80)), Ok(()));

    let guard = changed(&guard, &["allow tcp 81"], Action::Deny);
    // What this host still says does not open the way again.
    guard.sent(&ack(ME, 1, 80, 40_000));
    guard.sent(&udp(ME, 1, 53, 40_000));

    let denied = Err(DropReason::AccessRule);
    assert_eq!(guard.admit(peer(1), &ack(1, ME, 40_000, 80)), denied);
    assert_eq!(guard.admit(peer(1), &udp(1, ME, 40_000, 53)), denied);
    assert_eq!(guard.admit(peer(1), &syn_ack(1, ME, 80, 50_000)), Ok(()));
}

#[test]
fn connections_older_than_the_rules_go_on_if_this_host_is_their_client() {
    let guard = a_guard(&[], Action::Deny);
    guard.sent(&ack(ME, 1, 50_000, 5432));
    guard.sent(&ack(ME, 1, 22, 40_000));
    guard.sent(&ack(ME, 1, 45_000, 40_000));

    assert_eq!(guard.admit(peer(1), &ack(1, ME, 5432, 50_000)), Ok(()));
    for (from, to) in [(40_000, 22), (40_000, 45_000)] {
        let packet = ack(1, ME, from, to);
        assert_eq!(guard.admit(peer(1), &packet), Err(DropReason::AccessRule));
    }
}

#[test]
fn later_fragments_follow_the_first_and_are_refused_without_it() {
    let guard = a_guard(&["allow udp 53"], Action::Deny);
    let first = fragment(&udp(1, ME, 40_000, 53), 77, 0, true);
    let later = |id| fragment(&udp(1, ME, 40_000, 53), id, 64, false);

    assert_eq!(
        guard.admit(peer(1), &later(77)),
        Err(DropReason::Fragment),
        "nobody knows its port"
    );
    assert_eq!(guard.admit(peer(1), &first), Ok(()));
    assert_eq!(guard.admit(peer(1), &later(77)), Ok(()));
    assert_eq!(guard.admit(peer(1), &later(78)), Err(DropReason::Fragment));
    assert_eq!(
        guard.admit(peer(2), &later(77)),
        Err(DropReason::Fragment),
        "another's datagram"
    );
    let refused = fragment(&udp(1, ME, 40_000, 54), 79, 0, true);
    assert_eq!(guard.admit(peer(1), &refused), Err(DropReason::AccessRule));
    assert_eq!(guard.admit(peer(1), &later(79)), Err(DropReason::Fragment));
    let stub = &fragment(&udp(1, ME, 40_000, 53), 80, 0, true)[..24];
    assert_eq!(
        guard.admit(peer(1), &with_length(stub)),
        Err(DropReason::AccessRule),
        "a first fragment without ports"
    );

    guard.sent(&udp(ME, 2, 50_000, 2049));
    let answer = |offset, more| fragment(&udp(2, ME, 2049, 50_000), 5, offset, more);
    assert_eq!(guard.admit(peer(2), &answer(0, true)), Ok(()));
    assert_eq!(guard.admit(peer(2), &answer(64, false)), Ok(()));

    let open = a_guard(&["deny icmp"], Action::Allow);
    assert_eq!(open.admit(peer(1), &later(1)), Ok(()), "no rule asks");
}

#[test]
fn errors_about_packets_of_this_host_pass_and_others_do_not() {
    let guard = a_guard(&[], Action::Deny);
    guard.sent(&udp(ME, 2, 50_000, 33_434));
    guard.sent(&ping(ME, 2, 3));

    let about = |packet: &[u8]| unreachable(1, ME, packet);
    let admit = |packet: &[u8]| guard.admit(peer(1), &about(packet)).is_ok();
    assert!(admit(&udp(ME, 2, 50_000, 33_434)));
    assert!(admit(&ping(ME, 2, 3)));
    assert!(!admit(&udp(ME, 2, 50_000, 33_435)));
    assert!(!admit(&udp(3, 2, 50_000, 33_434)), "a packet of another");
    assert!(!admit(&[]));
}

#[test]
fn flows_end_when_they_are_silent_for_long_enough() {
    let start = now();
    for (sent, answer, lasts) in [
        (udp(ME, 1, 50_000, 53), udp(1, ME, 53, 50_000), 5 * 60),
        (ping(ME, 1, 3), pong(1, ME, 3), 60),
        (other(ME, 1, 47), other(1, ME, 47), 10 * 60),
        (syn(ME, 1, 50_000, 80), syn_ack(1, ME, 80, 50_000), 4 * 60),
        (
            ack(ME, 1, 50_000, 80),
            ack(1, ME, 80, 50_000),
            2 * 3600 + 4 * 60,
        ),
        (syn(ME, 1, 50_000, 80), rst(1, ME, 80, 50_000), 4 * 60),
    ] {
        for (silence, passes) in [(lasts - 1, true), (lasts, false)] {
            let guard = guard_at(&[], Action::Deny, None, start);
            guard.sent(&sent);
            guard.set_time(start + Duration::from_secs(silence));
            assert_eq!(guard.admit(peer(1), &answer).is_ok(), passes, "{lasts} s");
        }
    }
}

#[test]
fn nothing_is_judged_where_rules_only_allow() {
    let open = AccessRules {
        default: Action::Allow,
        rules: rules(&["allow tcp 22"]),
    };
    let me = a_cert(ME);
    let members = [a_cert(1), a_cert(ME)];
    let guard = Guard::new(&open, &me, members.iter(), slot, None, [1, 2], now());
    assert!(guard.is_none());
}

#[test]
fn a_rule_to_others_says_nothing_here() {
    let lines = [
        "deny tcp to member:1",
        "deny tcp to tag:nobody",
        "deny tcp to 10.0.0.1",
        "deny udp to tag:nobody,10.0.9.0/24",
        "deny icmp to tag:home",
    ];
    let guard = a_guard(&lines, Action::Allow);

    assert!(guard.admit(peer(1), &syn(1, ME, 40_000, 80)).is_ok());
    assert!(guard.admit(peer(1), &udp(1, ME, 40_000, 80)).is_ok());
    assert!(guard.admit(peer(1), &ping(1, ME, 1)).is_err());
    let mut behind = udp(1, ME, 40_000, 80);
    behind[16..20].copy_from_slice(&[10, 0, 9, 7]);
    assert!(guard.admit(peer(1), &behind).is_err());
}

#[test]
fn ipv6_is_judged_behind_its_extension_headers() {
    let guard = a_guard(&["allow tcp 80 from member:1", "allow icmp"], Action::Deny);
    let denied = Err(DropReason::AccessRule);
    for extensions in [0, 1, 3] {
        let to = |port| v6(&syn(1, ME, 40_000, port), extensions);
        assert_eq!(guard.admit(peer(1), &to(80)), Ok(()), "{extensions}");
        assert_eq!(guard.admit(peer(1), &to(81)), denied, "{extensions}");
    }
    let echo = v6(&ping(2, ME, 1), 1);
    assert_eq!(guard.admit(peer(2), &echo), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_guard_agrees_with_a_naive_model(steps in collection::vec(model::a_step(), 1..60)) {
        model::agree(&steps)?;
    }

    #[test]
    fn no_packet_panics_and_what_is_no_packet_is_refused(
        bytes in collection::vec(any::<u8>(), 0..120),
        first in sample::select(vec![0x45u8, 0x46, 0x4f, 0x60, 0x00]),
        v6_next in sample::select(vec![0u8, 6, 17, 43, 44, 58, 60]),
    ) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        if first == 0x60 && let Some(byte) = bytes.get_mut(6) {
            *byte = v6_next;
        }
        let bytes = with_length(&bytes);
        let guard = a_guard(&["allow tcp 80", "deny udp 53"], Action::Allow);
        guard.sent(&bytes);
        let verdict = guard.admit(peer(1), &bytes);
        if tombolo_proto::ip::view(&bytes).is_none() {
            prop_assert_eq!(verdict, Err(DropReason::NotIp));
        }
    }
}

fn a_guard(lines: &[&str], default: Action) -> Guard {
    guard_at(lines, default, None, now())
}

fn changed(guard: &Guard, lines: &[&str], default: Action) -> Guard {
    guard_at(lines, default, Some(guard), now())
}

fn guard_at(lines: &[&str], default: Action, previous: Option<&Guard>, now: Instant) -> Guard {
    let rules = AccessRules {
        default,
        rules: rules(lines),
    };
    guard_of(&rules, previous, now).expect("something to judge")
}

fn guard_of(rules: &AccessRules, previous: Option<&Guard>, now: Instant) -> Option<Guard> {
    let members = [1, 2, 3, ME].map(a_cert);
    Guard::new(
        rules,
        &a_cert(ME),
        members.iter(),
        slot,
        previous,
        [0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321],
        now,
    )
}

/// Members are named by their numbers.
fn rules(lines: &[&str]) -> Vec<Rule> {
    let key = |name: String| Ok::<_, std::num::ParseIntError>(key(name.parse()?));
    lines
        .iter()
        .map(|line| {
            let written: Rule<String> = line.parse().expect("a rule");
            written.rename_members(key).expect("a number")
        })
        .collect()
}

/// 1 is a web server; 9, which is this host, is at home.
fn a_cert(number: u8) -> MemberCert {
    let tags: &[&str] = match number {
        1 => &["web"],
        ME => &["home"],
        _ => &[],
    };
    MemberCert {
        version: Version::first_epoch(1),
        node: NodeId::new(u64::from(number)).expect("a node address"),
        name: format!("m{number}"),
        identity: key(number),
        transport: TransportKey([number; 32]),
        transport_epoch: 0,
        addresses: BTreeSet::from([address(number)]),
        prefix: None,
        routes: Vec::new(),
        relay: false,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        issued_at: UnixSeconds(0),
        not_after: UnixSeconds(u64::MAX),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can be had in no other way; only differences count"
)]
fn now() -> Instant {
    Instant::now()
}

const fn key(number: u8) -> IdentityKey {
    IdentityKey([number; 32])
}

fn slot(identity: &IdentityKey) -> Option<PeerSlot> {
    let number = identity.0[0];
    (number != ME).then(|| peer(number))
}

const fn peer(number: u8) -> PeerSlot {
    PeerSlot(number as u32)
}

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}
