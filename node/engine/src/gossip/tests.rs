use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng as _;
use tombolo_proto::{
    config::{
        CERT_LIFETIME_SECONDS, CertRoute, Keyring, MemberCert, MembersDigest, NetworkDoc,
        Revocation, RouteMode,
    },
    gossip::{BUCKET_HASH, BUCKETS, KeyPrefix, Line, MAX_MESSAGE, Root},
    id::{Mtu, NetworkId, NodeId, Revision},
    key::{IdentitySecret, Seed},
    rules::AccessRules,
    wire,
};

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn two_nodes_come_to_hold_what_either_held(
        ours in prop::collection::vec(a_change(), 0..40),
        theirs in prop::collection::vec(a_change(), 0..40),
    ) {
        let mut both = a_directory();
        let _ = both.accept(ours.iter().chain(&theirs).map(Change::signed).collect());
        let mut pair = Pair::new(&ours, &theirs);

        pair.run(Duration::from_secs(40));

        for side in &pair.sides {
            prop_assert_eq!(view(&side.directory), view(&both));
        }
    }

    #[test]
    fn no_message_makes_a_node_panic_or_answer_beyond_its_budget(
        messages in prop::collection::vec(a_message(), 0..400),
    ) {
        let mut pair = Pair::new(&[Change::Member(3, 4), Change::Member(5, 6)], &[]);
        let (now, from) = (pair.now, pair.sides[1].me);

        for message in messages {
            let side = &mut pair.sides[0];
            side.gossip.handle_message(from, message, Some(endpoint()), &mut side.rng, now);
        }

        let sent = pair.sides[0].sent();
        prop_assert!(sent.iter().all(|message| message.encoded_len() <= MAX_MESSAGE));
        // A burst of answers, a digest for each question that is looked at, and own questions.
        prop_assert!(sent.len() <= 128 + 32 + 8, "{}", sent.len());
    }
}

#[test]
fn one_missing_removal_among_two_thousand_members_costs_a_few_messages() {
    let members: Vec<Change> = (0..2_000).map(|number| Change::Member(number, 4)).collect();
    let more: Vec<Change> = members
        .iter()
        .copied()
        .chain([Change::Removal(77, 9)])
        .collect();
    let mut pair = Pair::new(&members, &more);

    pair.run(Duration::from_secs(2));

    assert!(pair.sides[0].directory.is_revoked(&identity(77)));
    assert!(pair.bytes < 8_000, "{} bytes", pair.bytes);
}

#[test]
fn who_knows_nobody_catches_up_with_two_thousand_members_at_little_more_than_their_size() {
    let members: Vec<Change> = (0..2_000).map(|number| Change::Member(number, 4)).collect();
    let size: usize = members
        .iter()
        .map(|member| wire::encode(&member.signed()).len())
        .sum();
    let mut pair = Pair::new(&[], &members);

    pair.run(Duration::from_secs(40));

    assert_eq!(pair.sides[0].directory.certs_in_force().count(), 2_000);
    assert!(pair.bytes < size * 2, "{} for {size}", pair.bytes);
}

#[test]
fn a_certificate_with_as_many_routes_as_one_may_have_travels_in_parts() {
    let mut pair = Pair::new(&[], &[Change::Router(3, 4)]);

    pair.run(Duration::from_secs(5));

    let cert = pair.sides[0].directory.member(&identity(3), NOW);
    assert_eq!(cert.map(|cert| cert.routes.len()), Some(256));
}

#[test]
fn what_comes_again_goes_nowhere() {
    let mut pair = Pair::new(&[Change::Member(3, 4)], &[Change::Member(3, 4)]);
    pair.run(Duration::from_secs(5));
    let (now, from) = (pair.now, pair.sides[1].me);
    let repeated = GossipMessage::Documents(vec![Gossiped::Entry(Change::Member(3, 4).signed())]);

    for _ in 0..100 {
        pair.deliver(0, from, repeated.clone());
    }
    pair.sides[0].tick(now);

    assert_eq!(pair.sides[0].sent(), []);
}

#[test]
fn two_must_agree_on_where_this_node_is_unless_there_is_only_one() {
    let mut side = Side::new(1, &[]);
    let now = now();
    let [first, second, third] = [11, 12, 13].map(identity);
    let [here, there]: [SocketAddr; 2] =
        ["192.0.2.1:1", "192.0.2.2:2"].map(|it| it.parse().expect("an endpoint"));
    for peer in [first, second, third] {
        side.gossip.handle_session_up(peer, &mut side.rng, now);
    }

    side.sees(first, here, now);
    assert_eq!(side.seen(), [vec![here]]);
    side.sees(second, there, now);
    assert_eq!(side.seen(), Vec::<Vec<SocketAddr>>::new());
    side.sees(third, there, now);
    assert_eq!(side.seen(), [vec![there]]);
}

