//! A peer across a NAT that maps by destination: when an attempt of [`crate::punch`] begins, what it sends, and how it ends.
//!
//! It begins when a handshake has been tried for a while, by both: whoever is called tries too. Where a relay has joined the
//! two, it begins as soon as both know what their NATs do, which is later than the first session when they have just
//! started, and is repeated at growing pauses while something flows. The pauses are the same on both sides, so that they
//! go on trying at the same time. The side whose own NAT is of that kind opens sockets, the other searches; if both are,
//! or neither is, there is nothing to gain.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::Peer;
use crate::{
    control::{Context, Event},
    path::way::{SocketSlot, Way},
    punch::{LASTS, Probes, Punch},
};

/// Initiations that stay unanswered first: the plain way has had its time after three quarters of a second.
const TRIED: u32 = 3;

/// What a handshake on a way that has opened may take before it is begun on further ones.
const HANDSHAKE: Duration = Duration::from_millis(500);

/// From the beginning of the first attempt to do without a relay to that of the second; doubles, up to the longest.
const AGAIN: Duration = Duration::from_secs(7);
const AGAIN_AT_MOST: Duration = Duration::from_secs(240);

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Punching {
    part: Part,
    punch: Punch,
    probes: Probes,
}

/// Attempts to do without a relay since there was one: when the next is due.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    last: Option<Part>,
    next_at: Option<Instant>,
    pause: Duration,
}

impl Attempts {
    /// What could be done now has its time, unless the same was tried a short while ago.
    fn is_due(&self, part: Part, now: Instant) -> bool {
        self.last != Some(part) || self.next_at.is_none_or(|at| at <= now)
    }

    fn made(&mut self, part: Part, now: Instant) {
        let is_new = self.last.replace(part) != Some(part);
        self.pause = if is_new {
            AGAIN
        } else {
            (self.pause * 2).min(AGAIN_AT_MOST)
        };
        self.next_at = Some(now + self.pause);
    }
}

/// What this node could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Open(SocketAddr),
    Search(IpAddr),
}

impl Part {
    const fn towards(&self) -> IpAddr {
        match self {
            Self::Open(endpoint) => endpoint.ip(),
            Self::Search(host) => *host,
        }
    }
}

impl Peer {
    /// Along with an initiation: begins an attempt, if one could help and may be made.
    pub(super) fn consider_punching(&mut self, context: &mut Context<'_>, now: Instant) {
        let has_tried = self
            .dialing
            .as_ref()
            .is_some_and(|dialing| dialing.initiations() >= TRIED);
        if has_tried && self.path.is_none() {
            self.punch(context, now);
        }
    }

    /// A lane has been agreed on, or it is looked after: where its way is a relay and something flows, both try at the same
    /// time to do without.
    pub(super) fn punch_if_relayed(&mut self, context: &mut Context<'_>, now: Instant) {
        let current = self.paths.current();
        if current.is_none_or(|way| way.endpoint().is_some()) {
            self.attempts = Attempts::default();
            return self.stop_punching(context);
        }
        let part = self.part(context);
        if part.is_some_and(|part| self.attempts.is_due(part, now)) {
            self.punch(context, now);
        }
    }

    /// Begins an attempt, unless the same is under way. Another ends: the peer is not where it was said to be, or its NAT or
    /// this node's is of another kind.
    fn punch(&mut self, context: &mut Context<'_>, now: Instant) {
        let before = self.punching.as_ref();
        let Some(part) = self.part(context) else {
            return;
        };
        if before.is_some_and(|punching| punching.part == part) {
            return;
        }
        let puncher = &mut *context.puncher;
        let open = before.and_then(|punching| punching.punch.sockets_towards(part.towards()));
        let is_possible =
            matches!(part, Part::Search(_)) || open.is_some() || puncher.has_sockets();
        if !is_possible || !puncher.may_punch(self.id.slot, part.towards(), now) {
            return;
        }
        self.attempts.made(part, now);
        let punch = match part {
            Part::Open(endpoint) => {
                let sockets = open.unwrap_or_else(|| {
                    let sockets = puncher.take_sockets();
                    self.sockets.extend(&sockets);
                    sockets
                });
                Punch::open(endpoint, sockets, now)
            }
            Part::Search(host) => {
                let of_host = |place: &&SocketAddr| place.ip() == host && place.port() != 0;
                let seen = self.candidates.iter().filter(of_host);
                let seen: Vec<u16> = seen.map(SocketAddr::port).collect();
                Punch::search(host, &seen, context.rng, now)
            }
        };
        let parties = &self.id.parties;
        let probes = Probes::new(parties.network, &self.id.secret, &parties.remote);
        self.punching = Some(Punching {
            part,
            punch,
            probes,
        });
        if let Some(dialing) = &mut self.dialing {
            dialing.go_on_until(now + LASTS);
        }
        self.send_probes(context, now);
    }

