use std::collections::BTreeMap;

use tombolo_engine::{
    membership::Directory,
    reconcile::{HostAction, LinkState},
};
use tombolo_proto::{
    config::{
        CertRoute, DirectoryEntry, Keyring, MemberCert, MembersDigest, NetworkDoc, RouteMode,
        V6Mode,
    },
    id::{Mtu, NetworkId, Version},
    key::{IdentityKey, IdentitySecret, Seed},
    rules::AccessRules,
    signed::Signed,
};

use super::*;
use crate::host::{FailedAction, Observed};

#[tokio::test]
async fn a_member_gets_addresses_and_routes_and_a_second_look_changes_nothing() {
    let directory = a_directory();
    let mut keeper = a_keeper(FakeHost::with_link("tmb0"));

    let _ = keeper.reconcile(&[a_plan(&directory)], NOW).await;
    let steps = keeper.host.steps;
    let _ = keeper.reconcile(&[a_plan(&directory)], NOW).await;

    assert!(steps > 0);
    assert_eq!(keeper.host.steps, steps);
    let link = keeper.host.state.links.values().next().expect("the link");
    assert!(link.up && link.addresses.contains(&prefix("172.27.0.1/32")));
    assert!(keeper.is_installed(prefix("172.27.0.0/16"), &a_link("tmb0")));
    assert!(keeper.is_installed(prefix("172.28.2.0/24"), &a_link("tmb0")));
}

#[tokio::test]
async fn what_a_killed_daemon_left_is_put_right() {
    let directory = a_directory();
    let mut host = FakeHost::with_link("tmb0");
    let stale = Route {
        prefix: prefix("10.9.9.0/24"),
        metric: reconcile::GUARD_METRIC,
        target: RouteTarget::Unreachable,
    };
    host.state.routes.insert(stale.clone());
    let mut keeper = a_keeper(host);

    let _ = keeper.reconcile(&[a_plan(&directory)], NOW).await;

    assert!(!keeper.host.state.routes.contains(&stale));
}

#[tokio::test]
async fn withdrawing_leaves_nothing_of_ours() {
    let directory = a_directory();
    let mut keeper = a_keeper(FakeHost::with_link("tmb0"));
    let _ = keeper.reconcile(&[a_plan(&directory)], NOW).await;

    keeper.withdraw().await;

    assert!(keeper.host.state.routes.is_empty());
    assert!(
        keeper
            .host
            .state
            .links
            .values()
            .all(|link| link.addresses.is_empty())
    );
}

#[tokio::test]
async fn a_route_that_the_host_refuses_is_reported_and_not_called_installed() {
    let directory = a_directory();
    let mut host = FakeHost::with_link("tmb0");
    host.refuses = Some(prefix("172.28.2.0/24"));
    let mut keeper = a_keeper(host);

    let _ = keeper.reconcile(&[a_plan(&directory)], NOW).await;

    assert!(!keeper.is_installed(prefix("172.28.2.0/24"), &a_link("tmb0")));
    assert_eq!(keeper.failures().len(), 1);
    assert!(keeper.is_installed(prefix("172.27.0.0/16"), &a_link("tmb0")));
}

#[tokio::test]
async fn a_clash_with_a_local_network_is_left_out() {
    let directory = a_directory();
    let mut host = FakeHost::with_link("tmb0");
    host.local.push(LocalNetwork {
        link: "eth1".to_owned(),
        prefix: prefix("172.28.0.0/16"),
    });
    let mut keeper = a_keeper(host);

    let reconciled = keeper.reconcile(&[a_plan(&directory)], NOW).await;

    assert_eq!(reconciled.clashes.len(), 1);
    assert!(!keeper.is_installed(prefix("172.28.2.0/24"), &a_link("tmb0")));
}

#[test]
fn only_members_may_speak_from_overlay_prefixes() {
    let directory = a_directory();

    let prefixes = overlay_prefixes(&[a_plan(&directory)], NOW);

    for expected in ["172.27.0.0/16", "172.28.2.0/24", "172.28.1.0/24"] {
        assert!(prefixes.contains(&prefix(expected)), "{expected}");
    }
}

const NOW: UnixSeconds = UnixSeconds(1000);

/// A host that keeps state and refuses the impossible.
struct FakeHost {
    state: HostState,
    local: Vec<LocalNetwork>,
    refuses: Option<IpNet>,
    steps: usize,
}

impl FakeHost {
    fn with_link(name: &str) -> Self {
        let link = LinkState {
            mtu: Mtu(1500),
            up: false,
            addresses: BTreeSet::new(),
        };
        Self {
            state: HostState {
                links: BTreeMap::from([(a_link(name), link)]),
                ..HostState::default()
            },
            local: Vec::new(),
            refuses: None,
            steps: 0,
        }
    }

