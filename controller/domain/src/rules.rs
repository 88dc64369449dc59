//! Access rules between the words people use and those of the network's document, where members stand by their keys.

use std::collections::BTreeSet;

use ipnet::IpNet;
use tombolo_proto::{
    key::IdentityKey,
    rules::{AccessRules, MAX_PARTIES, MAX_RULES, MAX_RULES_BYTES, Party, Rule, RuleError},
    sixplane, wire,
};

use crate::{name::Name, network::Network, prefix::overlap, refusal::Refusal};

/// What is wrong with one rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// It makes no sense by itself.
    #[error(transparent)]
    Form(#[from] RuleError),
    /// Longer than a rule may be.
    #[error(
        "it names more than {MAX_PARTIES} parties on one side, or as many ranges of ports: give the members a tag, or write two rules"
    )]
    TooLong,
    /// Nobody of this name, node address or key.
    #[error("there is no member {0:?}: list members to see who there is")]
    UnknownMember(String),
    /// A tag that nobody has.
    #[error("no member has the tag {0:?}: give it to one first, or correct it")]
    UnknownTag(String),
    /// A prefix in which nobody can be.
    #[error(
        "no address of this network is in {0}: name a pool, a route, a part of them, or a larger prefix"
    )]
    Outside(IpNet),
}

/// The rules as the document holds them. What the rules in force name already may stay: a tag whose last bearer is gone does
/// not stop an administrator from changing another rule.
pub fn resolve(
    network: &Network,
    default: tombolo_proto::rules::Action,
    written: Vec<Rule<String>>,
) -> Result<AccessRules, Refusal> {
    if written.len() > MAX_RULES {
        return Err(Refusal::TooManyRules);
    }
    let known = Known::of(network);
    let rules = (1..)
        .zip(written)
        .map(|(number, rule)| {
            let text = rule.to_string();
            known.resolve(network, rule).map_err(|fault| Refusal::Rule {
                number,
                text: text.chars().take(200).collect(),
                fault,
            })
        })
        .collect::<Result<_, _>>()?;
    let rules = AccessRules { default, rules };
    if wire::encode(&rules).len() > MAX_RULES_BYTES {
        return Err(Refusal::RulesTooLong);
    }
    Ok(rules)
}

/// The rules in force in the words people use: members by name, and those that are gone by key.
#[must_use]
pub fn written(network: &Network) -> Vec<Rule<String>> {
    let name = |key: IdentityKey| Ok::<_, std::convert::Infallible>(network.name_of(&key));
    let rules = network.settings().rules.rules.iter().cloned();
    rules
        .filter_map(|rule| rule.rename_members(name).ok())
        .collect()
}

/// What a rule may name.
struct Known<'a> {
    tags: BTreeSet<&'a str>,
    members: BTreeSet<IdentityKey>,
    prefixes: Vec<IpNet>,
}

impl<'a> Known<'a> {
    fn of(network: &'a Network) -> Self {
        let settings = network.settings();
        let pools = settings.v4.on_link().iter().copied().map(IpNet::V4);
        let automatic = [
            sixplane::network(network.id()),
            sixplane::rfc4193_network(network.id()),
        ];
        let prefixes = pools
            .chain(settings.subnet_pools.iter().copied())
            .chain(network.routes().map(|route| route.target))
            .chain(automatic.map(IpNet::V6));
        let tags = network.members().flat_map(|member| &member.tags);
        let mut known = Self {
            tags: tags.map(String::as_str).collect(),
            members: network.members().map(|member| member.identity).collect(),
            prefixes: prefixes.collect(),
        };
        let in_force = settings.rules.rules.iter();
        for party in in_force.flat_map(|rule| rule.from.iter().chain(&rule.to)) {
            match party {
                Party::Tag(tag) => drop(known.tags.insert(tag)),
                Party::Member(key) => drop(known.members.insert(*key)),
                Party::Prefix(prefix) => known.prefixes.push(*prefix),
            }
        }
        known
    }

    fn resolve(&self, network: &Network, rule: Rule<String>) -> Result<Rule, RuleFault> {
        let lengths = [rule.from.len(), rule.to.len(), rule.ports.len()];
        if lengths.iter().any(|length| *length > MAX_PARTIES) {
            return Err(RuleFault::TooLong);
        }
        let rule = rule
            .checked()?
            .rename_members(|written| self.member(network, written))?;
        for party in rule.from.iter().chain(&rule.to) {
            match party {
                Party::Tag(tag) if !self.tags.contains(tag.as_str()) => {
                    return Err(RuleFault::UnknownTag(tag.chars().take(80).collect()));
                }
                Party::Prefix(prefix) if !self.reaches(prefix) => {
                    return Err(RuleFault::Outside(*prefix));
                }
                Party::Tag(_) | Party::Member(_) | Party::Prefix(_) => {}
            }
        }
        Ok(rule)
    }

    /// A member by name, by node address or by key.
    fn member(&self, network: &Network, written: String) -> Result<IdentityKey, RuleFault> {
        let by_name = || {
            let name: Name = written.parse().ok()?;
            network.by_name(&name).map(|member| member.identity)
        };
        let by_node = || {
            let found = network.by_node(written.parse().ok()?)?;
            Some(found.identity())
        };
        let by_key = || written.parse().ok();
        by_node()
            .or_else(by_name)
            .or_else(by_key)
            .filter(|key| self.members.contains(key))
            .ok_or_else(|| RuleFault::UnknownMember(written.chars().take(80).collect()))
    }

    fn reaches(&self, prefix: &IpNet) -> bool {
        self.prefixes.iter().any(|known| overlap(known, prefix))
    }
}
