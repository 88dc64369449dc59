//! The lanes shared with one peer: all of them open frames, one of them seals.
//!
//! A lane that we offered seals as soon as it is answered; one that we answered seals after the peer's first frame on
//! it, and only if it is not older than the one in use. A lane that no longer seals goes on opening frames until its
//! keys are erased anyway, so a change of lanes loses nothing. Two handshakes that cross make two lanes; both sides
//! hold both, so it does not matter which one each of them seals with. That is also why silence on a lane is no reason
//! to drop it: the peer may be silent and still mean to go on with it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tombolo_proto::id::LaneIndex;

use crate::{control::Timing, fib::LaneEntry, handshake::KeyExchange};

/// How long a lane that we answered may wait for its first frame: longer than an offerer repeats itself.
const CONFIRM_WITHIN: Duration = Duration::from_secs(15);
/// Lanes per peer. An honest peer needs three: the old, the current, the one being made.
const MAX_LANES: usize = 8;

/// Who asked for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Offerer,
    Answerer,
}

/// A lane and what the slow path knows of it.
#[derive(Debug)]
pub(crate) struct HeldLane {
    pub(crate) entry: Arc<LaneEntry>,
    pub(crate) created: Instant,
    pub(crate) key_exchange: KeyExchange,
    role: Role,
}

impl HeldLane {
    /// When it is too old, or its confirmation is overdue.
    fn ends_at(&self, timing: &Timing) -> Instant {
        let waits = self.role == Role::Answerer && !self.entry.lane.is_confirmed();
        let life = if waits {
            CONFIRM_WITHIN.min(timing.reject_after)
        } else {
            timing.reject_after
        };
        self.created + life
    }

    fn index(&self) -> LaneIndex {
        self.entry.lane.local()
    }

    /// Whether the peer has ever said anything on this lane.
    pub(crate) fn is_proven(&self) -> bool {
        self.entry.lane.has_opened()
    }
}

/// All lanes shared with one peer, oldest first.
#[derive(Debug, Default)]
pub(crate) struct LaneSet {
    lanes: Vec<HeldLane>,
    sealing: Option<LaneIndex>,
}

impl LaneSet {
    /// Adds a lane; returns those that had to go for it.
    #[must_use]
    pub(crate) fn install(
        &mut self,
        entry: Arc<LaneEntry>,
        role: Role,
        key_exchange: KeyExchange,
        now: Instant,
    ) -> Vec<LaneIndex> {
        let index = entry.lane.local();
        if role == Role::Offerer {
            entry.lane.set_confirmed();
            self.sealing = Some(index);
        }
        self.lanes.push(HeldLane {
            entry,
            created: now,
            key_exchange,
            role,
        });
        let surplus = self.lanes.len().saturating_sub(MAX_LANES);
        let dropped: Vec<LaneIndex> = self
            .lanes
            .iter()
            .map(HeldLane::index)
            .filter(|candidate| Some(*candidate) != self.sealing && *candidate != index)
            .take(surplus)
            .collect();
        self.remove(&dropped);
        dropped
    }

    /// Takes note of the peer's first frame on a lane; whether the lane now seals and did not before.
    #[must_use]
    pub(crate) fn confirm(&mut self, index: LaneIndex) -> bool {
        let Some(lane) = self.lanes.iter().find(|lane| lane.index() == index) else {
            return false;
        };
        if lane.entry.lane.is_confirmed() {
            return false;
        }
        lane.entry.lane.set_confirmed();
        let is_newer = self
            .sealing()
            .is_none_or(|current| lane.created >= current.created);
        if is_newer {
            self.sealing = Some(index);
        }
        is_newer
    }

    /// The lane that seals.
    pub(crate) fn sealing(&self) -> Option<&HeldLane> {
        self.get(self.sealing?)
    }

    pub(crate) fn get(&self, index: LaneIndex) -> Option<&HeldLane> {
        self.lanes.iter().find(|lane| lane.index() == index)
    }

    /// Gives up a lane that turned out not to work, and falls back to the newest that the peer has used.
    pub(crate) fn abandon(&mut self, index: LaneIndex) {
        self.remove(&[index]);
    }

    /// Erases what is too old or was never confirmed; returns what is gone.
    #[must_use]
    pub(crate) fn prune(&mut self, timing: &Timing, now: Instant) -> Vec<LaneIndex> {
        let is_over = |lane: &&HeldLane| lane.ends_at(timing) <= now;
        let gone: Vec<LaneIndex> = self
            .lanes
            .iter()
            .filter(is_over)
            .map(HeldLane::index)
            .collect();
        self.remove(&gone);
        gone
    }

    /// When [`Self::prune`] next finds something.
    pub(crate) fn next_end(&self, timing: &Timing) -> Option<Instant> {
        self.lanes.iter().map(|lane| lane.ends_at(timing)).min()
    }

    fn remove(&mut self, indices: &[LaneIndex]) {
        self.lanes.retain(|lane| !indices.contains(&lane.index()));
        let is_gone = self
            .sealing
            .is_some_and(|sealing| indices.contains(&sealing));
        if is_gone {
            self.sealing = self
                .lanes
                .iter()
                .rev()
                .find(|lane| lane.entry.lane.is_confirmed() && lane.is_proven())
                .map(HeldLane::index);
        }
    }

    /// Whether a lane that we answered still waits for its first frame.
    pub(crate) fn has_unconfirmed(&self) -> bool {
        self.lanes
            .iter()
            .any(|lane| !lane.entry.lane.is_confirmed())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<LaneEntry>> {
        self.lanes.iter().map(|lane| &lane.entry)
    }
}
