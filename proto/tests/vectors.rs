//! What is visible on the wire or signed, frozen. A failure here means that two versions would not understand each other.

use std::collections::BTreeSet;

use tombolo_proto::{
    address::{self, Cost},
    config::*,
    control::{self, Capabilities, RendezvousOutcome, RouteAction, ToController, ToNode},
    frame::{self, FrameKind, LaneHeader, WireGuardKind},
    id::*,
    key::{IdentitySecret, Seed},
    links::{Carried, Link, LinkReport, LinkWay},
    relay::RelayMessage,
    rules::{AccessRules, Action, Party, Ports, Protocol, Rule},
    signed::Signed,
    stun, wire,
};

#[test]
fn first_bytes_of_every_frame_kind() {
    let stun_like = |first| [&[first, 1, 0, 0][..], &stun::MAGIC_COOKIE, &[0; 12]].concat();
    let frozen: [(Vec<u8>, FrameKind); 11] = [
        (stun_like(0), FrameKind::Stun),
        (stun_like(1), FrameKind::Stun),
        (
            vec![1, 0, 0, 0],
            FrameKind::WireGuard(WireGuardKind::Initiation),
        ),
        (
            vec![2, 0, 0, 0],
            FrameKind::WireGuard(WireGuardKind::Response),
        ),
        (
            vec![3, 0, 0, 0],
            FrameKind::WireGuard(WireGuardKind::Cookie),
        ),
        (
            vec![4, 0, 0, 0],
            FrameKind::WireGuard(WireGuardKind::Transport),
        ),
        (vec![0x10], FrameKind::LaneData),
        (vec![0x11], FrameKind::LaneControl),
        (vec![0x12], FrameKind::LaneFragment),
        (vec![0x20], FrameKind::Probe),
        (vec![0x30], FrameKind::Relay),
    ];
    for (bytes, kind) in frozen {
        assert_eq!(frame::kind(&bytes), Some(kind), "{bytes:02x?}");
    }
}

#[test]
fn every_other_first_byte_is_nothing() {
    let known = [0x10, 0x11, 0x12, 0x20, 0x30];
    for first in (0..=255u8).filter(|first| !known.contains(first)) {
        assert_eq!(
            frame::kind(&[first, 0, 0, 1, 0, 0, 0, 0]),
            None,
            "{first:02x}"
        );
    }
    assert_eq!(frame::kind(&[]), None);
    assert_eq!(frame::kind(&[5, 0, 0, 0]), None);
}

#[test]
fn the_lane_header() {
    let header = LaneHeader {
        kind: frame::LANE_DATA,
        receiver: LaneIndex(0x0403_0201),
        counter: 0x0c0b_0a09_0807_0605,
    };
    assert_eq!(hex(&header.encode()), "100000000102030405060708090a0b0c");
    assert_eq!(frame::LANE_OVERHEAD, 32);
}

#[test]
fn keys_of_a_seed() {
    let seed = a_seed();
    assert_eq!(seed.identity().public().to_string(), IDENTITY);
    assert_eq!(
        seed.transport(network(), 0).public().to_string(),
        TRANSPORT_0
    );
    assert_eq!(
        seed.transport(network(), 1).public().to_string(),
        TRANSPORT_1
    );
}

#[test]
fn addresses_of_mined_seeds() {
    for (cost, expected) in [
        (Cost::Node, NODE_ADDRESS),
        (Cost::Authority, AUTHORITY_ADDRESS),
    ] {
        let mut counter = 0u64;
        let (_, node) = address::mine(cost, || {
            counter += 1;
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&counter.to_le_bytes());
            bytes
        });
        assert_eq!(node.to_string(), expected);
    }
}

