//! The daemon: opens everything, then runs the slow-path loop that owns the engine and all networks of this node.
//!
//! One task owns all state. It waits for whichever comes first: a punt from the fast path, the engine's timer, news from
//! a controller, a request on the local socket, a change of the host, a signal. After each it lets the engine's effects
//! out: datagrams to send, a forwarding table to publish, sessions that came or went.

mod boot;
mod containers;
mod dial_back;
mod explaining;
mod gossip;
mod host_keeper;
mod joining;
mod keyrings;
mod lifecycle;
mod links;
mod measuring;
mod naming;
mod nat;
mod network;
mod pinging;
mod port_mapping;
mod reachability;
mod reflexive;
mod relaying;
mod rendezvous;
mod reporting;
mod requests;
mod standing;
mod streaming;
mod syncing;
mod uplink;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep_until},
};
use tombolo_engine::{
    control::{Engine, Event},
    forward::Punt,
    offload::ecn::Ecn,
    path::way::Way,
};
use tombolo_proto::{
    id::{NetworkId, NodeId, UnixSeconds},
    key::{IdentityKey, Seed},
    link::HostPort,
};

use crate::{
    bench::listener::{Caller, Listeners},
    cli::{DATA_PORT, Global, Up},
    config_file::ConfigFile,
    dataplane::Dataplane,
    docker,
    host::netlink::Netlink,
    io::udp::{UdpPort, UdpSockets},
    local_api::{
        Answer,
        server::{Asked, Server},
    },
    names::Names,
    state_dir::StateDir,
    streams::{
        News, Streams,
        listening::{Guest, Listening},
    },
    sync::{
        AuthorityLink, Connected, SyncEvent,
        transport::Transport,
        visits::{Answered, Visits},
    },
};

use dial_back::DialBack;
use host_keeper::HostKeeper;
use joining::JoinWaiter;
use links::Links;
use nat::{Nat, Tested};
use network::Network;
use pinging::PingWaiter;
use port_mapping::PortMapper;
use reflexive::Reflexive;

/// How often small things are looked at: waiters, caches to write, questions to ask again.
const TICK: Duration = Duration::from_secs(1);
/// How often the host is compared with what it should be, changes apart.
const RECONCILE_EVERY: Duration = Duration::from_secs(30);
/// Host changes come in bursts: one look for all of them.
const HOST_SETTLES: Duration = Duration::from_millis(200);
/// Punts handled before anything else gets a turn.
const PUNT_BATCH: usize = 64;
/// Callers who may wait to be told whether they are members.
const CALLER_QUEUE: usize = 4;
/// News from controllers that may wait.
const SYNC_QUEUE: usize = 64;

/// What the daemon is started with.
#[derive(Debug)]
pub struct DaemonConfig {
    state_dir: PathBuf,
    socket: PathBuf,
    port: u16,
    advertise: Vec<HostPort>,
    file: ConfigFile,
}

impl DaemonConfig {
    /// Flags win over the file, the file over the defaults; advertised addresses add up.
    #[must_use]
    pub fn new(global: &Global, arguments: &Up, mut file: ConfigFile) -> Self {
        let advertise = arguments
            .advertise
            .iter()
            .chain(&file.advertise)
            .cloned()
            .collect();
        file.metrics = arguments.metrics.or(file.metrics);
        if arguments.no_relay {
            file.relay = Some(false);
        }
        Self {
            state_dir: global.state_dir.clone(),
            socket: global.socket.clone(),
            port: arguments.port.or(file.port).unwrap_or(DATA_PORT),
            advertise,
            file,
        }
    }
}

/// Runs until a signal or a failure ends it.
pub fn run(config: DaemonConfig) -> anyhow::Result<()> {
    // Two threads: one for the loop, one for control connections and the local socket.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("Failed to start the runtime")?;
    runtime.block_on(async {
        let mut daemon = Daemon::open(config).await?;
        daemon.serve().await?;
        daemon.stop().await;
        Ok(())
    })
}

/// All state of a running node.
struct Daemon {
    seed: Seed,
    me: IdentityKey,
    node: NodeId,
    config: DaemonConfig,
    state: StateDir,
    networks: BTreeMap<NetworkId, Network>,
    authorities: BTreeMap<NodeId, Authority>,
    transport: Arc<Transport>,
    visits: Visits,
    engine: Engine,
    udp: Arc<UdpSockets>,
    dataplane: Dataplane,
    host: HostKeeper<Netlink>,
    host_is_stale: bool,
    listeners: Listeners,
    reflexive: Reflexive,
    /// Of IPv4, and of IPv6.
    nats: [Nat; 2],
    dial_back: DialBack,
    port_mapper: PortMapper,
    /// Where controllers answer STUN, if it is not the usual port; by control address.
    relay_ports: BTreeMap<HostPort, u16>,
    streams: Streams,
    /// Where replicas were reached.
    replica_places: BTreeMap<IdentityKey, SocketAddr>,
    listening: Option<Listening>,
    /// `--advertise`, resolved.
    advertised: Vec<SocketAddr>,
    joins: Vec<JoinWaiter>,
    pings: Vec<PingWaiter>,
    routes_asked: BTreeMap<u32, RouteWaiter>,
    next_route_request: u32,
    /// Networks that could not be read from disk, one line each.
    damaged: Vec<String>,
    /// Why the state directory could not be written, until it can be again.
    storage_problem: Option<String>,
    last_full_reconcile: Instant,
    links: Links,
    inputs: Inputs,
    sync_sender: mpsc::Sender<(NodeId, SyncEvent)>,
    resolved_sender: mpsc::Sender<Resolved>,
    tested_sender: mpsc::Sender<Tested>,
    docker: docker::Keeper,
    /// Present where names are switched on.
    names: Option<Names>,
    worlds_asked: Vec<oneshot::Sender<docker::World>>,
    _server: Server,
}

