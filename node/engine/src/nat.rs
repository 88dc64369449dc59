//! What a NAT in front of this node does, in the words of RFC 4787 section 4 and 5, as far as it can be seen from inside.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

/// How a NAT gives outer ports to an inner socket (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// Fewer than two observers have answered.
    #[default]
    Unknown,
    /// There is no NAT: the host has the address at which it is seen.
    None,
    /// All observers see one socket: whoever is told of it can call it.
    EndpointIndependent,
    /// Observers on different hosts see different sockets. Whether ports of one host differ too was not seen.
    AddressDependent,
    /// Two ports of one host see different sockets: nobody can be told where to call.
    AddressAndPortDependent,
}

impl Mapping {
    /// As people and scripts read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }

    /// Whether each peer sees this node at a port of its own, which nobody knows before.
    #[must_use]
    pub const fn is_dependent(self) -> bool {
        matches!(self, Self::AddressDependent | Self::AddressAndPortDependent)
    }

    /// What these observers together show: who was asked, and where it sees the socket. `is_here` tells addresses of this
    /// host.
    #[must_use]
    pub fn seen(
        observed: &BTreeMap<SocketAddr, SocketAddr>,
        is_here: impl Fn(IpAddr) -> bool,
    ) -> Self {
        if observed.values().any(|seen| is_here(seen.ip())) {
            return Self::None;
        }
        if observed.len() < 2 {
            return Self::Unknown;
        }
        let mut by_host = BTreeMap::<IpAddr, BTreeSet<SocketAddr>>::new();
        for (observer, seen) in observed {
            by_host.entry(observer.ip()).or_default().insert(*seen);
        }
        let all: BTreeSet<SocketAddr> = observed.values().copied().collect();
        if all.len() == 1 {
            Self::EndpointIndependent
        } else if by_host.values().any(|seen| seen.len() > 1) {
            Self::AddressAndPortDependent
        } else {
            Self::AddressDependent
        }
    }
}

/// What a NAT or firewall lets in to a mapping (RFC 4787 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filtering {
    /// Nobody could be asked.
    #[default]
    Unknown,
    /// Whatever comes.
    EndpointIndependent,
    /// What comes from hosts that the socket has sent to.
    AddressDependent,
    /// What comes from sockets that the socket has sent to.
    AddressAndPortDependent,
}

impl Filtering {
    /// As people and scripts read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_mapping_is_told_from_what_observers_see() {
        for (observed, mapping) in [
            (&[][..], Mapping::Unknown),
            (&[("192.0.2.1:1", "203.0.113.7:5")], Mapping::Unknown),
            (
                &[
                    ("192.0.2.1:1", "203.0.113.7:5"),
                    ("192.0.2.1:2", "203.0.113.7:5"),
                ],
                Mapping::EndpointIndependent,
            ),
            (
                &[
                    ("192.0.2.1:1", "203.0.113.7:5"),
                    ("192.0.2.1:2", "203.0.113.7:5"),
                    ("192.0.2.2:1", "203.0.113.7:6"),
                ],
                Mapping::AddressDependent,
            ),
            (
                &[
                    ("192.0.2.1:1", "203.0.113.7:5"),
                    ("192.0.2.2:1", "203.0.113.7:6"),
                ],
                Mapping::AddressDependent,
            ),
            (
                &[
                    ("192.0.2.1:1", "203.0.113.7:5"),
                    ("192.0.2.1:2", "203.0.113.7:6"),
                    ("192.0.2.2:1", "203.0.113.7:7"),
                ],
                Mapping::AddressAndPortDependent,
            ),
            (&[("192.0.2.1:1", "198.51.100.9:9790")], Mapping::None),
        ] {
            let observed = observed
                .iter()
                .map(|(by, seen)| (at(by), at(seen)))
                .collect();
            let here = at("198.51.100.9:0").ip();

            assert_eq!(
                Mapping::seen(&observed, |ip| ip == here),
                mapping,
                "{observed:?}"
            );
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an endpoint")
    }
}
