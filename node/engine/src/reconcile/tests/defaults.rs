//! Default routes into the overlay, and what goes with them.

use super::*;

#[test]
fn a_default_route_stands_in_a_table_of_its_own_and_rules_keep_the_underlay_out_of_it() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &[]),
        a_cert(4, "172.27.0.6", &["0.0.0.0/0"]),
    ]);
    let plan = NetworkPlan {
        allow_default: true,
        ..a_plan(&directory, 3)
    };
    let own = BTreeSet::from([address("203.0.113.7"), address("2001:db8::7")]);

    // Everything overlaps a default route, and nothing clashes with it.
    let desired = desired(&[plan], &[a_local("eth0", "203.0.113.0/24")], NOW);
    assert_eq!(desired.clashes, []);
    let default = via_overlay("0.0.0.0/0");
    assert!(desired.state.routes.contains(&default));
    assert_eq!(default.table(), DEFAULT_TABLE);
    assert_ne!(via_overlay("172.27.0.0/16").table(), DEFAULT_TABLE);

    let rules = rules(&desired.state.routes, &own);
    assert_eq!(
        rules.iter().copied().collect::<Vec<_>>(),
        [
            Rule::From(address("203.0.113.7")),
            Rule::Specific(Family::V4),
            Rule::Unmarked(Family::V4),
        ],
        "of the family that has one alone, the one that leads there last"
    );
    let priorities: Vec<u32> = rules.iter().map(Rule::priority).collect();
    assert!(priorities.is_sorted(), "{priorities:?}");
    let wanted = HostState {
        rules,
        ..desired.state
    };
    let kinds = |from, to| -> Vec<bool> {
        let steps = actions(to, from).into_iter();
        let of_default = steps.filter_map(|step| match step {
            HostAction::AddRule(_) | HostAction::RemoveRule(_) => Some(true),
            HostAction::AddRoute(route) | HostAction::RemoveRoute(route) if route == default => {
                Some(false)
            }
            HostAction::AddRoute(_)
            | HostAction::RemoveRoute(_)
            | HostAction::SetMtu(..)
            | HostAction::SetUp(_)
            | HostAction::AddAddress(..)
            | HostAction::RemoveAddress(..) => None,
        });
        of_default.collect()
    };
    let nothing = HostState::default();
    assert_eq!(kinds(&nothing, &wanted), [false, true, true, true]);
    assert_eq!(kinds(&wanted, &nothing), [true, true, true, false]);
}

#[test]
fn who_carries_a_default_route_gets_none_and_no_guard_and_sees_clashes_as_before() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &["0.0.0.0/0"]),
        a_cert(4, "172.27.0.6", &["0.0.0.0/0", "10.9.0.0/16"]),
    ]);
    let plan = NetworkPlan {
        allow_default: true,
        ..a_plan(&directory, 3)
    };
    let uplinks = [(Family::V4, "eth0"), (Family::V6, "eth1")];
    let uplinks = uplinks.map(|(family, link)| (family, link.to_owned()));

    let desired = desired(
        std::slice::from_ref(&plan),
        &[a_local("eth1", "10.9.0.0/24")],
        NOW,
    );

    assert!(
        !desired
            .state
            .routes
            .iter()
            .any(|route| is_default(&route.prefix))
    );
    assert!(
        rules(
            &desired.state.routes,
            &BTreeSet::from([address("203.0.113.7")])
        )
        .is_empty()
    );
    assert_eq!(desired.clashes.len(), 1, "{:?}", desired.clashes);
    let exits = exits(&[plan], &uplinks.into(), NOW);
    assert_eq!(
        exits,
        BTreeSet::from([Exit {
            link: tmb0(),
            uplink: "eth0".to_owned(),
            family: Family::V4
        }]),
        "of the family that is carried"
    );
}

#[test]
fn of_two_networks_with_a_default_route_the_first_has_it() {
    let directory = a_directory(&[
        a_cert(3, "172.27.0.5", &[]),
        a_cert(4, "172.27.0.6", &["0.0.0.0/0"]),
    ]);
    let first = NetworkPlan {
        allow_default: true,
        ..a_plan(&directory, 3)
    };
    let second = NetworkPlan {
        link: "tmb1".parse().expect("a link name"),
        ..first.clone()
    };

    let desired = desired(&[first, second], &[], NOW);

    let clash = desired
        .clashes
        .iter()
        .find(|clash| is_default(&clash.prefix));
    assert_eq!(
        clash.map(|clash| &clash.reason),
        Some(&ClashReason::OtherNetwork(tmb0()))
    );
}
