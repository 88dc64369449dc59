//! How often something may happen: a burst, and then a rate.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hasher as _},
    net::IpAddr,
    time::{Duration, Instant},
};

use rand::{Rng as _, rngs::StdRng};

/// Addresses share this many budgets by hash; a collision costs a share of a budget.
const BUDGETS: usize = 4096;

/// A burst and a rate, as one number: when the budget is full again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Budget {
    full_at: Option<Instant>,
}

impl Budget {
    /// Takes one of `burst` that come back one per `refill`; whether there was one.
    pub(crate) fn spend(&mut self, burst: u32, refill: Duration, now: Instant) -> bool {
        let start = self.full_at.map_or(now, |full_at| full_at.max(now));
        if start.saturating_duration_since(now) > refill * (burst - 1) {
            return false;
        }
        self.full_at = Some(start + refill);
        true
    }
}

/// A budget for every address there is, in fixed memory.
#[derive(Debug)]
pub(crate) struct Budgets {
    budgets: Vec<Budget>,
    hasher: BuildHasherDefault<DefaultHasher>,
    /// Strangers must not be able to choose whose budget they share.
    seed: u64,
}

impl Budgets {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self {
            budgets: vec![Budget::default(); BUDGETS],
            hasher: BuildHasherDefault::default(),
            seed: rng.random(),
        }
    }

    /// Others of the same kind, for something else: addresses that share a budget here share one there.
    pub(crate) fn likewise(&self) -> Self {
        Self {
            budgets: vec![Budget::default(); BUDGETS],
            hasher: self.hasher.clone(),
            seed: self.seed,
        }
    }

    /// Takes one from an address's budget; whether there was one.
    pub(crate) fn spend(
        &mut self,
        address: IpAddr,
        burst: u32,
        refill: Duration,
        now: Instant,
    ) -> bool {
        let index = self.index_of(address);
        self.budgets
            .get_mut(index)
            .is_some_and(|budget| budget.spend(burst, refill, now))
    }

    /// IPv4 hosts each have a budget; of IPv6 a site's /64, which one host can use whole.
    fn index_of(&self, address: IpAddr) -> usize {
        let bits = match address.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(self.seed);
        hasher.write_u64(bits);
        hasher.finish() as usize % BUDGETS
    }
}