#[test]
fn signed_documents() {
    let key = a_seed().identity();
    let keyring = Keyring {
        version: Version {
            epoch: Epoch(1),
            revision: Revision(2),
        },
        replicas: BTreeSet::from([key.public()]),
        endpoints: vec!["ctl.example.org:9791".parse().expect("an endpoint")],
    };
    let network_doc = NetworkDoc {
        version: Version::first_epoch(3),
        name: "home".to_owned(),
        v4_pools: vec![Ipv4Range {
            start: [172, 27, 0, 1].into(),
            end: [172, 27, 255, 254].into(),
        }],
        on_link: BTreeSet::from(["172.27.0.0/16".parse().expect("a prefix")]),
        subnet_pools: vec!["10.240.0.0/12".parse().expect("a prefix")],
        v6_modes: BTreeSet::from([V6Mode::SixPlane, V6Mode::Rfc4193]),
        mtu: Mtu::DEFAULT,
        members: MembersDigest::of([&key.public()]),
        rules: AccessRules::default(),
    };
    let cert = MemberCert {
        version: Version::first_epoch(4),
        node: NodeId::new(0x89_e92c_eee5).expect("a node address"),
        name: "alpha".to_owned(),
        identity: key.public(),
        transport: a_seed().transport(network(), 0).public(),
        transport_epoch: 0,
        addresses: BTreeSet::from([
            "172.27.0.5".parse().expect("an address"),
            "fc9c:56c2:e389:e92c:eee5::1".parse().expect("an address"),
        ]),
        prefix: Some("fc9c:56c2:e389:e92c:eee5::/80".parse().expect("a prefix")),
        routes: vec![CertRoute {
            prefix: "172.28.0.0/24".parse().expect("a prefix"),
            metric: 7,
            mode: RouteMode::Failover,
        }],
        relay: true,
        tags: BTreeSet::from(["web".to_owned()]),
        issued_at: UnixSeconds(1_800_000_000),
        not_after: UnixSeconds(1_800_000_000 + CERT_LIFETIME_SECONDS),
    };
    let revocation = Revocation {
        version: Version::first_epoch(5),
        identity: key.public(),
        serial_floor: Revision(4),
        issued_at: UnixSeconds(1_800_000_001),
    };
    let announcement = EndpointAnnouncement {
        endpoints: vec![
            "203.0.113.7:9790".parse().expect("an endpoint"),
            "[2001:db8::7]:9790".parse().expect("an endpoint"),
        ],
        home: Some(key.public()),
        sequence: 1_800_000_000_000,
    };
    let scope = network().into();
    let digests = [
        digest(&Signed::sign(
            &keyring,
            Keyring::scope(network().authority()),
            &key,
        )),
        digest(&Signed::sign(&network_doc, scope, &key)),
        digest(&Signed::sign(&cert, scope, &key)),
        digest(&Signed::sign(&revocation, scope, &key)),
        digest(&Signed::sign(&announcement, scope, &key)),
    ];
    assert_eq!(digests, SIGNED);
}

#[test]
fn access_rules_stand_behind_everything_else_of_a_network_document_or_not_at_all() {
    let without = NetworkDoc {
        version: Version::first_epoch(3),
        name: "home".to_owned(),
        v4_pools: Vec::new(),
        on_link: BTreeSet::new(),
        subnet_pools: Vec::new(),
        v6_modes: BTreeSet::new(),
        mtu: Mtu::DEFAULT,
        members: MembersDigest([7; 32]),
        rules: AccessRules::default(),
    };
    let rule = Rule {
        action: Action::Deny,
        protocol: Protocol::Tcp,
        ports: vec![Ports {
            first: 22,
            last: 300,
        }],
        from: vec![Party::Tag("web".to_owned())],
        to: vec![
            Party::Member(a_seed().identity().public()),
            Party::Prefix("172.28.0.0/24".parse().expect("a prefix")),
        ],
    };
    let other = Rule {
        action: Action::Allow,
        protocol: Protocol::Other(132),
        ports: Vec::new(),
        from: Vec::new(),
        to: Vec::new(),
    };
    let with = NetworkDoc {
        rules: AccessRules {
            default: Action::Deny,
            rules: vec![rule, other],
        },
        ..without.clone()
    };

    let (short, long) = (wire::encode(&without), wire::encode(&with));

    assert_eq!(
        hex(&short),
        format!("000304686f6d6500000000f80a{}", "07".repeat(32))
    );
    let key = hex(&a_seed().identity().public().0);
    assert_eq!(
        hex(long.strip_prefix(&short[..]).expect("the rules come last")),
        [
            "0102",
            "01010116ac02",
            "010003776562",
            &format!("0201{key}0200ac1c000018"),
            "000484000000",
        ]
        .concat()
    );
    assert_eq!(wire::decode(&short), Ok(without));
    assert_eq!(wire::decode(&long), Ok(with));
    let empty = [&short[..], &[0, 0]].concat();
    assert_eq!(
        wire::decode::<NetworkDoc>(&empty),
        Err(wire::DecodeError::NotCanonical)
    );
}

