//! Peers behind NATs meet. A NAT lets in answers to what was sent, so both have to send, each to where the other is seen,
//! at about the same time:
//!
//! 1. This node wants a session. The first initiation stays unanswered; with the second, the shell is asked to have the
//!    peer *called*: told by a third party that this node wants to talk, and where it is.
//!    That may be a controller, or a peer that has sessions with both.
//! 2. The peer sends initiations of its own, at once and a few times. One of the two finds the other's NAT open.
//!
//! A call goes to where its beneficiary says it is, and it may lie, to have others send to somebody who never asked for
//! it (RFC 8445 section 19.5.1 warns of it). That cannot be told beforehand, so it is made not worth it: calls per peer
//! and initiations per address are few. Only what this node wants for itself is not counted.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tombolo_proto::{config::EndpointAnnouncement, key::IdentityKey, signed::Signed};

use super::{Peer, dialing::Dialing};
use crate::{
    control::{Context, Event, Introduction},
    counters::DropReason,
    lane_control::LaneMessage,
};

/// Calls that a peer may ask for in a burst, and one per this long after: it asks at growing pauses, and through several
/// others at once.
const CALL_BURST: u32 = 6;
const CALL_REFILL: Duration = Duration::from_secs(5);
/// Initiations that calls may send to one address in a burst, and one per this long after: some ten members behind one
/// NAT that all want this node at once.
const ADDRESS_BURST: u32 = 32;
const ADDRESS_REFILL: Duration = Duration::from_secs(1);
/// Wishes that a peer may bring or have passed on in a burst, and one per this long after.
const INTRODUCTION_BURST: u32 = 32;
const INTRODUCTION_REFILL: Duration = Duration::from_millis(250);

impl Peer {
    /// The peer wants a session and cannot reach this node. It may have lost one that this node still believes in.
    pub(crate) fn handle_call(&mut self, context: &mut Context<'_>, now: Instant) {
        if !self.calls.spend(CALL_BURST, CALL_REFILL, now) {
            return self.counters.dropped.count(DropReason::RateLimited);
        }
        match &mut self.dialing {
            Some(dialing) => dialing.hurry(now),
            None => self.dialing = Some(Dialing::call(self.initiation_accepted_at, now)),
        }
        // It may have tried relays that are out of this node's reach.
        self.want_relays(context, now);
        self.handle_timeout(context, now);
    }

    /// This peer wants another one to call it.
    pub(super) fn handle_wish(
        &mut self,
        callee: IdentityKey,
        announcement: Signed<EndpointAnnouncement>,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if self.may_introduce(now) {
            let caller = self.id.slot;
            let wish = Introduction {
                caller,
                callee,
                announcement,
            };
            context.outbox.introductions.push_back(wish);
        }
    }

    /// This peer passes on that another one wants to be called.
    pub(super) fn handle_passed_call(
        &mut self,
        caller: IdentityKey,
        announcement: Signed<EndpointAnnouncement>,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if self.may_introduce(now) {
            context.event(Event::Called {
                network: self.id.parties.network,
                peer: caller,
                announcement,
            });
        }
    }

    fn may_introduce(&mut self, now: Instant) -> bool {
        let may = self
            .introductions
            .spend(INTRODUCTION_BURST, INTRODUCTION_REFILL, now);
        if !may {
            self.counters.dropped.count(DropReason::RateLimited);
        }
        may
    }

    /// Says something on the lane in use, if there is one.
    pub(crate) fn tell(&self, message: &LaneMessage, context: &mut Context<'_>) {
        if let Some(path) = &self.path {
            self.send_control(message, None, path.to, context);
        }
    }

    /// This node is elsewhere than it said when it asked to be called.
    pub(crate) fn ask_anew(&mut self, context: &mut Context<'_>, now: Instant) {
        if let Some(dialing) = &mut self.dialing {
            dialing.ask_anew(now);
            self.handle_timeout(context, now);
        }
    }

    /// Along with an initiation.
    pub(super) fn ask_for_call(
        &mut self,
        has_places: bool,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let is_due = self
            .dialing
            .as_mut()
            .is_some_and(|dialing| dialing.asks_for_call(has_places, context.rng, now));
        if is_due || self.dialing.as_ref().is_some_and(Dialing::is_call) {
            self.want_relays(context, now);
        }
        if is_due {
            context.event(Event::RendezvousWanted {
                network: self.id.parties.network,
                peer: self.id.identity,
            });
        }
    }

    /// Leaves out addresses that have got enough of calls.
    pub(super) fn spare_strangers(
        &self,
        places: &mut Vec<SocketAddr>,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        if self.dialing.as_ref().is_some_and(Dialing::is_call) {
            let called = &mut context.called;
            places.retain(|place| called.spend(place.ip(), ADDRESS_BURST, ADDRESS_REFILL, now));
        }
    }
}
