//! Relays that are reached by a stream of TCP, because no UDP passes to them, or elsewhere than before.

use std::{net::SocketAddr, time::Instant};

use super::{
    Output, RelayName, Relays,
    session::{Session, Step},
};
use crate::{fib::NetworkSlot, path::way::RelaySlot};

impl Relays {
    /// Frames for a relay go by a stream behind this address from now on, or by none any more.
    pub(crate) fn set_stream(
        &mut self,
        network: NetworkSlot,
        relay: RelayName,
        stream: Option<SocketAddr>,
        now: Instant,
    ) {
        self.change(network, relay, now, |session| {
            session.set_stream(stream, now)
        });
    }

    /// A member that relays is reached elsewhere from now on.
    pub(crate) fn handle_moved(
        &mut self,
        network: NetworkSlot,
        relay: RelayName,
        at: SocketAddr,
        now: Instant,
    ) {
        self.change(network, relay, now, |session| session.handle_moved(at, now));
    }

    /// A member or a controller can be asked from now on: it may be the relay that was missing.
    pub(crate) fn handle_session_up(
        &mut self,
        network: NetworkSlot,
        relay: RelayName,
        now: Instant,
    ) {
        self.change(network, relay, now, |session| {
            session.handle_session_up(now)
        });
        if self.are_missing(network) {
            self.choose_at
                .entry(network)
                .and_modify(|at| *at = (*at).min(now));
        }
    }

    /// A relay that this node is asking is not reached over UDP, as is known before any ping has told.
    pub(crate) fn want_stream(&mut self, network: NetworkSlot, relay: RelayName) {
        let session = self.session(network, relay);
        if session.is_some_and(|session| !session.is_up()) {
            self.outputs.push_back(Output::StreamWanted {
                network,
                relay,
                silent: None,
            });
        }
    }

    fn change(
        &mut self,
        network: NetworkSlot,
        relay: RelayName,
        now: Instant,
        change: impl FnOnce(&mut Session) -> Step,
    ) {
        let Some(&slot) = self.by_name.get(&(network, relay)) else {
            return;
        };
        if let Some(session) = self.session_at(slot) {
            let step = change(session);
            self.note(slot, step, now);
            self.handle_timeout(now);
        }
    }

    /// Whether frames for some relay of a network go by a stream.
    pub(crate) fn is_any_on_stream(&self, network: NetworkSlot) -> bool {
        self.of(network).any(Session::is_on_stream)
    }

    /// The same, also if it is the lane to a member that goes by a stream just now.
    pub(crate) fn is_any_by_stream(&self, network: NetworkSlot) -> bool {
        self.of(network).any(Session::is_by_stream)
    }

    /// Whether frames for the relay in a slot go by a stream, because no UDP passes.
    pub(crate) fn is_on_stream(&self, slot: RelaySlot) -> bool {
        let session = self.sessions.get(usize::from(slot.0));
        session.is_some_and(|session| session.as_ref().is_some_and(Session::is_on_stream))
    }
}
