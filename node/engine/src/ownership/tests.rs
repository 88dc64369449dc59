use std::collections::BTreeSet;

use proptest::prelude::*;
use tombolo_proto::{
    config::{CertRoute, RouteMode},
    id::{NodeId, UnixSeconds, Version},
    key::TransportKey,
};

use super::*;

const ME: u8 = 0;

#[test]
fn of_several_owners_the_first_that_is_not_away_gets_the_packets_and_if_all_are_the_first() {
    let ownership = an_ownership(&[(1, &[("10.9.0.0/16", 10)]), (2, &[("10.9.0.0/16", 20)])]);
    let target = address("10.9.0.1");
    let [first, second] = [PeerSlot(1), PeerSlot(2)];
    assert_eq!(ownership.next_hops(target), [first, second]);

    let chosen = |away: &[PeerSlot]| {
        let away = away.iter().copied().collect();
        ownership.next_hop_present(target, &away)
    };

    assert_eq!(chosen(&[]), Some(first));
    assert_eq!(chosen(&[first]), Some(second));
    assert_eq!(chosen(&[second]), Some(first));
    assert_eq!(chosen(&[first, second]), Some(first));
    assert!(ownership.is_shared_by(first) && ownership.is_shared_by(second));
    assert_eq!(ownership.next_hop(target), Some(first));
}

#[test]
fn the_longest_prefix_decides_both_ways_and_what_is_ours_is_nobody_elses() {
    let ownership = an_ownership(&[
        (ME, &[("10.1.1.0/24", 0)]),
        (1, &[("10.1.0.0/16", 0)]),
        (2, &[("10.1.2.0/24", 0)]),
    ]);

    assert_eq!(ownership.next_hop(address("10.1.3.1")), Some(PeerSlot(1)));
    assert_eq!(ownership.next_hop(address("10.1.2.1")), Some(PeerSlot(2)));
    assert_eq!(ownership.next_hop(address("10.1.1.1")), None);
    assert!(ownership.may_send_from(PeerSlot(1), address("10.1.3.1")));
    assert!(!ownership.may_send_from(PeerSlot(1), address("10.1.2.1")));
    assert!(!ownership.may_send_from(PeerSlot(1), address("10.1.1.1")));
    assert!(!ownership.may_send_from(PeerSlot(1), address("10.9.0.1")));
}

#[test]
fn a_shared_prefix_is_sent_to_the_lowest_metric_and_taken_from_every_owner() {
    let ownership = an_ownership(&[
        (1, &[("10.0.0.0/24", 20)]),
        (2, &[("10.0.0.0/24", 10)]),
        (3, &[("10.0.0.0/24", 10)]),
    ]);
    let shared = address("10.0.0.9");

    assert_eq!(ownership.next_hop(shared), Some(PeerSlot(2)));
    for owner in 1..=3 {
        assert!(ownership.may_send_from(PeerSlot(owner), shared));
    }
}

#[test]
fn a_prefix_this_node_shares_is_not_sent_but_taken_from_the_others() {
    let ownership = an_ownership(&[(ME, &[("10.0.0.0/24", 20)]), (1, &[("10.0.0.0/24", 10)])]);

    assert_eq!(ownership.next_hop(address("10.0.0.9")), None);
    assert!(ownership.may_send_from(PeerSlot(1), address("10.0.0.9")));
}

#[test]
fn a_default_route_gets_what_nobody_owns_and_is_no_place_inside() {
    let members: [(u8, &[(&str, u32)]); 3] = [
        (1, &[("0.0.0.0/0", 0), ("::/0", 0)]),
        (2, &[("10.1.0.0/16", 0)]),
        (3, &[("0.0.0.0/0", 1)]),
    ];
    let allowed = an_ownership(&members);
    let (exit, spare) = (PeerSlot(1), PeerSlot(3));

    assert_eq!(allowed.next_hops(address("192.0.2.1")), [exit, spare]);
    assert_eq!(allowed.next_hop(address("2001:db8::1")), Some(exit));
    assert_eq!(allowed.next_hop(address("10.1.0.1")), Some(PeerSlot(2)));
    assert!(allowed.may_send_from(spare, address("192.0.2.1")));
    assert!(
        !allowed.may_send_from(exit, address("10.1.0.1")),
        "a member's own"
    );
    assert!(!allowed.may_send_from(PeerSlot(2), address("192.0.2.1")));
    assert!(!allowed.covers(address("192.0.2.1")), "peers are out there");
    for nowhere in [
        "224.0.0.251",
        "255.255.255.255",
        "169.254.1.1",
        "127.0.0.1",
        "0.0.0.0",
        "ff02::1",
        "fe80::1",
        "::1",
    ] {
        assert_eq!(allowed.next_hop(address(nowhere)), None, "{nowhere}");
    }

    let forbidden = an_ownership(&members).without_defaults();

    assert_eq!(forbidden.next_hop(address("192.0.2.1")), None);
    assert!(!forbidden.may_send_from(exit, address("192.0.2.1")));
    assert_eq!(forbidden.next_hop(address("10.1.0.1")), Some(PeerSlot(2)));
}

