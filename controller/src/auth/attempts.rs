//! How often one source, or one user, may show a wrong credential: a bucket for each that leaks.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::control::block;

/// Wrong credentials in a row: a person who has forgotten a password, not a program that guesses.
const BURST: u32 = 20;
/// One more may be tried after this.
const LEAK: Duration = Duration::from_secs(5);
/// Sources that are remembered; beyond that, the ones that have waited longest are forgotten.
const MAX_SOURCES: usize = 16_384;

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Attempter {
    /// Whoever comes from a network.
    Network(IpAddr),
    /// Whoever has a user's password, or their open browser: the user's id.
    User(String),
}

impl Attempter {
    /// Addresses of one IPv6 network are one.
    pub(crate) fn source(source: IpAddr) -> Self {
        Self::Network(block(source))
    }
}

/// Failed attempts.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<Attempter, Instant>>);

impl Attempts {
    /// Whether the source may try; if not, how long it has to wait.
    pub(crate) fn check(&self, who: &Attempter) -> Result<(), Duration> {
        self.check_at(who, Instant::now())
    }

    /// The source showed a wrong credential.
    pub(crate) fn failed(&self, who: &Attempter) {
        self.failed_at(who, Instant::now());
    }

    /// The source showed the right credential after all: what it tried before is forgiven by one.
    pub(crate) fn succeeded(&self, who: &Attempter) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(empty_at) = sources.get_mut(who) {
            *empty_at -= LEAK;
        }
    }

    fn check_at(&self, who: &Attempter, now: Instant) -> Result<(), Duration> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(empty_at) = sources.get(who) else {
            return Ok(());
        };
        let full = LEAK * (BURST - 1);
        match empty_at.saturating_duration_since(now).checked_sub(full) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    fn failed_at(&self, who: &Attempter, now: Instant) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= MAX_SOURCES {
            sources.retain(|_, empty_at| *empty_at > now);
        }
        if sources.len() >= MAX_SOURCES {
            let mut ends: Vec<Instant> = sources.values().copied().collect();
            ends.sort_unstable();
            if let Some(median) = ends.get(ends.len() / 2).copied() {
                sources.retain(|_, empty_at| *empty_at > median);
            }
        }
        // A bucket is the moment at which it will be empty.
        let empty_at = sources.entry(who.clone()).or_insert(now);
        *empty_at = (*empty_at).max(now) + LEAK;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_guesses_has_to_wait_and_others_do_not() {
        let attempts = Attempts::default();
        let [guesser, other] = ["192.0.2.1", "192.0.2.2"].map(from);
        let now = Instant::now();

        for _ in 0..BURST {
            assert!(attempts.check_at(&guesser, now).is_ok());
            attempts.failed_at(&guesser, now);
        }

        assert_eq!(attempts.check_at(&guesser, now), Err(LEAK));
        assert!(attempts.check_at(&other, now).is_ok());
        assert!(attempts.check_at(&guesser, now + LEAK).is_ok());
        attempts.failed_at(&guesser, now + LEAK);
        assert!(attempts.check_at(&guesser, now + LEAK).is_err());
        assert!(
            attempts
                .check_at(&guesser, now + LEAK * (BURST + 2))
                .is_ok()
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for last in 0..BURST {
            let source = from(&format!("2001:db8::{last:x}"));
            attempts.failed_at(&source, now);
        }

        let another = from("2001:db8::ffff");
        assert!(attempts.check_at(&another, now).is_err());
        let user = Attempter::User("0123456789ab".to_owned());
        assert!(attempts.check_at(&user, now).is_ok());
    }

    #[test]
    fn many_sources_do_not_take_ever_more_memory() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for number in 0..u32::try_from(MAX_SOURCES).expect("it fits") + 10 {
            let source = std::net::Ipv4Addr::from_bits(number).into();
            attempts.failed_at(&Attempter::source(source), now);
        }

        assert!(attempts.0.lock().expect("not poisoned").len() <= MAX_SOURCES);
    }

    fn from(text: &str) -> Attempter {
        Attempter::source(text.parse().expect("an ip"))
    }
}
