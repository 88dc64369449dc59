//! Keeps the host as it should be: reconciles, and looks after what goes with it (firewall rule, forwarding).

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use tokio::sync::watch;
use tombolo_engine::{
    diagnosis::doctor::Obstacle,
    reconcile::{
        self, Carried, Clash, Exit, Family, HostState, LinkName, LocalNetwork, NetworkPlan, Route,
        RouteTarget,
    },
};
use tombolo_proto::{id::UnixSeconds, sixplane};

use crate::{
    config_file::HostSection,
    docker::Opened,
    host::{
        Host,
        forwarding::Forwarding,
        passage::{Passage, Passing},
        weak_host::WeakHostRule,
    },
};

/// What a reconciliation found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciled {
    /// What was left out.
    pub(super) clashes: Vec<Clash>,
    /// Addresses of the host's other interfaces are not what they were.
    pub(super) addresses_changed: bool,
}

/// The host and what was done to it.
#[derive(Debug)]
pub(super) struct HostKeeper<H> {
    host: H,
    weak_host: Option<WeakHostRule>,
    forwarding: Option<Forwarding>,
    passage: Option<Passage>,
    links: BTreeSet<LinkName>,
    addresses: BTreeSet<IpAddr>,
    installed: BTreeSet<Route>,
    elsewhere: Vec<LocalNetwork>,
    failures: Vec<String>,
    intruders: Vec<Obstacle>,
}

impl<H: Host> HostKeeper<H> {
    pub(super) fn new(host: H, settings: &HostSection, opened: watch::Receiver<Opened>) -> Self {
        Self {
            host,
            weak_host: settings.weak_host_rule.then(WeakHostRule::default),
            forwarding: settings.forwarding.then(Forwarding::default),
            passage: settings.firewall.then(|| Passage::start(opened)),
            links: BTreeSet::new(),
            addresses: BTreeSet::new(),
            installed: BTreeSet::new(),
            elsewhere: Vec::new(),
            failures: Vec::new(),
            intruders: Vec::new(),
        }
    }

    /// Steps that did not work last time, one line each.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Who else uses our mark or our table, as of the last reconciliation.
    pub(super) fn intruders(&self) -> &[Obstacle] {
        &self.intruders
    }

    /// What the host reaches by other means than ours, as of the last reconciliation; default routes apart.
    pub(super) fn elsewhere(&self) -> &[LocalNetwork] {
        &self.elsewhere
    }

    /// Whether a prefix is routed into a link, as of the last reconciliation.
    pub(super) fn is_installed(&self, prefix: IpNet, link: &LinkName) -> bool {
        self.installed
            .iter()
            .any(|route| route.prefix == prefix && route.target == RouteTarget::Link(link.clone()))
    }

    /// Makes the host what the plans want.
    pub(super) async fn reconcile(
        &mut self,
        plans: &[NetworkPlan<'_>],
        wall: UnixSeconds,
    ) -> Reconciled {
        self.links = plans.iter().map(|plan| plan.link.clone()).collect();
        let observed = match self.host.observe(&self.links).await {
            Ok(observed) => observed,
            Err(error) => {
                self.report(vec![format!("{error:#}")]);
                return Reconciled::default();
            }
        };
        let addresses_changed = observed.addresses != self.addresses;
        self.addresses = observed.addresses;
        self.intruders = observed.intruders;
        let mut desired = reconcile::desired(plans, &observed.local, wall);
        desired.state.rules = reconcile::rules(&desired.state.routes, &self.addresses);
        let defaults = reconcile::default_families(&desired.state.routes);
        self.bring(&desired.state, &observed.state).await;
        if let Some(rule) = &mut self.weak_host {
            rule.set(overlay_prefixes(plans, wall)).await;
        }
        let carried = reconcile::carried(plans, &observed.local, &observed.lans, wall);
        let exits = reconcile::exits(plans, &observed.uplinks, wall);
        if let Some(forwarding) = &mut self.forwarding {
            forwarding.ensure(&families(&carried, &exits));
        }
        if let Some(passage) = &self.passage {
            let own = self.addresses.iter();
            passage.ensure(Passing {
                carried,
                exits,
                answering: own
                    .filter(|address| defaults.contains(&Family::of(address)))
                    .copied()
                    .collect(),
            });
        }
        self.elsewhere = [observed.local, observed.routed].concat();
        Reconciled {
            clashes: desired.clashes,
            addresses_changed,
        }
    }

    /// Removes everything of ours; the TUN devices go with the process.
    pub(super) async fn withdraw(&mut self) {
        if let Ok(observed) = self.host.observe(&self.links).await {
            self.bring(&HostState::default(), &observed.state).await;
        }
        if let Some(rule) = &mut self.weak_host {
            rule.set(BTreeSet::new()).await;
        }
        if let Some(passage) = self.passage.take() {
            passage.withdraw().await;
        }
    }

    async fn bring(&mut self, desired: &HostState, observed: &HostState) {
        let actions = reconcile::actions(desired, observed);
        let mut installed = desired.routes.clone();
        let mut failures = Vec::new();
        for failed in self.host.apply(&actions).await {
            if let reconcile::HostAction::AddRoute(route) = &failed.action {
                installed.remove(route);
            }
            failures.push(format!("{:?}: {:#}", failed.action, failed.error));
        }
        if !actions.is_empty() {
            tracing::debug!(
                steps = actions.len(),
                failed = failures.len(),
                "Host reconciled"
            );
        }
        self.installed = installed;
        self.report(failures);
    }

    fn report(&mut self, failures: Vec<String>) {
        for failure in failures
            .iter()
            .filter(|failure| !self.failures.contains(failure))
        {
            tracing::warn!("Failed to configure the host: {failure}");
        }
        self.failures = failures;
    }
}

/// Every prefix that only members may speak from. A default route is not one: all the world is in it.
fn overlay_prefixes(plans: &[NetworkPlan<'_>], wall: UnixSeconds) -> BTreeSet<IpNet> {
    let mut prefixes = BTreeSet::new();
    for plan in plans {
        let network = plan.directory.network();
        prefixes.insert(IpNet::V6(sixplane::network(network)));
        prefixes.insert(IpNet::V6(sixplane::rfc4193_network(network)));
        prefixes.extend(
            plan.directory
                .doc()
                .into_iter()
                .flat_map(|doc| doc.on_link.iter().copied()),
        );
        for member in plan.directory.members(wall) {
            prefixes.extend(member.routes.iter().map(|route| route.prefix));
        }
    }
    prefixes.retain(|prefix| !reconcile::is_default(prefix));
    prefixes
}

/// The families of what this member carries.
fn families(carried: &BTreeSet<Carried>, exits: &BTreeSet<Exit>) -> BTreeSet<Family> {
    let carried = carried.iter().map(|one| Family::of_prefix(&one.prefix));
    carried
        .chain(exits.iter().map(|exit| exit.family))
        .collect()
}

#[cfg(test)]
mod tests;
