//! What a line does to frames. Pure: time and the seed come in.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

const ETHERNET: usize = 14;
const UDP: u8 = 17;
/// What waits for a slow line at most: about what a home router keeps.
const QUEUE: usize = 256 * 1024;

/// How one direction of a line treats frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Least time on the way.
    pub delay: Duration,
    /// Added at random. Frames keep their order, as on most real lines: see `reordering`.
    pub jitter: Duration,
    /// Chance to get lost.
    pub loss: f64,
    /// Chance to arrive twice.
    pub duplication: f64,
    /// Chance to be held up for so long that later ones overtake it.
    pub reordering: f64,
    /// Chance that a bit of the payload turns over. The checksum of UDP over IPv4 is switched off where that happens, so
    /// that the kernel does not notice.
    pub corruption: f64,
    /// Bits per second; what comes faster waits, and beyond a quarter of a megabyte gets lost.
    pub rate: Option<u64>,
    /// IP packets longer than this vanish without a word.
    pub hole: Option<usize>,
    /// Nothing passes.
    pub is_cut: bool,
}

impl Quality {
    /// A cable.
    pub const PERFECT: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        duplication: 0.0,
        reordering: 0.0,
        corruption: 0.0,
        rate: None,
        hole: None,
        is_cut: false,
    };

    /// A cable of this length.
    #[must_use]
    pub const fn far(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::PERFECT
        }
    }
}

/// Frames on their way in one direction.
#[derive(Debug)]
pub struct Shaper {
    rng: StdRng,
    on_the_way: BTreeMap<(Instant, u64), Vec<u8>>,
    sequence: u64,
    /// When the line has sent what it has taken, and how much that is.
    busy_until: Option<Instant>,
    /// No frame that keeps its place arrives before the one ahead of it.
    last_arrival: Option<Instant>,
}

impl Shaper {
    /// An empty line.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            on_the_way: BTreeMap::new(),
            sequence: 0,
            busy_until: None,
            last_arrival: None,
        }
    }

    /// A frame enters the line.
    pub fn take(&mut self, frame: &[u8], quality: &Quality, now: Instant) {
        let is_swallowed = quality
            .hole
            .is_some_and(|hole| frame.len() > hole + ETHERNET);
        if quality.is_cut || is_swallowed || self.happens(quality.loss) {
            return;
        }
        let Some(sent) = self.transmit(frame.len(), quality.rate, now) else {
            return;
        };
        let mut frame = frame.to_vec();
        if self.happens(quality.corruption) {
            self.garble(&mut frame);
        }
        let jitter = quality.jitter.mul_f64(self.rng.random_range(0.0..1.0));
        let mut arrival = sent + quality.delay + jitter;
        if self.happens(quality.reordering) {
            arrival += quality.delay.max(Duration::from_millis(5));
        } else {
            arrival = self.last_arrival.map_or(arrival, |last| last.max(arrival));
            self.last_arrival = Some(arrival);
        }
        if self.happens(quality.duplication) {
            self.enqueue(frame.clone(), arrival);
        }
        self.enqueue(frame, arrival);
    }

    fn happens(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.random_bool(chance)
    }

    /// When the last bit has left; `None` if the queue is full.
    fn transmit(&mut self, bytes: usize, rate: Option<u64>, now: Instant) -> Option<Instant> {
        let Some(rate) = rate else { return Some(now) };
        let time = |bytes: usize| Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64);
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        if start - now > time(QUEUE) {
            return None;
        }
        let end = start + time(bytes);
        self.busy_until = Some(end);
        Some(end)
    }

    fn garble(&mut self, frame: &mut [u8]) {
        let is_ipv4_udp =
            frame.get(ETHERNET) == Some(&0x45) && frame.get(ETHERNET + 9) == Some(&UDP);
        let payload = ETHERNET + 20 + 8;
        if !is_ipv4_udp || frame.len() <= payload {
            return;
        }
        let at = self.rng.random_range(payload..frame.len());
        frame[at] ^= 1 << self.rng.random_range(0..8);
        frame[payload - 2..payload].fill(0);
    }

    fn enqueue(&mut self, frame: Vec<u8>, arrival: Instant) {
        self.on_the_way.insert((arrival, self.sequence), frame);
        self.sequence += 1;
    }

    /// When the next frame leaves the line.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.on_the_way.keys().next().map(|(arrival, _)| *arrival)
    }

    /// A frame that has left it.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.on_the_way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}
