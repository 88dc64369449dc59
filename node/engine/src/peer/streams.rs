//! A peer by a stream of TCP, where no UDP passes to it: when one is wanted, and what it changes. The shell keeps the stream,
//! behind an address of this host's loopback; to everything else it is a way like any other.
//!
//! A stream is wanted when the peer does not answer over UDP. While a relay carries what flows, it is sought at growing
//! pauses: one that has ended, and any while relays are reached by TCP, because they may only have answered first.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Peer, dialing::Dialing};
use crate::{
    backoff::{self, Backoff},
    control::{Context, Event},
    path::{is_stream, way::Way},
    relay::RelayName,
};

/// Initiations that stay unanswered first: UDP has had its time after three quarters of a second.
const TRIED: u32 = 3;
/// Before a stream is wanted once more.
const AGAIN: Duration = Duration::from_secs(1);
/// A stream that lived this long is one to rely on: when it ends, pauses begin anew. One that is cut whenever it has opened
/// would hold packets up each time.
const STEADY: Duration = Duration::from_secs(60);

/// The stream to a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    /// Where the shell keeps it.
    pub(super) at: SocketAddr,
    since: Instant,
}

/// A stream is sought while a relay carries: when the next attempt is due.
#[derive(Debug)]
pub(super) struct Search {
    pauses: Backoff,
    next_at: Instant,
}

impl Search {
    fn begin(context: &mut Context<'_>, now: Instant) -> Self {
        let mut search = Self {
            pauses: Backoff::new(backoff::STREAM),
            next_at: now,
        };
        search.wait(context, now);
        search
    }

    fn wait(&mut self, context: &mut Context<'_>, now: Instant) {
        self.next_at = now + self.pauses.next(context.rng);
    }
}

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
        let at = self.stream_places(context);
        if !at.is_empty() {
            self.stream_wanted_at = Some(now);
            context.event(Event::StreamWanted {
                network: self.id.parties.network,
                relay: RelayName::Member(self.id.identity),
                at,
                silent: None,
            });
        }
    }

    /// The way in use was silent for too long. If it is a stream, another one is opened in its place: TCP repeats what got
    /// lost ever more rarely, so after a cut of some seconds it takes as long again until anything passes.
    pub(super) fn replace_if_silent(&mut self, way: Way, context: &mut Context<'_>, now: Instant) {
        let Some(stream) = self.stream.take_if(|stream| Way::from(stream.at) == way) else {
            return;
        };
        self.seek_after(context, now);
        self.announce_ways();
        self.paths.forget(|other| other == way);
        self.refresh_path(context);
        self.stream_wanted_at = Some(now);
        context.event(Event::StreamWanted {
            network: self.id.parties.network,
            relay: RelayName::Member(self.id.identity),
            at: self.stream_places(context),
            silent: Some(stream.at),
        });
    }

    fn seek_after(&mut self, context: &mut Context<'_>, now: Instant) {
        match &mut self.stream_search {
            Some(search) => search.wait(context, now),
            None => self.stream_search = Some(Search::begin(context, now)),
        }
    }

    fn stream_places(&self, context: &Context<'_>) -> Vec<SocketAddr> {
        self.candidates
            .iter()
            .filter(|place| !context.ownership.covers(place.ip()) && place.port() != 0)
            .copied()
            .collect()
    }

    /// The peer is to be reached by a stream if that can be, although nothing flows that would put the stream on trial.
    pub(crate) fn seek_stream(&mut self, context: &mut Context<'_>, now: Instant) {
        match self.stream {
            Some(stream) => self.take_if_it_answers(stream.at, context, now),
            None => self.want_stream(context, now),
        }
    }

    /// While something flows.
    pub(super) fn seek_stream_if_relayed(&mut self, context: &mut Context<'_>, now: Instant) {
        let is_steady = self
            .stream
            .is_some_and(|stream| now.saturating_duration_since(stream.since) >= STEADY);
        let endpoint = self.path.as_ref().and_then(|path| path.to.endpoint());
        let is_over_udp = endpoint.is_some_and(|at| !is_stream(at));
        if is_steady || is_over_udp {
            self.stream_search = None;
        }
        if self.stream.is_some() || !self.is_relayed() {
            return;
        }
        match &mut self.stream_search {
            Some(search) if search.next_at <= now => {
                search.wait(context, now);
                self.want_stream(context, now);
            }
            Some(_) => {}
            None if context.relays.is_any_by_stream(self.id.network) => {
                self.stream_search = Some(Search::begin(context, now));
            }
            None => {}
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
        let before = self.stream.filter(|before| Some(before.at) != stream);
        if before.is_some() || self.stream.is_none() {
            self.stream = stream.map(|at| Stream { at, since: now });
        }
        if let Some(gone) = before {
            self.seek_after(context, now);
            self.leave_stream(Way::from(gone.at), context, now);
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
