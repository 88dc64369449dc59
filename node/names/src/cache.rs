//! What other members have answered, for a few seconds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{Answer, Family, TTL, table::Errand};

/// Answers that are kept at most.
const CAPACITY: usize = 1024;

/// Answers by what was asked.
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<(Errand, Family), (Instant, Answer)>,
}

impl Cache {
    /// An answer that is still good.
    #[must_use]
    pub fn get(&self, errand: &Errand, family: Family, now: Instant) -> Option<Answer> {
        let (until, answer) = self.entries.get(&(errand.clone(), family))?;
        (now < *until).then(|| answer.clone())
    }

    /// Keeps an answer; when full, first those go that are no good any more, then all.
    pub fn put(&mut self, errand: Errand, family: Family, answer: Answer, now: Instant) {
        if self.entries.len() >= CAPACITY {
            self.entries.retain(|_, (until, _)| now < *until);
        }
        if self.entries.len() >= CAPACITY {
            self.entries.clear();
        }
        let until = now + Duration::from_secs(TTL.into());
        self.entries.insert((errand, family), (until, answer));
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts at some moment and goes on by arithmetic"
)]
mod tests {
    use super::*;
    use crate::table::tests::errand;

    #[test]
    fn answers_are_kept_for_their_time_and_family() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(errand("web"), Family::V4, Answer::NoSuchName, now);

        let later = now + Duration::from_secs(TTL.into());
        let just_before = later - Duration::from_millis(1);
        assert_eq!(
            cache.get(&errand("web"), Family::V4, just_before),
            Some(Answer::NoSuchName)
        );
        assert_eq!(cache.get(&errand("web"), Family::V4, later), None);
        assert_eq!(cache.get(&errand("web"), Family::V6, now), None);
        assert_eq!(cache.get(&errand("db"), Family::V4, now), None);
    }

    #[test]
    fn many_names_do_not_fill_the_memory() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..3 * CAPACITY {
            let errand = errand(&format!("c{number}"));
            cache.put(errand, Family::V4, Answer::NoSuchName, now);
            assert!(cache.entries.len() <= CAPACITY);
        }
    }
}
