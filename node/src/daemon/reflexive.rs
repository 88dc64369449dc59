//! Where this node's data sockets are seen from outside: asked of controllers by STUN, from the data sockets themselves,
//! since a NAT gives every socket a mapping of its own. Pure: time and randomness come in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tombolo_proto::stun::{self, TransactionId};

/// Well below the shortest common NAT timeout, so that asking also keeps the mapping.
const ASK_EVERY: Duration = Duration::from_secs(25);
/// Answers take a round trip; until all have come, questions are repeated this often.
const ASK_QUICKLY_EVERY: Duration = Duration::from_millis(500);
/// After this many quick questions a server that does not answer is asked like the others.
const QUICK_QUESTIONS: u8 = 6;
/// Hosts that see a node: two tell how its NAT maps.
const OBSERVERS: usize = 2;
/// Three questions without an answer: the address is not ours any more.
const FORGET_AFTER: Duration = Duration::from_secs(80);

/// Questions and answers.
#[derive(Debug)]
pub(super) struct Reflexive {
    servers: BTreeSet<SocketAddr>,
    /// The other port of each server that has told of one.
    others: BTreeMap<SocketAddr, SocketAddr>,
    /// Peers that are asked as well, where there are too few servers.
    peers: BTreeSet<SocketAddr>,
    open: BTreeMap<TransactionId, Open>,
    seen: BTreeMap<SocketAddr, Seen>,
    round: u64,
    next_question: Option<Instant>,
    quick_left: u8,
}

/// A question without an answer.
#[derive(Debug)]
struct Open {
    server: SocketAddr,
    asked: Instant,
    round: u64,
}

/// An answer.
#[derive(Debug)]
struct Seen {
    address: SocketAddr,
    at: Instant,
    /// When it was asked: only what was asked at the same time says something about the NAT.
    round: u64,
}

impl Reflexive {
    pub(super) const fn new() -> Self {
        Self {
            servers: BTreeSet::new(),
            others: BTreeMap::new(),
            peers: BTreeSet::new(),
            open: BTreeMap::new(),
            seen: BTreeMap::new(),
            round: 0,
            next_question: None,
            quick_left: QUICK_QUESTIONS,
        }
    }

    /// Whom to ask. New servers are asked at once.
    pub(super) fn set_servers(&mut self, servers: impl IntoIterator<Item = SocketAddr>) {
        let servers: BTreeSet<SocketAddr> = servers.into_iter().collect();
        if !servers.is_subset(&self.servers) {
            self.ask_soon();
        }
        self.others.retain(|server, _| servers.contains(server));
        self.servers = servers;
        self.forget_strangers();
    }

    /// Peers that may be asked too, and whether more than are asked are wanted at a place like theirs. Those asked already
    /// stay, so that nobody is asked who has never been, and what they have shown stays known.
    pub(super) fn set_peers(
        &mut self,
        candidates: &[SocketAddr],
        is_wanted: impl Fn(&SocketAddr) -> bool,
    ) {
        let hosts: BTreeSet<IpAddr> = self.servers.iter().map(SocketAddr::ip).collect();
        self.peers.retain(|peer| candidates.contains(peer));
        for candidate in candidates.iter().filter(|candidate| is_wanted(candidate)) {
            let of_family = |known: &&IpAddr| known.is_ipv4() == candidate.is_ipv4();
            let known = hosts.iter().filter(of_family).count();
            let asked = self.peers.iter().map(SocketAddr::ip);
            let asked: BTreeSet<IpAddr> = asked.filter(|ip| of_family(&ip)).collect();
            let is_new = !hosts.contains(&candidate.ip()) && !asked.contains(&candidate.ip());
            if known + asked.len() < OBSERVERS && is_new {
                self.peers.insert(*candidate);
                self.ask_soon();
            }
        }
        self.forget_strangers();
    }

    fn forget_strangers(&mut self) {
        let asked: BTreeSet<SocketAddr> = self.asked().collect();
        self.seen.retain(|server, _| asked.contains(server));
    }

    /// Everybody who is asked.
    fn asked(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers
            .iter()
            .chain(self.others.values())
            .chain(&self.peers)
            .copied()
    }

