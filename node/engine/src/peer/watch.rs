//! Whether a peer is still there.
//!
//! Looked at a few times a second for every peer with a session. As long as the peer is heard, or nothing is sent to it,
//! nothing happens. When packets went out and nothing came back, the peer is asked by the way in use and by the
//! standbys, then by every way there is. When several pings in a row stay unanswered on the way in use, it is given up:
//! what has answered elsewhere takes over ([`crate::path`]); if nothing has, the session is lost, and a new handshake is
//! due. An idle session costs nothing on the wire.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use crate::{counters::PeerCounters, path::Paths};

/// Between pings to a silent peer.
const PING_PAUSE: Duration = Duration::from_millis(200);
/// Unanswered pings that are enough: three in a row are hardly ever lost by chance.
const MISSES: u32 = 3;
/// A session on which something flowed within this time is missed when it breaks.
const IN_USE: Duration = Duration::from_secs(30);

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
    /// Ping the way in use and the standbys.
    AskWarm,
    /// Ping every way there is.
    AskAll,
    /// Leave the way in use, for one that has answered since then if there is one. If not, make a new session.
    Lost {
        /// When pings began.
        asked: Instant,
    },
    /// The peer was lost and speaks again.
    Back,
}

/// Watches one peer.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    heard: u64,
    elsewhere: u64,
    sent: u64,
    received: u64,
    flowed_at: Option<Instant>,
    silent_since: Option<Instant>,
    first_asked: Option<Instant>,
    last_asked: Option<Instant>,
    asked: u32,
    lost: bool,
}

impl Watch {
    /// A new lane or another way is in use: whatever silence there was does not count against it.
    pub(crate) const fn restart(&mut self) {
        self.calm();
        self.lost = false;
    }

    const fn calm(&mut self) {
        self.silent_since = None;
        self.first_asked = None;
        self.last_asked = None;
        self.asked = 0;
    }

    /// Looks at the counters. `unproven_since` is when the lane in use was made, if the peer has said nothing on it yet;
    /// `previous` is when this was last called.
    pub(crate) fn look(
        &mut self,
        counters: &PeerCounters,
        paths: &Paths,
        unproven_since: Option<Instant>,
        previous: Instant,
        now: Instant,
    ) -> Observed {
        let heard = counters.heard.load(Relaxed);
        let sent = counters.tx_packets.load(Relaxed);
        let received = counters.rx_packets.load(Relaxed);
        let elsewhere = counters.heard_elsewhere.load(Relaxed);
        // Once the peer is lost, any sign of life will do. Before, what comes by other ways tells nothing: the peer may use
        // one of those for good, or be asking everywhere because it misses this node.
        let was_heard = heard != self.heard || self.lost && elsewhere != self.elsewhere;
        let has_sent = sent != self.sent;
        let data_flows = has_sent || received != self.received;
        (self.heard, self.elsewhere) = (heard, elsewhere);
        (self.sent, self.received) = (sent, received);
        if data_flows {
            self.flowed_at = Some(now);
        }

        let verdict = match unproven_since {
            Some(since) => {
                self.silent_since = Some(since);
                self.judge(PING_PAUSE, paths, now)
            }
            None if was_heard && self.lost => {
                self.restart();
                Verdict::Back
            }
            None if was_heard && self.is_by_the_way_in_use(paths) => {
                self.calm();
                Verdict::Fine
            }
            None => {
                if has_sent && self.silent_since.is_none() {
                    self.silent_since = Some(previous);
                }
                self.judge(paths.patience(), paths, now)
            }
        };
        Observed {
            data_flows,
            verdict,
        }
    }

    /// Whether what was heard says that the way in use works: once others have been asked, it may be their answers.
    fn is_by_the_way_in_use(&self, paths: &Paths) -> bool {
        self.first_asked.is_none_or(|asked| {
            paths.is_current_alive_since(asked) || paths.alive_since(asked).is_none()
        })
    }

    fn judge(&mut self, patience: Duration, paths: &Paths, now: Instant) -> Verdict {
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
        if let Some(asked) = self.first_asked
            && self.asked >= MISSES
            && since(asked) >= paths.patience()
        {
            self.lost = true;
            return Verdict::Lost { asked };
        }
        self.first_asked.get_or_insert(now);
        self.last_asked = Some(now);
        self.asked += 1;
        if self.asked == 1 {
            Verdict::AskWarm
        } else {
            Verdict::AskAll
        }
    }

    /// Whether nothing was heard or sent since the last look.
    pub(crate) fn is_still(&self, counters: &PeerCounters) -> bool {
        counters.heard.load(Relaxed) == self.heard
            && counters.heard_elsewhere.load(Relaxed) == self.elsewhere
            && counters.tx_packets.load(Relaxed) == self.sent
            && counters.rx_packets.load(Relaxed) == self.received
    }

    /// Something was sent that the peer answers: silence from now on counts against it.
    pub(crate) fn expect(&mut self, now: Instant) {
        self.silent_since.get_or_insert(now);
    }

    /// Every way is asked now, because something happened that may have broken the one in use.
    pub(crate) fn suspect(&mut self, now: Instant) {
        if self.asked == 0 && !self.lost {
            self.silent_since = Some(now);
            self.first_asked = Some(now);
            self.last_asked = Some(now);
            self.asked = 1;
        }
    }