#[test]
fn an_exit_sends_nothing_to_another_one() {
    let ownership = an_ownership(&[(ME, &[("0.0.0.0/0", 9)]), (1, &[("0.0.0.0/0", 0)])]);

    assert_eq!(ownership.next_hop(address("192.0.2.1")), None);
}

proptest! {
    #[test]
    fn routing_and_source_check_agree_with_looking_through_everything(
        members in prop::collection::vec(prop::collection::vec((a_prefix(), 0u32..3), 0..6), 1..6),
        address in an_address(),
    ) {
        let certs: Vec<MemberCert> = members
            .iter()
            .enumerate()
            .map(|(number, routes)| a_cert(number as u8, routes))
            .collect();
        let ownership = build(&certs);

        let matching: Vec<(u8, u32, u8)> = members
            .iter()
            .enumerate()
            .flat_map(|(number, routes)| routes.iter().map(move |route| (number as u8, route)))
            .filter(|(_, (prefix, _))| prefix.contains(&address))
            .filter(|(_, (prefix, _))| prefix.prefix_len() > 0 || is_anywhere(address))
            .map(|(number, (prefix, metric))| (number, *metric, prefix.prefix_len()))
            .collect();
        let longest = matching.iter().map(|(.., length)| *length).max();
        let owners: Vec<(u8, u32)> = matching
            .into_iter()
            .filter(|(.., length)| Some(*length) == longest)
            .map(|(number, metric, _)| (number, metric))
            .collect();
        let is_mine = owners.iter().any(|(number, _)| *number == ME);
        let best = owners.iter().min_by_key(|(number, metric)| (*metric, *number));
        let next_hop = best.filter(|_| !is_mine).map(|(number, _)| PeerSlot(u32::from(*number)));

        prop_assert_eq!(ownership.next_hop(address), next_hop);
        for number in 1..members.len() as u8 {
            prop_assert_eq!(
                ownership.may_send_from(PeerSlot(u32::from(number)), address),
                owners.iter().any(|(owner, _)| *owner == number)
            );
        }
    }
}

// Few distinct bits, so that prefixes nest and addresses hit.
fn an_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u32..32, 0u32..4).prop_map(|(high, low)| IpAddr::V4((high << 27 | low).into())),
        (0u128..32, 0u128..4).prop_map(|(high, low)| IpAddr::V6((high << 123 | low).into())),
    ]
}

fn a_prefix() -> impl Strategy<Value = IpNet> {
    (an_address(), 0u8..=32).prop_map(|(address, length)| {
        let length = if length > 8 && address.is_ipv6() {
            length + 96
        } else {
            length
        };
        IpNet::new(address, length).expect("a length").trunc()
    })
}

fn an_ownership(members: &[(u8, &[(&str, u32)])]) -> Ownership {
    let certs: Vec<MemberCert> = members
        .iter()
        .map(|(number, routes)| {
            let routes: Vec<(IpNet, u32)> = routes
                .iter()
                .map(|(prefix, metric)| (prefix.parse().expect("a prefix"), *metric))
                .collect();
            a_cert(*number, &routes)
        })
        .collect();
    build(&certs)
}

fn build(certs: &[MemberCert]) -> Ownership {
    Ownership::new(certs.iter(), key(ME), Mtu::DEFAULT, |identity| {
        Some(PeerSlot(u32::from(identity.0[0])))
    })
}

fn a_cert(number: u8, routes: &[(IpNet, u32)]) -> MemberCert {
    MemberCert {
        version: Version::first_epoch(1),
        node: NodeId::new(u64::from(number) + 1).expect("a node address"),
        name: String::new(),
        identity: key(number),
        transport: TransportKey([number; 32]),
        transport_epoch: 0,
        addresses: BTreeSet::new(),
        prefix: None,
        routes: routes
            .iter()
            .map(|&(prefix, metric)| CertRoute {
                prefix,
                metric,
                mode: RouteMode::Failover,
            })
            .collect(),
        relay: false,
        tags: BTreeSet::new(),
        issued_at: UnixSeconds(0),
        not_after: UnixSeconds(u64::MAX),
    }
}

fn key(number: u8) -> IdentityKey {
    IdentityKey([number; 32])
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
