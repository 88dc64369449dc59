//! What the host should look like, what it looks like, and the steps between.
//!
//! [`desired`] computes addresses and routes from the directories of all joined networks. [`actions`] subtracts what is
//! observed. Both are pure; the shell observes and applies. Everything we add carries [`ROUTE_PROTOCOL`], and nothing
//! else is ever removed, so a daemon killed at any moment is put right by the next reconciliation.

mod carried;
mod policy;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ipnet::IpNet;
use tombolo_proto::{
    config::{MemberCert, NetworkDoc, V6Mode},
    id::{Mtu, NetworkId, UnixSeconds},
    key::IdentityKey,
    sixplane,
};

use crate::membership::Directory;

pub use carried::{Carried, Exit, carried, exits};
pub use policy::{DEFAULT_TABLE, Family, MARK, Rule, default_families, is_default, rules};

/// Routing protocol number of our routes (`ip route show proto 93`): unassigned in rtnetlink(7) and in iproute2's list.
pub const ROUTE_PROTOCOL: u8 = 93;
/// Routes set by hand (0) and by DHCP clients (100 and up) for the same prefix win.
pub const ROUTE_METRIC: u32 = 500;
/// Any other route beats the guard; without one, packets for a prefix of ours never leave by the default route.
pub const GUARD_METRIC: u32 = u32::MAX;

/// Name of a network interface: 1 to 15 of `a-z A-Z 0-9 . _ -`, not starting with a dot or dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(String);

/// Why a text is not an interface name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an interface name has 1 to 15 letters, digits, '.', '_' or '-', and starts with a letter or digit"
)]
pub struct ParseLinkNameError;

impl std::str::FromStr for LinkName {
    type Err = ParseLinkNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if starts_well && text.len() <= 15 && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseLinkNameError)
        }
    }
}

impl LinkName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part of the host's configuration that is ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostState {
    /// Our TUN devices.
    pub links: BTreeMap<LinkName, LinkState>,
    /// Routes with [`ROUTE_PROTOCOL`].
    pub routes: BTreeSet<Route>,
    /// Policy rules with [`ROUTE_PROTOCOL`].
    pub rules: BTreeSet<Rule>,
}

/// A TUN device's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Largest packet.
    pub mtu: Mtu,
    /// Administratively up.
    pub up: bool,
    /// Addresses with prefix length; ours are always single addresses.
    pub addresses: BTreeSet<IpNet>,
}

/// A route of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Without host bits.
    pub prefix: IpNet,
    /// Lower wins.
    pub metric: u32,
    /// Where to.
    pub target: RouteTarget,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteTarget {
    /// Into the overlay.
    Link(LinkName),
    /// Nowhere, said by ICMP.
    Unreachable,
}

/// One step towards the desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAction {
    /// Sets a link's MTU.
    SetMtu(LinkName, Mtu),
    /// Brings a link up.
    SetUp(LinkName),
    /// Adds an address to a link.
    AddAddress(LinkName, IpNet),
    /// Removes an address from a link.
    RemoveAddress(LinkName, IpNet),
    /// Adds a route.
    AddRoute(Route),
    /// Removes a route.
    RemoveRoute(Route),
    /// Adds a policy rule.
    AddRule(Rule),
    /// Removes a policy rule.
    RemoveRule(Rule),
}

/// The steps from `observed` to `desired`, in an order that works: what goes first makes room for what comes.
#[must_use]
pub fn actions(desired: &HostState, observed: &HostState) -> Vec<HostAction> {
    // The rule that leads to a route goes before it, and comes after it.
    let stale = observed.rules.difference(&desired.rules);
    let mut steps: Vec<HostAction> = stale.copied().map(HostAction::RemoveRule).collect();
    steps.reverse();
    steps.extend(
        observed
            .routes
            .difference(&desired.routes)
            .cloned()
            .map(HostAction::RemoveRoute),
    );
    for (name, link) in &observed.links {
        let wanted = desired.links.get(name).map(|wanted| &wanted.addresses);
        let surplus = link
            .addresses
            .iter()
            .filter(|address| wanted.is_none_or(|wanted| !wanted.contains(address)));
        steps.extend(surplus.map(|address| HostAction::RemoveAddress(name.clone(), *address)));
    }
    for (name, link) in &desired.links {
        let now = observed.links.get(name);
        if now.is_none_or(|now| now.mtu != link.mtu) {
            steps.push(HostAction::SetMtu(name.clone(), link.mtu));
        }
        if link.up && now.is_none_or(|now| !now.up) {
            steps.push(HostAction::SetUp(name.clone()));
        }
        let missing = link
            .addresses
            .iter()
            .filter(|address| now.is_none_or(|now| !now.addresses.contains(address)));
        steps.extend(missing.map(|address| HostAction::AddAddress(name.clone(), *address)));
    }
    steps.extend(
        desired
            .routes
            .difference(&observed.routes)
            .cloned()
            .map(HostAction::AddRoute),
    );
    let missing = desired.rules.difference(&observed.rules);
    steps.extend(missing.copied().map(HostAction::AddRule));
    steps
}

