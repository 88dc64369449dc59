//! What is known of the ways to one peer, the one in use and the last few before it.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use tombolo_proto::id::Mtu;

use super::{Question, Traffic, WayMtu, trusted};
use crate::counters::PeerCounters;

/// Ways that are remembered.
const MAX_WAYS: usize = 8;
/// Questions of one way have numbers below those of the next.
const NUMBERS: u32 = 1 << 20;

/// The ways to one peer. `W` names a way.
#[derive(Debug)]
pub(crate) struct WayMtus<W> {
    /// The one in use last.
    ways: Vec<(W, WayMtu)>,
    is_in_use: bool,
    numbers: u32,
    sent: u64,
    received: u64,
}

impl<W> Default for WayMtus<W> {
    fn default() -> Self {
        Self {
            ways: Vec::new(),
            is_in_use: false,
            numbers: 0,
            sent: 0,
            received: 0,
        }
    }
}

impl<W: Copy + PartialEq> WayMtus<W> {
    /// The largest frame to send on a way, whether it is in use or not.
    pub(crate) fn limit(&self, way: W, mtu: Mtu) -> u16 {
        self.ways
            .iter()
            .find(|(known, _)| *known == way)
            .map_or(trusted(mtu), |(_, way)| way.limit())
    }

    /// The way in use.
    fn current(&self) -> Option<&WayMtu> {
        self.ways
            .last()
            .filter(|_| self.is_in_use)
            .map(|(_, way)| way)
    }

    fn current_mut(&mut self) -> Option<&mut WayMtu> {
        let is_in_use = self.is_in_use;
        self.ways
            .last_mut()
            .filter(|_| is_in_use)
            .map(|(_, way)| way)
    }

    /// The largest inner packet that is known to pass in one frame, as soon as that is known.
    pub(crate) fn proven(&self) -> Option<u16> {
        self.current()
            .filter(|way| way.is_proven())
            .map(WayMtu::limit)
    }

    /// Says which way is in use now, in a network with this MTU.
    pub(crate) fn follow(&mut self, way: Option<W>, mtu: Mtu, now: Instant) {
        let Some(way) = way else {
            self.is_in_use = false;
            return;
        };
        let is_same = self.is_in_use && self.ways.last().is_some_and(|(last, _)| *last == way);
        self.is_in_use = true;
        if !is_same {
            let position = self.ways.iter().position(|(known, _)| *known == way);
            let known = position.map(|position| self.ways.remove(position));
            let entry = match known {
                Some((_, mut known)) => {
                    known.resume(now);
                    known
                }
                None => {
                    self.numbers = self.numbers.wrapping_add(NUMBERS);
                    WayMtu::new(mtu, self.numbers, now)
                }
            };
            if self.ways.len() >= MAX_WAYS {
                self.ways.remove(0);
            }
            self.ways.push((way, entry));
        }
        if let Some(current) = self.current_mut() {
            current.set_mtu(mtu, now);
        }
    }

    /// There is a new lane: the peer may be of another version now.
    pub(crate) fn try_again(&mut self, now: Instant) {
        if let Some(current) = self.current_mut() {
            current.try_again(now);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.current()?.poll_timeout()
    }

    /// What to ask on the way in use.
    pub(crate) fn handle_timeout(
        &mut self,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Option<Question> {
        self.current_mut()?.handle_timeout(round_trip, now)
    }

    /// The peer got a probe.
    pub(crate) fn handle_answer(&mut self, number: u32, size: u16, now: Instant) {
        if let Some(current) = self.current_mut() {
            current.handle_answer(number, size, now);
        }
    }

    /// The kernel refused a frame of this size on a way.
    pub(crate) fn handle_refused(&mut self, way: W, size: u16, now: Instant) {
        let known = self.ways.iter_mut().find(|(known, _)| *known == way);
        if let Some((_, known)) = known {
            known.handle_refused(size, now);
        }
    }

    /// Looks at what passed since the last look.
    pub(crate) fn look(&mut self, counters: &PeerCounters, now: Instant) {
        let sent = counters.tx_bytes.load(Relaxed);
        let received = counters.rx_packets.load(Relaxed);
        let traffic = Traffic {
            sent: sent.saturating_sub(self.sent),
            is_answered: received != self.received,
        };
        (self.sent, self.received) = (sent, received);
        if let Some(current) = self.current_mut() {
            current.handle_traffic(traffic, now);
        }
    }
}
