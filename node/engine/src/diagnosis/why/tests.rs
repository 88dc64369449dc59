use std::collections::BTreeMap;

use tombolo_proto::{id::NodeId, key::IdentityKey};

use super::*;
use crate::{diagnosis::Health, nat::Mapping};

#[test]
fn a_member_that_is_reached_directly_is_all_in_order() {
    let explanation = explain(&facts(Target::Member(Box::new(a_peer(Some(direct()))))));

    assert!(explanation.is_reachable);
    assert_eq!(
        explanation.conclusion,
        "srv2 is reached directly at 192.0.2.7:9790, round trip 12.0 ms"
    );
    assert!(
        explanation
            .steps
            .iter()
            .all(|step| step.health == Health::Ok)
    );
}

#[test]
fn the_first_obstacle_on_the_way_is_the_conclusion() {
    let silent = PeerStatus {
        connecting: true,
        candidates: vec!["192.0.2.7:9790".parse().expect("an endpoint")],
        ..a_peer(None)
    };
    let pending = Facts {
        standing: Standing::Pending,
        ..facts(Target::Nobody)
    };
    let clash = Facts {
        route: Some(Route {
            prefix: "172.28.1.0/24".parse().expect("a prefix"),
            is_installed: false,
            clash: Some(Obstacle {
                said: "eth1 has it too".to_owned(),
                mend: "ip link delete eth1".to_owned(),
            }),
        }),
        ..facts(Target::Member(Box::new(a_peer(Some(direct())))))
    };
    for (facts, check, said) in [
        (pending, "standing", "waits to be authorised"),
        (facts(Target::Nobody), "member", "no member has the name"),
        (facts(Target::Removed), "member", "was removed"),
        (facts(Target::Expired), "member", "expired"),
        (clash, "route", "eth1 has it too"),
        (
            facts(Target::Member(Box::new(silent))),
            "session",
            "does not answer handshakes",
        ),
    ] {
        let explanation = explain(&facts);
        assert!(!explanation.is_reachable, "{explanation:?}");
        assert!(explanation.conclusion.contains(said), "{explanation:?}");
        let obstacle = explanation
            .steps
            .iter()
            .find(|step| step.health == Health::Broken);
        let obstacle = obstacle.expect("an obstacle");
        assert_eq!(obstacle.check, check);
        assert!(obstacle.mend.is_some());
    }
}

#[test]
fn what_was_tried_and_where_this_node_is_seen_are_told() {
    let silent = PeerStatus {
        connecting: true,
        candidates: vec!["192.0.2.7:9790".parse().expect("an endpoint")],
        ..a_peer(None)
    };

    let explanation = explain(&facts(Target::Member(Box::new(silent))));

    let path = explanation.steps.iter().find(|step| step.check == "path");
    let said = &path.expect("a path").said;
    assert!(
        said.contains("192.0.2.7:9790") && said.contains("203.0.113.1:9790"),
        "{said}"
    );
}

#[test]
fn a_narrow_way_and_drops_are_warnings() {
    let narrow = PeerStatus {
        mtu: Some(1248),
        dropped: BTreeMap::from([("replayed", 3)]),
        ..a_peer(Some(direct()))
    };

    let explanation = explain(&facts(Target::Member(Box::new(narrow))));

    assert!(explanation.is_reachable);
    let warned: Vec<&str> = explanation
        .steps
        .iter()
        .filter(|step| step.health == Health::Warning)
        .map(|step| step.check.as_str())
        .collect();
    assert_eq!(warned, ["mtu", "drops"]);
}

#[test]
fn a_relayed_path_says_why() {
    let relayed = a_peer(Some(relay()));
    let facts = Facts {
        relay: Some("the member nas".to_owned()),
        ends: Ends {
            is_udp_blocked: true,
            ..Ends::default()
        },
        ..facts(Target::Member(Box::new(relayed)))
    };

    let explanation = explain(&facts);

    assert!(explanation.is_reachable);
    assert_eq!(
        explanation.conclusion,
        "srv2 is reached by the member nas, round trip 12.0 ms, because UDP is blocked on this side: \
         everything is reached by TCP; this node is seen at 203.0.113.1:9790"
    );
}

