//! Prefixes as people type them: `172.28.233.1/24` means `172.28.233.0/24`, and saying so is part of the answer.

use core::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// Why a text is not a prefix that can be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address with a length.
    #[error("{0:?} is not a prefix: write an address and a length, such as 172.28.233.0/24")]
    Form(String),
    /// An IPv6 prefix where only IPv4 makes sense.
    #[error(
        "{0} is an IPv6 prefix where an IPv4 one belongs: write something like 172.27.0.0/16 (IPv6 needs no range: it follows from v6_modes)"
    )]
    Ipv6(IpNet),
}

/// A prefix without host bits, and what it was before they were cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypedPrefix {
    /// Without host bits.
    pub prefix: IpNet,
    /// What was typed, if it had host bits.
    pub normalized_from: Option<IpNet>,
}

impl TypedPrefix {
    /// Requires IPv4.
    pub fn v4(self) -> Result<Ipv4Net, PrefixError> {
        match self.prefix {
            IpNet::V4(prefix) => Ok(prefix),
            IpNet::V6(_) => Err(PrefixError::Ipv6(self.prefix)),
        }
    }
}

impl From<IpNet> for TypedPrefix {
    fn from(typed: IpNet) -> Self {
        let prefix = typed.trunc();
        Self {
            prefix,
            normalized_from: (prefix != typed).then_some(typed),
        }
    }
}

impl FromStr for TypedPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        text.trim()
            .parse::<IpNet>()
            .map(Self::from)
            .map_err(|_| PrefixError::Form(text.chars().take(80).collect()))
    }
}

/// Whether two prefixes share an address.
#[must_use]
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cut_off_and_reported() {
        let typed: TypedPrefix = "172.28.233.1/24".parse().expect("a prefix");

        assert_eq!(typed.prefix.to_string(), "172.28.233.0/24");
        assert_eq!(
            typed.normalized_from.map(|net| net.to_string()),
            Some("172.28.233.1/24".into())
        );
    }

    #[test]
    fn a_prefix_without_host_bits_is_left_alone() {
        let typed: TypedPrefix = "fc00::/7".parse().expect("a prefix");

        assert_eq!(typed.normalized_from, None);
        assert!(matches!(typed.v4(), Err(PrefixError::Ipv6(_))));
    }

    #[test]
    fn addresses_without_a_length_are_refused() {
        for text in ["172.28.233.1", "", "172.28.233.0/33", "::/129", "x/8"] {
            assert!(text.parse::<TypedPrefix>().is_err(), "{text}");
        }
    }
}
