//! Which refused sign-ins the audit log tells of. Whoever guesses must not fill it: of one source and user there is a line
//! at once, and then one for as many as come within [`QUIET`]; of all together there are only so many. What has no line of
//! its own is counted, and told with the next line.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Attempter;

/// After a line about a source and a user, further refusals are only counted for so long.
const QUIET: Duration = Duration::from_secs(300);
/// Lines at once about all sources together: more than people who forgot their passwords make.
const BURST: u32 = 60;
/// One more line after this: 1,440 a day.
const LEAK: Duration = Duration::from_secs(60);

/// Refused sign-ins.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Tallies>);

#[derive(Debug, Default)]
struct Tallies {
    /// By source and user; as many as there are lines within [`QUIET`].
    told: HashMap<(Attempter, String), Tally>,
    /// When the next [`BURST`] lines may be written at once.
    empty_at: Option<Instant>,
    untold: u64,
}

#[derive(Debug)]
struct Tally {
    at: Instant,
    untold: u64,
}

impl Refusals {
    /// Notes a refusal; an empty user is nobody known. If a line is to be written, how many refusals before it have none.
    pub(crate) fn note(&self, source: &Attempter, user: &str) -> Option<u64> {
        self.note_at(source, user, Instant::now())
    }

    fn note_at(&self, source: &Attempter, user: &str, now: Instant) -> Option<u64> {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source.clone(), user.to_owned());
        if let Some(tally) = tallies.told.get_mut(&key)
            && now.saturating_duration_since(tally.at) < QUIET
        {
            tally.untold += 1;
            return None;
        }
        let empty_at = tallies.empty_at.map_or(now, |empty_at| empty_at.max(now));
        if empty_at.saturating_duration_since(now) > LEAK * (BURST - 1) {
            tallies.untold += 1;
            return None;
        }
        tallies.empty_at = Some(empty_at + LEAK);
        let mut untold = std::mem::take(&mut tallies.untold);
        tallies.told.retain(|_, tally| {
            let is_quiet = now.saturating_duration_since(tally.at) < QUIET;
            if !is_quiet {
                untold += tally.untold;
            }
            is_quiet
        });
        tallies.told.insert(key, Tally { at: now, untold: 0 });
        Some(untold)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn whoever_guesses_on_makes_one_line_and_the_next_one_counts_the_rest() {
        let refusals = Refusals::default();
        let now = Instant::now();
        let guesser = source(1);

        assert_eq!(refusals.note_at(&guesser, "alice", now), Some(0));
        for _ in 0..100 {
            assert_eq!(refusals.note_at(&guesser, "alice", now), None);
        }
        // Another user, or another source, is another matter.
        assert_eq!(refusals.note_at(&guesser, "bob", now), Some(0));
        assert_eq!(refusals.note_at(&source(2), "alice", now), Some(0));

        let later = now + QUIET;
        assert_eq!(refusals.note_at(&guesser, "alice", later), Some(100));
    }

    #[test]
    fn guesses_from_everywhere_make_no_more_lines_than_there_may_be() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let day = 24 * 3600;
        let (mut lines, mut told) = (0u32, 0u64);
        let mut number = 0;
        for second in 0..day {
            for _ in 0..3 {
                number += 1;
                let now = start + Duration::from_secs(second);
                if let Some(untold) = refusals.note_at(&source(number), "", now) {
                    lines += 1;
                    told += 1 + untold;
                }
            }
        }

        let most = BURST + u32::try_from(day / LEAK.as_secs()).expect("it fits");
        assert!(lines <= most && lines >= most - 1, "{lines} of {most}");
        let untold = u64::from(number) - told;
        assert!(
            untold <= 3 * LEAK.as_secs(),
            "{untold} are still to be told"
        );
        let kept = refusals.0.lock().expect("not poisoned").told.len();
        assert!(kept <= BURST as usize, "{kept} are kept");
    }

    fn source(number: u32) -> Attempter {
        Attempter::source(Ipv4Addr::from_bits(number).into())
    }
}