/// A network that the host is directly connected to by other means than ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalNetwork {
    /// The interface.
    pub link: String,
    /// What is on it, without host bits.
    pub prefix: IpNet,
}

/// A joined network and what the owner of this host allows it.
#[derive(Debug, Clone)]
pub struct NetworkPlan<'a> {
    /// Its verified documents.
    pub directory: &'a Directory,
    /// This node.
    pub me: IdentityKey,
    /// Its TUN.
    pub link: LinkName,
    /// Routes to public prefixes may be installed.
    pub allow_global: bool,
    /// Default routes may be installed.
    pub allow_default: bool,
}

/// The result of [`desired`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Desired {
    /// What the host should look like.
    pub state: HostState,
    /// What was left out, per link, and why.
    pub clashes: Vec<Clash>,
}

/// Something of a network that was not installed on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The TUN of the network it belongs to.
    pub link: LinkName,
    /// What was left out.
    pub prefix: IpNet,
    /// Why.
    pub reason: ClashReason,
}

/// Why something was not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClashReason {
    /// It overlaps a network that this host is directly connected to.
    Local(LocalNetwork),
    /// Another overlay network on this host has it already.
    OtherNetwork(LinkName),
    /// A public prefix, and `allow-global` is off.
    Global,
    /// An address of this member in a public prefix, and `allow-global` is off.
    GlobalAddress,
    /// A default route, and `allow-default` is off.
    Default,
}

impl Clash {
    /// The setting by which the owner of this host keeps it out, if nothing else is in its way: most hosts of a network with
    /// a default route are to leave by their own. Without its own address a member is none, so that is no choice.
    #[must_use]
    pub const fn setting(&self) -> Option<&'static str> {
        match self.reason {
            ClashReason::Global => Some("allow-global"),
            ClashReason::Default => Some("allow-default"),
            ClashReason::Local(_) | ClashReason::OtherNetwork(_) | ClashReason::GlobalAddress => {
                None
            }
        }
    }

    /// The command that mends it, for somebody on this host who may also be the administrator.
    #[must_use]
    pub fn mend(&self, network: NetworkId) -> String {
        let prefix = self.prefix;
        match &self.reason {
            ClashReason::Local(local) => format!(
                "ip address flush dev {} (if {} is not needed there; else give the overlay another range)",
                local.link, local.prefix
            ),
            ClashReason::OtherNetwork(other) => {
                format!("tombolo leave {network} (or the network on {other}: both have {prefix})")
            }
            ClashReason::Global | ClashReason::GlobalAddress => {
                format!("tombolo set {network} allow-global=on")
            }
            ClashReason::Default => format!("tombolo set {network} allow-default=on"),
        }
    }
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            link,
            prefix,
            reason,
        } = self;
        write!(
            f,
            "{prefix} of the network on {link} is not installed: {reason}"
        )
    }
}

impl fmt::Display for ClashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(local) => {
                write!(
                    f,
                    "it overlaps {} on {}; choose another range for one of them",
                    local.prefix, local.link
                )
            }
            Self::OtherNetwork(other) => {
                write!(f, "the network on {other} has the same prefix")
            }
            Self::Global => write!(f, "it is a public prefix, and allow-global is off here"),
            Self::GlobalAddress => {
                write!(f, "it is a public address, and allow-global is off here")
            }
            Self::Default => write!(f, "it is a default route, and allow-default is off here"),
        }
    }
}

