use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::budget::Budgets;

/// Ports that a NAT with random mapping chooses from.
const PORTS: std::ops::RangeInclusive<u16> = FIRST_PORT..=u16::MAX;

#[test]
fn an_attempt_misses_less_than_once_in_a_hundred_times() {
    let runs = 2_000;
    let mut rng = StdRng::seed_from_u64(1);
    let missed = (0..runs)
        .filter(|_| {
            let mapped: BTreeSet<u16> = std::iter::repeat_with(|| rng.random_range(PORTS))
                .take(SOCKETS)
                .collect();
            let searched = ports_to_search(&[], &mut rng);
            !searched.iter().any(|port| mapped.contains(port))
        })
        .count();
    assert!(missed * 100 <= runs, "{missed} of {runs}");
}

#[test]
fn a_row_of_mappings_after_the_last_port_seen_is_found_among_the_first_ports() {
    let mut rng = StdRng::seed_from_u64(1);
    for others in [0, 1, 50, 500, 1_000] {
        let last = 40_000;
        let row = last + others..last + others + SOCKETS as u16;

        let searched = ports_to_search(&[39_998, last, 39_999], &mut rng);

        let at = searched.iter().position(|port| row.contains(port));
        assert!(
            at.is_some_and(|at| at < usize::from(PREDICTED)),
            "{others}: {at:?}"
        );
    }
}

#[test]
fn every_port_is_searched_once_and_none_below_the_first() {
    let mut rng = StdRng::seed_from_u64(1);
    for seen in [&[][..], &[65_500], &[1_024]] {
        let searched = ports_to_search(seen, &mut rng);
        let distinct: BTreeSet<u16> = searched.iter().copied().collect();
        assert_eq!((searched.len(), distinct.len()), (SEARCHED, SEARCHED));
        assert!(distinct.first() >= Some(&FIRST_PORT));
    }
}

#[test]
fn what_is_sent_to_one_address_is_what_is_promised() {
    let (start, mut rng) = (now(), StdRng::seed_from_u64(1));
    let sockets: Vec<SocketSlot> = (0..SOCKETS as u16).map(SocketSlot).collect();
    let open = run(&mut Punch::open(endpoint(7), sockets, start), start);
    assert_eq!(open.len(), SOCKETS * ROUNDS as usize);
    let mut by_way = BTreeMap::new();
    for (_, way) in &open {
        *by_way.entry(*way).or_insert(0) += 1;
    }
    assert!(by_way.values().all(|times| *times == ROUNDS));

    let search = run(
        &mut Punch::search(endpoint(7).ip(), &[], &mut rng, start),
        start,
    );
    assert_eq!(search.len(), SEARCHED);
    let took = search.last().expect("sent").0 - start;
    assert!(took <= Duration::from_secs(2), "{took:?}");
}

#[test]
fn only_the_peers_own_address_is_heard_and_each_way_once() {
    let (start, mut rng) = (now(), StdRng::seed_from_u64(1));
    let mut search = Punch::search(endpoint(7).ip(), &[], &mut rng, start);
    let way = Way::Direct(endpoint(9));
    assert!(search.hear(way));
    assert!(!search.hear(way));
    assert!(!search.hear(Way::Direct("198.51.100.1:9".parse().expect("an endpoint"))));
    for port in 100..200 {
        let _ = search.hear(Way::Direct(endpoint(port)));
    }
    assert_eq!(search.found().len(), MAX_FOUND);

    let through = |socket, port| Way::Through {
        socket: SocketSlot(socket),
        endpoint: endpoint(port),
    };
    let mut open = Punch::open(endpoint(7), vec![SocketSlot(3)], start);
    assert!(!open.hear(Way::Direct(endpoint(7))));
    assert!(!open.hear(through(4, 7)));
    assert!(!open.hear(through(3, 8)));
    assert!(open.hear(through(3, 7)));
}

#[test]
fn a_node_makes_few_attempts_at_once_and_few_towards_one_address() {
    let start = now();
    let mut puncher = Puncher::new(Budgets::new(&mut StdRng::seed_from_u64(1)));
    let peer = crate::fib::PeerSlot;
    let attempts = (0..1_000)
        .filter(|number| {
            let may = puncher.may_punch(peer(*number), endpoint(7).ip(), start);
            puncher.ended(peer(*number));
            may
        })
        .count();
    assert_eq!(attempts, 4);
    let later = start + Duration::from_secs(120);
    assert!(puncher.may_punch(peer(0), endpoint(7).ip(), later));
    assert!(!puncher.may_punch(peer(1), endpoint(7).ip(), later));

    let at_once = (1..100u8)
        .filter(|host| {
            let elsewhere = IpAddr::from([192, 0, 2, *host]);
            puncher.may_punch(peer(u32::from(*host)), elsewhere, later)
        })
        .count();
    assert_eq!(at_once, 3, "besides the one under way");
}

#[test]
fn sockets_are_lent_and_come_back() {
    let mut puncher = Puncher::new(Budgets::new(&mut StdRng::seed_from_u64(1)));
    let sockets = puncher.take_sockets();
    assert_eq!(sockets.len(), SOCKETS);
    assert!(!puncher.has_sockets());
    for socket in sockets {
        puncher.give_back(socket);
    }
    assert!(puncher.has_sockets());
}

fn run(punch: &mut Punch, start: Instant) -> Vec<(Instant, Way)> {
    let mut sent = Vec::new();
    let mut now = start;
    while !punch.is_over(now) {
        sent.extend(punch.handle_timeout(now).into_iter().map(|way| (now, way)));
        assert!(punch.deadline() > now);
        now = punch.deadline();
    }
    sent
}

fn endpoint(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], port))
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do to count from"
)]
fn now() -> Instant {
    Instant::now()
}
