use std::collections::BTreeSet;

use proptest::prelude::*;
use tombolo_proto::{
    config::{CertRoute, DirectoryEntry, Keyring, MembersDigest, RouteMode},
    id::{NetworkId, NodeId, Version},
    key::{IdentitySecret, Seed},
    rules::AccessRules,
    signed::Signed,
};

use super::*;

mod defaults;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

#[test]
fn a_member_gets_its_addresses_the_shared_ranges_and_a_guard_over_its_own_prefixes() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &["172.28.0.0/24"]),
        a_cert(4, "172.27.0.6", &[]),
    ]);

    let desired = desired(&[a_plan(&directory, 3)], &[], NOW);

    let link = &desired.state.links[&tmb0()];
    assert_eq!(link.addresses, BTreeSet::from([net("172.27.0.5/32")]));
    assert!(link.up);
    let plane = sixplane::member(network(), node(3));
    assert_eq!(
        desired.state.routes,
        BTreeSet::from([
            via_overlay("172.27.0.0/16"),
            Route {
                target: RouteTarget::Link(tmb0()),
                ..overlay(sixplane::network(network()).into())
            },
            guard("172.28.0.0/24"),
            Route {
                prefix: plane.into(),
                metric: GUARD_METRIC,
                target: RouteTarget::Unreachable
            },
        ])
    );
    assert_eq!(desired.clashes, []);
}

#[test]
fn routes_of_others_are_installed_but_never_on_the_member_that_carries_them() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &["172.28.0.0/24"]),
        a_cert(4, "172.27.0.6", &["172.28.0.0/24", "172.28.1.0/24"]),
    ]);

    let on_three = desired(&[a_plan(&directory, 3)], &[], NOW).state.routes;

    assert!(on_three.contains(&via_overlay("172.28.1.0/24")));
    assert!(!on_three.contains(&via_overlay("172.28.0.0/24")));
}

#[test]
fn what_clashes_with_a_local_network_stays_out_and_is_named() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &[]),
        a_cert(4, "172.27.0.6", &["172.17.0.0/16"]),
    ]);
    let docker0 = LocalNetwork {
        link: "docker0".to_owned(),
        prefix: net("172.17.0.0/16"),
    };

    let desired = desired(&[a_plan(&directory, 3)], &[docker0], NOW);

    assert!(!desired.state.routes.contains(&via_overlay("172.17.0.0/16")));
    assert_eq!(
        desired.clashes[0].to_string(),
        "172.17.0.0/16 of the network on tmb0 is not installed: it overlaps 172.17.0.0/16 on docker0; choose another \
         range for one of them"
    );
}

#[test]
fn a_container_bridge_inside_the_members_own_routes_is_no_clash() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &["10.10.0.0/24"]),
        a_cert(4, "172.27.0.6", &["10.0.0.0/8"]),
    ]);
    let bridge = LocalNetwork {
        link: "br0".to_owned(),
        prefix: net("10.10.0.0/24"),
    };

    let desired = desired(&[a_plan(&directory, 3)], &[bridge], NOW);

    assert_eq!(desired.clashes, []);
    assert!(desired.state.routes.contains(&via_overlay("10.0.0.0/8")));
}

#[test]
fn a_slice_of_a_network_that_the_host_is_on_stays_reachable_from_the_host() {
    let directory = a_directory(&[a_cert(
        3,
        "172.27.0.5",
        &["192.168.88.192/27", "10.9.0.0/24"],
    )]);
    let lan = a_local("eth0", "192.168.88.0/24");

    let routes = desired(&[a_plan(&directory, 3)], &[lan], NOW).state.routes;

    assert!(!routes.contains(&guard("192.168.88.192/27")));
    assert!(routes.contains(&guard("10.9.0.0/24")));
}

#[test]
fn a_member_carries_its_routes_and_the_local_networks_in_its_plane() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &["172.28.0.0/24", "0.0.0.0/0"]),
        a_cert(4, "172.27.0.6", &["172.28.1.0/24"]),
    ]);
    let plane = sixplane::member(network(), node(3));
    let in_plane = net(&format!("{}/96", plane.network()));
    let bridge = a_local("br0", &in_plane.to_string());
    let of = |local: &[LocalNetwork]| -> BTreeSet<IpNet> {
        let all = carried(&[a_plan(&directory, 3)], local, &BTreeSet::new(), NOW);
        all.into_iter().map(|carried| carried.prefix).collect()
    };

    assert_eq!(of(&[]), BTreeSet::from([net("172.28.0.0/24")]));
    assert_eq!(
        of(&[bridge]),
        BTreeSet::from([net("172.28.0.0/24"), in_plane])
    );
}

