//! Which of several owners of a prefix gets the packets: the first in the order that all members agree on, unless it is
//! away as far as this node can see. Nobody is asked; members that see the same choose the same.
//!
//! An owner is away once packets for it have gone unanswered. It is sought as long as anything flows, and trusted again
//! when it has been back for a while, so that one that comes and goes does not take connections along each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::fib::PeerSlot;

/// How long an owner has to be back until it gets packets again.
const BACK_FOR: Duration = Duration::from_secs(5);

/// The owners of shared prefixes that are away.
#[derive(Debug, Default)]
pub(crate) struct Failover {
    /// Shared with the snapshots.
    away: Arc<BTreeSet<PeerSlot>>,
    back_since: BTreeMap<PeerSlot, Instant>,
}

impl Failover {
    /// Who is away.
    pub(crate) fn away(&self) -> Arc<BTreeSet<PeerSlot>> {
        Arc::clone(&self.away)
    }

    /// Takes note of how an owner is; whether it is away from now on and was not before.
    pub(crate) fn note(
        &mut self,
        owner: PeerSlot,
        is_missed: bool,
        is_up: bool,
        now: Instant,
    ) -> bool {
        if is_up {
            if self.away.contains(&owner) {
                self.back_since.entry(owner).or_insert(now);
            }
        } else {
            self.back_since.remove(&owner);
        }
        is_missed && !is_up && Arc::make_mut(&mut self.away).insert(owner)
    }

    /// Trusts those again that have been back for long enough; whether there are any.
    pub(crate) fn trust(&mut self, now: Instant) -> bool {
        let is_back = |(owner, since): (&PeerSlot, &Instant)| {
            (now.saturating_duration_since(*since) >= BACK_FOR).then_some(*owner)
        };
        let back: Vec<PeerSlot> = self.back_since.iter().filter_map(is_back).collect();
        for owner in &back {
            self.forget(*owner);
        }
        !back.is_empty()
    }

    /// An owner is none any more, or is trusted again.
    pub(crate) fn forget(&mut self, owner: PeerSlot) {
        self.back_since.remove(&owner);
        if self.away.contains(&owner) {
            Arc::make_mut(&mut self.away).remove(&owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: PeerSlot = PeerSlot(7);

    #[test]
    fn an_owner_is_away_at_once_and_back_after_five_steady_seconds() {
        let (mut failover, mut now) = a_failover();
        assert!(failover.note(OWNER, true, false, now));
        assert!(!failover.note(OWNER, true, false, now), "news only once");

        failover.note(OWNER, false, true, now);
        now += BACK_FOR - Duration::from_millis(1);
        assert!(!failover.trust(now));
        now += Duration::from_millis(1);
        assert!(failover.trust(now));

        assert!(failover.away().is_empty());
    }

    #[test]
    fn one_that_comes_and_goes_stays_away() {
        let (mut failover, mut now) = a_failover();
        failover.note(OWNER, true, false, now);
        for _ in 0..10 {
            failover.note(OWNER, false, true, now);
            now += BACK_FOR / 2;
            failover.note(OWNER, false, false, now);
            now += BACK_FOR;
            assert!(!failover.trust(now));
        }
        assert!(failover.away().contains(&OWNER));
    }

    #[test]
    fn an_owner_that_nobody_misses_is_not_away() {
        let (mut failover, now) = a_failover();
        assert!(!failover.note(OWNER, false, false, now));
        assert!(failover.away().is_empty());
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn a_failover() -> (Failover, Instant) {
        (Failover::default(), Instant::now())
    }
}
