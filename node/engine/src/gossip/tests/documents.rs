//! What there is to tell: documents, and the messages that carry them.

use std::{collections::BTreeSet, net::SocketAddr, time::Instant};

use proptest::prelude::*;
use tombolo_proto::{
    config::{
        CERT_LIFETIME_SECONDS, CertRoute, DirectoryEntry, Keyring, MemberCert, MembersDigest,
        NetworkDoc, Revocation, RouteMode,
    },
    gossip::{BUCKET_HASH, BUCKETS, Digest, GossipMessage, Gossiped, KeyPrefix, Line, Root, Shelf},
    id::{Mtu, NetworkId, NodeId, Revision, UnixSeconds, Version},
    key::{IdentityKey, IdentitySecret, Seed},
    rules::AccessRules,
    signed::Signed,
};

use super::NOW;
use crate::membership::Directory;

/// Something that an authority has signed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Member(u16, u64),
    /// With very many routes.
    Router(u16, u64),
    Removal(u16, u64),
    Network(u64),
}

impl Change {
    pub(super) fn signed(&self) -> DirectoryEntry {
        let (network, key) = (network().into(), authority(2));
        match *self {
            Self::Member(number, serial) => {
                DirectoryEntry::Member(Signed::sign(&a_cert(number, serial, 0), network, &key))
            }
            Self::Router(number, serial) => {
                DirectoryEntry::Member(Signed::sign(&a_cert(number, serial, 256), network, &key))
            }
            Self::Removal(number, revision) => {
                let revocation = Revocation {
                    version: Version::first_epoch(revision),
                    identity: identity(number),
                    serial_floor: Revision(revision),
                    issued_at: NOW,
                };
                DirectoryEntry::Revocation(Signed::sign(&revocation, network, &key))
            }
            Self::Network(revision) => {
                let doc = NetworkDoc {
                    version: Version::first_epoch(revision),
                    name: format!("net-{revision}"),
                    v4_pools: Vec::new(),
                    on_link: BTreeSet::new(),
                    subnet_pools: Vec::new(),
                    v6_modes: BTreeSet::new(),
                    mtu: Mtu::DEFAULT,
                    members: MembersDigest::of([]),
                    rules: AccessRules::default(),
                };
                DirectoryEntry::Network(Signed::sign(&doc, network, &key))
            }
        }
    }
}

pub(super) fn a_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0u16..30, 1u64..20).prop_map(|(number, serial)| Change::Member(number, serial)),
        2 => (0u16..30, 1u64..20).prop_map(|(number, revision)| Change::Removal(number, revision)),
        1 => (30u16..33).prop_map(|number| Change::Router(number, 3)),
        1 => (1u64..20).prop_map(Change::Network),
    ]
}

pub(super) fn a_message() -> impl Strategy<Value = GossipMessage> {
    let shelf = || prop::sample::select(Shelf::ALL.to_vec());
    let key = || any::<[u8; 8]>().prop_map(KeyPrefix);
    let line = (key(), any::<u64>()).prop_map(|(key, order)| Line { key, order });
    prop_oneof![
        any::<[[u8; 8]; 3]>().prop_map(|shelves| GossipMessage::Digest(Digest {
            shelves,
            ..a_digest(None)
        })),
        (shelf(), prop::collection::vec(any::<u8>(), 0..8))
            .prop_map(|(shelf, buckets)| GossipMessage::Compare { shelf, buckets }),
        shelf().prop_map(|shelf| GossipMessage::Compare {
            shelf,
            buckets: vec![7; BUCKETS * BUCKET_HASH],
        }),
        (shelf(), key(), prop::collection::vec(line, 0..70)).prop_map(|(shelf, key, lines)| {
            GossipMessage::Listing {
                shelf,
                first: key,
                last: key,
                lines,
            }
        }),
        (shelf(), prop::collection::vec(key(), 0..70))
            .prop_map(|(shelf, keys)| GossipMessage::Want { shelf, keys }),
        shelf().prop_map(|shelf| GossipMessage::Want {
            shelf,
            keys: [3, 5]
                .map(|number| KeyPrefix::from(&identity(number)))
                .to_vec(),
        }),
        prop::sample::select(vec![Root::Keyring, Root::Network]).prop_map(GossipMessage::WantRoot),
        a_change()
            .prop_map(|change| GossipMessage::Documents(vec![Gossiped::Entry(change.signed())])),
        (
            any::<u32>(),
            any::<(u8, u8)>(),
            prop::collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(document, (index, count), bytes)| GossipMessage::Part {
                document,
                index,
                count,
                bytes
            }),
    ]
}

pub(super) fn a_digest(seen: Option<SocketAddr>) -> Digest {
    Digest {
        keyring: Version::first_epoch(1),
        network: Version::default(),
        shelves: [[0; 8]; 3],
        seen,
        public: false,
        standing: false,
        ask: true,
    }
}

pub(super) fn a_directory() -> Directory {
    let keyring = Keyring {
        version: Version::first_epoch(1),
        replicas: BTreeSet::from([authority(2).public()]),
        endpoints: Vec::new(),
    };
    let scope = Keyring::scope(network().authority());
    let signed = Signed::sign(&keyring, scope, &authority(1));
    Directory::new(network(), authority(1).public(), signed).expect("signed by the root")
}

pub(super) fn a_cert(number: u16, serial: u64, routes: u16) -> MemberCert {
    let route = |third: u16| CertRoute {
        prefix: format!("10.{}.{}.0/24", third / 256, third % 256)
            .parse()
            .expect("a prefix"),
        metric: 10,
        mode: RouteMode::Single,
    };
    let seed = seed(number);
    MemberCert {
        version: Version::first_epoch(serial),
        node: NodeId::new(u64::from(number) + 1).expect("a node address"),
        name: format!("node-{number}"),
        identity: seed.identity().public(),
        transport: seed.transport(network(), 0).public(),
        transport_epoch: 0,
        addresses: BTreeSet::from([[172, 27, 0, 1].into()]),
        prefix: None,
        routes: (0..routes).map(route).collect(),
        relay: true,
        tags: BTreeSet::new(),
        issued_at: NOW,
        not_after: UnixSeconds(NOW.0 + CERT_LIFETIME_SECONDS),
    }
}

pub(super) fn network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}

pub(super) fn authority(number: u8) -> IdentitySecret {
    Seed::from_bytes([number; 32]).identity()
}

pub(super) fn identity(number: u16) -> IdentityKey {
    seed(number).identity().public()
}

pub(super) fn seed(number: u16) -> Seed {
    let mut bytes = [9; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Seed::from_bytes(bytes)
}

pub(super) fn endpoint() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 9790))
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do to count from"
)]
pub(super) fn now() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}
