//! Who owns an address: the way out and the source check on the way in, in networks of all sizes.

use std::{
    collections::BTreeSet,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use criterion::BatchSize;
use ipnet::{IpNet, Ipv4Net};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tombolo_engine::{
    control::{Engine, Event, Settings, Timing},
    fib::PeerSlot,
    lane::REKEY_AFTER_FRAMES,
    membership::Directory,
    ownership::Ownership,
};
use tombolo_proto::{
    config::{
        CertRoute, DirectoryEntry, Keyring, MemberCert, MembersDigest, NetworkDoc, RouteMode,
        V6Mode,
    },
    id::{Mtu, NetworkId, NodeId, UnixSeconds, Version},
    key::{IdentityKey, IdentitySecret, Seed},
    rules::AccessRules,
    signed::Signed,
    sixplane,
};

use crate::stages::Stages;

const PREFIXES: [u32; 5] = [10, 100, 1_000, 10_000, 100_000];
const PEERS: u32 = 2_000;
/// Addresses looked up in turn: more than a branch predictor remembers, few enough to leave the cache to the table.
const LOOKUPS: usize = 4096;
const ME: IdentityKey = IdentityKey([0xff; 32]);

/// All of them.
pub(crate) fn measure(stages: &mut Stages) {
    for prefixes in PREFIXES {
        let ownership = ownership(prefixes);
        let mut rng = StdRng::seed_from_u64(1);
        let addresses: Vec<(PeerSlot, IpAddr)> = (0..LOOKUPS)
            .map(|_| {
                let number = rng.random_range(0..prefixes);
                (PeerSlot(number), address_in(number).into())
            })
            .collect();
        let mut turn = addresses.iter().cycle();
        stages.one(format!("lookup among {prefixes} prefixes"), |bencher| {
            bencher.iter(|| {
                let (_, address) = turn.next().expect("it has no end");
                ownership.next_hop(black_box(*address)).expect("an owner")
            });
        });
        let mut turn = addresses.iter().cycle();
        stages.one(
            format!("source check among {prefixes} prefixes"),
            |bencher| {
                bencher.iter(|| {
                    let (owner, address) = turn.next().expect("it has no end");
                    assert!(ownership.may_send_from(*owner, black_box(*address)));
                });
            },
        );
    }
    snapshots(stages);
}

/// What a change of members costs on the slow path, once per change and not per packet.
fn snapshots(stages: &mut Stages) {
    let authority = Seed::from_bytes([0xa0; 32]).identity();
    let network = NetworkId::from_bits(0x8056_c2e2_1c00_0001).expect("a network id");
    let directory = directory(network, &authority);
    let seed = Seed::from_bytes([1; 32]);
    let now = Instant::now();
    let engine = || {
        let settings = Settings {
            timing: Timing::default(),
            aes: true,
            rekey_after_frames: REKEY_AFTER_FRAMES,
            post_quantum: true,
        };
        let mut engine = Engine::new(settings, StdRng::seed_from_u64(1));
        let secret = seed.transport(network, 0);
        engine.add_network(network, seed.identity().public(), secret, now);
        while engine.poll_event().is_some() {}
        engine
    };
    let take = |engine: &mut Engine| {
        engine.set_directory(&directory, UnixSeconds(1), now);
        assert_eq!(engine.poll_event(), Some(Event::FibChanged));
        engine.fib()
    };
    stages.many(
        format!("a new Fib with {PEERS} new peers, per peer"),
        PEERS as usize,
        0,
        |bencher| bencher.iter_batched_ref(engine, take, BatchSize::PerIteration),
    );
    let mut running = engine();
    take(&mut running);
    stages.many(
        format!("a new Fib with {PEERS} known peers, per peer"),
        PEERS as usize,
        0,
        |bencher| bencher.iter(|| take(&mut running)),
    );
}

/// So many prefixes of every length from /20 to /29, each of another peer.
fn ownership(prefixes: u32) -> Ownership {
    let certs: Vec<_> = (0..prefixes).map(a_cert).collect();
    Ownership::new(certs.iter(), ME, Mtu::DEFAULT, |identity| {
        let (number, _) = identity.0.split_first_chunk()?;
        Some(PeerSlot(u32::from_be_bytes(*number)))
    })
}

fn a_cert(number: u32) -> MemberCert {
    let mut identity = [1; 32];
    identity[..4].copy_from_slice(&number.to_be_bytes());
    let length = 20 + (number % 10) as u8;
    let prefix = Ipv4Net::new(address_in(number), length).expect("a length");
    MemberCert {
        version: Version::first_epoch(1),
        node: NodeId::new(u64::from(number) + 1).expect("a node address"),
        name: format!("node-{number}"),
        identity: IdentityKey(identity),
        transport: Seed::from_bytes(identity)
            .transport(NetworkId::from_bits(1 << 24 | 1).expect("a network id"), 0)
            .public(),
        transport_epoch: 0,
        addresses: BTreeSet::new(),
        prefix: None,
        routes: vec![CertRoute {
            prefix: IpNet::V4(prefix.trunc()),
            metric: 0,
            mode: RouteMode::Failover,
        }],
        relay: false,
        tags: BTreeSet::new(),
        issued_at: UnixSeconds(0),
        not_after: UnixSeconds(u64::MAX),
    }
}

/// Blocks of 2^12 addresses that do not overlap: 100,000 of them begin at 1.0.0.0.
fn address_in(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((1 << 24) + (number << 12) + 5)
}

/// A directory of as many members, with an address and a /80 each; the first one is this node.
fn directory(network: NetworkId, authority: &IdentitySecret) -> Directory {
    let keyring = Keyring {
        version: Version::first_epoch(1),
        replicas: BTreeSet::from([authority.public()]),
        endpoints: Vec::new(),
    };
    let keyring = Signed::sign(&keyring, Keyring::scope(network.authority()), authority);
    let mut directory =
        Directory::new(network, authority.public(), keyring).expect("signed by the root key");
    let doc = NetworkDoc {
        version: Version::first_epoch(1),
        name: "bench".to_owned(),
        v4_pools: Vec::new(),
        on_link: BTreeSet::new(),
        subnet_pools: Vec::new(),
        v6_modes: BTreeSet::from([V6Mode::SixPlane]),
        mtu: Mtu::DEFAULT,
        members: MembersDigest::of([]),
        rules: AccessRules::default(),
    };
    let mut entries = vec![DirectoryEntry::Network(Signed::sign(
        &doc,
        network.into(),
        authority,
    ))];
    for number in 0..=PEERS {
        let mut cert = a_cert(number);
        if number == 0 {
            let seed = Seed::from_bytes([1; 32]);
            cert.identity = seed.identity().public();
            cert.transport = seed.transport(network, 0).public();
        }
        cert.prefix = Some(sixplane::member(network, cert.node));
        cert.addresses = BTreeSet::from([
            IpAddr::from([172, 27, (number >> 8) as u8, number as u8]),
            sixplane::node_address(network, cert.node).into(),
        ]);
        entries.push(DirectoryEntry::Member(Signed::sign(
            &cert,
            network.into(),
            authority,
        )));
    }
    let accepted = directory.accept(entries);
    assert!(accepted.refused.is_empty(), "{:?}", accepted.refused);
    directory
}