#[test]
fn a_node_keeps_four_neighbours_and_replaces_those_that_do_not_answer() {
    let members: Vec<Change> = (0..50).map(|number| Change::Member(number, 4)).collect();
    let mut side = Side::new(1, &members);
    let mut now = now();
    side.tick(now);
    let first = side.kept.clone();
    assert_eq!(first.len(), neighbours::STANDING);
    let dead: BTreeSet<IdentityKey> = first.iter().take(2).copied().collect();
    for peer in first.difference(&dead) {
        side.gossip.handle_session_up(*peer, &mut side.rng, now);
    }

    for _ in 0..20 {
        now += Duration::from_secs(1);
        side.tick(now);
        let fresh: Vec<IdentityKey> = side.kept.difference(&first).copied().collect();
        for peer in fresh {
            if !side.gossip.peers.contains_key(&peer) {
                side.gossip.handle_session_up(peer, &mut side.rng, now);
            }
        }
    }

    let alive = side.kept.difference(&dead).count();
    assert_eq!(alive, neighbours::STANDING);
    for _ in 0..300 {
        now += Duration::from_secs(1);
        side.tick(now);
        let alive = side.kept.difference(&dead).count();
        assert_eq!(
            alive,
            neighbours::STANDING,
            "the dead are tried beside the living"
        );
    }
}

#[test]
fn members_that_say_they_are_public_are_preferred() {
    let members: Vec<Change> = (0..50).map(|number| Change::Member(number, 4)).collect();
    let mut side = Side::new(1, &members);
    let now = now();
    let public: BTreeSet<IdentityKey> = (20..24).map(identity).collect();
    for peer in &public {
        side.gossip.handle_session_up(*peer, &mut side.rng, now);
        let digest = Digest {
            public: true,
            ..a_digest(None)
        };
        let message = GossipMessage::Digest(digest);
        side.gossip
            .handle_message(*peer, message, Some(endpoint()), &mut side.rng, now);
    }

    side.tick(now);

    assert_eq!(side.kept, public);
}

/// Something that an authority has signed.
#[derive(Debug, Clone, Copy)]
enum Change {
    Member(u16, u64),
    /// With very many routes.
    Router(u16, u64),
    Removal(u16, u64),
    Network(u64),
}

impl Change {
    fn signed(&self) -> DirectoryEntry {
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

fn a_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0u16..30, 1u64..20).prop_map(|(number, serial)| Change::Member(number, serial)),
        2 => (0u16..30, 1u64..20).prop_map(|(number, revision)| Change::Removal(number, revision)),
        1 => (30u16..33).prop_map(|number| Change::Router(number, 3)),
        1 => (1u64..20).prop_map(Change::Network),
    ]
}

/// One node, as far as gossip is concerned.
struct Side {
    me: IdentityKey,
    gossip: Gossip,
    directory: Directory,
    rng: StdRng,
    kept: BTreeSet<IdentityKey>,
    outputs: Vec<Output>,
}

impl Side {
    fn new(number: u16, changes: &[Change]) -> Self {
        let me = identity(60_000 + number);
        let mut rng = StdRng::seed_from_u64(u64::from(number));
        let mut directory = a_directory();
        let _ = directory.accept(changes.iter().map(Change::signed).collect());
        let mut gossip = Gossip::new(me);
        gossip.set_directory(&directory, None, NOW, &mut rng, now());
        Self {
            me,
            gossip,
            directory,
            rng,
            kept: BTreeSet::new(),
            outputs: Vec::new(),
        }
    }

