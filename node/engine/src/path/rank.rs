//! How good a way is before anything is known of it.

use std::net::{IpAddr, SocketAddr};

use super::way::Way;

/// Kinds of ways, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// To a private address: whoever proves to be the peer there is near, and no NAT is in between that may forget.
    Lan,
    /// To a global address that the peer says it has.
    Public,
    /// To where the peer is seen and does not say it is: a NAT made that up, and forgets it.
    Mapped,
    /// On a stream of TCP, which delays everything behind what is lost: for where no UDP passes.
    Stream,
    /// By a relay.
    Relay,
}

impl Rank {
    /// `is_announced` is whether the peer says that it is there.
    pub(crate) fn of(way: Way, is_announced: bool) -> Self {
        match way {
            Way::Relay { .. } => Self::Relay,
            Way::Direct(endpoint) if is_stream(endpoint) => Self::Stream,
            Way::Direct(endpoint) if is_private(endpoint) => Self::Lan,
            Way::Direct(_) if is_announced => Self::Public,
            Way::Direct(_) | Way::Through { .. } => Self::Mapped,
        }
    }
}

/// No peer is on this host: behind a loopback address the shell keeps a stream to the peer.
pub(crate) fn is_stream(endpoint: SocketAddr) -> bool {
    endpoint.ip().to_canonical().is_loopback()
}

/// RFC 1918 and RFC 4193. Addresses shared within a carrier's network (RFC 6598) are as good as public ones to its
/// customers, and no better.
fn is_private(endpoint: SocketAddr) -> bool {
    match endpoint.ip().to_canonical() {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::way::{Circuit, RelaySlot};

    #[test]
    fn the_near_comes_before_the_public_the_public_before_the_mapped_and_streams_and_relays_last() {
        let relay = Way::Relay {
            relay: RelaySlot(1),
            circuit: Circuit(1),
        };
        let ranks = [
            Rank::of(direct("192.168.1.5:9790"), true),
            Rank::of(direct("203.0.113.7:9790"), true),
            Rank::of(direct("203.0.113.7:4242"), false),
            Rank::of(direct("127.0.0.1:40000"), false),
            Rank::of(relay, true),
        ];

        assert_eq!(
            ranks,
            [
                Rank::Lan,
                Rank::Public,
                Rank::Mapped,
                Rank::Stream,
                Rank::Relay
            ]
        );
        assert!(ranks.is_sorted());
        assert_eq!(Rank::of(direct("[fd00::1]:1"), false), Rank::Lan);
        assert_eq!(Rank::of(direct("[2001:db8::1]:1"), true), Rank::Public);
        assert_eq!(Rank::of(direct("100.64.0.1:1"), true), Rank::Public);
    }

    fn direct(endpoint: &str) -> Way {
        Way::Direct(endpoint.parse().expect("an endpoint"))
    }
}