    /// What would help, by what both have found out about their NATs. A peer behind a NAT that maps by destination announces
    /// an endpoint with port 0 there.
    fn part(&self, context: &Context<'_>) -> Option<Part> {
        let is_underlay = |place: &&SocketAddr| !context.ownership.covers(place.ip());
        let places = || self.candidates.iter().filter(is_underlay);
        let vague =
            |is_v4| places().find(move |place| place.port() == 0 && place.is_ipv4() == is_v4);
        [true, false].into_iter().find_map(|is_v4| {
            let outer = places().find(|place| {
                place.is_ipv4() == is_v4 && place.port() != 0 && !is_inner(place.ip())
            });
            let vague = vague(is_v4);
            let towards = vague.or(outer)?.ip();
            match (
                context.puncher.mapping_towards(towards).is_dependent(),
                vague,
            ) {
                (false, Some(vague)) => Some(Part::Search(vague.ip())),
                (true, None) => Some(Part::Open(*outer?)),
                (true, Some(_)) | (false, None) => None,
            }
        })
    }

    /// A probe, if it is this peer's: the way it came is open, so the handshake is tried there at once.
    pub(crate) fn handle_probe(
        &mut self,
        from: Way,
        datagram: &[u8],
        context: &mut Context<'_>,
        now: Instant,
    ) -> bool {
        let Some(punching) = &mut self.punching else {
            return false;
        };
        if !punching.probes.is_theirs(datagram) {
            return false;
        }
        let is_news = punching.punch.hear(from);
        if let Some(path) = &self.path {
            // One round trip proves the way.
            if path.to.endpoint().is_some() {
                self.stop_punching(context);
            } else if is_news {
                self.paths.settle(now);
                self.ping_each([from], context, now);
            }
        } else if is_news {
            let is_first = punching.punch.found().len() == 1;
            if let Some(dialing) = &mut self.dialing {
                // A handshake that has just begun on another way is given its time: a new one would make it void.
                dialing.hurry_on(if is_first { Duration::ZERO } else { HANDSHAKE }, now);
            }
            self.handle_timeout(context, now);
        }
        true
    }

    /// Ways besides endpoints where the peer may be reached: those that probes came by, and the one in use.
    pub(super) fn punched_ways(&self) -> Vec<Way> {
        let found = self
            .punching
            .iter()
            .flat_map(|punching| punching.punch.found());
        let current = self.paths.current();
        let in_use = current.filter(|way| matches!(way, Way::Through { .. }));
        in_use.into_iter().chain(found.copied()).collect()
    }

    pub(super) fn punching_deadline(&self) -> Option<Instant> {
        Some(self.punching.as_ref()?.punch.deadline())
    }

    /// Sends the probes that are due, and ends what is over.
    pub(super) fn send_probes(&mut self, context: &mut Context<'_>, now: Instant) {
        let Some(Punching { punch, probes, .. }) = &mut self.punching else {
            return;
        };
        for way in punch.handle_timeout(now) {
            context.transmit(way, probes.ours.to_vec());
        }
        if punch.is_over(now) {
            self.stop_punching(context);
        }
    }

    pub(super) fn stop_punching(&mut self, context: &mut Context<'_>) {
        if self.punching.take().is_some() {
            context.puncher.ended(self.id.slot);
        }
    }

    /// Gives back sockets that nothing is sent from any more.
    pub(crate) fn tend_sockets(&mut self, context: &mut Context<'_>) {
        if self.sockets.is_empty() || self.punching.is_some() {
            return;
        }
        if !self.has_lanes() && self.dialing.is_none() {
            self.paths.forget(|way| matches!(way, Way::Through { .. }));
        }
        let path = self.path.as_ref().map(|path| path.to);
        let in_use: Vec<SocketSlot> = self
            .paths
            .all()
            .into_iter()
            .chain(path)
            .filter_map(|way| match way {
                Way::Through { socket, .. } => Some(socket),
                Way::Direct(_) | Way::Relay { .. } => None,
            })
            .collect();
        let (kept, unused) = std::mem::take(&mut self.sockets)
            .into_iter()
            .partition(|socket| in_use.contains(socket));
        self.sockets = kept;
        let unused: Vec<SocketSlot> = unused;
        for socket in unused {
            context.puncher.give_back(socket);
            context.event(Event::SocketUnused { socket });
        }
    }
}

/// Whether an address is one that only hosts on its own network can call.
fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}
