//! One attempt to make a session, from the wish to the lane: when to send what again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use crate::{
    backoff::{self, Backoff},
    handshake::Offered,
};

/// An attempt ends this long after anybody last wanted it. The next packet starts another.
const GIVE_UP_AFTER: Duration = Duration::from_secs(90);
/// With packets waiting, no pause is longer than this, however long the peer has been gone.
const MAX_PAUSE_WITH_PACKETS: Duration = Duration::from_secs(5);
/// At first it is shorter: on a path that loses a fifth of everything, two handshakes in five fail, and ten in a row never.
const MAX_PAUSE_AT_FIRST: Duration = Duration::from_secs(1);
const AT_FIRST: Duration = Duration::from_secs(10);
/// How long an initiation of the peer holds back one of ours: its handshake takes two round trips.
const YIELD: Duration = Duration::from_millis(500);
/// How often an offer is sent before the handshake is begun anew.
const MAX_OFFERS: u32 = 3;
/// Before an offer is repeated; doubles.
const OFFER_PAUSE: Duration = Duration::from_millis(250);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Send an initiation.
    Initiation,
    /// Send the offer again, to this address.
    Offer(SocketAddr),
    /// Nobody wants this any more.
    GiveUp,
}

/// An attempt under way.
#[derive(Debug)]
pub(crate) struct Dialing {
    backoff: Backoff,
    started: Instant,
    next_at: Instant,
    give_up_at: Instant,
    last_initiation: Option<Instant>,
    has_yielded: bool,
    /// Kept over repeated handshakes of one attempt, so that a late answer is as good as an early one.
    pub(crate) offered: Option<Offered>,
    /// Where the peer answered the last initiation from, and how often the offer has gone there.
    envelope: Option<(SocketAddr, u32)>,
}

impl Dialing {
    /// Begins at once, unless an initiation of the peer's was accepted a moment ago. `peer_initiated` is when that was.
    pub(crate) fn new(peer_initiated: Option<Instant>, now: Instant) -> Self {
        let mut dialing = Self {
            backoff: Backoff::new(backoff::HANDSHAKE),
            started: now,
            next_at: now,
            give_up_at: now + GIVE_UP_AFTER,
            last_initiation: None,
            has_yielded: false,
            offered: None,
            envelope: None,
        };
        if let Some(accepted) = peer_initiated
            && now.saturating_duration_since(accepted) < YIELD
        {
            dialing.yield_to_peer(accepted);
        }
        dialing
    }

    /// A packet waits.
    pub(crate) fn want(&mut self, now: Instant) {
        self.give_up_at = now + GIVE_UP_AFTER;
        let is_young = now.saturating_duration_since(self.started) < AT_FIRST;
        let pause = if is_young {
            MAX_PAUSE_AT_FIRST
        } else {
            MAX_PAUSE_WITH_PACKETS
        };
        if let Some(last) = self.last_initiation {
            self.next_at = self.next_at.min(last + pause);
        }
    }

    /// There are new places to try.
    pub(crate) fn start_over(&mut self, now: Instant) {
        self.backoff = Backoff::new(backoff::HANDSHAKE);
        self.started = now;
        self.next_at = now;
    }

    /// The peer's own initiation was accepted: let it finish. Once per attempt, or replays could hold us back for ever.
    pub(crate) fn yield_to_peer(&mut self, accepted: Instant) {
        if !std::mem::replace(&mut self.has_yielded, true) {
            self.next_at = self.next_at.max(accepted + YIELD);
        }
    }

    pub(crate) const fn deadline(&self) -> Instant {
        self.next_at
    }

    /// What to send now; counts it as sent.
    pub(crate) fn handle_timeout(&mut self, rng: &mut StdRng, now: Instant) -> Due {
        if now < self.next_at {
            return Due::Nothing;
        }
        if now >= self.give_up_at {
            return Due::GiveUp;
        }
        if let Some((to, sent)) = self.envelope
            && sent < MAX_OFFERS
        {
            self.offer_sent(to, now);
            return Due::Offer(to);
        }
        self.envelope = None;
        self.last_initiation = Some(now);
        self.next_at = now + self.backoff.next(rng);
        Due::Initiation
    }

    /// The offer goes to `to`, for the first time or again.
    pub(crate) fn offer_sent(&mut self, to: SocketAddr, now: Instant) {
        let sent = match self.envelope {
            Some((before, sent)) if before == to => sent,
            Some(_) | None => 0,
        };
        self.envelope = Some((to, sent + 1));
        self.next_at = now + OFFER_PAUSE * 2u32.saturating_pow(sent);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_lost_first_datagram_is_made_up_for_in_a_third_of_a_second() {
        let (mut dialing, mut rng, start) = an_attempt(None);
        assert_eq!(dialing.handle_timeout(&mut rng, start), Due::Initiation);

        let again = dialing.deadline();

        assert!(
            again - start <= Duration::from_millis(313),
            "{:?}",
            again - start
        );
        assert_eq!(dialing.handle_timeout(&mut rng, again), Due::Initiation);
    }

    #[test]
    fn an_offer_is_repeated_and_then_the_handshake_begun_anew() {
        let (mut dialing, mut rng, start) = an_attempt(None);
        let peer: SocketAddr = "192.0.2.1:9790".parse().expect("an address");
        assert_eq!(dialing.handle_timeout(&mut rng, start), Due::Initiation);
        dialing.offer_sent(peer, start);

        let mut sent = Vec::new();
        for _ in 0..3 {
            sent.push(dialing.handle_timeout(&mut rng, dialing.deadline()));
        }

        assert_eq!(sent, [Due::Offer(peer), Due::Offer(peer), Due::Initiation]);
    }

    #[test]
    fn an_attempt_nobody_wants_ends_and_one_with_packets_stays_quick() {
        let (mut dialing, mut rng, start) = an_attempt(None);
        let end = run(&mut dialing, &mut rng, |_, _| ());
        assert!(end - start >= GIVE_UP_AFTER && end - start < GIVE_UP_AFTER * 2);

        let (mut dialing, mut rng, start) = an_attempt(None);
        let mut longest = Duration::ZERO;
        let _ = run(&mut dialing, &mut rng, |dialing, now| {
            if now < start + Duration::from_secs(600) {
                dialing.want(now);
                longest = longest.max(dialing.deadline() - now);
            }
        });
        assert!(longest <= MAX_PAUSE_WITH_PACKETS, "{longest:?}");
    }

    #[test]
    fn the_peers_own_handshake_is_waited_for_once() {
        let (mut dialing, ..) = an_attempt(None);
        let start = dialing.deadline();

        dialing.yield_to_peer(start);
        dialing.yield_to_peer(start + YIELD);

        assert_eq!(dialing.deadline(), start + YIELD);
    }

    fn run(
        dialing: &mut Dialing,
        rng: &mut StdRng,
        mut between: impl FnMut(&mut Dialing, Instant),
    ) -> Instant {
        loop {
            let now = dialing.deadline();
            if dialing.handle_timeout(rng, now) == Due::GiveUp {
                return now;
            }
            between(dialing, now);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn an_attempt(peer_initiated: Option<Instant>) -> (Dialing, StdRng, Instant) {
        let now = Instant::now();
        (
            Dialing::new(peer_initiated, now),
            StdRng::seed_from_u64(3),
            now,
        )
    }
}
