//! Controllers in virtual time: replicas that decide, compile and sign as real ones do, over one store that may refuse,
//! conflict, or be out of reach. Messages go in and come out as values.

mod changes;
mod epochs;
mod replica;
mod signing;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tombolo_domain::{
    command::{Command, SettingsPatch},
    member::Request,
    name::Name as Text,
    network::Network,
    settings::{Settings, V4Plan},
};
use tombolo_proto::{
    config::Keyring,
    control::{Standing, ToController, ToNode},
    id::{NetworkId, NodeId, UnixSeconds, Version},
    key::{IdentityKey, IdentitySecret, Seed},
    signed::Signed,
};

pub use store::{Audited, Place, Said, Store};

use crate::{clock::Clock, world::Name};
use replica::{Replica, standing};

/// Between looks at the store without a hint.
const POLL: Duration = Duration::from_secs(5);
/// From a commit to the other replicas' look at it, if the hint arrives.
const HINT: Duration = Duration::from_millis(50);
/// One hint of so many is lost.
const LOST_HINTS: u32 = 8;
/// The network's only pool.
const POOL: &str = "172.27.0.0/24";

/// Something that is asked of a replica.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Chosen by whoever asks.
    pub number: u64,
    /// What is asked.
    pub command: Command,
    /// The node that waits for its standing.
    asker: Option<Name>,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is in the store.
    Done,
    /// Nothing had to be done.
    Unchanged,
    /// The rules say no.
    Refused(String),
    /// Nobody could say.
    Unavailable,
}

#[derive(Debug)]
enum Due {
    Poll,
    Look,
    Commit,
    Answer(Wish, Answer),
}

/// All replicas, and the store.
#[derive(Debug)]
pub struct Controllers {
    /// What the replicas share.
    pub store: Store,
    /// What became of wishes: their numbers, in the order of the answers.
    pub answers: Vec<(u64, Answer)>,
    root: IdentitySecret,
    replicas: Vec<Replica>,
    agenda: BTreeMap<(Instant, u64), (usize, u64, Due)>,
    entries: u64,
    rng: StdRng,
}

impl Controllers {
    /// `count` replicas, all admitted, with one network without members.
    #[must_use]
    pub fn new(network: NetworkId, count: u8, seed: u64, clock: &Clock) -> Self {
        let root = Seed::from_bytes([0xc0; 32]).identity();
        let secrets: Vec<IdentitySecret> = (1..=count)
            .map(|number| Seed::from_bytes([0xc0 + number; 32]).identity())
            .collect();
        let keyring = Keyring {
            version: Version::first_epoch(1),
            replicas: secrets.iter().map(IdentitySecret::public).collect(),
            endpoints: Vec::new(),
        };
        let signed = Signed::sign(&keyring, Keyring::scope(network.authority()), &root);
        let keyring = (keyring, signed);
        let replicas = secrets.into_iter().zip(1..).map(|(secret, number)| {
            let address = SocketAddr::from(([203, 0, 113, number], 9791));
            Replica::new(secret, address, keyring.clone())
        });
        let blank = Network::new(network, Settings::new(text("lab")));
        let mut controllers = Self {
            store: Store::new(blank, keyring.clone()),
            answers: Vec::new(),
            root,
            replicas: replicas.collect(),
            agenda: BTreeMap::new(),
            entries: 0,
            rng: StdRng::seed_from_u64(seed),
        };
        let pool = V4Plan::whole(POOL.parse().expect("a prefix")).expect("a pool");
        let settings = SettingsPatch {
            v4: Some(pool),
            ..SettingsPatch::default()
        };
        controllers.found(Command::Configure(settings), clock);
        for replica in 0..usize::from(count) {
            controllers.schedule(replica, clock.now(), Due::Poll);
        }
        controllers
    }

    /// Commits the first revision.
    fn found(&mut self, command: Command, clock: &Clock) {
        let wish = Wish {
            number: 0,
            command,
            asker: None,
        };
        let (commit, _) = self
            .prepare(0, &wish, clock)
            .expect("a new network")
            .expect("a change");
        self.store.commit(commit).expect("nobody else is there");
    }

    /// The authority's root key.
    #[must_use]
    pub fn root(&self) -> IdentityKey {
        self.root.public()
    }

