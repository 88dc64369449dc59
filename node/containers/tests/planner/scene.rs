//! A host called h1 with a Docker engine and one overlay network, to be changed by each test as it needs.

use std::collections::BTreeMap;

use ipnet::IpNet;
use tombolo_containers::{
    Situation, labels,
    situation::{
        ContainerNetwork, Engine, FirewallBackend, LocalPrefix, Membership, Memory, Publication,
        Subnet,
    },
};
use tombolo_proto::id::NetworkId;

pub(crate) const OWN: &str = "fc80:aa:1:1::1";

pub(crate) fn overlay() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

pub(crate) fn a_situation() -> Situation {
    Situation {
        engine: an_engine("20.10.24", FirewallBackend::Iptables),
        networks: vec![default_bridge()],
        memberships: vec![a_membership()],
        local: vec![
            local("eth0", "203.0.113.0/24"),
            local("docker0", "172.17.0.0/16"),
        ],
        memory: Memory::default(),
    }
}

pub(crate) fn an_engine(version: &str, firewall: FirewallBackend) -> Engine {
    Engine {
        version: version.to_owned(),
        api: "1.41".to_owned(),
        rootless: false,
        firewall,
    }
}

pub(crate) fn a_membership() -> Membership {
    Membership {
        network: overlay(),
        link: "tmb0".to_owned(),
        mtu: 1400,
        member: "h1".to_owned(),
        plane: Some("fc80:aa:1:1::/80".parse().expect("a prefix")),
        addresses: ["10.147.17.11", OWN]
            .map(|text| text.parse().expect("an address"))
            .into(),
        routes: [net("10.240.1.0/24")].into(),
        others: vec![(net("10.240.2.0/24"), "h2".to_owned())],
        on_link: vec![net("10.147.17.0/24"), net("fc80:aa::/40")],
        pools: vec![net("10.240.0.0/12")],
    }
}

pub(crate) fn local(link: &str, prefix: &str) -> LocalPrefix {
    LocalPrefix {
        link: link.to_owned(),
        prefix: net(prefix),
    }
}

pub(crate) fn default_bridge() -> ContainerNetwork {
    ContainerNetwork {
        options: BTreeMap::from([(labels::BRIDGE_NAME.to_owned(), "docker0".to_owned())]),
        ..a_network("bridge", &["172.17.0.0/16"])
    }
}

/// A network as somebody makes it with `docker network create`.
pub(crate) fn a_network(name: &str, subnets: &[&str]) -> ContainerNetwork {
    let subnet = |text: &&str| Subnet {
        prefix: net(text),
        gateway: net(text).hosts().next(),
    };
    ContainerNetwork {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        name: name.to_owned(),
        driver: "bridge".to_owned(),
        subnets: subnets.iter().map(subnet).collect(),
        ..ContainerNetwork::default()
    }
}

pub(crate) fn labelled(mut network: ContainerNetwork) -> ContainerNetwork {
    network
        .labels
        .insert(labels::NETWORK.to_owned(), overlay().to_string());
    network
}

pub(crate) fn publish(situation: &mut Situation, name: &str, force: bool) {
    let network = overlay();
    let publication = Publication { network, force };
    situation
        .memory
        .published
        .insert(name.to_owned(), publication);
}
