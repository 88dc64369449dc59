//! What `node docker create` asks of Docker.

use proptest::prelude::*;
use tombolo_containers::{
    create::{self, V6, Wish},
    labels, plan,
    situation::{ContainerNetwork, FirewallBackend},
};

use crate::scene::{a_situation, an_engine, local, net};

#[test]
fn a_network_gets_the_next_number_its_slice_and_the_overlays_mtu() {
    let mut situation = a_situation();
    let first = created(&situation, &a_wish("app"), "10.240.1.0/24");

    assert_eq!(first.bridge(), "tmbbr1");
    assert_eq!(first.mtu(), 1400);
    let prefixes: Vec<_> = first.subnets.iter().map(|subnet| subnet.prefix).collect();
    assert_eq!(
        prefixes,
        [net("10.240.1.0/24"), net("fc80:aa:1:1:0:1::/96")]
    );
    let gateways: Vec<_> = first
        .subnets
        .iter()
        .filter_map(|subnet| subnet.gateway)
        .collect();
    assert_eq!(texts(&gateways), ["10.240.1.1", "fc80:aa:1:1:0:1:0:1"]);

    situation.networks.push(first);
    situation.local.push(local("tmbbr2", "192.0.2.0/24"));
    let second = created(&situation, &a_wish("db"), "10.240.3.0/24");
    assert_eq!(second.bridge(), "tmbbr3");
    assert_eq!(second.subnets[1].prefix, net("fc80:aa:1:1:0:3::/96"));
}

#[test]
fn the_metric_of_the_routes_is_kept_with_the_network_and_looked_up_by_subnet() {
    let mut situation = a_situation();
    let wish = Wish {
        metric: 20,
        ..a_wish("app")
    };

    let network = created(&situation, &wish, "10.240.1.0/24");
    situation.networks.push(network);

    let metric = |prefix| situation.metric(&net(prefix));
    assert_eq!(metric("10.240.1.0/24"), 20);
    assert_eq!(metric("fc80:aa:1:1:0:1::/96"), 20);
    assert_eq!(metric("172.17.0.0/16"), 0);
}

#[test]
fn gateway_modes_are_for_docker_from_28_on_alone_because_27_refuses_them() {
    let mut situation = a_situation();
    for (version, set) in [
        ("20.10.24", false),
        ("27.5.1", false),
        ("28.0.0", true),
        ("29.7.2", true),
    ] {
        situation.engine = an_engine(version, FirewallBackend::Iptables);
        let network = created(&situation, &a_wish("app"), "10.240.1.0/24");
        for mode in labels::GATEWAY_MODES {
            assert_eq!(network.options.contains_key(mode), set, "{version}");
        }
    }
}

#[test]
fn a_second_creation_of_the_same_is_recognised_and_of_something_else_too() {
    let situation = a_situation();
    let membership = &situation.memberships[0];
    let network = created(&situation, &a_wish("app"), "10.240.1.0/24");
    let is_as_wished = |wish: &Wish, v4: Option<&str>| {
        let v4 = v4.map(|text| text.parse().expect("a prefix"));
        create::is_as_wished(&network, membership, wish, v4)
    };

    assert!(is_as_wished(&a_wish("app"), None));
    assert!(is_as_wished(&a_wish("app"), Some("10.240.1.0/24")));
    assert!(!is_as_wished(&a_wish("app"), Some("10.240.9.0/24")));
    assert!(!is_as_wished(
        &Wish {
            internal: true,
            ..a_wish("app")
        },
        None
    ));
    assert!(!is_as_wished(
        &Wish {
            metric: 20,
            ..a_wish("app")
        },
        None
    ));
    assert!(!is_as_wished(
        &Wish {
            masquerade: false,
            ..a_wish("app")
        },
        None
    ));
    assert!(!is_as_wished(
        &Wish {
            v6: V6::Off,
            ..a_wish("app")
        },
        None
    ));
}

#[test]
fn a_subnet_left_over_is_taken_first_unless_something_uses_it() {
    let mut situation = a_situation();
    let spare = |situation: &tombolo_containers::Situation| {
        create::spare_subnet(situation, &situation.memberships[0], 24).map(|net| net.to_string())
    };

    assert_eq!(spare(&situation).as_deref(), Some("10.240.1.0/24"));
    situation.local.push(local("eth1", "10.240.1.0/28"));
    assert_eq!(spare(&situation), None);
}

proptest! {
    #[test]
    fn what_is_created_is_published_and_never_twice_in_the_same_place(
        internal in any::<bool>(), masquerade in any::<bool>(), v6 in any::<bool>(), count in 1u8..6,
    ) {
        let mut situation = a_situation();
        for number in 0..count {
            let v6 = if v6 { V6::Automatic } else { V6::Off };
            let wish = Wish { name: format!("net{number}"), v6, internal, masquerade, metric: 0 };
            let network = created(&situation, &wish, &format!("10.240.{}.0/24", 10 + number));
            situation.networks.push(network);
        }

        let plan = plan(&situation);

        prop_assert_eq!(plan.openings().count(), usize::from(count));
        prop_assert_eq!(plan.routes.len(), usize::from(count));
    }
}

fn texts(addresses: &[std::net::IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn a_wish(name: &str) -> Wish {
    Wish {
        name: name.to_owned(),
        v6: V6::Automatic,
        internal: false,
        masquerade: true,
        metric: 0,
    }
}

/// The network as Docker lists it afterwards.
fn created(situation: &tombolo_containers::Situation, wish: &Wish, v4: &str) -> ContainerNetwork {
    let membership = &situation.memberships[0];
    let number = create::next_number(situation, membership).expect("a free number");
    let v4 = v4.parse().expect("a prefix");
    let subnets = create::subnets(membership, wish.v6, number, v4);
    let spec = create::spec(situation, membership, wish, number, subnets);
    ContainerNetwork {
        id: format!("{number:032}"),
        name: spec.name,
        driver: "bridge".to_owned(),
        subnets: spec.subnets,
        labels: spec.labels,
        options: spec.options,
        ..ContainerNetwork::default()
    }
}
