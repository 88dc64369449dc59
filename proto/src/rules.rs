//! Access rules: which packets a member takes from others. They stand in the network's document, so they are signed, kept
//! on disk and passed on by gossip like everything else in it.
//!
//! Rules are in order and the first that matches decides; if none does, the default. The *receiving* member judges, and
//! answers to what it allowed or began itself pass without a rule. As text, one rule is a line:
//!
//! ```text
//! allow|deny [any|tcp|udp|icmp|NUMBER [PORT[-PORT],…]] [from WHO,…] [to WHO,…]
//! WHO: any | tag:TAG | member:NAME | PREFIX
//! ```
//!
//! Ports are those of the receiver. A member, by itself or by a tag, stands for its addresses and everything behind it;
//! a prefix stands for addresses, whoever has them.

use core::{fmt, str::FromStr};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

use crate::key::IdentityKey;

/// Most rules of a network: what a person can oversee with tags, and what a node can try per new flow in microseconds.
pub const MAX_RULES: usize = 1_000;
/// Most parties on one side of a rule, and most ranges of ports: whoever needs more uses a tag or a shorter prefix.
pub const MAX_PARTIES: usize = 32;
/// Most bytes of all rules of a network as encoded: the document has to fit into the 64 parts of 1,100 bytes that gossip
/// carries, together with its pools.
pub const MAX_RULES_BYTES: usize = 60_000;

/// What becomes of a packet.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is delivered.
    #[default]
    Allow,
    /// It is dropped and counted.
    Deny,
}

/// The rules of a network. Without any it is open: every member takes everything from every other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRules {
    /// For what no rule matches.
    pub default: Action,
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
}

impl AccessRules {
    /// Whether nothing is ever denied, so that there is nothing to judge.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.default == Action::Allow && self.rules.iter().all(|rule| rule.action == Action::Allow)
    }

    /// Whether these are the rules of a network that has none. They are left out of its document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.default == Action::Allow && self.rules.is_empty()
    }

    /// Reads the last field of a document, which is missing in one without rules, also in those of versions that knew none.
    /// Whatever else fails to read becomes "none" as well: then the document is not the encoding of what was read, and
    /// [`crate::wire::decode`] refuses it.
    pub(crate) fn or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::deserialize(deserializer).unwrap_or_default())
    }
}

/// One rule. `M` is how members are named: by key in documents, by name or node address (text) where people write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule<M = IdentityKey> {
    /// What becomes of packets that match.
    pub action: Action,
    /// Of which protocol.
    pub protocol: Protocol,
    /// Destination ports; empty for all. Only TCP and UDP have ports.
    pub ports: Vec<Ports>,
    /// Whom they come from; empty for anybody.
    pub from: Vec<Party<M>>,
    /// Whom they go to; empty for anybody.
    pub to: Vec<Party<M>>,
}

/// A protocol above IP.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Protocol {
    /// Whichever.
    #[default]
    Any,
    /// 6.
    Tcp,
    /// 17.
    Udp,
    /// ICMP (1) in IPv4, ICMPv6 (58) in IPv6.
    Icmp,
    /// Another one, by its number (IANA "Protocol Numbers").
    Other(u8),
}

impl Protocol {
    /// The protocol of this number.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            1 | 58 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            other => Self::Other(other),
        }
    }

    /// Whether its packets have ports.
    #[must_use]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp)
    }
}

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Ports {
    /// Whether a port is in it.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// Who sends or receives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Party<M = IdentityKey> {
    /// Every member with this tag.
    Tag(String),
    /// One member.
    Member(M),
    /// Addresses, whoever has them. Without host bits.
    Prefix(IpNet),
}

impl<M> Rule<M> {
    /// The same rule with members named otherwise; the first that cannot be is the error.
    pub fn rename_members<N, E>(self, rename: impl Fn(M) -> Result<N, E>) -> Result<Rule<N>, E> {
        let side = |parties: Vec<Party<M>>| {
            parties
                .into_iter()
                .map(|party| {
                    Ok(match party {
                        Party::Tag(tag) => Party::Tag(tag),
                        Party::Member(member) => Party::Member(rename(member)?),
                        Party::Prefix(prefix) => Party::Prefix(prefix),
                    })
                })
                .collect::<Result<Vec<_>, E>>()
        };
        Ok(Rule {
            action: self.action,
            protocol: self.protocol,
            ports: self.ports,
            from: side(self.from)?,
            to: side(self.to)?,
        })
    }
}

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It does not begin with what becomes of the packet.
    #[error("a rule begins with `allow` or `deny`, not {0:?}")]
    Action(String),
    /// Neither a protocol nor a part of a rule.
    #[error(
        "{0:?} is neither a protocol (any, tcp, udp, icmp, or a number from 0 to 255) nor `from` or `to`: write for example `allow tcp 22 from tag:admin to member:db`"
    )]
    Word(String),
    /// Not a port or a range.
    #[error("{0:?} is not a port: write 22 or 8000-8100, from 1 to 65535")]
    Ports(String),
    /// Ports of a protocol that has none.
    #[error("only tcp and udp have ports: name one of them, or leave the ports out")]
    NoPorts,
    /// Not a party.
    #[error("{0:?} is nobody: write any, tag:TAG, member:NAME, an address or a prefix")]
    Party(String),
    /// Nothing after `from` or `to`, or one of them twice.
    #[error("`{0}` stands once in a rule, with somebody behind it")]
    Side(&'static str),
}