#[test]
fn what_is_carried_on_a_lan_is_told_from_what_is_behind_this_host_alone() {
    let directory = a_directory(&[a_cert(
        3,
        "172.27.0.5",
        &["192.168.88.192/27", "172.28.0.0/24"],
    )]);
    let local = [
        a_local("eth0", "192.168.88.0/24"),
        a_local("docker0", "172.28.0.0/24"),
    ];
    let lans = BTreeSet::from(["eth0".to_owned()]);

    let carried = carried(&[a_plan(&directory, 3)], &local, &lans, NOW);

    let on_lan: Vec<_> = carried.iter().filter(|carried| carried.on_lan).collect();
    assert_eq!(carried.len(), 2);
    assert_eq!(on_lan.len(), 1);
    assert_eq!(on_lan[0].prefix, net("192.168.88.192/27"));
}

#[test]
fn public_prefixes_wait_for_allow_global_and_default_routes_for_allow_default() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &[]),
        a_cert(4, "172.27.0.6", &["203.0.113.0/24", "0.0.0.0/0"]),
    ]);
    let plan = a_plan(&directory, 3);
    let open = NetworkPlan {
        allow_global: true,
        ..plan.clone()
    };
    let wide_open = NetworkPlan {
        allow_default: true,
        ..open.clone()
    };

    let reasons = |plan| {
        desired(&[plan], &[], NOW)
            .clashes
            .into_iter()
            .map(|clash| clash.reason)
            .collect::<Vec<_>>()
    };

    let kept = desired(std::slice::from_ref(&plan), &[], NOW).clashes;
    let settings: Vec<_> = kept.iter().map(Clash::setting).collect();
    assert_eq!(settings, [Some("allow-default"), Some("allow-global")]);
    assert_eq!(
        kept[1].to_string(),
        "203.0.113.0/24 of the network on tmb0 is not installed: it is a public prefix, and allow-global is off here"
    );
    assert_eq!(reasons(plan), [ClashReason::Default, ClashReason::Global]);
    assert_eq!(reasons(open), [ClashReason::Default]);
    assert_eq!(reasons(wide_open), []);
}

#[test]
fn a_member_without_its_public_address_is_told_of_as_a_clash() {
    let directory = a_directory(&[a_cert(3, "198.51.100.5", &[])]);

    let desired = desired(&[a_plan(&directory, 3)], &[], NOW);

    assert_eq!(desired.clashes.len(), 1);
    assert_eq!(desired.clashes[0].reason, ClashReason::GlobalAddress);
    assert_eq!(desired.clashes[0].setting(), None);
    let mend = desired.clashes[0].mend(network());
    assert_eq!(mend, "tombolo set 8056c2e21c000001 allow-global=on");
}

#[test]
fn a_node_that_is_no_member_any_more_has_nothing_but_a_bare_link() {
    let directory = a_directory(&[a_cert(4, "172.27.0.6", &["172.28.0.0/24"])]);

    let desired = desired(&[a_plan(&directory, 3)], &[], NOW);

    assert!(desired.state.routes.is_empty());
    assert!(desired.state.links[&tmb0()].addresses.is_empty());
}

#[test]
fn link_names_are_what_the_kernel_and_people_can_take() {
    for good in ["tmb0", "a", "home.lan_1-x", "abcdefghijklmno"] {
        assert!(good.parse::<LinkName>().is_ok(), "{good}");
    }
    for bad in ["", "abcdefghijklmnop", "../x", "a b", "-x", ".", "é"] {
        assert!(bad.parse::<LinkName>().is_err(), "{bad}");
    }
}

proptest! {
    /// Applying the steps to what is observed gives what is desired, and a second time there is nothing to do.
    #[test]
    fn the_steps_lead_from_any_state_to_any_other(from in a_state(), to in a_state()) {
        let mut state = from.clone();
        for step in actions(&to, &from) {
            apply(&mut state, step);
        }
        state.links.retain(|name, _| to.links.contains_key(name));
        prop_assert_eq!(&state, &to);
        prop_assert_eq!(actions(&to, &state), []);
    }
}

/// A host that holds state and refuses the impossible.
fn apply(state: &mut HostState, step: HostAction) {
    let fresh = LinkState {
        mtu: Mtu(1500),
        up: false,
        addresses: BTreeSet::new(),
    };
    match step {
        HostAction::SetMtu(name, mtu) => state.links.entry(name).or_insert(fresh).mtu = mtu,
        HostAction::SetUp(name) => state.links.entry(name).or_insert(fresh).up = true,
        HostAction::AddAddress(name, address) => {
            assert!(
                state
                    .links
                    .get_mut(&name)
                    .expect("the link exists")
                    .addresses
                    .insert(address)
            );
        }
        HostAction::RemoveAddress(name, address) => {
            assert!(
                state
                    .links
                    .get_mut(&name)
                    .expect("the link exists")
                    .addresses
                    .remove(&address)
            );
        }
        HostAction::AddRoute(route) => assert!(state.routes.insert(route)),
        HostAction::RemoveRoute(route) => assert!(state.routes.remove(&route)),
        HostAction::AddRule(rule) => assert!(state.rules.insert(rule)),
        HostAction::RemoveRule(rule) => assert!(state.rules.remove(&rule)),
    }
}

