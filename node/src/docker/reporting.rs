//! The verbs that only look: ls and check.

use std::{fs, path::Path};

use tombolo_containers::{
    Entry, Plan, Situation,
    firewall::COMMENT,
    plan,
    situation::{ContainerNetwork, Membership},
};

use super::{
    firewall,
    keeper::{Task, overlay_links},
    routes::Standing,
    verbs::unknown,
};
use crate::{
    failure::Failure,
    report::docker::{
        ContainerNetworkReport, Finding, FindingLevel, PublicationState, SubnetReport,
    },
};

const FORWARDING: [(&str, &str); 2] = [
    ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
    (
        "net.ipv6.conf.all.forwarding",
        "/proc/sys/net/ipv6/conf/all/forwarding",
    ),
];

impl Task {
    /// Every network that is in the overlay, is to be, or could be.
    pub(super) async fn list(&mut self) -> Result<Vec<ContainerNetworkReport>, Failure> {
        let mut situation = self.observe().await?;
        let plan = plan(&situation);
        for network in &mut situation.networks {
            if network.driver == "bridge" || plan.entry(&network.name).is_some() {
                let whole = self.api().await?.network(&network.id).await?;
                network.containers = whole.containers;
            }
        }
        let listed = situation
            .networks
            .iter()
            .filter(|network| network.driver == "bridge" || plan.entry(&network.name).is_some());
        let openings: Vec<_> = plan.openings().collect();
        let missing = firewall::missing(&openings, &overlay_links(&situation)).await?;
        let mut reports: Vec<_> = listed
            .map(|network| self.describe(&situation, &plan, network, &missing))
            .collect();
        reports.sort_by(|a, b| (b.state, &a.name).cmp(&(a.state, &b.name)));
        Ok(reports)
    }

    /// One network as it is now.
    pub(super) async fn report(&mut self, name: &str) -> Result<ContainerNetworkReport, Failure> {
        let found = self
            .list()
            .await?
            .into_iter()
            .find(|network| network.name == name);
        found.ok_or_else(|| unknown(name))
    }

    fn describe(
        &self,
        situation: &Situation,
        plan: &Plan,
        network: &ContainerNetwork,
        missing: &[String],
    ) -> ContainerNetworkReport {
        let entry = plan.entry(&network.name);
        let (state, problem) = self.state(situation, plan, network, entry);
        let opening = entry.and_then(|entry| entry.opening.as_ref().ok());
        ContainerNetworkReport {
            name: network.name.clone(),
            bridge: network.bridge(),
            driver: network.driver.clone(),
            mtu: network.mtu(),
            subnets: network
                .subnets
                .iter()
                .map(|subnet| SubnetReport {
                    prefix: subnet.prefix,
                    gateway: subnet.gateway,
                })
                .collect(),
            network: entry.and_then(|entry| entry.network),
            by: entry.map(|entry| entry.by.as_str().to_owned()),
            state,
            problem,
            containers: network.containers.clone(),
            firewall_ok: opening.map(|opening| {
                let tag = format!("{COMMENT}{} ", opening.tag());
                !missing
                    .iter()
                    .any(|line| line.contains(&tag) || line.starts_with("nft"))
            }),
        }
    }

    /// Where a network stands: the least that can be said of any of its routes.
    fn state(
        &self,
        situation: &Situation,
        plan: &Plan,
        network: &ContainerNetwork,
        entry: Option<&Entry>,
    ) -> (PublicationState, Option<String>) {
        let Some(entry) = entry else {
            return (PublicationState::None, None);
        };
        if let Err(refusal) = &entry.opening {
            return (PublicationState::Refused, Some(refusal.to_string()));
        }
        let mut worst = (PublicationState::Published, None);
        let routes = plan.routes.iter().filter(|(overlay, prefix)| {
            Some(*overlay) == entry.network
                && network
                    .subnets
                    .iter()
                    .any(|subnet| subnet.prefix == *prefix)
        });
        for (overlay, prefix) in routes {
            let certified = |membership: &Membership| membership.routes.contains(prefix);
            if situation.membership(*overlay).is_some_and(certified) {
                continue;
            }
            let found = match self.standings.get(&(*overlay, *prefix)) {
                Some(Standing::Active) => continue,
                Some(Standing::Pending) => (
                    PublicationState::Pending,
                    Some(format!(
                        "{prefix} waits to be approved at the controller: `tombolo-controller route approve ID`"
                    )),
                ),
                Some(Standing::Refused(reason)) => {
                    (PublicationState::Refused, Some(reason.clone()))
                }
                Some(Standing::Unanswered) | None => (
                    PublicationState::Asking,
                    Some(format!(
                        "no controller has answered for {prefix} yet: see `tombolo status`"
                    )),
                ),
            };
            if found.0 > worst.0 {
                worst = found;
            }
        }
        worst
    }