/// What the host should look like for all joined networks, the [`rules`] apart. On the same prefix the network listed first
/// wins.
pub fn desired(plans: &[NetworkPlan<'_>], local: &[LocalNetwork], wall: UnixSeconds) -> Desired {
    let mut desired = Desired::default();
    for plan in plans {
        add_network(&mut desired, plan, local, wall);
    }
    desired
}

fn add_network(
    desired: &mut Desired,
    plan: &NetworkPlan<'_>,
    local: &[LocalNetwork],
    wall: UnixSeconds,
) {
    let me = plan.directory.member(&plan.me, wall);
    let mut link = LinkState {
        mtu: plan.directory.doc().map_or(Mtu::DEFAULT, |doc| doc.mtu),
        up: true,
        addresses: BTreeSet::new(),
    };
    if let (Some(me), Some(doc)) = (me, plan.directory.doc()) {
        let own = owned_prefixes(me);
        for address in me.addresses.iter().map(|address| IpNet::from(*address)) {
            match clash(desired, plan, local, &own, address) {
                Some(reason) => desired.clashes.push(Clash {
                    link: plan.link.clone(),
                    prefix: address,
                    reason: if reason == ClashReason::Global {
                        ClashReason::GlobalAddress
                    } else {
                        reason
                    },
                }),
                None => {
                    link.addresses.insert(address);
                }
            }
        }
        for prefix in routed_prefixes(plan.directory, doc, me, wall) {
            match clash(desired, plan, local, &own, prefix) {
                Some(reason) => desired.clashes.push(Clash {
                    link: plan.link.clone(),
                    prefix,
                    reason,
                }),
                None => {
                    let target = RouteTarget::Link(plan.link.clone());
                    desired.state.routes.insert(Route {
                        prefix,
                        metric: ROUTE_METRIC,
                        target,
                    });
                }
            }
        }
        let guard = |prefix| Route {
            prefix,
            metric: GUARD_METRIC,
            target: RouteTarget::Unreachable,
        };
        // A slice of a network that the host is on needs no guard, and would lose the slice to one: the longest prefix
        // wins before any metric counts.
        let is_slice = |prefix: &IpNet| {
            let mut nets = local.iter().map(|net| net.prefix);
            nets.any(|net| net != *prefix && net.contains(prefix))
        };
        let guarded = own
            .into_iter()
            .filter(|prefix| !is_slice(prefix) && !is_default(prefix));
        desired.state.routes.extend(guarded.map(guard));
    }
    desired.state.links.insert(plan.link.clone(), link);
}

/// The member's /80 and the prefixes behind it.
fn owned_prefixes(cert: &MemberCert) -> BTreeSet<IpNet> {
    let plane = cert.prefix.map(IpNet::V6);
    cert.routes
        .iter()
        .map(|route| route.prefix)
        .chain(plane)
        .collect()
}

/// Everything that is reached through the overlay: the network's own ranges and the routes of the other members.
/// A prefix that this member carries itself is never routed away from it.
fn routed_prefixes(
    directory: &Directory,
    doc: &NetworkDoc,
    me: &MemberCert,
    wall: UnixSeconds,
) -> BTreeSet<IpNet> {
    let own = owned_prefixes(me);
    let automatic = doc.v6_modes.iter().map(|mode| match mode {
        V6Mode::SixPlane => sixplane::network(directory.network()).into(),
        V6Mode::Rfc4193 => sixplane::rfc4193_network(directory.network()).into(),
    });
    let others = directory
        .members(wall)
        .filter(|cert| cert.identity != me.identity);
    let managed = others.flat_map(|cert| cert.routes.iter().map(|route| route.prefix));
    let on_link = doc.on_link.iter().copied();
    on_link
        .chain(automatic)
        .chain(managed)
        .filter(|prefix| !own.contains(prefix))
        .collect()
}

fn clash(
    desired: &Desired,
    plan: &NetworkPlan<'_>,
    local: &[LocalNetwork],
    own: &BTreeSet<IpNet>,
    prefix: IpNet,
) -> Option<ClashReason> {
    if is_default(&prefix) && !plan.allow_default {
        return Some(ClashReason::Default);
    }
    if is_global(prefix) && !is_default(&prefix) && !plan.allow_global {
        return Some(ClashReason::Global);
    }
    let is_own = |net: &LocalNetwork| {
        let mut own = own.iter().filter(|own| !is_default(own));
        own.any(|own| own.contains(&net.prefix))
    };
    // Everything else is longer than a default route, and wins.
    let clashing =
        |net: &&LocalNetwork| !is_default(&prefix) && overlap(net.prefix, prefix) && !is_own(net);
    if let Some(net) = local.iter().find(clashing) {
        return Some(ClashReason::Local(net.clone()));
    }
    let routed = desired
        .state
        .routes
        .iter()
        .find_map(|route| match &route.target {
            RouteTarget::Link(link) if route.prefix == prefix && *link != plan.link => Some(link),
            RouteTarget::Link(_) | RouteTarget::Unreachable => None,
        });
    let assigned = || {
        let mut links = desired.state.links.iter();
        links.find_map(|(name, link)| link.addresses.contains(&prefix).then_some(name))
    };
    routed
        .or_else(assigned)
        .map(|link| ClashReason::OtherNetwork(link.clone()))
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Whether a prefix reaches outside the ranges that are never routed on the Internet.
fn is_global(prefix: IpNet) -> bool {
    /// RFC 1918, RFC 6598, RFC 4193, and 198.18.0.0/15 of RFC 2544.
    const PRIVATE: [&str; 6] = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "198.18.0.0/15",
        "fc00::/7",
    ];
    !PRIVATE.iter().any(|range| {
        range
            .parse::<IpNet>()
            .is_ok_and(|range| range.contains(&prefix))
    })
}

#[cfg(test)]
mod tests;
