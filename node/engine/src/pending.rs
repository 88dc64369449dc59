//! Inner packets that wait for a lane: few, bounded in number and bytes, and not for long.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Packets that wait for one peer: the start of a few flows.
const MAX_PACKETS: usize = 64;
/// Bytes that wait for one peer: with thousands of unreachable peers this is what bounds memory.
const MAX_BYTES: usize = 128 * 1024;
/// A packet older than this has been sent again or given up by who sent it.
const MAX_AGE: Duration = Duration::from_secs(5);

/// A queue that drops its oldest when full.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    packets: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Pending {
    /// Queues a packet; returns how many had to go for it.
    #[must_use]
    pub(crate) fn push(&mut self, packet: Vec<u8>, now: Instant) -> usize {
        self.bytes += packet.len();
        self.packets.push_back((now, packet));
        let mut dropped = 0;
        while self.packets.len() > MAX_PACKETS || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.packets.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
            dropped += 1;
        }
        dropped
    }

    /// Empties the queue: the packets still worth sending, in order, and how many are not.
    #[must_use]
    pub(crate) fn take(&mut self, now: Instant) -> (Vec<Vec<u8>>, usize) {
        self.bytes = 0;
        let queued = self.packets.len();
        let fresh: Vec<Vec<u8>> = self
            .packets
            .drain(..)
            .filter(|(since, _)| now.saturating_duration_since(*since) <= MAX_AGE)
            .map(|(_, packet)| packet)
            .collect();
        let expired = queued - fresh.len();
        (fresh, expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_in_order_and_the_oldest_go_first_when_there_are_too_many() {
        let (mut pending, now) = an_empty_queue();
        let dropped: usize = (0..MAX_PACKETS as u8 + 3)
            .map(|number| pending.push(vec![number], now))
            .sum();

        let (packets, expired) = pending.take(now);

        assert_eq!((dropped, expired), (3, 0));
        assert_eq!(packets.first(), Some(&vec![3]));
        assert_eq!(packets.len(), MAX_PACKETS);
        assert_eq!(pending.take(now), (Vec::new(), 0));
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let (mut pending, now) = an_empty_queue();

        let dropped: usize = (0..20).map(|_| pending.push(vec![0; 9000], now)).sum();

        assert_eq!(dropped, 20 - MAX_BYTES / 9000);
        assert_eq!(
            pending.push(vec![0; MAX_BYTES + 1], now),
            MAX_BYTES / 9000 + 1
        );
    }

    #[test]
    fn what_waited_too_long_is_not_worth_sending() {
        let (mut pending, now) = an_empty_queue();
        assert_eq!(pending.push(vec![1], now), 0);
        assert_eq!(pending.push(vec![2], now + MAX_AGE), 0);

        let (packets, expired) = pending.take(now + MAX_AGE + Duration::from_millis(1));

        assert_eq!((packets, expired), (vec![vec![2]], 1));
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn an_empty_queue() -> (Pending, Instant) {
        (Pending::default(), Instant::now())
    }
}
