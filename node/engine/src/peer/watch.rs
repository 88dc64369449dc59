//! Whether a peer is still there, and how far away.
//!
//! Looked at a few times a second for every peer with a session. As long as the peer is heard, or nothing is sent to it,
//! nothing happens. When packets went out and nothing came back, the peer is pinged; when several pings in a row stay
//! unanswered, it has lost the session, or the way to it is gone, and a new handshake is due. So a peer that was killed
//! and started again is back in little more than a second, and an idle session costs nothing on the wire.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use crate::{counters::PeerCounters, path::way::Way};

/// Silence after sending that makes us ask: longer than most answers take, short enough not to be felt.
const SILENCE: Duration = Duration::from_millis(500);
/// Between pings to a silent peer.
const PING_PAUSE: Duration = Duration::from_millis(250);
/// Unanswered pings that are enough: three in a row are hardly ever lost by chance.
const MISSES: u32 = 3;
/// On slow paths silence is measured in round trips, but not beyond this.
const MAX_PATIENCE: Duration = Duration::from_secs(3);
/// Between measurements of the round-trip time while traffic flows.
const MEASURE_PAUSE: Duration = Duration::from_secs(10);
/// Pings under way per peer; older ones are forgotten.
const MAX_OUTSTANDING: usize = 8;

/// What a look at a peer showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Whether inner packets passed since the last look.
    pub(crate) data_flows: bool,
    /// What to do.
    pub(crate) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do.
    Fine,
    /// Send a ping.
    Ask,
    /// Make a new session.
    Lost,
    /// The peer was lost and speaks again.
    Back,
}

/// A ping that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) to: Way,
    pub(crate) after: Duration,
}

#[derive(Debug)]
struct Ping {
    id: u64,
    to: Way,
    sent: Instant,
}

/// Watches one peer.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    heard: u64,
    sent: u64,
    received: u64,
    silent_since: Option<Instant>,
    first_asked: Option<Instant>,
    last_asked: Option<Instant>,
    asked: u32,
    lost: bool,
    outstanding: Vec<Ping>,
    measure_at: Option<Instant>,
    round_trip: Option<Duration>,
}

impl Watch {
    /// A new lane is in use: whatever silence there was does not count against it.
    pub(crate) fn restart(&mut self) {
        self.calm();
        self.lost = false;
        self.measure_at = None;
    }

    fn calm(&mut self) {
        self.silent_since = None;
        self.first_asked = None;
        self.last_asked = None;
        self.asked = 0;
    }

    /// Looks at the counters. `unproven_since` is when the lane in use was made, if the peer has said nothing on it yet;
    /// `previous` is when [`Self::look`] was last called, for any peer.
    pub(crate) fn look(
        &mut self,
        counters: &PeerCounters,
        unproven_since: Option<Instant>,
        previous: Instant,
        now: Instant,
    ) -> Observed {
        let heard = counters.heard.load(Relaxed);
        let sent = counters.tx_packets.load(Relaxed);
        let received = counters.rx_packets.load(Relaxed);
        let was_heard = heard != self.heard;
        let has_sent = sent != self.sent;
        let data_flows = has_sent || received != self.received;
        (self.heard, self.sent, self.received) = (heard, sent, received);

        let verdict = match unproven_since {
            Some(since) => {
                self.silent_since = Some(since);
                self.judge(PING_PAUSE, now)
            }
            None if was_heard => {
                let is_back = std::mem::take(&mut self.lost);
                self.calm();
                if is_back {
                    Verdict::Back
                } else {
                    self.measure(data_flows, now)
                }
            }
            None => {
                if has_sent && self.silent_since.is_none() {
                    self.silent_since = Some(previous);
                }
                self.judge(SILENCE, now)
            }
        };
        Observed {
            data_flows,
            verdict,
        }
    }

    fn judge(&mut self, patience: Duration, now: Instant) -> Verdict {
        let since = |earlier: Instant| now.saturating_duration_since(earlier);
        let Some(silent_since) = self.silent_since else {
            return Verdict::Fine;
        };
        if self.lost || since(silent_since) < patience {
            return Verdict::Fine;
        }
        if self
            .last_asked
            .is_some_and(|asked| since(asked) < PING_PAUSE)
        {
            return Verdict::Fine;
        }
        let slow_path = self.round_trip.unwrap_or_default() * 3;
        let waited = self.first_asked.map(since).unwrap_or_default();
        if self.asked >= MISSES && waited >= slow_path.min(MAX_PATIENCE) {
            self.lost = true;
            return Verdict::Lost;
        }
        self.first_asked.get_or_insert(now);
        self.last_asked = Some(now);
        self.asked += 1;
        Verdict::Ask
    }

    fn measure(&mut self, data_flows: bool, now: Instant) -> Verdict {
        if !data_flows || self.measure_at.is_some_and(|at| now < at) {
            return Verdict::Fine;
        }
        self.measure_at = Some(now + MEASURE_PAUSE);
        Verdict::Ask
    }

