//! What is published, and what is refused with the sentence that mends it.

use tombolo_containers::{
    Refusal, labels, plan,
    plan::By,
    situation::{FirewallBackend, Membership, Subnet},
};

use crate::scene::{
    OWN, a_membership, a_network, a_situation, an_engine, labelled, local, net, overlay, publish,
};

#[test]
fn without_a_label_or_a_word_nothing_is_published() {
    let plan = plan(&a_situation());

    assert!(plan.entries.is_empty() && plan.routes.is_empty());
}

#[test]
fn a_labelled_network_is_published_with_its_route() {
    let mut situation = a_situation();
    situation
        .networks
        .push(labelled(a_network("web1", &["10.10.0.0/24"])));

    let plan = plan(&situation);

    let entry = plan.entry("web1").expect("an entry");
    assert_eq!((entry.by, entry.network), (By::Label, Some(overlay())));
    let opening = entry.opening.as_ref().expect("admitted");
    assert_eq!(opening.bridge, "br-0123456789ab");
    assert_eq!(plan.routes, [(overlay(), net("10.10.0.0/24"))].into());
}

#[test]
fn what_the_controller_routes_here_anyway_is_not_asked_for_again_nor_withdrawn() {
    let mut situation = a_situation();
    situation
        .networks
        .push(labelled(a_network("part", &["10.240.1.128/25"])));
    situation
        .networks
        .push(labelled(a_network("six", &["fc80:aa:1:1:0:7::/96"])));

    assert!(
        plan(&situation).routes.is_empty(),
        "routed by an administrator"
    );

    situation
        .networks
        .push(labelled(a_network("mine", &["10.240.1.0/25"])));
    situation
        .memory
        .asked
        .insert((overlay(), net("10.240.1.0/25")));
    assert_eq!(
        plan(&situation).routes,
        situation.memory.asked,
        "asked for by this node"
    );
}

#[test]
fn every_refusal_says_what_to_do() {
    let refused = |change: &dyn Fn(&mut tombolo_containers::Situation), name: &str| {
        let mut situation = a_situation();
        change(&mut situation);
        publish(&mut situation, name, false);
        let plan = plan(&situation);
        assert!(plan.routes.is_empty() && plan.openings().next().is_none());
        plan.entry(name)
            .expect("an entry")
            .opening
            .clone()
            .expect_err("refused")
            .to_string()
    };
    let with = |subnet: &'static str| {
        refused(
            &move |situation| situation.networks.push(a_network("web1", &[subnet])),
            "web1",
        )
    };

    let said = refused(&|_| {}, "bridge");
    assert!(said.contains("every Docker host starts with it;"), "{said}");
    assert!(said.contains("\"bip\": \"10.240.0.1/24\""), "{said}");
    let said = refused(
        &|situation| {
            let others = &mut situation.memberships[0].others;
            others.push((net("172.17.0.0/16"), "h3".to_owned()));
        },
        "bridge",
    );
    assert!(said.contains("and h3 publishes it already"), "{said}");
    assert!(with("10.240.2.0/24").contains("routed to h2 already"));
    assert!(
        with("203.0.113.128/25")
            .contains("overlaps 203.0.113.0/24, which this host reaches through eth0")
    );
    assert!(with("10.147.0.0/16").contains("overlaps 10.147.17.0/24, where the members"));
    assert!(with("fc80:aa:2::/96").contains("overlaps fc80:aa::/40"));
    let macvlan = |situation: &mut tombolo_containers::Situation| {
        let mut network = a_network("lan", &["192.168.88.0/24"]);
        network.driver = "macvlan".to_owned();
        situation.networks.push(network);
    };
    assert!(refused(&macvlan, "lan").contains("tombolo route add"));
    let rootless = |situation: &mut tombolo_containers::Situation| situation.engine.rootless = true;
    assert!(refused(&rootless, "bridge").contains("run Docker as root"));
    let internal = |situation: &mut tombolo_containers::Situation| {
        let mut network = a_network("db", &["10.10.0.0/24"]);
        network.internal = true;
        situation.networks.push(network);
    };
    assert!(refused(&internal, "db").contains("--internal"));
}

