//! Any sequence of commands leaves a network that makes sense, and documents that say the same as the network.

use std::collections::BTreeMap;

use crate::scene::{NOW, Step, a_network, a_step};
use proptest::prelude::*;
use tombolo_domain::{
    change::Change,
    command::{Command, SettingsPatch},
    compile::compile,
    decide::decide,
    managed_route::RouteState,
    member::Member,
    network::{Found, LAST_REVISION, Network},
    refusal::Refusal,
};
use tombolo_proto::{
    config::{MemberCert, RouteMode},
    id::{Epoch, Mtu, Revision},
    key::IdentityKey,
};

/// What a node that took every document believes.
#[derive(Default)]
struct Believer {
    certs: BTreeMap<IdentityKey, MemberCert>,
    floors: BTreeMap<IdentityKey, Revision>,
}

impl Believer {
    fn take(&mut self, before: &Network, after: &Network, changes: &[Change]) {
        let documents = compile(before, after, changes, Epoch(0), NOW);
        for revocation in documents.revocations {
            self.floors
                .insert(revocation.identity, revocation.serial_floor);
        }
        for cert in documents.certs {
            assert_eq!(cert.version.revision, after.revision());
            if let Some(old) = self.certs.insert(cert.identity, cert.clone()) {
                assert!(old.version < cert.version, "serials grow");
            }
        }
    }

    fn live(&self) -> impl Iterator<Item = &MemberCert> {
        self.certs.values().filter(|cert| {
            let floor = self.floors.get(&cert.identity).copied();
            floor.is_none_or(|floor| cert.version.revision > floor)
        })
    }
}

#[test]
fn a_network_at_its_last_revision_stays_as_it_is() {
    let network = a_network();
    let at = |revision| {
        let settings = network.settings().clone();
        Network::restore(network.id(), revision, settings, Vec::new())
    };
    let rename = || {
        Command::Configure(SettingsPatch {
            mtu: Some(Mtu(1_300)),
            ..SettingsPatch::default()
        })
    };

    for revision in [LAST_REVISION, Revision(u64::MAX)] {
        let last = at(revision);
        assert_eq!(decide(rename(), &last, NOW), Err(Refusal::UsedUp));
        assert_eq!(last.next_revision().0.min(revision.0), revision.0);
    }
    let before = at(Revision(LAST_REVISION.0 - 1));
    let changes = decide(rename(), &before, NOW).expect("one revision is left");
    assert_eq!(before.apply(&changes).revision(), LAST_REVISION);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_every_command(steps in proptest::collection::vec(a_step(), 1..60)) {
        let mut network = a_network();
        let mut believer = Believer::default();
        for step in steps {
            let Ok(changes) = decide(step.command(&network), &network, NOW) else {
                continue;
            };
            let after = network.apply(&changes);
            check_revision(&network, &after, &changes);
            check_invariants(&after);
            believer.take(&network, &after, &changes);
            check_belief(&after, &believer);
            network = after;
        }
    }

    #[test]
    fn several_commands_together_do_what_they_do_one_after_the_other(
        before in proptest::collection::vec(a_step(), 0..20),
        together in proptest::collection::vec(a_step(), 1..6),
    ) {
        let mut network = a_network();
        let mut believer = Believer::default();
        for step in before {
            if let Ok(changes) = decide(step.command(&network), &network, NOW) {
                let after = network.apply(&changes);
                believer.take(&network, &after, &changes);
                network = after;
            }
        }
        let mut one_by_one = network.clone();
        let mut commands = Vec::new();
        for step in together {
            let command = step.command(&one_by_one);
            if let Ok(changes) = decide(command.clone(), &one_by_one, NOW) {
                one_by_one = one_by_one.apply(&changes);
                commands.push(command);
            }
        }

        let changes = decide(Command::Together(commands), &network, NOW).expect("each is accepted");
        let after = network.apply(&changes);

        check_revision(&network, &after, &changes);
        check_invariants(&after);
        believer.take(&network, &after, &changes);
        check_belief(&after, &believer);
        prop_assert_eq!(after.settings(), one_by_one.settings());
        prop_assert!(after.routes().eq(one_by_one.routes()));
        prop_assert!(after.requests().eq(one_by_one.requests()));
        let told = |network: &Network| -> Vec<_> {
            let members = network.members();
            members.map(|it| (it.identity, it.name.clone(), it.state, it.addresses.clone())).collect()
        };
        prop_assert_eq!(told(&after), told(&one_by_one));
        for (position, one) in changes.iter().enumerate() {
            let later = changes.iter().skip(position + 1);
            prop_assert!(later.clone().all(|other| !one.is_about_the_row_of(other)), "{changes:?}");
        }
    }

    #[test]
    fn a_repeated_command_changes_nothing_or_is_refused(steps in proptest::collection::vec(a_step(), 1..30)) {
        let mut network = a_network();
        for step in steps {
            let Ok(changes) = decide(step.command(&network), &network, NOW) else {
                continue;
            };
            network = network.apply(&changes);
            if !matches!(step, Step::Subnet { .. }) {
                let again = decide(step.command(&network), &network, NOW);
                prop_assert!(again.is_err() || again == Ok(Vec::new()), "{step:?}: {again:?}");
            }
        }
    }
}

