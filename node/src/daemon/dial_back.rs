//! A look from outside, for `node doctor`: does what nobody asked for get in at the data port?
//!
//! A controller's second port for address discovery answers, where it is asked to, from a third one that no node has ever
//! sent to. So the answer passes only what lets in strangers; firewalls and NATs that keep count of flows do not. It goes to
//! where the question came from and nowhere else. Earlier controllers answer from the second port: then nothing is known.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::Rng as _;
use tokio::sync::oneshot;
use tombolo_proto::stun::{self, TransactionId};

use super::{Daemon, gossip::is_here};
use crate::local_api::Answer;

/// Between two questions, and after the last one: far beyond any round trip.
const PATIENCE: Duration = Duration::from_millis(900);
/// Questions until silence means something: the second and third make up for loss.
const TRIES: u8 = 3;
/// Verbs that may wait for a look. Further ones get what was seen last.
const MAX_WAITING: usize = 16;

/// The looks of both families, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct DialBack {
    /// Of IPv4, and of IPv6.
    looks: [Look; 2],
    waiting: Vec<oneshot::Sender<Answer>>,
}

/// The look of one family.
#[derive(Debug, Default)]
struct Look {
    /// Whether strangers get in, as far as it was seen.
    reached: Option<bool>,
    open: Option<Open>,
}

/// A look that is not over.
#[derive(Debug)]
struct Open {
    /// The two ports of a controller that answer.
    known: [SocketAddr; 2],
    transaction: TransactionId,
    tries_left: u8,
    next: Instant,
}

impl DialBack {
    /// Begins to look by the first of these controllers, unless it is looking already. None leaves it unknown.
    fn begin(
        &mut self,
        is_v4: bool,
        pair: Option<(SocketAddr, SocketAddr)>,
        transaction: TransactionId,
        now: Instant,
    ) {
        let look = &mut self.looks[usize::from(!is_v4)];
        if look.open.is_none() {
            look.reached = None;
            look.open = pair.map(|(first, second)| Open {
                known: [first, second],
                transaction,
                tries_left: TRIES,
                next: now,
            });
        }
    }

    /// The questions to send now. A look without an answer ends here.
    fn questions(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut questions = Vec::new();
        for look in &mut self.looks {
            let Some(open) = look.open.as_mut().filter(|open| now >= open.next) else {
                continue;
            };
            if open.tries_left == 0 {
                look.reached = Some(false);
                look.open = None;
                continue;
            }
            open.tries_left -= 1;
            open.next = now + PATIENCE;
            let [_, second] = open.known;
            questions.push((second, stun::request_from_other_port(&open.transaction)));
        }
        questions
    }

    /// Takes an answer; whether it was one to such a question.
    fn handle_answer(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        let Some((transaction, _)) = stun::read_response(datagram) else {
            return false;
        };
        let asked = |open: &Open| {
            let [first, _] = open.known;
            open.transaction == transaction && first.ip() == from.ip()
        };
        for look in &mut self.looks {
            if let Some(open) = look.open.take_if(|open| asked(open)) {
                let is_strange = !open.known.contains(&from);
                look.reached = is_strange.then_some(true);
                return true;
            }
        }
        false
    }

    fn is_looking(&self) -> bool {
        self.looks.iter().any(|look| look.open.is_some())
    }

    /// Whether strangers get in, as far as it was seen: IPv4, IPv6.
    pub(super) fn reached(&self) -> [Option<bool>; 2] {
        self.looks.each_ref().map(|look| look.reached)
    }
}

impl Daemon {
    /// Has this node looked at from outside, and answers when that is done.
    pub(super) fn doctor(&mut self, answer: oneshot::Sender<Answer>) {
        let now = Instant::now();
        for is_v4 in [true, false] {
            let mut pairs = self.reflexive.pairs();
            // From the same host it would be no look from outside.
            let pair = pairs.find(|(at, _)| at.is_ipv4() == is_v4 && !is_here(at.ip()));
            drop(pairs);
            self.dial_back.begin(is_v4, pair, rand::rng().random(), now);
        }
        if self.dial_back.waiting.len() < MAX_WAITING {
            self.dial_back.waiting.push(answer);
            self.look_from_outside(now);
        } else {
            // If who asked has gone away, nobody wants to know.
            let _ = answer.send(Answer::done(&self.daemon_facts()));
        }
    }

    /// Asks what is to be asked now, and tells those who wait once nothing is left to wait for.
    pub(super) fn look_from_outside(&mut self, now: Instant) {
        for (controller, question) in self.dial_back.questions(now) {
            // A question that is lost is repeated.
            let _ = self.send_to(controller, &question);
        }
        if self.dial_back.waiting.is_empty() || self.dial_back.is_looking() {
            return;
        }
        let facts = self.daemon_facts();
        for answer in std::mem::take(&mut self.dial_back.waiting) {
            let _ = answer.send(Answer::done(&facts));
        }
    }

    /// Takes a STUN answer, if it is one to a look from outside.
    pub(super) fn seen_from_outside(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        let was_asked = self.dial_back.handle_answer(from, datagram);
        if was_asked {
            self.look_from_outside(now);
        }
        was_asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = [7; 12];

    #[test]
    fn an_answer_from_a_port_that_was_never_sent_to_shows_that_strangers_get_in() {
        for (from, expected) in [
            ("192.0.2.1:40000", Some(Some(true))),
            // An earlier controller, or one that cannot.
            ("192.0.2.1:9794", Some(None)),
            ("192.0.2.1:9793", Some(None)),
            // Somebody else's word is none.
            ("192.0.2.2:40000", None),
        ] {
            let (mut dial_back, now) = a_look();
            let questions = dial_back.questions(now);
            assert_eq!(questions.len(), 1);
            assert_eq!(questions[0].0, at("192.0.2.1:9794"));
            let asked = stun::read_request(&questions[0].1).expect("a question");
            assert!(asked.from_other_port);

            let answer = stun::response(&asked.transaction, at("203.0.113.7:9790"));
            let is_ours = dial_back.handle_answer(at(from), &answer);

            assert_eq!(is_ours, expected.is_some(), "{from}");
            assert_eq!(dial_back.is_looking(), expected.is_none());
            assert_eq!(dial_back.reached(), [expected.flatten(), None]);
            let forged = stun::response(&[8; 12], at("203.0.113.7:9790"));
            assert!(!dial_back.handle_answer(at("192.0.2.1:40000"), &forged));
        }
    }

    #[test]
    fn three_questions_without_an_answer_show_that_they_do_not() {
        let (mut dial_back, mut now) = a_look();
        for _ in 0..TRIES {
            assert_eq!(dial_back.questions(now).len(), 1);
            assert_eq!(dial_back.questions(now).len(), 0, "not at once again");
            assert_eq!(dial_back.reached(), [None, None]);
            now += PATIENCE;
        }
        assert_eq!(dial_back.questions(now).len(), 0);
        assert_eq!(dial_back.reached(), [Some(false), None]);
        assert!(!dial_back.is_looking());

        dial_back.begin(true, None, ID, now);
        assert_eq!(dial_back.reached(), [None, None], "nobody to look");
    }

    fn a_look() -> (DialBack, Instant) {
        let (mut dial_back, now) = (DialBack::default(), Instant::now());
        let pair = (at("192.0.2.1:9793"), at("192.0.2.1:9794"));
        dial_back.begin(true, Some(pair), ID, now);
        dial_back.begin(true, None, [9; 12], now);
        (dial_back, now)
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an endpoint")
    }
}
