//! Relays that are not kept warm: those that somebody is reached by all the same, and those that are tried when no other
//! relay leads to a peer.

use std::time::Instant;

use tombolo_proto::key::IdentityKey;

use super::{Candidate, LEAVE_AFTER, RelayName, Relays};
use crate::{
    fib::{NetworkSlot, PeerSlot},
    path::way::Way,
};

/// Relays that are tried at a time, besides the warm ones of both sides.
const AT_A_TIME: usize = 3;

impl Relays {
    /// Two who reach none of each other's relays may both reach others: which to try next. Both ends try the same ones
    /// first without having agreed on them, because they put them in the order of one distance (the exclusive or of all
    /// three keys), which is another for each two ends.
    pub(crate) fn spare(
        &self,
        network: NetworkSlot,
        candidates: &[Candidate],
        ends: [&IdentityKey; 2],
        now: Instant,
    ) -> Vec<RelayName> {
        let mut spare: Vec<([u8; 32], RelayName)> = candidates
            .iter()
            .filter(|candidate| !self.is_up(network, candidate.relay))
            .filter(|candidate| self.may_answer(network, candidate.relay, now))
            .filter_map(|candidate| {
                let RelayName::Member(key) = candidate.relay else {
                    return None;
                };
                (!ends.contains(&&key)).then(|| (distance(&key, ends), candidate.relay))
            })
            .collect();
        spare.sort_unstable();
        let spare = spare.into_iter().map(|(_, relay)| relay);
        spare.take(AT_A_TIME).collect()
    }

    /// A peer is reached by another way than before. A relay that somebody is reached by is not left, whoever chose it. One
    /// by which the peer is reached no more may be gone, and is asked: the peer may have moved before anybody missed it.
    pub(crate) fn note_use(
        &mut self,
        peer: PeerSlot,
        before: Option<Way>,
        after: Option<Way>,
        now: Instant,
    ) {
        for (way, is_used) in [(before, false), (after, true)] {
            if let Some(Way::Relay { relay, .. }) = way
                && let Some(session) = self.session_at(relay)
            {
                session.note_use(peer, is_used);
                session.keep_until(now + LEAVE_AFTER);
                if !is_used {
                    session.doubt(now);
                }
            }
        }
    }
}

fn distance(relay: &IdentityKey, ends: [&IdentityKey; 2]) -> [u8; 32] {
    let mut distance = relay.0;
    for end in ends {
        for (byte, other) in distance.iter_mut().zip(end.0) {
            *byte ^= other;
        }
    }
    distance
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_ends_try_the_same_relays_and_other_ends_others() {
        let key = |number: u8| IdentityKey([number.wrapping_mul(37); 32]);
        let relays = Relays::default();
        let candidates: Vec<Candidate> = (10..30)
            .map(|number| Candidate {
                relay: RelayName::Member(key(number)),
                round_trip: Some(Duration::from_millis(u64::from(number))),
            })
            .collect();
        let spare = |one, other| {
            let ends = [&key(one), &key(other)];
            relays.spare(NetworkSlot(0), &candidates, ends, a_moment())
        };

        assert_eq!(spare(1, 2).len(), AT_A_TIME);
        assert_eq!(spare(1, 2), spare(2, 1));
        assert_ne!(spare(1, 2), spare(1, 3));
        assert!(!spare(10, 11).contains(&RelayName::Member(key(10))));
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn a_moment() -> Instant {
        Instant::now()
    }
}
