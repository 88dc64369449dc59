//! Thousands of simulated nodes in this process.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use tokio::runtime::Runtime;
use tombolo_node::sync::{transport::Transport, trust::Trust};
use tombolo_proto::{
    address::{self, Cost},
    id::{NetworkId, NodeId, Revision},
    key::Seed,
    link::{HostPort, JoinLink},
};

use super::{
    cache::{Awaited, Cache},
    member::{Common, Member, News},
};
use crate::process::Interrupt;

/// Nodes on one source address: a controller takes no more than 512 connections from one.
const NODES_PER_SOURCE: usize = 400;
/// What may wait in a socket: real nodes have one each.
const RECEIVE_BUFFER: usize = 64 << 20;
/// The longest that nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a wait looks whether the user wants to stop.
const LOOK_ROUND: Duration = Duration::from_millis(100);

/// Identities, found beforehand: the search for one takes as long as ten joins.
#[derive(Debug)]
pub(crate) struct Identities(Vec<(Seed, NodeId)>);

impl Identities {
    /// On all cores.
    pub(crate) fn find(count: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let found = thread::scope(|scope| {
            let searches: Vec<_> = (0..cores)
                .map(|core| {
                    scope.spawn(move || {
                        (core..count)
                            .step_by(cores)
                            .map(|_| address::mine(Cost::Node, rand::random))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            searches
                .into_iter()
                .flat_map(|search| search.join().expect("a search does not panic"))
                .collect()
        });
        Self(found)
    }
}

/// Nodes of one network.
#[derive(Debug)]
pub(crate) struct Swarm<'a> {
    identities: &'a Identities,
    controllers: Vec<HostPort>,
    trust: Trust,
    common: Arc<Common>,
    sources: Vec<Transport>,
    members: Vec<Member>,
    started: usize,
    news: Receiver<News>,
    runtime: Runtime,
    interrupt: Interrupt,
}

/// How a change reached the nodes.
#[derive(Debug)]
pub(crate) struct Reached {
    /// After how many seconds, node by node.
    pub(crate) seconds: Vec<f64>,
    /// Received by all of them together.
    pub(crate) bytes: usize,
}

impl<'a> Swarm<'a> {
    /// A swarm without nodes. `link` is a join link with a token for all of them.
    pub(crate) fn new(
        identities: &'a Identities,
        controllers: Vec<HostPort>,
        link: &JoinLink,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("Failed to start the runtime")?;
        let (sender, news) = mpsc::channel();
        let network: NetworkId = link.network;
        Ok(Self {
            identities,
            controllers,
            trust: Trust {
                authority: network.authority(),
                pinned: None,
                digest: Some(link.authority),
                keyring: None,
            },
            common: Arc::new(Common {
                network,
                token: link.token.clone().context("a link with a token")?,
                cache: Cache::new(network),
                news: sender,
                announced: AtomicU64::new(0),
                received: AtomicU64::new(0),
                lost: AtomicUsize::new(0),
            }),
            sources: Vec::new(),
            members: Vec::new(),
            started: 0,
            news,
            runtime,
            interrupt: interrupt.clone(),
        })
    }

    /// Pins the root key and keeps the keyring, as every real node does after its first contact.
    pub(crate) fn pin(&mut self) {
        self.trust.pinned = self.common.cache.root();
        self.trust.keyring = self.common.cache.keyring();
    }

    pub(crate) fn network(&self) -> NetworkId {
        self.common.network
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.common.cache
    }

    /// What all nodes received so far, in bytes.
    pub(crate) fn received(&self) -> u64 {
        self.common.received.load(Ordering::Relaxed)
    }

    /// How many connections broke so far.
    pub(crate) fn lost(&self) -> usize {
        self.common.lost.load(Ordering::Relaxed)
    }

    /// Revisions between the newest that anybody holds and the oldest.
    pub(crate) fn lag(&self) -> u64 {
        let newest = self.cache().have().revision.0;
        let oldest = self.members.iter().map(Member::have).min();
        newest.saturating_sub(oldest.unwrap_or(newest))
    }

    /// Lets nodes join, so many at a time, until there are `target` members. Gives how many seconds each took.
    pub(crate) fn grow(&mut self, target: usize, in_flight: usize) -> Result<Vec<f64>> {
        let first = self.started;
        let missing = target.saturating_sub(self.members.len());
        let (mut since, mut took) = (Vec::with_capacity(missing), Vec::with_capacity(missing));
        let mut heard = Instant::now();
        while took.len() < missing {
            while since.len() < missing && since.len() - took.len() < in_flight {
                since.push(Instant::now());
                self.start_next()?;
            }
            match self.next_news(heard)? {
                Some(News::Joined { node, at }) => {
                    let begun = since[node - first];
                    took.push(at.duration_since(begun).as_secs_f64());
                    heard = at;
                }
                Some(News::Refused(why)) => bail!("a join was refused: {why}"),
                // Somebody was late.
                Some(News::Has { .. }) | None => {}
            }
        }
        Ok(took)
    }

    fn start_next(&mut self) -> Result<()> {
        let number = self.started;
        let identity = self
            .identities
            .0
            .get(number)
            .context("too few identities")?
            .clone();
        let secret = identity.0.identity();
        let _runtime = self.runtime.enter();
        if number / NODES_PER_SOURCE == self.sources.len() {
            let source = Ipv4Addr::new(127, 0, 1, u8::try_from(self.sources.len() + 1)?);
            let socket = UdpSocket::bind((source, 0)).context("Failed to open a socket")?;
            // Root may have more than the system allows everybody; whoever may not has what is allowed.
            if set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
                set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
            }
            self.sources.push(Transport::on(socket, &secret)?);
        }
        let transport = self.sources[number / NODES_PER_SOURCE].beside(&secret)?;
        let controller = self.controllers[number % self.controllers.len()].clone();
        self.members.push(Member::start(
            number,
            identity,
            transport,
            (controller, self.trust.clone()),
            Arc::clone(&self.common),
        ));
        self.started += 1;
        Ok(())
    }

    /// Takes a node out of the swarm.
    pub(crate) fn remove(&mut self, index: usize) -> Member {
        self.members.swap_remove(index)
    }

    /// Begins to look for a change.
    pub(crate) fn expect(&self, number: usize, member: &Member) {
        self.cache().await_change(Some(Awaited {
            number,
            identity: member.identity,
            above: Revision(self.cache().newest_of(&member.identity).unwrap_or(0)),
        }));
    }

    /// Waits until every node of the swarm has the change that the API acknowledged at `answered`.
    pub(crate) fn reached(&self, number: usize, answered: Instant) -> Result<Reached> {
        let mut reached = Reached {
            seconds: Vec::with_capacity(self.members.len()),
            bytes: 0,
        };
        while reached.seconds.len() < self.members.len() {
            match self.next_news(answered)? {
                Some(News::Has { change, bytes, at }) if change == number => {
                    let late = at.saturating_duration_since(answered);
                    reached.seconds.push(late.as_secs_f64());
                    reached.bytes += bytes;
                }
                Some(News::Refused(why)) => bail!("a member was refused: {why}"),
                Some(News::Has { .. } | News::Joined { .. }) | None => {}
            }
        }
        self.cache().await_change(None);
        Ok(reached)
    }

    fn next_news(&self, since: Instant) -> Result<Option<News>> {
        ensure!(!self.interrupt.is_set(), "interrupted");
        match self.news.recv_timeout(LOOK_ROUND) {
            Ok(news) => Ok(Some(news)),
            Err(RecvTimeoutError::Timeout) => {
                ensure!(
                    since.elapsed() < PATIENCE,
                    "nothing happened for {PATIENCE:?}; {} connections broke",
                    self.lost()
                );
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => bail!("no node is left"),
        }
    }
}
