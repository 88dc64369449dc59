//! A table of paths whose pings are answered as a test says, and the ways that tests speak of.

use super::super::*;
use crate::path::way::{Circuit, RelaySlot};

pub(super) const MILLI: Duration = Duration::from_millis(1);

/// One table of paths, and the time.
pub(super) struct Scene {
    pub(super) paths: Paths,
    pub(super) now: Instant,
    next_id: u64,
}

impl Scene {
    pub(super) fn on(way: Way) -> Self {
        Self::of(Paths::default(), way)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    pub(super) fn of(mut paths: Paths, way: Way) -> Self {
        paths.take(way);
        paths.set_announced(&[public()]);
        Self {
            paths,
            now: Instant::now(),
            next_id: 0,
        }
    }

    /// Sends a ping, which comes back after some time or never.
    pub(super) fn ping(&mut self, way: Way, after: Option<Duration>) {
        self.next_id += 1;
        self.paths.ask(way, self.next_id, self.now);
        if let Some(after) = after {
            self.now += after;
            assert_eq!(self.paths.answer(self.next_id, self.now), Some(way));
        }
    }

    /// Data flows, and the ways that have answered go on to do so at once.
    pub(super) fn ten_minutes(&mut self) -> Vec<Way> {
        let alive = [public(), elsewhere(), relay()];
        let mut asked = Vec::new();
        let start = self.now;
        while self.now < start + Duration::from_secs(600) {
            for way in self.paths.due(self.now) {
                asked.push(way);
                self.ping(way, alive.contains(&way).then_some(Duration::ZERO));
            }
            self.now += Duration::from_millis(250);
        }
        asked
    }
}

pub(super) fn lan() -> Way {
    direct("192.168.1.5:9790")
}

pub(super) fn public() -> Way {
    direct("203.0.113.7:9790")
}

pub(super) fn elsewhere() -> Way {
    direct("203.0.113.8:4242")
}

pub(super) const fn relay() -> Way {
    Way::Relay {
        relay: RelaySlot(0),
        circuit: Circuit(7),
    }
}

pub(super) const fn other_relay() -> Way {
    Way::Relay {
        relay: RelaySlot(1),
        circuit: Circuit(8),
    }
}

pub(super) fn direct(endpoint: &str) -> Way {
    Way::Direct(endpoint.parse().expect("an endpoint"))
}