impl FromStr for Action {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            other => Err(RuleError::Action(shortened(other))),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

impl FromStr for Protocol {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "any" => Ok(Self::Any),
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmp" => Ok(Self::Icmp),
            other => other
                .parse()
                .map(Self::of)
                .map_err(|_| RuleError::Word(shortened(other))),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Icmp => f.write_str("icmp"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

impl FromStr for Ports {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError::Ports(shortened(text));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let (first, last) = port(first).zip(port(last)).ok_or_else(wrong)?;
        if first > last {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for Party<String> {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError::Party(shortened(text));
        let named = |name: &str| {
            (!name.is_empty())
                .then(|| name.to_owned())
                .ok_or_else(wrong)
        };
        if let Some(tag) = text.strip_prefix("tag:") {
            return named(tag).map(Self::Tag);
        }
        if let Some(member) = text.strip_prefix("member:") {
            return named(member).map(Self::Member);
        }
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let prefix = text.parse::<IpNet>().or_else(|_| address());
        prefix
            .map(|prefix| Self::Prefix(prefix.trunc()))
            .map_err(|_| wrong())
    }
}

impl<M: fmt::Display> fmt::Display for Party<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "tag:{tag}"),
            Self::Member(member) => write!(f, "member:{member}"),
            Self::Prefix(prefix) => write!(f, "{prefix}"),
        }
    }
}

impl FromStr for Rule<String> {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut words = text.split_whitespace().peekable();
        let action = words.next().unwrap_or_default().parse()?;
        let is_side = |word: &&str| matches!(*word, "from" | "to");
        let protocol = words
            .next_if(|word| !is_side(word))
            .map_or(Ok(Protocol::Any), str::parse)?;
        let ports: Vec<Ports> = words
            .next_if(|word| !is_side(word))
            .map_or(Ok(Vec::new()), |listed| {
                listed.split(',').map(str::parse).collect()
            })?;
        let (mut from, mut to) = (None, None);
        while let Some(word) = words.next() {
            let (side, name) = match word {
                "from" => (&mut from, "from"),
                "to" => (&mut to, "to"),
                other => return Err(RuleError::Word(shortened(other))),
            };
            let listed = words.next().filter(|_| side.is_none());
            *side = Some(parties(listed.ok_or(RuleError::Side(name))?)?);
        }
        let rule = Self {
            action,
            protocol,
            ports,
            from: from.unwrap_or_default(),
            to: to.unwrap_or_default(),
        };
        rule.checked()
    }
}

impl<M> Rule<M> {
    /// The rule, unless it makes no sense by itself.
    pub fn checked(self) -> Result<Self, RuleError> {
        if self.ports.is_empty() || self.protocol.has_ports() {
            Ok(self)
        } else {
            Err(RuleError::NoPorts)
        }
    }
}

/// Parties of one side; none stands for anybody.
fn parties(listed: &str) -> Result<Vec<Party<String>>, RuleError> {
    if listed == "any" {
        return Ok(Vec::new());
    }
    listed.split(',').map(str::parse).collect()
}

impl<M: fmt::Display> fmt::Display for Rule<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.protocol)?;
        if !self.ports.is_empty() {
            write!(f, " {}", listed(&self.ports))?;
        }
        let side = |parties: &[Party<M>]| match parties {
            [] => "any".to_owned(),
            some => listed(some),
        };
        write!(f, " from {} to {}", side(&self.from), side(&self.to))
    }
}

fn listed(items: &[impl fmt::Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(",")
}

/// What somebody wrote, for a message.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_and_read_in_one_form_and_may_be_shortened() {
        for (text, whole) in [
            ("allow", "allow any from any to any"),
            ("deny tcp", "deny tcp from any to any"),
            (
                "allow  tcp 22,8000-8100 to member:db from tag:admin,172.28.1.9/24",
                "allow tcp 22,8000-8100 from tag:admin,172.28.1.0/24 to member:db",
            ),
            ("deny 6 80 from any", "deny tcp 80 from any to any"),
            ("deny 132 from fc00::1", "deny 132 from fc00::1/128 to any"),
            (
                "allow icmp to 10.0.0.0/8",
                "allow icmp from any to 10.0.0.0/8",
            ),
        ] {
            let rule: Rule<String> = text.parse().expect(text);
            assert_eq!(rule.to_string(), whole, "{text}");
            assert_eq!(whole.parse(), Ok(rule), "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_in_words() {
        for (text, said) in [
            ("", "a rule begins with `allow` or `deny`"),
            ("permit tcp", "a rule begins with `allow` or `deny`"),
            ("allow tpc 22", "neither a protocol"),
            ("allow 256", "neither a protocol"),
            ("allow tcp 0", "is not a port"),
            ("allow tcp 9-8", "is not a port"),
            ("allow tcp 65536", "is not a port"),
            ("allow any 22", "only tcp and udp have ports"),
            ("allow icmp 8", "only tcp and udp have ports"),
            ("allow tcp 22 23", "neither a protocol"),
            ("allow from", "`from` stands once"),
            ("allow to any to any", "`to` stands once"),
            ("allow from tag:", "is nobody"),
            ("allow from alice", "is nobody"),
            ("allow from any,tag:a", "is nobody"),
            ("allow from 10.0.0.0/33", "is nobody"),
        ] {
            let error = text.parse::<Rule<String>>().expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn rules_that_only_allow_leave_nothing_to_judge() {
        let with = |default, texts: &[&str]| AccessRules {
            default,
            rules: texts
                .iter()
                .map(|text| {
                    let rule: Rule<String> = text.parse().expect("a rule");
                    rule.rename_members(|name| name.parse()).expect("a key")
                })
                .collect(),
        };
        assert!(with(Action::Allow, &["allow tcp 22"]).is_open());
        assert!(!with(Action::Allow, &["allow tcp 22"]).is_empty());
        assert!(!with(Action::Allow, &["deny tcp 22"]).is_open());
        assert!(!with(Action::Deny, &[]).is_open());
        assert!(AccessRules::default().is_empty());
    }
}