    /// How many replicas there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.replicas.len()
    }

    /// Where a replica is.
    #[must_use]
    pub fn address(&self, replica: usize) -> SocketAddr {
        self.replicas[replica].address
    }

    /// A replica's signing key, as a thief would use it.
    #[must_use]
    pub fn stolen_key(&self, replica: usize) -> &IdentitySecret {
        &self.replicas[replica].secret
    }

    /// A replica's key.
    #[must_use]
    pub fn key(&self, replica: usize) -> IdentityKey {
        self.replicas[replica].secret.public()
    }

    /// Whether a replica runs.
    #[must_use]
    pub fn is_up(&self, replica: usize) -> bool {
        self.replicas[replica].is_up
    }

    /// Kills a replica: all it had in memory is gone, and nobody is answered.
    pub fn kill(&mut self, replica: usize) {
        self.replicas[replica].kill();
    }

    /// Starts a replica, if the store lets it.
    pub fn start(&mut self, replica: usize, clock: &Clock) {
        if self.replicas[replica].is_up || !self.reaches_store(replica) {
            return;
        }
        self.replicas[replica].is_up = true;
        self.replicas[replica].keyring = self.store.keyring().clone();
        self.schedule(replica, clock.now(), Due::Poll);
    }

    /// Cuts a replica off from the store, or connects it again.
    pub fn set_reaches_store(&mut self, replica: usize, reaches: bool) {
        self.replicas[replica].reaches_store = reaches;
    }

    fn reaches_store(&self, replica: usize) -> bool {
        self.store.is_up && self.replicas[replica].reaches_store
    }

    // Nodes.

    /// The keyring that a replica shows to whoever dials it, if it takes nodes.
    #[must_use]
    pub fn greet(&self, replica: usize) -> Option<&(Keyring, Signed<Keyring>)> {
        let replica = &self.replicas[replica];
        (replica.is_up && replica.is_admitted()).then_some(&replica.keyring)
    }

    /// A node connects.
    pub fn connect(&mut self, replica: usize, node: Name, identity: IdentityKey) {
        self.replicas[replica].enter(node, identity);
    }

    /// A node's connection is gone.
    pub fn disconnect(&mut self, replica: usize, node: Name) {
        self.replicas[replica].leave(node);
    }

    /// A connected node says something.
    pub fn handle_message(
        &mut self,
        replica: usize,
        node: (Name, IdentityKey),
        message: ToController,
        clock: &Clock,
    ) {
        let (name, identity) = node;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "simulated nodes say nothing else"
        )]
        match message {
            ToController::Join { transport, .. } => {
                let command = Command::Join {
                    request: a_request(name, identity, transport, self.store.now(clock)),
                    granted: false,
                };
                let wish = Wish {
                    number: 0,
                    command,
                    asker: Some(name),
                };
                self.take(replica, wish, clock);
            }
            ToController::Sync { have, .. } => {
                let store = self.reaches_store(replica).then_some(&self.store);
                self.replicas[replica].synchronize(name, have, store);
            }
            ToController::Announce {
                network,
                announcement,
            } => {
                let Ok(said) = announcement.verify(network.into(), |signer| *signer == identity)
                else {
                    return;
                };
                let is_kept = if self.reaches_store(replica) {
                    self.store.announce(identity, said.sequence, &announcement)
                } else {
                    let told = self.replicas[replica].told.as_ref();
                    told.is_some_and(|told| standing(&told.network, &identity) == Standing::Member)
                };
                if is_kept {
                    self.replicas[replica].pass_on(network, identity, said.sequence, &announcement);
                    self.hint(replica, clock.now());
                }
            }
            _ => {}
        }
    }

    /// What replicas have to say: which replica, to whom, what.
    pub fn poll_message(&mut self) -> Option<(usize, Name, ToNode)> {
        self.replicas
            .iter_mut()
            .enumerate()
            .find_map(|(number, replica)| {
                let (node, message) = replica.outbox.pop_front()?;
                Some((number, node, message))
            })
    }

    // Time.

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// Does what is due first.
    pub fn handle_timeout(&mut self, clock: &Clock) {
        let Some(((at, _), (replica, life, due))) = self.agenda.pop_first() else {
            return;
        };
        if life != self.replicas[replica].life {
            return;
        }
        match due {
            Due::Poll => {
                self.schedule(replica, at + POLL, Due::Poll);
                self.look(replica);
            }
            Due::Look => self.look(replica),
            Due::Commit => self.commit(replica, clock),
            Due::Answer(wish, answer) => self.deliver_answer(replica, wish, answer),
        }
    }

    fn look(&mut self, replica: usize) {
        if self.reaches_store(replica) {
            self.replicas[replica].look(&self.store);
        }
    }

    fn hint(&mut self, from: usize, now: Instant) {
        let others: BTreeSet<usize> = (0..self.replicas.len())
            .filter(|other| *other != from && self.replicas[*other].is_up)
            .collect();
        for other in others {
            if !self.rng.random_ratio(1, LOST_HINTS) {
                self.schedule(other, now + HINT, Due::Look);
            }
        }
    }

    fn schedule(&mut self, replica: usize, at: Instant, due: Due) {
        let life = self.replicas[replica].life;
        self.agenda.insert((at, self.entries), (replica, life, due));
        self.entries += 1;
    }
}

/// The node address of a simulated node.
#[must_use]
pub fn node_address(name: Name) -> NodeId {
    NodeId::new(0x10_0000_0000 + u64::from(name.0)).expect("a node address")
}

fn a_request(
    name: Name,
    identity: IdentityKey,
    transport: tombolo_proto::key::TransportKey,
    now: UnixSeconds,
) -> Request {
    Request {
        identity,
        node: node_address(name),
        name: text(&format!("n{}", name.0)),
        transport,
        transport_epoch: 0,
        source: std::net::IpAddr::from([192, 0, 2, name.0]),
        requested_at: now,
    }
}

fn text(name: &str) -> Text {
    name.parse().expect("a name")
}
