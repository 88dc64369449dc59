//! What a relay did, and why it did not.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a frame went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Malformed,
    Unknown,
    BadTag,
    Replayed,
    OverBudget,
    Unreachable,
}

/// Counters of a relay: relaxed atomics.
#[derive(Debug, Default)]
pub struct RelayCounters {
    frames: AtomicU64,
    bytes: AtomicU64,
    dropped: [AtomicU64; 6],
}

/// What [`RelayCounters`] said at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayTotals {
    /// Clients now.
    pub clients: u64,
    /// Frames forwarded.
    pub frames: u64,
    /// Bytes of those, header included.
    pub bytes: u64,
    /// Nothing that a client says to a relay, or nothing that may be forwarded.
    pub malformed: u64,
    /// An index that nobody was given.
    pub unknown: u64,
    /// The tag does not verify.
    pub bad_tag: u64,
    /// A ping that was seen before.
    pub replayed: u64,
    /// More than the client, or all clients together, may send.
    pub over_budget: u64,
    /// The other end has not said where it is.
    pub unreachable: u64,
}

impl RelayCounters {
    pub(crate) fn forwarded(&self, bytes: u64) {
        self.frames.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Frames that went into some client's budget, or found it empty.
    pub(crate) fn taken(&self) -> u64 {
        let refused = self.dropped(Dropped::OverBudget).load(Relaxed);
        self.frames.load(Relaxed) + refused
    }

    pub(crate) const fn dropped(&self, reason: Dropped) -> &AtomicU64 {
        &self.dropped[reason as usize]
    }

    pub(crate) fn totals(&self, clients: usize) -> RelayTotals {
        let dropped = |reason: Dropped| self.dropped(reason).load(Relaxed);
        RelayTotals {
            clients: clients as u64,
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            malformed: dropped(Dropped::Malformed),
            unknown: dropped(Dropped::Unknown),
            bad_tag: dropped(Dropped::BadTag),
            replayed: dropped(Dropped::Replayed),
            over_budget: dropped(Dropped::OverBudget),
            unreachable: dropped(Dropped::Unreachable),
        }
    }
}