#[test]
fn the_messages_that_two_versions_must_share() {
    let hello = ToController::Hello {
        min: 1,
        max: 2,
        software: "tombolo/0".to_owned(),
    };
    assert_eq!(
        hex(&control::encode(&hello)),
        "0000000d0001020974 6f6d626f6c6f2f30".replace(' ', "")
    );
    assert_eq!(
        hex(&control::encode(&ToController::Unsupported {
            variant: 300
        })),
        "0000000301ac02"
    );
    assert_eq!(
        hex(&control::encode(&ToNode::Incompatible { min: 1, max: 2 })),
        "00000003010102"
    );
    assert_eq!(
        hex(&control::encode(&ToNode::Unsupported { variant: 9 })),
        "000000020209"
    );
    let key: IdentitySecret = a_seed().identity();
    let keyring = Keyring {
        version: Version::default(),
        replicas: BTreeSet::new(),
        endpoints: Vec::new(),
    };
    let keyring = Signed::sign(&keyring, Keyring::scope(network().authority()), &key);
    let welcome = wire::encode(&ToNode::Welcome {
        protocol: 1,
        root: key.public(),
        keyring,
    });
    assert_eq!(
        hex(&welcome[..4]),
        format!("0001{}", hex(&key.public().0[..2]))
    );
}

#[test]
fn the_requests_for_routes() {
    let route = |action| {
        hex(&wire::encode(&ToController::Route {
            network: network(),
            request: 5,
            prefix: "172.28.1.0/24".parse().expect("a prefix"),
            action,
        }))
    };
    let subnet = ToController::Subnet {
        network: network(),
        request: 6,
        length: 24,
        metric: 300,
    };

    let id = hex(&wire::encode(&network()));
    let published = route(RouteAction::Publish { metric: 300 });
    assert_eq!(published, format!("05{id}0500ac1c01001800ac02"));
    assert_eq!(
        route(RouteAction::Withdraw),
        format!("05{id}0500ac1c01001801")
    );
    assert_eq!(hex(&wire::encode(&subnet)), format!("08{id}0618ac02"));
}

#[test]
fn the_messages_of_a_rendezvous() {
    let identity = a_seed().identity().public();
    let announcement = EndpointAnnouncement {
        endpoints: vec!["203.0.113.7:9790".parse().expect("an endpoint")],
        home: Some(identity),
        sequence: 1_800_000_000_000,
    };
    let announcement = Signed::sign(&announcement, network().into(), &a_seed().identity());
    let signed = hex(&wire::encode(&announcement));
    let key = hex(&identity.0);
    let asked = ToController::Rendezvous {
        network: network(),
        peer: identity,
        announcement: announcement.clone(),
    };
    let told = ToNode::Rendezvous {
        network: network(),
        identity,
        announcement,
    };
    let answered = |outcome| {
        hex(&wire::encode(&ToNode::RendezvousAnswer {
            network: network(),
            peer: identity,
            outcome,
        }))
    };

    let id = hex(&wire::encode(&network()));
    assert_eq!(hex(&wire::encode(&asked)), format!("09{id}{key}{signed}"));
    assert_eq!(hex(&wire::encode(&told)), format!("08{id}{key}{signed}"));
    let outcomes = [
        RendezvousOutcome::Told,
        RendezvousOutcome::NotHere,
        RendezvousOutcome::Refused,
        RendezvousOutcome::Busy,
    ];
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(answered(outcome), format!("09{id}{key}{number:02x}"));
    }
    assert_eq!(hex(&wire::encode(&ToNode::Relay { port: 9793 })), "0ac14c");
}

#[test]
fn what_a_node_says_to_a_controller_that_relays() {
    let network: NetworkId = "8056c2e21c000001".parse().expect("a network id");
    let id = hex(&wire::encode(&network));
    let asked = ToController::Relay {
        network,
        message: RelayMessage::Ask,
    };
    assert_eq!(hex(&wire::encode(&asked)), format!("0a{id}00"));
    let answered = ToNode::RelayAnswer {
        network,
        port: 9793,
        message: RelayMessage::Farewell,
    };
    assert_eq!(hex(&wire::encode(&answered)), format!("0c{id}c14c05"));
}

