//! How much a stranger may make this node work. Asked for every initiation that carries a good first MAC, before the
//! first Diffie-Hellman operation; its memory is fixed.
//!
//! Each source has a budget. When all sources together send more than the node wants to work for, it is under load, and
//! initiations must carry a cookie that proves their source address; so a flood from forged addresses costs one hash
//! each, and real peers get in with one more round trip.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use crate::budget::Budgets;

/// Initiations a source may send in a burst: a site of that many nodes behind one address that all start at once.
const BURST: u32 = 64;
/// One initiation per this long and source afterwards.
const REFILL: Duration = Duration::from_millis(50);
/// Initiations per second above which cookies are demanded: about a tenth of one slow core.
const LOAD_LIMIT: u32 = 400;
const LOAD_WINDOW: Duration = Duration::from_secs(1);

/// What to do with an initiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Work on it.
    Admitted,
    /// Work on it if it carries a cookie.
    NeedsCookie,
    /// Drop it: the source has used up its budget.
    OverBudget,
}

/// Budgets and load.
#[derive(Debug)]
pub(crate) struct Gate {
    sources: Budgets,
    window_start: Option<Instant>,
    in_window: u32,
}

impl Gate {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self {
            sources: Budgets::new(rng),
            window_start: None,
            in_window: 0,
        }
    }

    pub(crate) fn admit(&mut self, source: IpAddr, now: Instant) -> Admission {
        if !self.sources.spend(source, BURST, REFILL, now) {
            return Admission::OverBudget;
        }
        let fresh_window = self
            .window_start
            .is_none_or(|start| now.saturating_duration_since(start) >= LOAD_WINDOW);
        if fresh_window {
            self.window_start = Some(now);
            self.in_window = 0;
        }
        self.in_window = self.in_window.saturating_add(1);
        if self.in_window > LOAD_LIMIT {
            Admission::NeedsCookie
        } else {
            Admission::Admitted
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_source_has_a_burst_and_then_a_rate_and_others_are_not_touched() {
        let (mut gate, now) = a_gate();
        let noisy: IpAddr = "192.0.2.1".parse().expect("an address");
        let quiet: IpAddr = "192.0.2.2".parse().expect("an address");

        for _ in 0..BURST {
            assert_eq!(gate.admit(noisy, now), Admission::Admitted);
        }

        assert_eq!(gate.admit(noisy, now), Admission::OverBudget);
        assert_eq!(gate.admit(quiet, now), Admission::Admitted);
        assert_eq!(gate.admit(noisy, now + REFILL), Admission::Admitted);
        assert_eq!(gate.admit(noisy, now + REFILL), Admission::OverBudget);
    }

    #[test]
    fn many_sources_at_once_must_show_cookies_until_a_second_has_passed() {
        let (mut gate, now) = a_gate();
        let sources = (0..LOAD_LIMIT * 2).map(|number| IpAddr::from(number.to_be_bytes()));

        let demanded = sources
            .filter(|source| gate.admit(*source, now) == Admission::NeedsCookie)
            .count();

        // A few sources may share a budget, but none has spent one.
        assert_eq!(demanded, LOAD_LIMIT as usize);
        let later = now + LOAD_WINDOW;
        assert_eq!(gate.admit(IpAddr::from([9; 4]), later), Admission::Admitted);
    }

    #[test]
    fn a_site_of_ipv6_addresses_shares_one_budget() {
        let (mut gate, now) = a_gate();
        let hosts = (0..u16::MAX).map(|host| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, host]));

        let admitted = hosts
            .filter(|host| gate.admit(*host, now) != Admission::OverBudget)
            .count();

        assert_eq!(admitted, BURST as usize);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn a_gate() -> (Gate, Instant) {
        (Gate::new(&mut StdRng::seed_from_u64(1)), Instant::now())
    }
}
