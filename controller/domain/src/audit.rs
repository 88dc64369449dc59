//! The audit log as a chain. The hash of a line covers the line and the hash of the one before it, so a line that is
//! changed, taken out or put in makes every later hash wrong. Somebody who may write to the database can make a whole new
//! chain; whoever noted the place and hash of one line sees that as well.
//!
//! ```text
//! hash = SHA-256("tombolo/audit/v1" | hash before | place u64 | at u64 | text of: actor, action, network, subject, before, after)
//! text = 0, or 1 | length u64 | UTF-8                          (numbers big endian; the hash before the first line is zeros)
//! ```

use sha2::{Digest as _, Sha256};

const LABEL: &[u8] = b"tombolo/audit/v1";

/// The hash of a line.
pub type Hash = [u8; 32];

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// 1 for the first line, then one more each.
    pub place: u64,
    /// Seconds since 1970.
    pub at: u64,
    /// Who.
    pub actor: &'a str,
    /// Did what.
    pub action: &'a str,
    /// In which network.
    pub network: Option<&'a str>,
    /// To what.
    pub subject: &'a str,
    /// What it was before: JSON without spaces, keys in order.
    pub before: Option<&'a str>,
    /// What it was afterwards, likewise.
    pub after: Option<&'a str>,
}

impl Line<'_> {
    /// The line's hash, if `previous` is the one before it.
    #[must_use]
    pub fn hash(&self, previous: &Hash) -> Hash {
        let mut digest = Sha256::new();
        digest.update(LABEL);
        digest.update(previous);
        digest.update(self.place.to_be_bytes());
        digest.update(self.at.to_be_bytes());
        for text in [
            Some(self.actor),
            Some(self.action),
            self.network,
            Some(self.subject),
            self.before,
            self.after,
        ] {
            match text {
                None => digest.update([0]),
                Some(text) => {
                    digest.update([1]);
                    digest.update((text.len() as u64).to_be_bytes());
                    digest.update(text);
                }
            }
        }
        digest.finalize().into()
    }
}

/// The end of a chain, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chain {
    /// The place of the last line; 0 before the first.
    pub place: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Where a chain breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Lines are not there.
    #[error("line {expected} is missing: the next one is {found}")]
    Missing {
        /// The place that should have come.
        expected: u64,
        /// The place that came.
        found: u64,
    },
    /// The line, or one before it, is not what was written.
    #[error("line {0} or the one before it is not what was written")]
    Altered(u64),
}

impl Chain {
    /// Appends a line at the next place. Returns its hash.
    pub fn append(&mut self, line: &Line<'_>) -> Hash {
        self.place = line.place;
        self.hash = line.hash(&self.hash);
        self.hash
    }

    /// Goes on by a line that says what its hash is.
    pub fn follow(&mut self, line: &Line<'_>, hash: &Hash) -> Result<(), Break> {
        let expected = self.place + 1;
        if line.place != expected {
            let found = line.place;
            return Err(Break::Missing { expected, found });
        }
        if line.hash(&self.hash) != *hash {
            return Err(Break::Altered(line.place));
        }
        self.append(line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_line(place: u64) -> Line<'static> {
        Line {
            place,
            at: 1_700_000_000,
            actor: "user anna",
            action: "member.authorize",
            network: Some("8056c2e21c000001"),
            subject: "89e92ceee5",
            before: None,
            after: Some("{}"),
        }
    }

    #[test]
    fn a_chain_of_what_was_written_holds() {
        let mut written = Chain::default();
        let hashes: Vec<Hash> = (1..=3)
            .map(|place| written.append(&a_line(place)))
            .collect();

        let mut read = Chain::default();
        for (place, hash) in (1..).zip(&hashes) {
            assert_eq!(read.follow(&a_line(place), hash), Ok(()));
        }

        assert_eq!(read, written);
    }

    #[test]
    fn every_field_counts_and_none_runs_into_the_next() {
        let line = a_line(1);
        let others = [
            Line { place: 2, ..line },
            Line { at: 0, ..line },
            Line {
                actor: "user ann",
                ..line
            },
            Line {
                actor: "user annam",
                action: "ember.authorize",
                ..line
            },
            Line {
                network: None,
                ..line
            },
            Line {
                network: Some(""),
                ..line
            },
            Line {
                subject: "",
                ..line
            },
            Line {
                before: Some(""),
                ..line
            },
            Line {
                before: line.after,
                after: line.before,
                ..line
            },
        ];

        for other in others {
            assert_ne!(other.hash(&[0; 32]), line.hash(&[0; 32]), "{other:?}");
        }
        assert_ne!(line.hash(&[1; 32]), line.hash(&[0; 32]));
    }

    #[test]
    fn lines_that_are_missing_changed_or_added_break_it() {
        let mut written = Chain::default();
        let hashes: Vec<Hash> = (1..=3)
            .map(|place| written.append(&a_line(place)))
            .collect();
        let mut read = Chain::default();
        read.follow(&a_line(1), &hashes[0]).expect("the first line");

        let missing = read.clone().follow(&a_line(3), &hashes[2]);
        let forged = Line {
            subject: "another",
            ..a_line(2)
        };
        let altered = read.clone().follow(&forged, &hashes[1]);
        let hash = forged.hash(&read.hash);
        read.follow(&forged, &hash)
            .expect("a forged line with its own hash");
        let after_forged = read.follow(&a_line(3), &hashes[2]);

        assert_eq!(
            missing,
            Err(Break::Missing {
                expected: 2,
                found: 3
            })
        );
        assert_eq!(altered, Err(Break::Altered(2)));
        assert_eq!(after_forged, Err(Break::Altered(3)));
    }

    #[test]
    fn the_hash_stays_what_it_is() {
        let hash: String = a_line(1)
            .hash(&[0; 32])
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();

        assert_eq!(
            hash,
            "c87ff0d1dab67885182f6a48a8503c0ff356c90fda7706709f09d5e719b7d745"
        );
    }
}