/// Where everything comes in.
struct Inputs {
    punts: mpsc::Receiver<Punt>,
    sync: mpsc::Receiver<(NodeId, SyncEvent)>,
    requests: mpsc::Receiver<Asked>,
    callers: mpsc::Receiver<Caller>,
    host_changes: watch::Receiver<u64>,
    resolved: mpsc::Receiver<Resolved>,
    visited: mpsc::Receiver<Answered>,
    tested: mpsc::Receiver<Tested>,
    questions: mpsc::Receiver<docker::Question>,
    streams: mpsc::Receiver<News>,
    guests: mpsc::Receiver<Guest>,
}

/// The connection to an authority, and who is at the other end.
struct Authority {
    link: AuthorityLink,
    connected: Option<Connected>,
}

/// A request for a route or a subnet that waits for the controller's answer.
struct RouteWaiter {
    network: NetworkId,
    /// What was asked for; of a subnet, the controller says it.
    prefix: Option<ipnet::IpNet>,
    answer: oneshot::Sender<Answer>,
    deadline: Instant,
}

/// Names that were looked up.
struct Resolved {
    stun: Vec<SocketAddr>,
    advertised: Vec<SocketAddr>,
}

impl Daemon {
    async fn serve(&mut self) -> anyhow::Result<()> {
        let mut terminate =
            signal(SignalKind::terminate()).context("Failed to listen for SIGTERM")?;
        let mut interrupt =
            signal(SignalKind::interrupt()).context("Failed to listen for SIGINT")?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut punts = Vec::with_capacity(PUNT_BATCH);
        let mut host_settles = None;
        loop {
            self.settle().await;
            let engine_due = self.engine.poll_timeout().map(|(at, _)| at);
            let gossip_due = self.gossip_due();
            tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                () = until(engine_due) => self.engine.handle_timeout(Instant::now()),
                () = until(gossip_due) => self.take_gossip(Instant::now()),
                Some((authority, event)) = self.inputs.sync.recv() => self.handle_sync(authority, event),
                Some(asked) = self.inputs.requests.recv() => self.handle_request(asked),
                Some(caller) = self.inputs.callers.recv() => self.handle_caller(caller),
                Some(news) = self.inputs.streams.recv() => self.stream_changed(&news),
                Some(guest) = self.inputs.guests.recv() => self.handle_guest(guest),
                Some(question) = self.inputs.questions.recv() => self.handle_question(question),
                Some(resolved) = self.inputs.resolved.recv() => self.handle_resolved(resolved),
                Some(answered) = self.inputs.visited.recv() => self.visited(answered),
                Some(tested) = self.inputs.tested.recv() => self.handle_tested(&tested),
                () = self.port_mapper.changed() => self.port_mapped(Instant::now()),
                Ok(()) = self.inputs.host_changes.changed(), if host_settles.is_none() => {
                    host_settles = Some(Instant::now() + HOST_SETTLES);
                }
                () = until(host_settles) => {
                    host_settles = None;
                    self.inputs.host_changes.mark_unchanged();
                    self.revive_interfaces();
                    self.host_is_stale = true;
                }
                _ = ticks.tick() => self.tick()?,
                // Last, so that a flood of punts holds up nothing else.
                taken = self.inputs.punts.recv_many(&mut punts, PUNT_BATCH) => {
                    anyhow::ensure!(taken > 0, "the forwarding threads are gone");
                    for punt in punts.drain(..) {
                        self.handle_punt(punt);
                    }
                }
            }
        }
    }

    /// Lets effects out until nothing is left to do.
    async fn settle(&mut self) {
        self.drain_engine();
        if self.host_is_stale {
            self.host_is_stale = false;
            self.reconcile_host().await;
            self.answer_worlds();
            self.follow_addresses();
            self.follow_names();
            self.drain_engine();
        }
        let now = Instant::now();
        if self
            .networks
            .values()
            .any(|network| network.has_directory_to_save(now) || network.has_endpoints_to_save(now))
        {
            self.write_caches();
        }
        self.settle_joins();
    }

    fn drain_engine(&mut self) {
        let mut fib_changed = false;
        let mut unused = Vec::new();
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::FibChanged => fib_changed = true,
                Event::SessionUp { network, peer, way } => {
                    self.ping_waiting(network, peer);
                    tracing::debug!(%network, %peer, %way, "Session up");
                    self.heard_from(network, peer, way);
                }
                Event::WayChanged { network, peer, way } => {
                    tracing::debug!(%network, %peer, %way, "Peer is reached by another way");
                    self.heard_from(network, peer, way);
                }
                Event::SessionDown { network, peer } => {
                    tracing::debug!(%network, %peer, "Session down")
                }
                Event::Gossip {
                    network,
                    peer,
                    documents,
                } => self.peer_brought(network, peer, documents),
                Event::Answered { id, way, after } => self.ping_answered(id, way, after),
                Event::RendezvousWanted { network, peer } => self.ask_for_call(network, peer),
                Event::Called {
                    network,
                    peer,
                    announcement,
                } => self.called(network, peer, &announcement),
                Event::Seen { network, endpoints } => self.seen_by_peers(network, endpoints),
                Event::Relays { network, addresses } => self.relays_chosen(network, addresses),
                Event::RelaySay {
                    network,
                    replica,
                    message,
                } => self.say_to_relay(network, replica, message),
                Event::StreamWanted {
                    network,
                    relay,
                    at,
                    silent,
                } => {
                    self.stream_wanted(network, relay, at, silent);
                }
                Event::SocketUnused { socket } => unused.push(socket),
            }
        }
        // The table first: a peer may answer a datagram faster than the next line runs.
        if fib_changed {
            self.dataplane.publish(self.engine.fib());
        }
        let mut was_refused = false;
        while let Some(transmit) = self.engine.poll_transmit() {
            if self.send(transmit.to, &transmit.payload) == Sent::TooLarge {
                let size = transmit.payload.len();
                self.engine
                    .handle_refused(transmit.to, size, Instant::now());
                was_refused = true;
            }
        }
        if was_refused {
            // What follows from it is to be published, too.
            self.drain_engine();
        }
        for socket in unused {
            self.dataplane.close_extra(socket);
        }
    }

    fn send(&self, to: Way, payload: &[u8]) -> Sent {
        match to {
            Way::Direct(to) => self.send_to(to, payload),
            Way::Through { socket, endpoint } => {
                // Its first datagram opens it. Where that fails, the peer is met by another socket, or not at all.
                if self.udp.extra(socket).is_none()
                    && let Err(error) = self.dataplane.open_extra(socket, endpoint)
                {
                    tracing::debug!(%error, "Failed to open a socket");
                }
                match self.udp.by(to, 0) {
                    Some((socket, to)) => send_from(&socket, to, payload),
                    None => Sent::OrLost,
                }
            }
            // Nothing makes such ways yet.
            Way::Relay { .. } => Sent::OrLost,
        }
    }

    fn send_to(&self, to: SocketAddr, payload: &[u8]) -> Sent {
        let Some(socket) = self.udp.toward(to, 0) else {
            return Sent::OrLost;
        };
        send_from(socket, to, payload)
    }

    fn handle_punt(&mut self, punt: Punt) {
        let now = Instant::now();
        if let Punt::Datagram { from, datagram } = &punt
            && let Some(from) = from.endpoint()
            && self.handle_stun(from, datagram, now)
        {
            return;
        }
        self.engine.handle_punt(punt, now);
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        anyhow::ensure!(
            self.dataplane.is_receiving(),
            "a receiving thread ended: see the log above"
        );
        self.look_at_nat(now);
        self.ask_reflexive(now);
        self.look_from_outside(now);
        self.repeat_joins(now);
        self.end_rollovers(now);
        self.seek_second_opinions(now);
        self.expire_routes(now);
        self.tell_links(now);
        self.write_caches();
        if now.duration_since(self.last_full_reconcile) >= RECONCILE_EVERY {
            self.last_full_reconcile = now;
            self.refresh_all_memberships();
            self.host_is_stale = true;
        }
        Ok(())
    }
}

/// What became of a datagram, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It left, or something else kept it from leaving.
    OrLost,
    /// The interface takes less.
    TooLarge,
}

fn is_too_large(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

/// Handshakes and questions are repeated: a full socket buffer or a missing route is not worth a wait.
fn send_from(socket: &UdpPort, to: SocketAddr, payload: &[u8]) -> Sent {
    match socket.send(to, Ecn::NotEct, payload, payload.len()) {
        Err(error) if is_too_large(&error) => Sent::TooLarge,
        Err(error) => {
            tracing::trace!(%to, %error, "Failed to send");
            Sent::OrLost
        }
        Ok(()) => Sent::OrLost,
    }
}

/// Waits until a moment, or for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Wall-clock time, for signed documents.
fn wall() -> UnixSeconds {
    UnixSeconds(
        SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_secs()),
    )
}
