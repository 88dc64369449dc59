//! Arbitrary values of everything that is encoded.

pub(crate) mod messages;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ipnet::{IpNet, Ipv6Net};
use proptest::{collection, option, prelude::*};
use tombolo_proto::{
    config::*,
    control::*,
    id::*,
    key::{IdentityKey, IdentitySecret, Seed, TransportKey},
    link::{HostPort, JoinLink},
    links::{Carried, Link, LinkReport, LinkWay},
    relay::{RelayIndex, RelayKey, RelayMessage, RelayRefusal},
    rules::{AccessRules, Action, Party, Ports, Protocol, Rule},
    signed::Signed,
};

pub(crate) fn a_network_id() -> impl Strategy<Value = NetworkId> {
    (1u64..0xff_0000_0000, 1u32..1 << 24).prop_map(|(authority, number)| {
        NetworkId::new(NodeId::new(authority).expect("not reserved"), number)
            .expect("within 24 bits")
    })
}

pub(crate) fn a_node_id() -> impl Strategy<Value = NodeId> {
    (1u64..0xff_0000_0000).prop_map(|bits| NodeId::new(bits).expect("not reserved"))
}

pub(crate) fn a_secret() -> impl Strategy<Value = IdentitySecret> {
    any::<[u8; 32]>().prop_map(|bytes| Seed::from_bytes(bytes).identity())
}

fn an_identity() -> impl Strategy<Value = IdentityKey> {
    any::<[u8; 32]>().prop_map(IdentityKey)
}

fn a_transport() -> impl Strategy<Value = TransportKey> {
    any::<[u8; 32]>().prop_map(TransportKey)
}

fn a_version() -> impl Strategy<Value = Version> {
    any::<(u64, u64)>().prop_map(|(epoch, revision)| Version {
        epoch: Epoch(epoch),
        revision: Revision(revision),
    })
}

fn a_time() -> impl Strategy<Value = UnixSeconds> {
    any::<u64>().prop_map(UnixSeconds)
}

fn a_prefix() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (any::<u32>(), 0u8..=32)
            .prop_map(|(bits, length)| IpNet::new(IpAddr::V4(bits.into()), length)),
        (any::<u128>(), 0u8..=128)
            .prop_map(|(bits, length)| IpNet::new(IpAddr::V6(bits.into()), length)),
    ]
    .prop_map(|prefix| prefix.expect("a length that fits").trunc())
}

pub(crate) fn a_host_port() -> impl Strategy<Value = HostPort> {
    let host = prop_oneof![
        "[a-z0-9.-]{1,20}",
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()).to_string())
    ];
    (host, 1u16..).prop_map(|(host, port)| format!("{host}:{port}").parse().expect("host and port"))
}

pub(crate) fn a_link() -> impl Strategy<Value = JoinLink> {
    let controllers = collection::vec(a_host_port(), 1..4);
    (
        a_network_id(),
        an_identity(),
        controllers,
        option::of("[A-Za-z0-9_-]{1,40}"),
    )
        .prop_map(|(network, authority, controllers, token)| JoinLink {
            network,
            authority: authority.digest(),
            controllers,
            token,
        })
}

pub(crate) fn a_keyring() -> impl Strategy<Value = Keyring> {
    (
        a_version(),
        collection::btree_set(an_identity(), 0..4),
        collection::vec(a_host_port(), 0..4),
    )
        .prop_map(|(version, replicas, endpoints)| Keyring {
            version,
            replicas,
            endpoints,
        })
}

pub(crate) fn a_network_doc() -> impl Strategy<Value = NetworkDoc> {
    let pool = any::<(u32, u32)>().prop_map(|(start, end)| Ipv4Range {
        start: start.into(),
        end: end.into(),
    });
    let modes = prop::sample::subsequence(vec![V6Mode::SixPlane, V6Mode::Rfc4193], 0..=2);
    (
        a_version(),
        ".{0,20}",
        collection::vec(pool, 0..3),
        collection::btree_set(a_prefix(), 0..3),
        collection::vec(a_prefix(), 0..3),
        modes,
        any::<(u16, [u8; 32])>(),
        access_rules(),
    )
        .prop_map(
            |(version, name, v4_pools, on_link, subnet_pools, modes, (mtu, members), rules)| {
                NetworkDoc {
                    version,
                    name,
                    v4_pools,
                    on_link,
                    subnet_pools,
                    v6_modes: modes.into_iter().collect(),
                    mtu: Mtu(mtu),
                    members: MembersDigest(members),
                    rules,
                }
            },
        )
}