#[test]
fn docker_from_28_on_is_overridden_with_iptables_and_refused_with_nftables() {
    let mut situation = a_situation();
    situation
        .networks
        .push(labelled(a_network("web1", &["10.10.0.0/24"])));
    let mut refusal = |version: &str, firewall| {
        situation.engine = an_engine(version, firewall);
        plan(&situation).entries[0].opening.clone().err()
    };

    assert_eq!(refusal("27.5.1", FirewallBackend::Iptables), None);
    assert_eq!(refusal("29.7.2", FirewallBackend::Iptables), None);
    let refused = refusal("29.7.2", FirewallBackend::Nftables).expect("a refusal");
    assert!(matches!(refused, Refusal::Protected { .. }));
    assert!(
        refused
            .to_string()
            .contains("gateway_mode_ipv4=nat-unprotected")
    );

    let mode = labels::UNPROTECTED.to_owned();
    let opened = labels::GATEWAY_MODES.map(|option| (option.to_owned(), mode.clone()));
    situation.networks[1].options.extend(opened);
    situation.engine = an_engine("29.7.2", FirewallBackend::Nftables);
    assert!(plan(&situation).entries[0].opening.is_ok());
}

#[test]
fn the_whole_slash_80_needs_the_nodes_own_address_as_gateway() {
    let mut situation = a_situation();
    let mut network = labelled(a_network("six", &["fc80:aa:1:1::/80"]));
    network.subnets = vec![Subnet {
        prefix: net("fc80:aa:1:1::/80"),
        gateway: Some("fc80:aa:1:1::ffff".parse().expect("an address")),
    }];
    situation.networks.push(network);

    let refused = plan(&situation).entries[0]
        .opening
        .clone()
        .expect_err("refused");
    assert!(
        refused.to_string().contains("fc80:aa:1:1:0:1::/96"),
        "{refused}"
    );

    situation.networks[1].subnets[0].gateway = OWN.parse().ok();
    assert!(plan(&situation).entries[0].opening.is_ok());
}

#[test]
fn a_network_does_not_stand_in_its_own_way_but_in_that_of_others() {
    let mut situation = a_situation();
    situation
        .networks
        .push(labelled(a_network("web1", &["10.10.0.0/24"])));
    situation
        .networks
        .push(labelled(a_network("web2", &["10.10.0.0/25"])));
    situation.networks[2].id = "fedcba987654fedcba987654".to_owned();
    situation
        .local
        .push(local("br-0123456789ab", "10.10.0.0/24"));

    let plan = plan(&situation);

    assert!(plan.entries[0].opening.is_ok());
    assert!(plan.entries[1].opening.is_err());
}

#[test]
fn a_subnet_of_another_overlay_network_is_refused() {
    let mut situation = a_situation();
    let other = Membership {
        network: "8056c2e21c000002".parse().expect("a network id"),
        link: "tmb1".to_owned(),
        others: vec![(net("10.10.0.0/16"), "h9".to_owned())],
        ..a_membership()
    };
    situation.memberships.push(other);
    situation
        .networks
        .push(labelled(a_network("web1", &["10.10.0.0/24"])));

    let refused = plan(&situation).entries[0]
        .opening
        .clone()
        .expect_err("refused");

    assert!(
        refused
            .to_string()
            .contains("10.10.0.0/16 of the network on tmb1"),
        "{refused}"
    );
}

#[test]
fn a_label_of_another_network_or_of_none_is_said_to_be_wrong() {
    let mut situation = a_situation();
    let mut network = a_network("web1", &["10.10.0.0/24"]);
    network
        .labels
        .insert(labels::NETWORK.to_owned(), "home".to_owned());
    situation.networks.push(network);

    let plan = plan(&situation);

    assert_eq!(
        plan.entries[0].opening,
        Err(Refusal::NotAMember("home".to_owned()))
    );
}

#[test]
fn dockers_default_subnet_can_be_forced() {
    let mut situation = a_situation();
    publish(&mut situation, "bridge", true);

    let plan = plan(&situation);

    assert_eq!(plan.routes, [(overlay(), net("172.17.0.0/16"))].into());
}
