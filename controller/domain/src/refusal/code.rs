//! Refusals for programs: a stable name, and what it is about by name, so that a refusal can be told in any language.

use tombolo_proto::rules::MAX_RULES;

use super::Refusal;
use crate::rules::RuleFault;

/// A refusal without its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// Its stable name.
    pub code: &'static str,
    /// What it is about.
    pub values: Vec<(&'static str, String)>,
}

impl Refusal {
    /// The refusal without its sentence.
    #[must_use]
    pub fn coded(&self) -> Coded {
        macro_rules! coded {
            ($code:literal $(, $name:literal = $value:expr)*) => {
                Coded { code: $code, values: vec![$(($name, $value.to_string())),*] }
            };
        }
        let range =
            |range: &tombolo_proto::config::Ipv4Range| format!("{}-{}", range.start, range.end);
        match self {
            Self::UsedUp => coded!("used-up"),
            Self::Name(_) => coded!("name"),
            Self::Prefix(_) => coded!("prefix"),
            Self::Mtu(mtu) => coded!("mtu", "mtu" = mtu),
            Self::PoolTooSmall(pool) => coded!("pool-too-small", "pool" = pool),
            Self::NotRoutable(prefix) => coded!("not-routable", "prefix" = prefix),
            Self::RangeReversed(start, end) => {
                coded!("range-reversed", "start" = start, "end" = end)
            }
            Self::RangesOverlap(one, other) => {
                coded!("ranges-overlap", "one" = range(one), "other" = range(other))
            }
            Self::PoolsOverlap(one, other) => {
                coded!("pools-overlap", "one" = one, "other" = other)
            }
            Self::TooManyPools(most) => coded!("too-many-pools", "most" = most),
            Self::SubnetPoolOverlapsPool { subnet_pool, pool } => {
                coded!(
                    "subnet-pool-overlaps-pool",
                    "subnet_pool" = subnet_pool,
                    "pool" = pool
                )
            }
            Self::PoolOverlapsRoute {
                pool,
                target,
                member,
            } => {
                coded!(
                    "pool-overlaps-route",
                    "pool" = pool,
                    "target" = target,
                    "member" = member
                )
            }
            Self::MemberOutsidePools { member, address } => {
                coded!(
                    "member-outside-pools",
                    "member" = member,
                    "address" = address
                )
            }
            Self::PoolFull(_) => coded!("pool-full"),
            Self::UnknownMember => coded!("unknown-member"),
            Self::StillWaiting(node) => coded!("still-waiting", "node" = node),
            Self::NameTaken(name) => coded!("name-taken", "name" = name),
            Self::AddressTaken { address, member } => {
                coded!("address-taken", "address" = address, "member" = member)
            }
            Self::AddressOutsidePools(address) => {
                coded!("address-outside-pools", "address" = address)
            }
            Self::AddressNotAssignable(address) => {
                coded!("address-not-assignable", "address" = address)
            }
            Self::TooManyAddresses(most) => coded!("too-many-addresses", "most" = most),
            Self::Tag(tag) => coded!("tag", "tag" = tag),
            Self::NodeAddressTaken(node) => coded!("node-address-taken", "node" = node),
            Self::TransportKeyTaken => coded!("transport-key-taken"),
            Self::Deauthorized => coded!("deauthorized"),
            Self::TooManyRequests => coded!("too-many-requests"),
            Self::UnknownRoute => coded!("unknown-route"),
            Self::RouteOverlapsPool { target, pool } => {
                coded!("route-overlaps-pool", "target" = target, "pool" = pool)
            }
            Self::RouteOverlapsAutomatic { target, automatic } => {
                coded!(
                    "route-overlaps-automatic",
                    "target" = target,
                    "automatic" = automatic
                )
            }
            Self::RouteCoversMember {
                target,
                address,
                member,
            } => {
                coded!(
                    "route-covers-member",
                    "target" = target,
                    "address" = address,
                    "member" = member
                )
            }
            Self::RouteTaken { target, member } => {
                coded!("route-taken", "target" = target, "member" = member)
            }
            Self::RouteExists { target, id } => {
                coded!("route-exists", "target" = target, "id" = id)
            }
            Self::ViaNotAuthorized(member) => coded!("via-not-authorized", "member" = member),
            Self::TooManyRoutes(most) => coded!("too-many-routes", "most" = most),
            Self::MemberRoutesOff => coded!("member-routes-off"),
            Self::NotYourRoute(prefix) => coded!("not-your-route", "prefix" = prefix),
            Self::RouteState => coded!("route-state"),
            Self::NoSubnetLeft(length) => coded!("no-subnet-left", "length" = length),
            Self::SubnetLength(length) => coded!("subnet-length", "length" = length),
            Self::TooManyRules => coded!("too-many-rules", "most" = MAX_RULES),
            Self::RulesTooLong => coded!("rules-too-long"),
            Self::Rule {
                number,
                text,
                fault,
            } => match fault {
                RuleFault::Form(_) => coded!("rule-form", "number" = number),
                RuleFault::TooLong => coded!("rule-too-long", "number" = number),
                RuleFault::UnknownMember(who) => {
                    coded!(
                        "rule-unknown-member",
                        "number" = number,
                        "rule" = text,
                        "who" = who
                    )
                }
                RuleFault::UnknownTag(tag) => {
                    coded!(
                        "rule-unknown-tag",
                        "number" = number,
                        "rule" = text,
                        "tag" = tag
                    )
                }
                RuleFault::Outside(prefix) => {
                    coded!(
                        "rule-outside",
                        "number" = number,
                        "rule" = text,
                        "prefix" = prefix
                    )
                }
            },
            Self::MemberSubnetLength(length) => coded!("member-subnet-length", "length" = length),
        }
    }
}
