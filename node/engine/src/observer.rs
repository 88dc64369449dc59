//! STUN, answered: a node tells whoever asks at which address it is seen (RFC 8489), so that peers learn what their NATs
//! do also where there is one controller, or none.
//!
//! Answers are never longer than questions, and each network block gets only so many, so that nobody can be flooded with
//! them by way of this node.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use tombolo_proto::stun;

use crate::budget::Budgets;

/// Answers at once to one IPv4 /24 or IPv6 /56: a busy site's, far below what would hurt anybody.
const BURST: u32 = 200;
/// And one per this long.
const REFILL: Duration = Duration::from_millis(20);

/// Answers questions.
#[derive(Debug)]
pub(crate) struct Observer {
    blocks: Budgets,
}

impl Observer {
    pub(crate) const fn new(blocks: Budgets) -> Self {
        Self { blocks }
    }

    /// The answer to a datagram, if it is a question and its block has not had enough.
    pub(crate) fn answer(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        // A node has one port: it cannot answer from another.
        let question = stun::read_request(datagram).filter(|asked| !asked.from_other_port)?;
        self.blocks
            .spend(block(from.ip()), BURST, REFILL, now)
            .then(|| stun::response(&question.transaction, from))
    }
}

/// The first address of a source's /24 or /56.
fn block(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 72)).into(),
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn a_question_is_answered_with_where_it_came_from_and_is_no_shorter() {
        let (mut observer, now) = an_observer();
        for from in ["192.0.2.7:4242", "[2001:db8::7]:9"] {
            let from = at(from);
            let question = stun::request(&[7; 12]);

            let answer = observer.answer(from, &question, now).expect("an answer");

            assert_eq!(stun::read_response(&answer), Some(([7; 12], from)));
            assert!(answer.len() <= question.len());
            for length in 0..question.len() {
                let cut = question.get(..length).expect("shorter");
                assert_eq!(observer.answer(from, cut, now), None);
            }
        }
    }

    #[test]
    fn a_block_has_its_burst_and_then_its_rate_and_others_are_served() {
        let (mut observer, now) = an_observer();
        let question = stun::request(&[7; 12]);
        for (flood, same, other) in [
            ("192.0.2.1:9", "192.0.2.77:9", "192.0.3.1:9"),
            (
                "[2001:db8:0:100::1]:9",
                "[2001:db8:0:1ff::1]:9",
                "[2001:db8:0:200::1]:9",
            ),
        ] {
            let mut ask = |from, now| observer.answer(at(from), &question, now).is_some();

            let answered = (0..1000).filter(|_| ask(flood, now)).count();

            assert_eq!(answered, BURST as usize);
            assert!(!ask(same, now));
            assert!(ask(other, now));
            assert!(ask(flood, now + REFILL));
        }
    }

    #[test]
    fn what_a_node_cannot_do_is_not_answered() {
        let (mut observer, now) = an_observer();
        let question = stun::request_from_other_port(&[7; 12]);
        assert_eq!(observer.answer(at("192.0.2.1:9"), &question, now), None);
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an endpoint")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn an_observer() -> (Observer, Instant) {
        (
            Observer::new(Budgets::new(&mut StdRng::seed_from_u64(1))),
            Instant::now(),
        )
    }
}
