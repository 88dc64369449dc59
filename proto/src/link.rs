//! The join link: `tombolo://<network id>.<base32 of SHA-256 of the authority key>@host:port,host:port/<token>`.
//!
//! It authenticates the authority in full, where a bare network id can only do so on first use. No character in it
//! needs quoting in a shell, so an IPv6 host stands without brackets and the port is never left out.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{id::NetworkId, key::KeyDigest};

const SCHEME: &str = "tombolo://";

/// A host name or address with a port. IPv6 hosts are kept without brackets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The same host at another port.
    #[must_use]
    pub fn at_port(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port,
        }
    }
}

impl From<HostPort> for String {
    fn from(value: HostPort) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for HostPort {
    type Error = ParseLinkError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for HostPort {
    type Err = ParseLinkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(ParseLinkError::Endpoint)?;
        let host = host
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(host);
        let port = port
            .parse()
            .ok()
            .filter(|number: &u16| *number != 0 && number.to_string() == port);
        let is_name = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
        match port {
            Some(port) if !host.is_empty() && host.len() <= 253 && (is_name || is_v6) => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(ParseLinkError::Endpoint),
        }
    }
}

/// Everything a node needs to join with nothing taken on trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinLink {
    /// The network to join.
    pub network: NetworkId,
    /// Digest of the authority's root key.
    pub authority: KeyDigest,
    /// Control addresses, in order of preference; at least one.
    pub controllers: Vec<HostPort>,
    /// A join token that authorises at once.
    pub token: Option<String>,
}

/// Why a text is not a join link or part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseLinkError {
    /// It does not start with `tombolo://`, or a separator is missing.
    #[error("expected tombolo://<network id>.<key>@host:port[,host:port]/[token]")]
    Shape,
    /// The network id part.
    #[error("the network id must be 16 hex digits")]
    Network,
    /// The key part.
    #[error("the key must be 52 characters of lower-case base32")]
    Key,
    /// A controller address.
    #[error("a controller address must be host:port")]
    Endpoint,
    /// The token part.
    #[error("the token may only hold letters, digits, '-' and '_'")]
    Token,
}

impl fmt::Display for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}.{}@", self.network, self.authority)?;
        for (position, controller) in self.controllers.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{controller}")?;
        }
        match &self.token {
            Some(token) => write!(f, "/{token}"),
            None => Ok(()),
        }
    }
}

impl FromStr for JoinLink {
    type Err = ParseLinkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(ParseLinkError::Shape)?;
        let (name, place) = rest.split_once('@').ok_or(ParseLinkError::Shape)?;
        let (network, authority) = name.split_once('.').ok_or(ParseLinkError::Shape)?;
        let (controllers, token) = match place.split_once('/') {
            Some((controllers, token)) => {
                (controllers, Some(token).filter(|token| !token.is_empty()))
            }
            None => (place, None),
        };
        if token.is_some_and(|token| {
            !token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        }) {
            return Err(ParseLinkError::Token);
        }
        Ok(Self {
            network: network.parse().map_err(|_| ParseLinkError::Network)?,
            authority: authority.parse().map_err(|_| ParseLinkError::Key)?,
            controllers: controllers
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()?,
            token: token.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Seed;

    #[test]
    fn a_link_round_trips_with_ipv6_and_token() {
        let key = Seed::from_bytes([7; 32]).identity().public().digest();
        let text = format!(
            "tombolo://8056c2e21c000001.{key}@ctl.example.org:9791,2001:db8::1:9791/tombolo_a-B_9"
        );

        let link: JoinLink = text.parse().expect("a valid link");

        assert_eq!(link.to_string(), text);
        assert_eq!(link.controllers[1].host(), "2001:db8::1");
        assert_eq!(link.token.as_deref(), Some("tombolo_a-B_9"));
    }

    #[test]
    fn brackets_are_understood_and_dropped() {
        let endpoint: HostPort = "[2001:db8::1]:9791".parse().expect("a bracketed address");
        assert_eq!(endpoint.to_string(), "2001:db8::1:9791");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let key = Seed::from_bytes([7; 32]).identity().public().digest();
        let parse = |text: &str| text.parse::<JoinLink>().expect_err("not a link");

        assert_eq!(parse("http://x"), ParseLinkError::Shape);
        assert_eq!(
            parse(&format!("tombolo://805.{key}@a:1")),
            ParseLinkError::Network
        );
        assert_eq!(
            parse("tombolo://8056c2e21c000001.abc@a:1"),
            ParseLinkError::Key
        );
        assert_eq!(
            parse(&format!("tombolo://8056c2e21c000001.{key}@a")),
            ParseLinkError::Endpoint
        );
        assert_eq!(
            parse(&format!("tombolo://8056c2e21c000001.{key}@a:0")),
            ParseLinkError::Endpoint
        );
        assert_eq!(
            parse(&format!("tombolo://8056c2e21c000001.{key}@a:1/to ken")),
            ParseLinkError::Token
        );
    }
}