#[test]
fn the_report_of_links() {
    let peer = NodeId::new(0x89_e92c_eee5).expect("a node address");
    let link = |way, latency| Link { peer, way, latency };
    let report = LinkReport {
        links: vec![
            link(LinkWay::Direct, Some(300)),
            link(LinkWay::Relayed(Some(peer)), None),
            link(LinkWay::Relayed(None), None),
        ],
        sent: 128,
        received: 1,
    };
    let said = ToController::Links {
        network: network(),
        report,
    };

    let (id, node) = (hex(&wire::encode(&network())), hex(&wire::encode(&peer)));
    let links = format!("{node}0001ac02{node}0101{node}00{node}010000");
    assert_eq!(hex(&wire::encode(&said)), format!("0b{id}03{links}800101"));
}

#[test]
fn the_messages_about_announcements_that_a_node_has() {
    let moment = UnixSeconds(1_800_000_000);
    let since = ToController::EndpointsSince {
        network: network(),
        moment,
    };
    let upto = ToNode::EndpointsUpto {
        network: network(),
        moment,
    };

    let id = hex(&wire::encode(&network()));
    assert_eq!(hex(&wire::encode(&since)), format!("0c{id}80a4a7da06"));
    assert_eq!(hex(&wire::encode(&upto)), format!("0d{id}80a4a7da06"));
}

#[test]
fn links_by_tcp_are_told_of_in_a_message_of_their_own() {
    let peer = NodeId::new(0x89_e92c_eee5).expect("a node address");
    let said = ToController::ByTcp {
        network: network(),
        peers: vec![peer],
    };
    let [id, peer] = [wire::encode(&network()), wire::encode(&peer)].map(|bytes| hex(&bytes));
    assert_eq!(hex(&wire::encode(&said)), format!("0e{id}01{peer}"));
}

#[test]
fn what_a_member_carries_is_told_of_in_a_message_of_its_own() {
    let carried = Carried {
        clients: 2,
        bytes: 300,
    };
    let said = ToController::Carries {
        network: network(),
        carried,
    };
    let id = hex(&wire::encode(&network()));
    assert_eq!(hex(&wire::encode(&said)), format!("0f{id}02ac02"));
}

#[test]
fn what_a_node_can_do_is_a_number_of_bits() {
    let rules = ToController::Capabilities(Capabilities::ACCESS_RULES);
    let newer = Capabilities(0x8000_0000_0000_0001);

    assert_eq!(hex(&wire::encode(&rules)), "0d01");
    let encoded = hex(&wire::encode(&ToController::Capabilities(newer)));
    assert_eq!(encoded, "0d81808080808080808001");
    assert!(newer.include(Capabilities::ACCESS_RULES));
    assert!(!Capabilities::default().include(Capabilities::ACCESS_RULES));
}

#[test]
fn who_the_members_are_is_a_hash_over_their_keys_in_order() {
    let keys = [[2; 32], [1; 32]].map(tombolo_proto::key::IdentityKey);
    assert_eq!(
        hex(&MembersDigest::of(&keys).0[..8]),
        hex(&MembersDigest::of(keys.iter().rev()).0[..8])
    );
    assert_eq!(hex(&MembersDigest::of(&keys).0[..8]), "f818afd37a6dc3bc");
}

const IDENTITY: &str = "qt4hju5eyi5lqwt6yezxi74sa6qfrusbmwnbnlr3gu4fjk6gfn6a";
const TRANSPORT_0: &str = "grxbd4pkycgodo2rgtafzsay5mlurqsesqph5es2d3agk2jdsbba";
const TRANSPORT_1: &str = "2salj4wkplkab3fqkhswzsy7sx5gyxayp47avxhvoq7po6sv5qcq";
const NODE_ADDRESS: &str = "0ab81a1e4b";
const AUTHORITY_ADDRESS: &str = "0e914466a3";
/// First 8 bytes of SHA-256 over the encoded envelope: keyring, network, member, revocation, endpoints.
const SIGNED: [&str; 5] = [
    "473784c7012c9730",
    "89b9bb3e804b199d",
    "7b54a1cf3e89456e",
    "904b60b9f8c59748",
    "84a2eccf02a6a0ce",
];

fn a_seed() -> Seed {
    Seed::from_bytes([0x42; 32])
}

fn network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}

fn digest<T>(signed: &Signed<T>) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(wire::encode(signed))[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
