//! Under which names browsers may ask. A foreign site that has its own name resolve to this host (DNS rebinding) would
//! otherwise be served like one of ours. Addresses cannot be rebound, and over TLS the certificate says the names.

use std::net::{IpAddr, Ipv6Addr};

/// The names besides addresses and `localhost`.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| canonical(&name)).collect())
    }

    /// Whether the value of a `Host` header names this controller.
    pub(crate) fn admit(&self, host: &str) -> bool {
        let name = canonical(without_port(host));
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A bare IPv6 address ends in digits as well.
            if host.parse::<Ipv6Addr>().is_ok() {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_admitted_and_others_are_not() {
        let hosts = Hosts::new(["Panel.example.org".to_owned()]);
        for good in [
            "127.0.0.1:9792",
            "192.0.2.1",
            "[::1]:9792",
            "[2001:db8::1]",
            "localhost:9792",
            "LOCALHOST",
            "x.localhost:1",
            "panel.example.org",
            "panel.example.org.:443",
        ] {
            assert!(hosts.admit(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:9792",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "panel.example.org.evil.example",
        ] {
            assert!(!hosts.admit(bad), "{bad}");
        }
    }
}
