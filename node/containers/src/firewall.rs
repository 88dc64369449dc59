//! The openings of the firewall, and the rules for iptables and ip6tables that make them.
//!
//! Docker (from 1.13 on) and ufw forward nothing that they do not know. Nothing of theirs is changed: rules that let
//! through exactly overlay to bridge and back stand before theirs, each with a comment of ours.

use std::{collections::BTreeSet, fmt};

use ipnet::IpNet;

use crate::ruleset::{Backend, Saved, Table};

/// Rules of ours carry a comment that starts with this.
pub const COMMENT: &str = "tombolo:";
/// Where administrators put their rules; Docker creates it, looks at it first, and never touches what is in it. After
/// somebody has flushed FORWARD, nothing leads there until Docker puts it right.
const DOCKER_USER: &str = "DOCKER-USER";

/// A container network, as far as the firewall is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The bridge.
    pub bridge: String,
    /// The overlay's TUN device.
    pub link: String,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// What happens to its packets on the way out to the world.
    pub masquerade: Masquerade,
    /// Nothing but the overlay may be reached.
    pub internal: bool,
}

/// What happens to packets on the way out to the world, the overlay apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masquerade {
    /// We give them the host's address.
    Ours,
    /// Docker does.
    Dockers,
    /// They keep their own.
    Off,
}

impl Opening {
    /// Names the opening in comments.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.bridge.strip_prefix("tmbbr").unwrap_or(&self.bridge)
    }

    pub(crate) fn of_family(&self, backend: Backend) -> impl Iterator<Item = &IpNet> {
        self.subnets
            .iter()
            .filter(move |subnet| backend.has(subnet))
    }
}

/// A rule for iptables or ip6tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Which of the two.
    pub backend: Backend,
    /// Which table.
    pub table: Table,
    /// Which chain.
    pub chain: String,
    /// The rest, word by word, in the order in which `iptables-save` prints it.
    pub words: Vec<String>,
}

/// One step towards the desired rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleAction {
    /// Put it first in its chain.
    Insert(Rule),
    /// Remove it.
    Delete(Rule),
}

impl RuleAction {
    /// Arguments for the program of the rule's [`Backend`].
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let (verb, rule) = match self {
            Self::Insert(rule) => ("-I", rule),
            Self::Delete(rule) => ("-D", rule),
        };
        let fixed = ["-w", "-t", rule.table.as_str(), verb, &rule.chain];
        let words = rule.words.iter().map(String::as_str);
        fixed.into_iter().chain(words).map(str::to_owned).collect()
    }
}

impl fmt::Display for RuleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Insert(rule) | Self::Delete(rule)) = self;
        write!(
            f,
            "{} {}",
            rule.backend.program(),
            self.arguments().join(" ")
        )
    }
}

/// The rules that there should be in a firewall that looks like `saved`.
#[must_use]
pub fn desired<'o>(
    openings: impl IntoIterator<Item = &'o Opening>,
    backend: Backend,
    saved: &Saved,
) -> BTreeSet<Rule> {
    let forward = forward_chain(saved);
    let mut rules = BTreeSet::new();
    for opening in openings {
        let rule = |table, chain: &str, place: &[&str]| {
            let comment = format!("{COMMENT}{}", opening.tag());
            let end = ["-m", "comment", "--comment", &comment, "-j", "ACCEPT"];
            Rule {
                backend,
                table,
                chain: chain.to_owned(),
                words: place
                    .iter()
                    .chain(&end)
                    .map(|word| (*word).to_owned())
                    .collect(),
            }
        };
        let (link, bridge) = (opening.link.as_str(), opening.bridge.as_str());
        if opening.of_family(backend).next().is_some()
            && let Some(chain) = forward
        {
            rules.insert(rule(Table::Filter, chain, &["-i", link, "-o", bridge]));
            rules.insert(rule(Table::Filter, chain, &["-i", bridge, "-o", link]));
        }
        // Docker from 28 on drops here, in front of everything, what is sent to a container from elsewhere.
        for subnet in opening.of_family(backend) {
            let place = ["-d", &subnet.to_string(), "-i", link];
            rules.insert(rule(Table::Raw, "PREROUTING", &place));
        }
    }
    rules
}

/// Where rules about forwarded packets belong; none if nothing needs to be let through.
#[must_use]
pub fn forward_chain(saved: &Saved) -> Option<&'static str> {
    if has_docker(saved) {
        Some(DOCKER_USER)
    } else if saved.drops_forwarded() {
        Some("FORWARD")
    } else {
        None
    }
}

/// Whether Docker filters here.
#[must_use]
pub fn has_docker(saved: &Saved) -> bool {
    saved.forwards_to(DOCKER_USER)
}

/// The steps from what is there to what should be. Ours have to stand before Docker's own drops to be of use.
#[must_use]
pub fn actions(desired: &BTreeSet<Rule>, saved: &Saved) -> Vec<RuleAction> {
    actions_among(COMMENT, desired, saved)
}

/// The same for the rules whose comment starts with `mark`; the others are left alone.
#[must_use]
pub fn actions_among(mark: &str, desired: &BTreeSet<Rule>, saved: &Saved) -> Vec<RuleAction> {
    let mut kept = BTreeSet::new();
    let mut actions = Vec::new();
    for (rule, is_hidden) in saved.marked(mark) {
        if desired.contains(&rule) && !is_hidden && kept.insert(rule.clone()) {
            continue;
        }
        actions.push(RuleAction::Delete(rule));
    }
    let missing = desired.difference(&kept).cloned();
    actions.extend(missing.map(RuleAction::Insert));
    actions
}
