//! This node as the client of a relay that took it: where frames for the relay go, and pings.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_proto::relay::{RelayHeader, RelayIndex, RelayKey, RelayOp};

use super::{PING_AGAIN, Step};
use crate::round_trip::RoundTrip;

/// While frames go by a stream: before UDP is tried; doubles.
const UDP_AFTER: Duration = Duration::from_secs(5);
const UDP_AT_MOST: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Client {
    pub(super) index: RelayIndex,
    pub(super) key: RelayKey,
    /// Where it is over UDP.
    pub(super) udp: SocketAddr,
    /// The stream that is used instead.
    pub(super) stream: Option<SocketAddr>,
    /// While it is: when UDP is tried, how long after that again, and the ping that tries it.
    pub(super) try_udp_at: Option<Instant>,
    pub(super) udp_after: Duration,
    pub(super) trial: Option<u64>,
    pub(super) counter: u64,
    /// Pings under way: counter and when.
    pub(super) sent: Vec<(u64, Instant)>,
    pub(super) pinged_at: Option<Instant>,
    pub(super) next_ping: Instant,
    pub(super) is_up: bool,
    pub(super) round_trip: RoundTrip,
}

impl Client {
    pub(super) const fn new(
        index: RelayIndex,
        key: RelayKey,
        udp: SocketAddr,
        now: Instant,
    ) -> Self {
        Self {
            index,
            key,
            udp,
            stream: None,
            try_udp_at: None,
            udp_after: UDP_AFTER,
            trial: None,
            counter: 0,
            sent: Vec::new(),
            pinged_at: None,
            next_ping: now,
            is_up: false,
            round_trip: RoundTrip::UNKNOWN,
        }
    }

    pub(super) fn at(&self) -> SocketAddr {
        self.stream.unwrap_or(self.udp)
    }

    pub(super) fn use_stream(&mut self, stream: Option<SocketAddr>, now: Instant) {
        self.stream = stream;
        self.trial = None;
        self.udp_after = UDP_AFTER;
        self.try_udp_at = stream.map(|_| now + UDP_AFTER);
    }

    /// Pings over UDP, and by the stream again: the relay answers to where the newest ping came from.
    pub(super) fn try_udp(&mut self, step: &mut Step, now: Instant) {
        self.trial = Some(self.counter);
        let mut trial = self.ping(now);
        trial.0 = self.udp;
        self.sent.pop();
        step.frames.extend([trial, self.ping(now)]);
        self.udp_after = (self.udp_after * 2).min(UDP_AT_MOST);
        self.try_udp_at = Some(now + self.udp_after);
    }

    pub(super) fn ping(&mut self, now: Instant) -> (SocketAddr, Vec<u8>) {
        let counter = self.counter;
        self.counter += 1;
        self.sent.push((counter, now));
        self.pinged_at = Some(now);
        self.next_ping = now
            + match self.round_trip.smoothed() {
                Some(_) => self.round_trip.patience(),
                None => PING_AGAIN,
            };
        let header = RelayHeader {
            op: RelayOp::Ping,
            index: self.index,
        };
        (self.at(), header.frame(&self.key, &counter.to_le_bytes()))
    }
}