    fn tick(&mut self, now: Instant) {
        self.gossip.handle_timeout(&mut self.rng, now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.gossip.poll_output() {
            match output {
                Output::Keep(key) => {
                    self.kept.insert(key);
                }
                Output::LetGo(ref key) => {
                    self.kept.remove(key);
                }
                Output::Send { .. } | Output::Received { .. } | Output::Seen(_) => {
                    self.outputs.push(output);
                }
            }
        }
    }

    fn sent(&mut self) -> Vec<GossipMessage> {
        self.collect();
        let outputs = std::mem::take(&mut self.outputs);
        let message = |output| match output {
            Output::Send { message, .. } => Some(message),
            Output::Received { .. } | Output::Keep(_) | Output::LetGo(_) | Output::Seen(_) => None,
        };
        outputs.into_iter().filter_map(message).collect()
    }

    fn sees(&mut self, peer: IdentityKey, seen: SocketAddr, now: Instant) {
        let message = GossipMessage::Digest(a_digest(Some(seen)));
        self.gossip
            .handle_message(peer, message, Some(endpoint()), &mut self.rng, now);
    }

    fn seen(&mut self) -> Vec<Vec<SocketAddr>> {
        self.collect();
        let outputs = std::mem::take(&mut self.outputs);
        let seen = |output| match output {
            Output::Seen(seen) => Some(seen),
            Output::Send { .. } | Output::Received { .. } | Output::Keep(_) | Output::LetGo(_) => {
                None
            }
        };
        outputs.into_iter().filter_map(seen).collect()
    }
}

/// Two nodes with a session and nobody else.
struct Pair {
    sides: [Side; 2],
    now: Instant,
    bytes: usize,
}

impl Pair {
    fn new(ours: &[Change], theirs: &[Change]) -> Self {
        let mut pair = Self {
            sides: [Side::new(1, ours), Side::new(2, theirs)],
            now: now(),
            bytes: 0,
        };
        let [first, second] = [pair.sides[0].me, pair.sides[1].me];
        for (side, peer) in pair.sides.iter_mut().zip([second, first]) {
            side.gossip.handle_session_up(peer, &mut side.rng, pair.now);
        }
        pair
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let next = self
                .sides
                .iter()
                .filter_map(|side| side.gossip.poll_timeout())
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                return;
            };
            self.now = self.now.max(next);
            for side in &mut self.sides {
                side.tick(self.now);
            }
        }
    }

    fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            for number in 0..2 {
                self.sides[number].collect();
                let from = self.sides[number].me;
                for output in std::mem::take(&mut self.sides[number].outputs) {
                    is_quiet = false;
                    match output {
                        Output::Send { message, .. } => {
                            assert!(message.encoded_len() <= MAX_MESSAGE, "{message:?}");
                            self.bytes += message.encoded_len();
                            self.deliver(1 - number, from, message);
                        }
                        Output::Received { from, documents } => self.take(number, from, documents),
                        Output::Keep(_) | Output::LetGo(_) | Output::Seen(_) => {}
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn deliver(&mut self, to: usize, from: IdentityKey, message: GossipMessage) {
        let side = &mut self.sides[to];
        side.gossip
            .handle_message(from, message, Some(endpoint()), &mut side.rng, self.now);
    }

    fn take(&mut self, number: usize, from: IdentityKey, documents: Vec<Gossiped>) {
        let side = &mut self.sides[number];
        if side
            .directory
            .accept_brought(documents, &side.me, NOW)
            .accepted
            .changed
        {
            side.gossip
                .set_directory(&side.directory, Some(from), NOW, &mut side.rng, self.now);
        }
    }
}

/// What counts of a directory.
#[derive(Debug, PartialEq, Eq)]
struct View {
    certs: Vec<(IdentityKey, Revision)>,
    removals: Vec<(IdentityKey, Revision)>,
    network: Version,
}

fn view(directory: &Directory) -> View {
    let certs = directory.certs_in_force();
    let removals = directory.revocations();
    View {
        certs: certs.map(|(key, serial)| (*key, serial)).collect(),
        removals: removals.map(|(key, revision)| (*key, revision)).collect(),
        network: versions(directory).1,
    }
}

fn a_message() -> impl Strategy<Value = GossipMessage> {
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

fn a_digest(seen: Option<SocketAddr>) -> Digest {
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

fn a_directory() -> Directory {
    let keyring = Keyring {
        version: Version::first_epoch(1),
        replicas: BTreeSet::from([authority(2).public()]),
        endpoints: Vec::new(),
    };
    let scope = Keyring::scope(network().authority());
    let signed = Signed::sign(&keyring, scope, &authority(1));
    Directory::new(network(), authority(1).public(), signed).expect("signed by the root")
}

fn a_cert(number: u16, serial: u64, routes: u16) -> MemberCert {
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

fn network() -> NetworkId {
    "8056c2e21c000001".parse().expect("a network id")
}

fn authority(number: u8) -> IdentitySecret {
    Seed::from_bytes([number; 32]).identity()
}

fn identity(number: u16) -> IdentityKey {
    seed(number).identity().public()
}

fn seed(number: u16) -> Seed {
    let mut bytes = [9; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Seed::from_bytes(bytes)
}

fn endpoint() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 9790))
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do to count from"
)]
fn now() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}
