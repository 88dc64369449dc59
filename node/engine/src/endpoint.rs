//! Which endpoints are worth a datagram, whoever says that a peer is there.

use std::net::{IpAddr, SocketAddr};

/// Whether an endpoint is one host's, and one that a datagram sent from here can reach. Loopback and link-local
/// addresses mean another host to everybody, and no peer is behind a multicast or broadcast address (RFC 6890).
#[must_use]
pub fn is_callable(endpoint: SocketAddr) -> bool {
    is_host(endpoint.ip()) && endpoint.port() != 0
}

/// Whether an address may be one host's, and that of another one than this.
pub(crate) fn is_host(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            first != 0 && first < 224 && !address.is_loopback() && !address.is_link_local()
        }
        IpAddr::V6(address) => {
            !address.is_unspecified()
                && !address.is_loopback()
                && !address.is_multicast()
                && !address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_called_and_nothing_else() {
        for host in [
            "203.0.113.7:9790",
            "192.168.1.5:1",
            "[2001:db8::7]:9790",
            "[fd00::1]:9790",
        ] {
            assert!(is_callable(host.parse().expect("an endpoint")), "{host}");
        }
        for other in [
            "203.0.113.7:0",
            "0.0.0.0:9790",
            "127.0.0.1:9790",
            "169.254.169.254:80",
            "224.0.0.1:9790",
            "255.255.255.255:9790",
            "[::]:9790",
            "[::1]:9790",
            "[::ffff:127.0.0.1]:9790",
            "[fe80::1]:9790",
            "[ff02::1]:9790",
        ] {
            assert!(!is_callable(other.parse().expect("an endpoint")), "{other}");
        }
    }
}
