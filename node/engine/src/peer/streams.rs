//! A peer by a stream of TCP, where no UDP passes to it: when one is wanted, and what it changes. The shell keeps the stream,
//! behind an address of this host's loopback; to everything else it is a way like any other.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Peer, dialing::Dialing};
use crate::{
    control::{Context, Event},
    path::{is_stream, way::Way},
    relay::RelayName,
};

/// Initiations that stay unanswered first: UDP has had its time after three quarters of a second.
const TRIED: u32 = 3;
/// Before a stream is wanted once more.
const AGAIN: Duration = Duration::from_secs(1);

impl Peer {
    /// Along with an initiation.
    pub(super) fn consider_stream(&mut self, context: &mut Context<'_>, now: Instant) {
        let initiations = self.dialing.as_ref().map_or(0, Dialing::initiations);
        if initiations >= TRIED {
            self.want_stream(context, now);
        }
    }

    /// The peer does not answer over UDP. Only whoever relays listens for streams.
    pub(super) fn want_stream(&mut self, context: &mut Context<'_>, now: Instant) {
        let is_wanted = self
            .stream_wanted_at
            .is_some_and(|at| now.saturating_duration_since(at) < AGAIN);
        if !self.portrait.relays || self.stream.is_some() || is_wanted {
            return;
        }
        let at: Vec<SocketAddr> = self
            .candidates
            .iter()
            .filter(|place| !context.ownership.covers(place.ip()) && place.port() != 0)
            .copied()
            .collect();
        if !at.is_empty() {
            self.stream_wanted_at = Some(now);
            context.event(Event::StreamWanted {
                network: self.id.parties.network,
                relay: RelayName::Member(self.id.identity),
                at,
            });
        }
    }

    /// The peer is to be reached by a stream if that can be, although nothing flows that would put the stream on trial.
    pub(crate) fn seek_stream(&mut self, context: &mut Context<'_>, now: Instant) {
        match self.stream {
            Some(stream) => self.take_if_it_answers(stream, context, now),
            None => self.want_stream(context, now),
        }
    }

    fn take_if_it_answers(&mut self, stream: SocketAddr, context: &mut Context<'_>, now: Instant) {
        if self.is_relayed() {
            self.paths.settle(now);
        }
        self.ping_each([Way::from(stream)], context, now);
    }

    /// There is a stream to the peer, or none any more.
    pub(crate) fn set_stream(
        &mut self,
        stream: Option<SocketAddr>,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let before = std::mem::replace(&mut self.stream, stream);
        if let Some(gone) = before.filter(|gone| Some(*gone) != stream) {
            self.leave_stream(Way::from(gone), context, now);
        }
        self.announce_ways();
        let Some(stream) = stream else {
            return;
        };
        let current = self.paths.current();
        self.paths.forget(|way| {
            let is_old = way
                .endpoint()
                .is_some_and(|at| at != stream && is_stream(at));
            is_old && Some(way) != current
        });
        if self.has_lanes() {
            self.take_if_it_answers(stream, context, now);
        }
        if let Some(dialing) = &mut self.dialing {
            dialing.hurry(now);
            self.handle_timeout(context, now);
        }
    }

    fn leave_stream(&mut self, gone: Way, context: &mut Context<'_>, now: Instant) {
        if self.paths.current() != Some(gone) {
            return self.paths.forget(|way| way == gone);
        }
        // Everything else may have come back meanwhile; what answers first takes over.
        self.watch.suspect(now);
        self.ping_all(context, now);
    }
}