#[test]
fn every_reason_to_relay_has_a_name_of_its_own() {
    let dependent = [Mapping::AddressAndPortDependent, Mapping::Unknown];
    let open = [Mapping::EndpointIndependent, Mapping::None];
    let known = vec!["192.0.2.7:9790".parse().expect("an endpoint")];
    let portless = vec!["192.0.2.7:0".parse().expect("an endpoint")];
    for (is_udp_blocked, mapping, candidates, name) in [
        (true, dependent, known.clone(), "udp_blocked"),
        (false, dependent, portless.clone(), "both_nats_dependent"),
        (false, dependent, known.clone(), "own_nat_dependent"),
        (false, open, portless, "other_nat_dependent"),
        (false, open, Vec::new(), "no_endpoint_known"),
        (false, open, known, "unanswered"),
    ] {
        let ends = Ends {
            is_udp_blocked,
            mapping,
        };
        let peer = PeerStatus {
            candidates,
            ..a_peer(Some(relay()))
        };

        let because = Because::of_relayed(&ends, &peer).expect("it is relayed");

        assert_eq!(because.name(), name);
        let explained = explain(&Facts {
            ends,
            ..facts(Target::Member(Box::new(peer)))
        });
        assert!(
            explained.conclusion.contains(because.words()),
            "{explained:?}"
        );
    }
    let blocked = PeerStatus {
        is_without_udp: true,
        ..a_peer(Some(relay()))
    };
    let because = Because::of_relayed(&Ends::default(), &blocked).expect("it is relayed");
    assert_eq!(because.name(), "other_udp_blocked");
    assert_eq!(
        Because::of_relayed(&Ends::default(), &a_peer(Some(direct()))),
        None
    );
}

#[test]
fn what_every_candidate_answered_is_told() {
    let at = |place: &str, tried: Option<u64>, answered: Option<u64>| Candidate {
        place: place.to_owned(),
        tried: tried.map(Duration::from_secs),
        answered: answered.map(Duration::from_secs),
        latency: answered.map(|_| Duration::from_millis(12)),
    };
    let facts = Facts {
        candidates: vec![
            at("192.0.2.7:9790", Some(1), Some(3)),
            at("[2001:db8::7]:9790", Some(200), None),
            at("192.0.2.8:9790", None, None),
        ],
        ..facts(Target::Member(Box::new(a_peer(Some(direct())))))
    };

    let said: Vec<String> = explain(&facts)
        .steps
        .into_iter()
        .filter(|step| step.check == "candidate")
        .map(|step| step.said)
        .collect();

    assert_eq!(
        said,
        [
            "192.0.2.7:9790 answered 3 s ago in 12.0 ms",
            "[2001:db8::7]:9790 was tried 3 min ago and is silent",
            "192.0.2.8:9790 was not tried yet",
        ]
    );
}

fn direct() -> Way {
    Way::Direct("192.0.2.7:9790".parse().expect("an endpoint"))
}

fn facts(target: Target) -> Facts {
    Facts {
        asked: "srv2".to_owned(),
        name: "srv2".to_owned(),
        network: "8056c2e21c000001".to_owned(),
        mtu: 1400,
        standing: Standing::Member { is_connected: true },
        target,
        route: None,
        own_endpoints: vec!["203.0.113.1:9790".parse().expect("an endpoint")],
        nat: None,
        relay: None,
        ends: Ends::default(),
        candidates: Vec::new(),
    }
}

fn relay() -> Way {
    Way::Relay {
        relay: crate::path::way::RelaySlot(1),
        circuit: crate::path::way::Circuit(2),
    }
}

fn a_peer(way: Option<Way>) -> PeerStatus {
    PeerStatus {
        network: "8056c2e21c000001".parse().expect("a network id"),
        node: NodeId::new(7).expect("a node address"),
        identity: IdentityKey([7; 32]),
        name: "srv2".to_owned(),
        addresses: Vec::new(),
        way,
        endpoint: way.and_then(Way::endpoint),
        relay: None,
        standby: Vec::new(),
        candidates: Vec::new(),
        tried: Vec::new(),
        latency: way.map(|_| Duration::from_millis(12)),
        mtu: way.map(|_| 1400),
        last_handshake: way.map(|_| Duration::from_secs(5)),
        cipher: way.map(|_| "aes-256-gcm"),
        key_exchange: None,
        rx_bytes: 0,
        tx_bytes: 0,
        rx_packets: 0,
        tx_packets: 0,
        dropped: BTreeMap::new(),
        connecting: false,
        is_without_udp: false,
    }
}
