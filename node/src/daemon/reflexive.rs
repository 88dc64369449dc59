//! Where this node's data sockets are seen from outside: asked of controllers by STUN, from the data sockets themselves,
//! since a NAT gives every socket a mapping of its own. Pure: time and randomness come in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_proto::stun::{self, TransactionId};

/// Well below the shortest common NAT timeout, so that asking also keeps the mapping.
const ASK_EVERY: Duration = Duration::from_secs(25);
/// Answers take a round trip; until all have come, questions are repeated this often.
const ASK_QUICKLY_EVERY: Duration = Duration::from_millis(500);
/// After this many quick questions a server that does not answer is asked like the others.
const QUICK_QUESTIONS: u8 = 6;
/// Three questions without an answer: the address is not ours any more.
const FORGET_AFTER: Duration = Duration::from_secs(80);

/// Questions and answers.
#[derive(Debug)]
pub(super) struct Reflexive {
    servers: BTreeSet<SocketAddr>,
    open: BTreeMap<TransactionId, (SocketAddr, Instant)>,
    seen: BTreeMap<SocketAddr, (SocketAddr, Instant)>,
    next_question: Option<Instant>,
    quick_left: u8,
}

impl Reflexive {
    pub(super) const fn new() -> Self {
        Self {
            servers: BTreeSet::new(),
            open: BTreeMap::new(),
            seen: BTreeMap::new(),
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
        self.seen.retain(|server, _| servers.contains(server));
        self.servers = servers;
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
            .retain(|_, (_, asked)| now.duration_since(*asked) < ASK_EVERY);
        let all_answered = self
            .servers
            .iter()
            .all(|server| self.seen.contains_key(server));
        let quick = self.quick_left > 0 && !all_answered;
        self.quick_left = self.quick_left.saturating_sub(1);
        self.next_question = Some(now + if quick { ASK_QUICKLY_EVERY } else { ASK_EVERY });
        let mut questions = Vec::new();
        for server in &self.servers {
            let transaction = draw();
            self.open.insert(transaction, (*server, now));
            questions.push((*server, stun::request(&transaction)));
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
        let Some((server, _)) = self.open.get(&transaction) else {
            return false;
        };
        if *server != from {
            return false;
        }
        self.open.remove(&transaction);
        let before = self.addresses(now);
        self.seen.insert(from, (address, now));
        self.addresses(now) != before
    }

    /// Where this node is seen, IPv6 first: it is rarely translated.
    pub(super) fn addresses(&self, now: Instant) -> Vec<SocketAddr> {
        let fresh = self
            .seen
            .values()
            .filter(|(_, at)| now.duration_since(*at) < FORGET_AFTER);
        let addresses: BTreeSet<SocketAddr> = fresh.map(|(address, _)| *address).collect();
        addresses.into_iter().rev().collect()
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

    fn a_reflexive() -> Reflexive {
        let mut reflexive = Reflexive::new();
        reflexive.set_servers([SocketAddr::from(([192, 0, 2, 1], 9793))]);
        reflexive
    }

    fn an_answer(question: &[u8]) -> Vec<u8> {
        stun::response(&stun::read_request(question).expect("a question"), mapped())
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
