//! Names of networks and members: what people type instead of an id, so they never look like one.

use core::{fmt, str::FromStr};
use std::net::IpAddr;

use tombolo_proto::id::{NetworkId, NodeId};

/// Longest name: a DNS label, so that names can become host names.
pub const MAX_NAME: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Wrong characters or length.
    #[error(
        "the name {0:?} is not usable: write 1 to 63 letters, digits, '-', '_' or '.', starting with a letter or digit"
    )]
    Form(String),
    /// It would be mistaken for an id or an address.
    #[error("the name {0:?} reads like an id or an address: choose another")]
    LooksLikeAnId(String),
}

/// A name of 1 to 63 letters, digits, `-`, `_` or `.`. Compared without regard to case.
#[derive(Clone)]
pub struct Name(String);

impl Name {
    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which names are compared.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Makes the best of a name somebody else chose, such as a host name; `fallback` if nothing is left of it.
    #[must_use]
    pub fn from_suggestion(suggestion: &str, fallback: NodeId) -> Self {
        Self::suggested(suggestion).unwrap_or_else(|| Self(format!("node-{fallback}")))
    }

    /// Makes the best of a name somebody else chose; none if nothing is left of it.
    #[must_use]
    pub fn suggested(suggestion: &str) -> Option<Self> {
        let usable: String = suggestion
            .chars()
            .map(|character| if is_inner(character) { character } else { '-' })
            .collect();
        let trimmed = usable.trim_start_matches(|first: char| !first.is_ascii_alphanumeric());
        let short: String = trimmed.chars().take(MAX_NAME).collect();
        short.parse().ok()
    }

    /// The same name with a number behind it, still within the length limit.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Self {
        let suffix = format!("-{number}");
        let room = MAX_NAME - suffix.len();
        Self(self.0.chars().take(room).chain(suffix.chars()).collect())
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !starts_well || text.len() > MAX_NAME || !text.chars().all(is_inner) {
            return Err(NameError::Form(text.chars().take(2 * MAX_NAME).collect()));
        }
        let is_id = text.parse::<NetworkId>().is_ok()
            || text.parse::<NodeId>().is_ok()
            || text.parse::<IpAddr>().is_ok();
        if is_id {
            return Err(NameError::LooksLikeAnId(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

const fn is_inner(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_read_like_ids_or_addresses_are_refused() {
        for text in ["8056c2e21c000001", "89e92ceee5", "10.0.0.1"] {
            assert_eq!(
                text.parse::<Name>(),
                Err(NameError::LooksLikeAnId(text.to_owned()))
            );
        }
    }

    #[test]
    fn empty_long_and_odd_names_are_refused() {
        for text in ["", "-a", "a b", "ä", &"x".repeat(64)] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn any_suggestion_gives_a_name() {
        let node = NodeId::new(0x89_e92c_eee5).expect("a valid address");
        for (suggestion, name) in [
            ("web 1", "web-1"),
            ("", "node-89e92ceee5"),
            ("10.0.0.1", "node-89e92ceee5"),
            ("--nas", "nas"),
        ] {
            assert_eq!(Name::from_suggestion(suggestion, node).as_str(), name);
        }
    }

    #[test]
    fn a_numbered_name_stays_within_the_limit() {
        let long: Name = "x".repeat(63).parse().expect("63 characters are allowed");

        assert!(long.numbered(10_000).as_str().parse::<Name>().is_ok());
    }
}