    /// Everything that containers need to be reached.
    pub(super) async fn check(&mut self) -> Result<Vec<Finding>, Failure> {
        let situation = self.observe().await?;
        let plan = plan(&situation);
        let mut findings = vec![engine(&situation)];
        let has_v6 = plan
            .openings()
            .any(|opening| opening.subnets.iter().any(|subnet| subnet.addr().is_ipv6()));
        let wanted = 1 + usize::from(has_v6);
        if plan.openings().next().is_some() {
            findings.extend(
                FORWARDING
                    .iter()
                    .take(wanted)
                    .map(|(name, path)| forwarding(name, Path::new(path))),
            );
            findings.push(rules(&situation, &plan).await);
        }
        for network in &situation.networks {
            let Some(entry) = plan.entry(&network.name) else {
                continue;
            };
            let (state, problem) = self.state(&situation, &plan, network, Some(entry));
            let level = match state {
                PublicationState::None | PublicationState::Published => FindingLevel::Ok,
                PublicationState::Pending | PublicationState::Asking => FindingLevel::Wait,
                PublicationState::Refused => FindingLevel::Fail,
            };
            let (what, fix) = match problem {
                None => (format!("network {} is published", network.name), None),
                Some(problem) => split(&format!("network {}: {problem}", network.name)),
            };
            findings.push(Finding { level, what, fix });
        }
        Ok(findings)
    }
}

fn engine(situation: &Situation) -> Finding {
    let engine = &situation.engine;
    if engine.rootless {
        let (what, fix) = split(&tombolo_containers::Refusal::Rootless.to_string());
        return Finding {
            level: FindingLevel::Fail,
            what,
            fix,
        };
    }
    Finding {
        level: FindingLevel::Ok,
        what: format!(
            "docker {}, API {} (negotiated), firewall backend {}",
            engine.version,
            engine.api,
            engine.firewall.as_str()
        ),
        fix: None,
    }
}

fn forwarding(name: &str, path: &Path) -> Finding {
    let value = fs::read_to_string(path).unwrap_or_default();
    let is_on = !matches!(value.trim(), "" | "0");
    Finding {
        level: if is_on {
            FindingLevel::Ok
        } else {
            FindingLevel::Fail
        },
        what: format!("{name} = {}", value.trim()),
        fix: (!is_on).then(|| format!("sysctl -w {name}=1")),
    }
}

async fn rules(situation: &Situation, plan: &Plan) -> Finding {
    let openings: Vec<_> = plan.openings().collect();
    let (level, what, fix) = match firewall::missing(&openings, &overlay_links(situation)).await {
        Ok(missing) if missing.is_empty() => (
            FindingLevel::Ok,
            "firewall lets overlay and containers talk".to_owned(),
            None,
        ),
        Ok(missing) => (
            FindingLevel::Fail,
            format!("firewall: missing or in the way: {}", missing.join("; ")),
            Some(
                "they are put right within 30 seconds; look at the daemon's log if not".to_owned(),
            ),
        ),
        Err(error) => (
            FindingLevel::Fail,
            format!("firewall: {error:#}"),
            Some("install the packages iptables and nftables".to_owned()),
        ),
    };
    Finding { level, what, fix }
}

/// A sentence of a refusal: what is wrong, and after the last semicolon or colon what to do.
fn split(sentence: &str) -> (String, Option<String>) {
    let cut = sentence.rfind("; ").or_else(|| sentence.rfind(": "));
    match cut {
        Some(at) => {
            let (what, fix) = sentence.split_at(at);
            (what.to_owned(), Some(fix[2..].to_owned()))
        }
        None => (sentence.to_owned(), None),
    }
}