    /// Whether the peer would be missed.
    pub(crate) fn is_in_use(&self, now: Instant) -> bool {
        self.flowed_at
            .is_some_and(|at| now.saturating_duration_since(at) < IN_USE)
    }

    /// Whether a decision is near: a look soon is worth its while.
    pub(crate) const fn is_suspicious(&self) -> bool {
        self.silent_since.is_some() && !self.lost
    }

    /// Whether the peer is held to be unreachable on the lane in use.
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::way::Way;

    const TICK: Duration = Duration::from_millis(100);

    #[test]
    fn a_peer_that_answers_is_left_in_peace() {
        let mut scene = Scene::new();
        for _ in 0..1000 {
            scene.counters.sent(100);
            scene.counters.hear();
            assert_eq!(scene.tick(), Verdict::Fine);
        }
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

        let verdicts = scene.until_lost();

        let asked = verdicts.iter().filter(|verdict| **verdict != Verdict::Fine);
        assert_eq!(
            asked.copied().collect::<Vec<_>>()[..3],
            [Verdict::AskWarm, Verdict::AskAll, Verdict::AskAll]
        );
        assert!(
            scene.now - sent_at <= Duration::from_millis(1250),
            "{:?}",
            scene.now - sent_at
        );
    }

    #[test]
    fn on_a_slow_path_silence_is_measured_in_round_trips() {
        let mut scene = Scene::new();
        scene.answer(HERE, Duration::from_millis(600));
        scene.counters.sent(100);
        let sent_at = scene.now;

        scene.until_lost();

        assert!(scene.now - sent_at >= Duration::from_millis(3600));
    }

    #[test]
    fn a_lost_peer_that_speaks_is_back() {
        let mut scene = Scene::new();
        scene.counters.sent(100);
        scene.until_lost();
        assert_eq!(scene.tick(), Verdict::Fine);

        scene.counters.hear();

        assert_eq!(scene.tick(), Verdict::Back);
        assert!(!scene.watch.is_lost());
    }

    #[test]
    fn answers_by_another_way_do_not_save_the_one_in_use_and_its_own_do() {
        let there = Way::Direct(([192, 0, 2, 2], 1).into());
        for (way, is_saved) in [(there, false), (HERE, true)] {
            let mut scene = Scene::new();
            scene.counters.sent(100);
            while scene.tick() != Verdict::AskWarm {}

            scene.counters.hear();
            scene.answer(way, Duration::ZERO);
            let verdicts: Vec<Verdict> = (0..20).map(|_| scene.tick()).collect();

            let is_lost = |verdict: &Verdict| matches!(verdict, Verdict::Lost { .. });
            assert_eq!(!verdicts.iter().any(is_lost), is_saved, "{verdicts:?}");
        }
    }

    #[test]
    fn what_the_peer_says_by_other_ways_does_not_hold_back_the_suspicion_of_the_one_in_use() {
        let mut scene = Scene::new();
        scene.tick();
        let sent_at = scene.now;
        while !scene.watch.is_lost() {
            scene.counters.sent(100);
            scene.counters.hear_elsewhere();
            scene.tick();
            assert!(scene.now - sent_at <= Duration::from_millis(1250));
        }
    }

    #[test]
    fn a_lane_on_which_nothing_was_heard_is_asked_whatever_is_heard_on_others() {
        let mut scene = Scene::new();
        let made = scene.now;
        let mut verdicts = Vec::new();
        for _ in 0..20 {
            scene.counters.hear();
            scene.now += TICK;
            let (previous, now) = (scene.now - TICK, scene.now);
            let observed =
                scene
                    .watch
                    .look(&scene.counters, &scene.paths, Some(made), previous, now);
            verdicts.push(observed.verdict);
        }
        verdicts.retain(|verdict| *verdict != Verdict::Fine);
        assert_eq!(
            verdicts[..3],
            [Verdict::AskWarm, Verdict::AskAll, Verdict::AskAll]
        );
        assert!(matches!(verdicts[3..], [Verdict::Lost { .. }]));
    }

    const HERE: Way = Way::Direct(std::net::SocketAddr::V4(std::net::SocketAddrV4::new(
        std::net::Ipv4Addr::new(192, 0, 2, 1),
        1,
    )));

    struct Scene {
        watch: Watch,
        counters: PeerCounters,
        paths: Paths,
        now: Instant,
    }

    impl Scene {
        #[expect(
            clippy::disallowed_methods,
            reason = "any instant will do to count from"
        )]
        fn new() -> Self {
            let mut paths = Paths::default();
            paths.take(HERE);
            Self {
                watch: Watch::default(),
                counters: PeerCounters::default(),
                paths,
                now: Instant::now(),
            }
        }

        fn tick(&mut self) -> Verdict {
            let previous = self.now;
            self.now += TICK;
            self.watch
                .look(&self.counters, &self.paths, None, previous, self.now)
                .verdict
        }

        fn until_lost(&mut self) -> Vec<Verdict> {
            let mut verdicts = Vec::new();
            loop {
                let verdict = self.tick();
                verdicts.push(verdict);
                if matches!(verdict, Verdict::Lost { .. }) {
                    return verdicts;
                }
            }
        }

        /// A ping comes back.
        fn answer(&mut self, way: Way, after: Duration) {
            self.paths.ask(way, 1, self.now);
            self.now += after;
            assert_eq!(self.paths.answer(1, self.now), Some(way));
        }
    }
}