    /// Servers with two ports, and their second.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        self.others.iter().map(|(server, other)| (*server, *other))
    }

    /// Asks everybody anew: the host's addresses have changed, or a controller is back.
    pub(super) const fn ask_soon(&mut self) {
        self.next_question = None;
        self.quick_left = QUICK_QUESTIONS;
    }

    /// The datagrams to send now.
    pub(super) fn questions(
        &mut self,
        mut draw: impl FnMut() -> TransactionId,
        now: Instant,
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        if self.next_question.is_some_and(|at| now < at) {
            return Vec::new();
        }
        self.open
            .retain(|_, open| now.duration_since(open.asked) < ASK_EVERY);
        let asked: Vec<SocketAddr> = self.asked().collect();
        let all_answered = asked.iter().all(|server| self.seen.contains_key(server));
        let quick = self.quick_left > 0 && !all_answered;
        self.quick_left = self.quick_left.saturating_sub(1);
        self.next_question = Some(now + if quick { ASK_QUICKLY_EVERY } else { ASK_EVERY });
        self.round += 1;
        let mut questions = Vec::new();
        for server in asked {
            let transaction = draw();
            let open = Open {
                server,
                asked: now,
                round: self.round,
            };
            self.open.insert(transaction, open);
            questions.push((server, stun::request(&transaction)));
        }
        questions
    }

    /// Takes an answer. `true` if [`Self::addresses`] has changed.
    pub(super) fn handle_answer(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        let Some((transaction, address)) = stun::read_response(datagram) else {
            return false;
        };
        let Some(open) = self.open.get(&transaction) else {
            return false;
        };
        if open.server != from {
            return false;
        }
        let round = open.round;
        self.open.remove(&transaction);
        if self.servers.contains(&from)
            && let Some(port) = stun::other_port(datagram)
        {
            let other = SocketAddr::new(from.ip(), port);
            if self.others.insert(from, other) != Some(other) {
                self.ask_soon();
            }
        }
        let before = self.addresses(now);
        let seen = Seen {
            address,
            at: now,
            round,
        };
        self.seen.insert(from, seen);
        self.addresses(now) != before
    }

    /// Where this node is seen, IPv6 first: it is rarely translated.
    pub(super) fn addresses(&self, now: Instant) -> Vec<SocketAddr> {
        let fresh = self.fresh(now);
        let addresses: BTreeSet<SocketAddr> = fresh.map(|(_, seen)| seen.address).collect();
        addresses.into_iter().rev().collect()
    }

    /// Who sees this node where in one family, as far as they were asked at the same time.
    pub(super) fn observed(&self, is_v4: bool, now: Instant) -> BTreeMap<SocketAddr, SocketAddr> {
        let of_family = || {
            self.fresh(now)
                .filter(move |(_, seen)| seen.address.is_ipv4() == is_v4)
        };
        let rounds: BTreeSet<u64> = of_family().map(|(_, seen)| seen.round).collect();
        let of_round = |round| of_family().filter(move |(_, seen)| seen.round == round);
        // The newest may not have been answered by all yet.
        let round = rounds
            .into_iter()
            .max_by_key(|round| (of_round(*round).count().min(OBSERVERS), *round));
        round.map_or_else(BTreeMap::new, |round| {
            of_round(round)
                .map(|(server, seen)| (*server, seen.address))
                .collect()
        })
    }

    fn fresh(&self, now: Instant) -> impl Iterator<Item = (&SocketAddr, &Seen)> {
        self.seen
            .iter()
            .filter(move |(_, seen)| now.duration_since(seen.at) < FORGET_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_our_question_tells_where_we_are() {
        let now = Instant::now();
        let mut reflexive = a_reflexive();

        let questions = reflexive.questions(counting(), now);
        let (server, question) = questions.first().expect("a question");
        assert!(reflexive.handle_answer(*server, &an_answer(question), now));

        assert_eq!(reflexive.addresses(now), [mapped()]);
        assert!(reflexive.addresses(now + FORGET_AFTER).is_empty());
    }

    #[test]
    fn answers_nobody_asked_for_and_answers_from_elsewhere_count_for_nothing() {
        let now = Instant::now();
        let mut reflexive = a_reflexive();
        let questions = reflexive.questions(counting(), now);
        let (server, question) = questions.first().expect("a question");
        let stranger = SocketAddr::from(([192, 0, 2, 66], 9793));

        assert!(!reflexive.handle_answer(stranger, &an_answer(question), now));
        assert!(!reflexive.handle_answer(*server, &an_answer(&stun::request(&[9; 12])), now));

        assert!(reflexive.addresses(now).is_empty());
    }

    #[test]
    fn questions_are_quick_until_answered_and_slow_afterwards() {
        let now = Instant::now();
        let mut reflexive = a_reflexive();
        let mut draw = counting();
        let questions = reflexive.questions(&mut draw, now);
        assert!(reflexive.questions(&mut draw, now).is_empty());
        let later = now + ASK_QUICKLY_EVERY;
        assert_eq!(reflexive.questions(&mut draw, later).len(), 1);

        let (server, question) = questions.first().expect("a question");
        assert!(reflexive.handle_answer(*server, &an_answer(question), later));
        let _ = reflexive.questions(&mut draw, later + ASK_QUICKLY_EVERY);

        assert!(
            reflexive
                .questions(&mut draw, later + 3 * ASK_QUICKLY_EVERY)
                .is_empty()
        );
    }

    #[test]
    fn a_server_with_two_ports_is_asked_at_both_and_peers_only_where_servers_are_few() {
        let now = Instant::now();
        let mut reflexive = a_reflexive();
        let mut draw = counting();
        let questions = reflexive.questions(&mut draw, now);
        let (server, question) = questions.first().expect("a question");
        let transaction = stun::read_request(question)
            .expect("a question")
            .transaction;
        let answer = stun::response_with_other_port(&transaction, mapped(), 9794);
        assert!(reflexive.handle_answer(*server, &answer, now));
        let peers = [7, 8].map(|host| SocketAddr::from(([198, 51, 100, host], 9790)));

        reflexive.set_peers(&peers, |_| true);

        let asked: Vec<SocketAddr> = reflexive
            .questions(&mut draw, now)
            .into_iter()
            .map(|(to, _)| to)
            .collect();
        let other = SocketAddr::new(server.ip(), 9794);
        assert_eq!(asked, [*server, other, peers[0]]);
        reflexive.set_peers(&peers[1..], |_| true);
        reflexive.set_peers(&peers, |_| true);
        assert!(reflexive.peers.contains(&peers[1]), "who is asked stays");
        reflexive.set_peers(&peers, |_| false);
        assert!(
            reflexive.peers.contains(&peers[1]),
            "also if nobody else is wanted"
        );
        reflexive.set_peers(&[], |_| true);
        assert!(reflexive.peers.is_empty());
    }

    #[test]
    fn only_what_was_asked_at_the_same_time_is_compared() {
        let now = Instant::now();
        let mut reflexive = Reflexive::new();
        let servers = [1, 2].map(|host| SocketAddr::from(([192, 0, 2, host], 9793)));
        reflexive.set_servers(servers);
        let mut draw = counting();
        let first = reflexive.questions(&mut draw, now);
        reflexive.handle_answer(first[0].0, &an_answer(&first[0].1), now);
        let second = reflexive.questions(&mut draw, now + ASK_QUICKLY_EVERY);

        // The NAT has forgotten everything in between.
        let moved = stun::response(
            &stun::read_request(&second[1].1)
                .expect("a question")
                .transaction,
            SocketAddr::from(([203, 0, 113, 7], 50_000)),
        );
        reflexive.handle_answer(second[1].0, &moved, now);

        assert_eq!(reflexive.observed(true, now).len(), 1);
        reflexive.handle_answer(second[0].0, &an_answer(&second[0].1), now);
        assert_eq!(reflexive.observed(true, now).len(), 2);
        assert!(reflexive.observed(false, now).is_empty());
    }

    fn a_reflexive() -> Reflexive {
        let mut reflexive = Reflexive::new();
        reflexive.set_servers([SocketAddr::from(([192, 0, 2, 1], 9793))]);
        reflexive
    }

    fn an_answer(question: &[u8]) -> Vec<u8> {
        stun::response(
            &stun::read_request(question)
                .expect("a question")
                .transaction,
            mapped(),
        )
    }

    fn mapped() -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 7], 40_000))
    }

    fn counting() -> impl FnMut() -> TransactionId {
        let mut counter = 0;
        move || {
            counter += 1;
            [counter; 12]
        }
    }
}