pub(crate) fn access_rules() -> impl Strategy<Value = AccessRules> {
    (an_action(), collection::vec(a_rule(), 0..4))
        .prop_map(|(default, rules)| AccessRules { default, rules })
}

pub(crate) fn a_rule() -> impl Strategy<Value = Rule> {
    let protocol = prop_oneof![Just(Protocol::Any), any::<u8>().prop_map(Protocol::of)];
    let ports = collection::vec((1..=u16::MAX, 1..=u16::MAX), 0..3);
    let parties = || collection::vec(a_party(), 0..3);
    (an_action(), protocol, ports, parties(), parties()).prop_map(
        |(action, protocol, ports, from, to)| Rule {
            action,
            protocol,
            ports: ports
                .into_iter()
                .filter(|_| protocol.has_ports())
                .map(|(one, two)| Ports {
                    first: one.min(two),
                    last: one.max(two),
                })
                .collect(),
            from,
            to,
        },
    )
}

fn an_action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Deny)]
}

fn a_party() -> impl Strategy<Value = Party> {
    prop_oneof![
        "[a-z:]{1,8}".prop_map(Party::Tag),
        an_identity().prop_map(Party::Member),
        a_prefix().prop_map(Party::Prefix),
    ]
}

pub(crate) fn a_member_cert() -> impl Strategy<Value = MemberCert> {
    let route = (a_prefix(), any::<u32>(), any::<bool>()).prop_map(|(prefix, metric, failover)| {
        CertRoute {
            prefix,
            metric,
            mode: if failover {
                RouteMode::Failover
            } else {
                RouteMode::Single
            },
        }
    });
    let who = (
        a_version(),
        a_node_id(),
        ".{0,20}",
        an_identity(),
        a_transport(),
        any::<u32>(),
    );
    let where_to = (
        collection::btree_set(any::<IpAddr>(), 0..4),
        option::of((any::<u128>(), 0u8..=128)),
        collection::vec(route, 0..4),
    );
    let rest = (
        any::<bool>(),
        collection::btree_set("[a-z]{1,8}", 0..3),
        a_time(),
        a_time(),
    );
    (who, where_to, rest).prop_map(
        |(
            (version, node, name, identity, transport, transport_epoch),
            (addresses, prefix, routes),
            rest,
        )| {
            let (relay, tags, issued_at, not_after): (bool, BTreeSet<String>, _, _) = rest;
            let prefix = prefix.map(|(bits, length)| {
                Ipv6Net::new(bits.into(), length)
                    .expect("a length that fits")
                    .trunc()
            });
            MemberCert {
                version,
                node,
                name,
                identity,
                transport,
                transport_epoch,
                addresses,
                prefix,
                routes,
                relay,
                tags,
                issued_at,
                not_after,
            }
        },
    )
}

pub(crate) fn a_revocation() -> impl Strategy<Value = Revocation> {
    (a_version(), an_identity(), any::<u64>(), a_time()).prop_map(
        |(version, identity, floor, issued_at)| Revocation {
            version,
            identity,
            serial_floor: Revision(floor),
            issued_at,
        },
    )
}

pub(crate) fn an_announcement() -> impl Strategy<Value = EndpointAnnouncement> {
    let endpoint = any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port));
    (
        collection::vec(endpoint, 0..8),
        option::of(an_identity()),
        any::<u64>(),
    )
        .prop_map(|(endpoints, home, sequence)| EndpointAnnouncement {
            endpoints,
            home,
            sequence,
        })
}

fn an_entry() -> impl Strategy<Value = DirectoryEntry> {
    let sign = (a_network_id(), a_secret());
    prop_oneof![
        (a_network_doc(), sign).prop_map(|(doc, (id, key))| DirectoryEntry::Network(Signed::sign(
            &doc,
            id.into(),
            &key
        ))),
        (a_member_cert(), a_network_id(), a_secret()).prop_map(|(cert, id, key)| {
            DirectoryEntry::Member(Signed::sign(&cert, id.into(), &key))
        }),
        (a_revocation(), a_network_id(), a_secret()).prop_map(|(out, id, key)| {
            DirectoryEntry::Revocation(Signed::sign(&out, id.into(), &key))
        }),
    ]
}

fn a_signed_announcement() -> impl Strategy<Value = Signed<EndpointAnnouncement>> {
    (an_announcement(), a_network_id(), a_secret())
        .prop_map(|(said, id, key)| Signed::sign(&said, id.into(), &key))
}