    fn take(&mut self, action: &HostAction) -> anyhow::Result<()> {
        let missing = || anyhow::anyhow!("no such link");
        match action {
            HostAction::SetMtu(name, mtu) => {
                self.state.links.get_mut(name).ok_or_else(missing)?.mtu = *mtu
            }
            HostAction::SetUp(name) => {
                self.state.links.get_mut(name).ok_or_else(missing)?.up = true
            }
            HostAction::AddAddress(name, address) => {
                let link = self.state.links.get_mut(name).ok_or_else(missing)?;
                anyhow::ensure!(link.addresses.insert(*address), "exists");
            }
            HostAction::RemoveAddress(name, address) => {
                let link = self.state.links.get_mut(name).ok_or_else(missing)?;
                anyhow::ensure!(link.addresses.remove(address), "no such address");
            }
            HostAction::AddRoute(route) => {
                anyhow::ensure!(self.refuses != Some(route.prefix), "refused");
                anyhow::ensure!(self.state.routes.insert(route.clone()), "exists");
            }
            HostAction::RemoveRoute(route) => {
                anyhow::ensure!(self.state.routes.remove(route), "no such route");
            }
            HostAction::AddRule(rule) => {
                anyhow::ensure!(self.state.rules.insert(*rule), "exists");
            }
            HostAction::RemoveRule(rule) => {
                anyhow::ensure!(self.state.rules.remove(rule), "no such rule");
            }
        }
        self.steps += 1;
        Ok(())
    }
}

impl Host for FakeHost {
    async fn observe(&mut self, _links: &BTreeSet<LinkName>) -> anyhow::Result<Observed> {
        Ok(Observed {
            state: self.state.clone(),
            local: self.local.clone(),
            routed: Vec::new(),
            addresses: BTreeSet::new(),
            lans: BTreeSet::new(),
            uplinks: BTreeSet::new(),
            intruders: Vec::new(),
        })
    }

    async fn apply(&mut self, actions: &[HostAction]) -> Vec<FailedAction> {
        let mut failed = Vec::new();
        for action in actions {
            if let Err(error) = self.take(action) {
                failed.push(FailedAction {
                    action: action.clone(),
                    error,
                });
            }
        }
        failed
    }
}

fn a_keeper(host: FakeHost) -> HostKeeper<FakeHost> {
    HostKeeper::new(
        host,
        &HostSection {
            forwarding: false,
            firewall: false,
            weak_host_rule: false,
            port_mapping: false,
        },
        watch::channel(Opened::new()).1,
    )
}

fn a_plan(directory: &Directory) -> NetworkPlan<'_> {
    NetworkPlan {
        directory,
        me: a_secret(1).public(),
        link: a_link("tmb0"),
        allow_global: false,
        allow_default: false,
    }
}

/// Two members, 1 and 2, with 172.28.1.0/24 and 172.28.2.0/24 behind them.
fn a_directory() -> Directory {
    let root = a_secret(9);
    let keyring = Keyring {
        version: Version::first_epoch(1),
        replicas: BTreeSet::from([root.public()]),
        endpoints: Vec::new(),
    };
    let keyring = Signed::sign(&keyring, Keyring::scope(network().authority()), &root);
    let doc = NetworkDoc {
        version: Version::first_epoch(1),
        name: "home".to_owned(),
        v4_pools: Vec::new(),
        on_link: BTreeSet::from([prefix("172.27.0.0/16")]),
        subnet_pools: Vec::new(),
        v6_modes: BTreeSet::from([V6Mode::SixPlane]),
        mtu: Mtu::DEFAULT,
        members: MembersDigest::of([]),
        rules: AccessRules::default(),
    };
    let mut entries = vec![DirectoryEntry::Network(Signed::sign(
        &doc,
        network().into(),
        &root,
    ))];
    for number in [1, 2] {
        let cert = a_cert(number, a_secret(number).public());
        entries.push(DirectoryEntry::Member(Signed::sign(
            &cert,
            network().into(),
            &root,
        )));
    }
    let mut directory = Directory::new(network(), root.public(), keyring).expect("a good keyring");
    assert!(directory.accept(entries).refused.is_empty());
    directory
}

fn a_cert(number: u8, identity: IdentityKey) -> MemberCert {
    let node = format!("00000000{number:02x}")
        .parse()
        .expect("a node address");
    MemberCert {
        version: Version::first_epoch(u64::from(number) + 1),
        node,
        name: format!("node{number}"),
        identity,
        transport: Seed::from_bytes([number; 32])
            .transport(network(), 0)
            .public(),
        transport_epoch: 0,
        addresses: BTreeSet::from([
            format!("172.27.0.{number}").parse().expect("an address"),
            sixplane::node_address(network(), node).into(),
        ]),
        prefix: Some(sixplane::member(network(), node)),
        routes: vec![CertRoute {
            prefix: prefix(&format!("172.28.{number}.0/24")),
            metric: 0,
            mode: RouteMode::Single,
        }],
        relay: false,
        tags: BTreeSet::new(),
        issued_at: UnixSeconds(0),
        not_after: UnixSeconds(1 << 40),
    }
}

fn network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}

fn a_secret(number: u8) -> IdentitySecret {
    Seed::from_bytes([number; 32]).identity()
}

fn a_link(name: &str) -> LinkName {
    name.parse().expect("an interface name")
}

fn prefix(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}