fn a_state() -> impl Strategy<Value = HostState> {
    let address = (0u8..4).prop_map(|last| net(&format!("10.0.0.{last}/32")));
    let name = (0u8..3).prop_map(|number| format!("tmb{number}").parse().expect("a link name"));
    let link =
        (1280u16..1290, prop::collection::btree_set(address, 0..4)).prop_map(|(mtu, addresses)| {
            LinkState {
                mtu: Mtu(mtu),
                up: true,
                addresses,
            }
        });
    let route = (0u8..4, prop::bool::ANY).prop_map(|(third, overlay)| {
        let prefix = format!("10.1.{third}.0/24");
        if overlay {
            via_overlay(&prefix)
        } else {
            guard(&prefix)
        }
    });
    let family = prop::sample::select(&Family::ALL[..]);
    let rule = (family, 0u8..3).prop_map(|(family, kind)| match kind {
        0 => Rule::Specific(family),
        1 => Rule::Unmarked(family),
        _ => Rule::From(std::net::Ipv4Addr::new(203, 0, 113, 7).into()),
    });
    (
        prop::collection::btree_map(name, link, 0..3),
        prop::collection::btree_set(route, 0..6),
        prop::collection::btree_set(rule, 0..4),
    )
        .prop_map(|(links, routes, rules)| HostState {
            links,
            routes,
            rules,
        })
}

fn network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}

fn node(number: u8) -> NodeId {
    NodeId::new(u64::from(number)).expect("a node address")
}

fn secret(number: u8) -> IdentitySecret {
    Seed::from_bytes([number; 32]).identity()
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn address(text: &str) -> std::net::IpAddr {
    text.parse().expect("an address")
}

fn a_local(link: &str, prefix: &str) -> LocalNetwork {
    LocalNetwork {
        link: link.to_owned(),
        prefix: net(prefix),
    }
}

fn tmb0() -> LinkName {
    "tmb0".parse().expect("a link name")
}

fn overlay(prefix: IpNet) -> Route {
    Route {
        prefix,
        metric: ROUTE_METRIC,
        target: RouteTarget::Link(tmb0()),
    }
}

fn via_overlay(prefix: &str) -> Route {
    overlay(net(prefix))
}

fn guard(prefix: &str) -> Route {
    Route {
        prefix: net(prefix),
        metric: GUARD_METRIC,
        target: RouteTarget::Unreachable,
    }
}

fn a_plan(directory: &Directory, number: u8) -> NetworkPlan<'_> {
    NetworkPlan {
        directory,
        me: secret(number).public(),
        link: tmb0(),
        allow_global: false,
        allow_default: false,
    }
}

fn a_cert(number: u8, address: &str, routes: &[&str]) -> MemberCert {
    let route = |prefix: &&str| CertRoute {
        prefix: net(prefix),
        metric: 0,
        mode: RouteMode::Single,
    };
    MemberCert {
        version: Version::first_epoch(u64::from(number)),
        node: node(number),
        name: format!("node-{number}"),
        identity: secret(number).public(),
        transport: Seed::from_bytes([number; 32])
            .transport(network(), 0)
            .public(),
        transport_epoch: 0,
        addresses: BTreeSet::from([address.parse().expect("an address")]),
        prefix: Some(sixplane::member(network(), node(number))),
        routes: routes.iter().map(route).collect(),
        relay: true,
        tags: BTreeSet::new(),
        issued_at: NOW,
        not_after: UnixSeconds(NOW.0 + 1000),
    }
}

fn a_directory(certs: &[MemberCert]) -> Directory {
    let keyring = Keyring {
        version: Version::first_epoch(1),
        replicas: BTreeSet::from([secret(2).public()]),
        endpoints: Vec::new(),
    };
    let doc = NetworkDoc {
        version: Version::first_epoch(1),
        name: "home".to_owned(),
        v4_pools: Vec::new(),
        on_link: BTreeSet::from([net("172.27.0.0/16")]),
        subnet_pools: Vec::new(),
        v6_modes: BTreeSet::from([V6Mode::SixPlane]),
        mtu: Mtu::DEFAULT,
        members: MembersDigest::of([]),
        rules: AccessRules::default(),
    };
    let keyring = Signed::sign(&keyring, Keyring::scope(network().authority()), &secret(1));
    let mut directory =
        Directory::new(network(), secret(1).public(), keyring).expect("signed by the root");
    let mut entries = vec![DirectoryEntry::Network(Signed::sign(
        &doc,
        network().into(),
        &secret(2),
    ))];
    entries.extend(
        certs
            .iter()
            .map(|cert| DirectoryEntry::Member(Signed::sign(cert, network().into(), &secret(2)))),
    );
    assert_eq!(directory.accept(entries).refused, []);
    directory
}