fn check_revision(before: &Network, after: &Network, changes: &[Change]) {
    let configured = changes.iter().any(Change::is_configuration);
    let expected = before.revision().0 + u64::from(configured);
    assert_eq!(after.revision().0, expected);
}

fn check_invariants(network: &Network) {
    let mut addresses = Vec::new();
    let mut names = Vec::new();
    for member in network.members() {
        assert!(network.request(&member.identity).is_none());
        assert!(member.serial <= network.revision());
        for address in &member.addresses {
            assert!(network.settings().v4.admits(*address));
            addresses.push(*address);
        }
        names.push(member.name.key());
        let is_it = |found: Option<&Member>| found.map(|it| it.identity) == Some(member.identity);
        assert!(matches!(network.by_node(member.node), Some(Found::Member(it)) if is_it(Some(it))));
        assert!(is_it(network.by_name(&member.name)));
        assert!(is_it(network.by_transport(&member.transport)));
        for address in network.addresses_of(member) {
            assert!(is_it(network.by_address(address)));
        }
        assert!(!member.is_authorized() || !member.addresses.is_empty());
    }
    assert_unique(addresses);
    assert_unique(names);
    let mut holders = Vec::new();
    for route in network.routes() {
        let via = network.member(&route.via).expect("routes have members");
        match route.state {
            RouteState::Active | RouteState::Pending => assert!(via.is_authorized()),
            RouteState::Suspended => assert!(!via.is_authorized()),
        }
        assert_eq!(route.target, route.target.trunc());
        if route.holds_its_prefix() {
            holders.push(route);
        }
    }
    for (position, one) in holders.iter().enumerate() {
        for other in holders.iter().skip(position + 1) {
            let shared = one.mode == RouteMode::Failover && other.mode == RouteMode::Failover;
            assert!(one.target != other.target || (shared && one.via != other.via));
        }
    }
}

/// Who took every document knows exactly the members and routes of the network.
fn check_belief(network: &Network, believer: &Believer) {
    let authorized: Vec<IdentityKey> = network
        .members()
        .filter(|member| member.is_authorized())
        .map(|member| member.identity)
        .collect();
    let believed: Vec<IdentityKey> = believer.live().map(|cert| cert.identity).collect();
    assert_eq!(believed, authorized);
    for cert in believer.live() {
        let member = network.member(&cert.identity).expect("just compared");
        assert_eq!(cert.addresses, network.addresses_of(member));
        assert_eq!(cert.name, member.name.as_str());
        assert_eq!(cert.prefix, network.prefix_of(member.node));
        let mut routes: Vec<_> = network
            .routes()
            .filter(|route| route.via == member.identity && route.state == RouteState::Active)
            .map(|route| route.target)
            .collect();
        routes.sort();
        let told: Vec<_> = cert.routes.iter().map(|route| route.prefix).collect();
        assert_eq!(told, routes);
    }
}

fn assert_unique<T: Ord + std::fmt::Debug>(mut values: Vec<T>) {
    values.sort();
    let pair = values.array_windows().find(|[one, two]| one == two);
    assert!(pair.is_none(), "twice: {pair:?}");
}
