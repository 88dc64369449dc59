//! One attempt to make a session, from the wish to the lane: when to send what again.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::{
    backoff::{self, Backoff},
    handshake::Offered,
    path::way::Way,
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
/// An attempt without an answer for this long, four initiations, is in vain if somebody else will do as well.
const IN_VAIN: Duration = Duration::from_millis(1500);
/// An attempt that only the peer wants ends after this time: five initiations, which all get lost once in three thousand
/// times on a path that loses a fifth of everything.
const CALL_FOR: Duration = Duration::from_secs(3);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Send an initiation.
    Initiation,
    /// Send the offer again, to this address.
    Offer(Way),
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
    initiations: u32,
    has_yielded: bool,
    /// Kept over repeated handshakes of one attempt, so that a late answer is as good as an early one.
    pub(crate) offered: Option<Offered>,
    /// Where the peer answered the last initiation from, and how often the offer has gone there.
    envelope: Option<(Way, u32)>,
    /// Whether nobody here wants this: the peer asked to be called.
    is_call: bool,
    /// When to ask others to have the peer call, and how often they were.
    ask_at: Option<Instant>,
    asks: Backoff,
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
            initiations: 0,
            has_yielded: false,
            offered: None,
            envelope: None,
            is_call: false,
            ask_at: None,
            asks: Backoff::new(backoff::RENDEZVOUS),
        };
        if let Some(accepted) = peer_initiated
            && now.saturating_duration_since(accepted) < YIELD
        {
            dialing.yield_to_peer(accepted);
        }
        dialing
    }

    /// A short attempt, because the peer asked for it.
    pub(crate) fn call(peer_initiated: Option<Instant>, now: Instant) -> Self {
        Self {
            is_call: true,
            give_up_at: now + CALL_FOR,
            ..Self::new(peer_initiated, now)
        }
    }

    /// Whether only the peer wants this.
    pub(crate) const fn is_call(&self) -> bool {
        self.is_call
    }

    /// The peer sends now: so does this node, once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.next_at = self.next_at.min(now);
    }

    /// A new way to the peer has opened: an initiation goes there at once, or `pause` after the last.
    pub(crate) fn hurry_on(&mut self, pause: Duration, now: Instant) {
        let earliest = self.last_initiation.map_or(now, |last| last + pause);
        self.next_at = self.next_at.min(earliest.max(now));
    }

    /// Something else is tried until then that may help: the attempt does not end before.
    pub(crate) fn go_on_until(&mut self, end: Instant) {
        self.give_up_at = self.give_up_at.max(end);
    }

    /// How many initiations there were.
    pub(crate) const fn initiations(&self) -> u32 {
        self.initiations
    }

    /// Whoever was asked to have the peer call was told a wrong place: it is asked again.
    pub(crate) fn ask_anew(&mut self, now: Instant) {
        if let Some(at) = &mut self.ask_at {
            *at = now;
            self.hurry(now);
        }
    }

    /// Whether others are to have the peer call, along with an initiation that is on its way: if there was one before, or
    /// there is nowhere to send it to.
    pub(crate) fn asks_for_call(
        &mut self,
        has_places: bool,
        rng: &mut StdRng,
        now: Instant,
    ) -> bool {
        if self.is_call {
            return false;
        }
        if self.ask_at.is_none() && has_places {
            self.ask_at = Some(now);
            return false;
        }
        if self.ask_at.is_some_and(|at| now < at) {
            return false;
        }
        self.ask_at = Some(now + self.asks.next(rng));
        true
    }

    /// A packet waits.
    pub(crate) fn want(&mut self, now: Instant) {
        self.is_call = false;
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

    /// Whether the peer should have answered by now, if it were there.
    pub(crate) fn is_in_vain(&self, now: Instant) -> bool {
        !self.is_call && now.saturating_duration_since(self.started) >= IN_VAIN
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
        self.initiations += 1;
        self.next_at = now + self.backoff.next(rng);
        Due::Initiation
    }

    /// The offer goes to `to`, for the first time or again.
    pub(crate) fn offer_sent(&mut self, to: Way, now: Instant) {
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
    use std::net::SocketAddr;

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
        let peer = Way::from(SocketAddr::from(([192, 0, 2, 1], 9790)));
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

    #[test]
    fn a_call_is_five_initiations_and_asks_nobody() {
        let (.., mut rng, start) = an_attempt(None);
        let mut dialing = Dialing::call(None, start);
        let mut initiations = 1;
        assert_eq!(dialing.handle_timeout(&mut rng, start), Due::Initiation);

        run(&mut dialing, &mut rng, |dialing, now| {
            initiations += 1;
            assert!(!dialing.asks_for_call(true, &mut StdRng::seed_from_u64(1), now));
        });

        assert_eq!(initiations, 5);
    }

    #[test]
    fn others_are_asked_with_the_second_initiation_and_then_ever_more_rarely_unless_something_changed()
     {
        let (mut dialing, mut rng, start) = an_attempt(None);
        let mut asked = Vec::new();

        for tenths in 0..600 {
            let now = start + Duration::from_millis(100) * tenths;
            if dialing.asks_for_call(true, &mut rng, now) {
                asked.push(now - start);
            }
        }

        assert_eq!(asked.first(), Some(&Duration::from_millis(100)));
        let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert!((5..=7).contains(&asked.len()), "{asked:?}");
        let later = start + Duration::from_secs(60);
        dialing.ask_anew(later);
        assert!(dialing.asks_for_call(true, &mut rng, later));
    }

    #[test]
    fn without_a_place_to_send_to_others_are_asked_at_once() {
        let (mut dialing, mut rng, start) = an_attempt(None);
        assert!(dialing.asks_for_call(false, &mut rng, start));
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