    /// Something was sent that the peer answers: silence from now on counts against it.
    pub(crate) fn expect(&mut self, now: Instant) {
        self.silent_since.get_or_insert(now);
    }

    /// Takes note of a ping that is about to be sent.
    pub(crate) fn ping_sent(&mut self, id: u64, to: Way, now: Instant) {
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.outstanding.remove(0);
        }
        self.outstanding.push(Ping { id, to, sent: now });
        self.measure_at = Some(now + MEASURE_PAUSE);
    }

    /// Takes a pong; what it says, if it answers a ping of ours.
    pub(crate) fn pong(&mut self, id: u64, now: Instant) -> Option<Returned> {
        let position = self.outstanding.iter().position(|ping| ping.id == id)?;
        let ping = self.outstanding.remove(position);
        Some(Returned {
            to: ping.to,
            after: now.saturating_duration_since(ping.sent),
        })
    }

    /// Smooths the round-trip time like TCP does (RFC 6298).
    pub(crate) fn measured(&mut self, sample: Duration) {
        self.round_trip = Some(match self.round_trip {
            Some(smoothed) => (smoothed * 7 + sample) / 8,
            None => sample,
        });
    }

    /// Whether `to` was pinged so recently that another ping would tell nothing new.
    pub(crate) fn is_asking(&self, to: Way, now: Instant) -> bool {
        self.outstanding
            .iter()
            .any(|ping| ping.to == to && now.saturating_duration_since(ping.sent) < PING_PAUSE)
    }

    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Whether the peer owes an answer to what was sent to it.
    pub(crate) const fn is_silent(&self) -> bool {
        self.asked > 0 || self.lost
    }

    /// Whether the peer is held to be unreachable on the lane in use.
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    #[test]
    fn a_peer_that_answers_is_left_in_peace() {
        let mut scene = Scene::new();
        for _ in 0..100 {
            scene.counters.sent(100);
            scene.counters.hear();
            scene.tick();
        }
        // Only the measurement of the round-trip time, every 10 s.
        assert_eq!(scene.asked, 3);
    }

    #[test]
    fn an_idle_peer_is_never_asked() {
        let mut scene = Scene::new();
        for _ in 0..1000 {
            assert_eq!(scene.tick(), Verdict::Fine);
        }
    }

    #[test]
    fn silence_after_sending_is_noticed_within_one_and_a_quarter_seconds() {
        let mut scene = Scene::new();
        scene.tick();
        let sent_at = scene.now;
        scene.counters.sent(100);

        while scene.tick() != Verdict::Lost {}

        assert_eq!(scene.asked, MISSES);
        assert!(
            scene.now - sent_at <= Duration::from_millis(1250),
            "{:?}",
            scene.now - sent_at
        );
    }

    #[test]
    fn on_a_slow_path_silence_is_measured_in_round_trips() {
        let mut scene = Scene::new();
        scene.watch.measured(Duration::from_millis(600));
        scene.counters.sent(100);
        let sent_at = scene.now;

        while scene.tick() != Verdict::Lost {}

        assert!(scene.now - sent_at >= Duration::from_millis(1800));
    }

    #[test]
    fn a_lost_peer_that_speaks_is_back() {
        let mut scene = Scene::new();
        scene.counters.sent(100);
        while scene.tick() != Verdict::Lost {}
        assert_eq!(scene.tick(), Verdict::Fine);

        scene.counters.hear();

        assert_eq!(scene.tick(), Verdict::Back);
        assert!(!scene.watch.is_lost());
    }

    #[test]
    fn a_lane_on_which_nothing_was_heard_is_asked_whatever_is_heard_on_others() {
        let mut scene = Scene::new();
        let made = scene.now;
        let mut verdicts = Vec::new();
        for _ in 0..5 {
            scene.counters.hear();
            scene.now += TICK;
            let observed =
                scene
                    .watch
                    .look(&scene.counters, Some(made), scene.now - TICK, scene.now);
            verdicts.push(observed.verdict);
        }
        assert_eq!(
            verdicts[..4],
            [Verdict::Ask, Verdict::Ask, Verdict::Ask, Verdict::Lost]
        );
    }

    struct Scene {
        watch: Watch,
        counters: PeerCounters,
        now: Instant,
        asked: u32,
    }

    impl Scene {
        #[expect(
            clippy::disallowed_methods,
            reason = "any instant will do to count from"
        )]
        fn new() -> Self {
            Self {
                watch: Watch::default(),
                counters: PeerCounters::default(),
                now: Instant::now(),
                asked: 0,
            }
        }

        fn tick(&mut self) -> Verdict {
            let previous = self.now;
            self.now += TICK;
            let verdict = self
                .watch
                .look(&self.counters, None, previous, self.now)
                .verdict;
            self.asked += u32::from(verdict == Verdict::Ask);
            verdict
        }
    }
}
