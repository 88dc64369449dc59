//! The start: everything from disk first, the world second.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rand::{
    SeedableRng as _, TryRngCore as _,
    rngs::{OsRng, StdRng},
};
use tokio::sync::mpsc;
use tombolo_engine::{
    control::{Engine, Settings, Timing},
    lane::REKEY_AFTER_FRAMES,
    reconcile::LinkName,
};
use tombolo_proto::id::NetworkId;

use super::{
    CALLER_QUEUE, Daemon, DaemonConfig, Inputs, SYNC_QUEUE, dial_back::DialBack,
    host_keeper::HostKeeper, links::Links, network::Network, port_mapping::PortMapper,
    reflexive::Reflexive,
};
use crate::{
    bench::listener::Listeners,
    config_file::SessionSection,
    dataplane::{Dataplane, PUNT_QUEUE},
    docker,
    host::netlink::Netlink,
    io::{
        tun,
        udp::{UdpOptions, UdpSockets},
    },
    local_api::server::Server,
    metrics,
    names::Names,
    state_dir::{NetworkFiles, StateDir, settings::NetworkSettings},
    streams::{Streams, listening},
    sync::{transport::Transport, visits::Visits},
};

/// Cached peers that are greeted at the start, so that the first packets find sessions; the others follow on demand.
const GREETED: usize = 64;

impl Daemon {
    /// Opens everything and brings the cached networks up; from then on services may bind to their addresses.
    pub(super) async fn open(config: DaemonConfig) -> anyhow::Result<Self> {
        keep_memory_private();
        let state = StateDir::open(&config.state_dir)?;
        let (seed, node) = state.identity(draw)?;
        let (server, requests) = Server::listen(&config.socket)?;
        let udp = Arc::new(UdpSockets::bind(UdpOptions {
            port: config.port,
            queues: config.file.forwarding.queues(),
            gso: config.file.forwarding.udp_gso,
        })?);
        check_privileges()?;
        let rng = StdRng::from_rng(&mut OsRng.unwrap_err());
        let mut engine = Engine::new(
            Settings {
                timing: timing(&config.file.session),
                aes: has_aes() && config.file.crypto.aes,
                rekey_after_frames: REKEY_AFTER_FRAMES,
                post_quantum: config.file.crypto.post_quantum,
            },
            rng,
        );
        engine.enable_gossip();
        engine.enable_relays(config.file.relay.unwrap_or(true));
        let (punt_sender, punts) = mpsc::channel(PUNT_QUEUE);
        let dataplane = Dataplane::start(Arc::clone(&udp), engine.fib(), punt_sender)
            .context("Failed to start the forwarding threads")?;
        let transport = Arc::new(Transport::open(&seed.identity())?);
        let (sync_sender, sync) = mpsc::channel(SYNC_QUEUE);
        let (resolved_sender, resolved) = mpsc::channel(1);
        let (visited_sender, visited) = mpsc::channel(SYNC_QUEUE);
        let (tested_sender, tested) = mpsc::channel(1);
        let (stream_sender, streams) = mpsc::channel(SYNC_QUEUE);
        let (guest_sender, guests) = mpsc::channel(CALLER_QUEUE);
        let offers_relay = config.file.relay.unwrap_or(true);
        let listening = offers_relay.then(|| {
            listening::listen(&seed.identity(), udp.port(), guest_sender).inspect_err(|error| {
                let port = udp.port();
                tracing::warn!(port, %error, "Cannot listen on TCP: members to which no UDP passes cannot be relayed for");
            })
        });
        let listening = listening.and_then(Result::ok);
        let port_mapper = PortMapper::start(udp.port(), listening.is_some());
        let (caller_sender, callers) = mpsc::channel(CALLER_QUEUE);
        if let Some(address) = config.file.metrics {
            metrics::serve(address, config.socket.clone()).await?;
        }
        let section = &config.file.docker;
        let (docker, questions) = docker::Keeper::start(
            docker::Settings {
                socket: section.socket.clone(),
                enabled: section.enabled,
            },
            state.containers(),
        );
        let host = HostKeeper::new(Netlink::open()?, &config.file.host, docker.opened());
        let docker_socket = section.enabled.then(|| section.socket.clone());
        let names = config
            .file
            .names
            .enabled
            .then(|| Names::start(docker_socket));
        let mut daemon = Self {
            streams: Streams::new(&seed.identity(), udp.port(), stream_sender)?,
            replica_places: BTreeMap::new(),
            listening,
            me: seed.identity().public(),
            seed,
            node,
            config,
            state,
            networks: BTreeMap::new(),
            authorities: BTreeMap::new(),
            visits: Visits::new(Arc::clone(&transport), visited_sender),
            transport,
            engine,
            udp,
            dataplane,
            host,
            host_is_stale: true,
            listeners: Listeners::new(caller_sender),
            reflexive: Reflexive::new(),
            nats: Default::default(),
            dial_back: DialBack::default(),
            port_mapper,
            relay_ports: BTreeMap::new(),
            advertised: Vec::new(),
            joins: Vec::new(),
            pings: Vec::new(),
            routes_asked: BTreeMap::new(),
            next_route_request: 0,
            damaged: Vec::new(),
            storage_problem: None,
            last_full_reconcile: Instant::now(),
            links: Links::default(),
            inputs: Inputs {
                punts,
                sync,
                requests,
                callers,
                host_changes: Netlink::changes()?,
                resolved,
                visited,
                tested,
                questions,
                streams,
                guests,
            },
            sync_sender,
            resolved_sender,
            tested_sender,
            docker,
            names,
            worlds_asked: Vec::new(),
            _server: server,
        };
        daemon.start().await?;
        Ok(daemon)
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        for (id, settings) in self.state.networks()? {
            match settings.and_then(|settings| restored(id, self.state.network(id), settings)) {
                Ok(network) => {
                    self.networks.insert(id, network);
                    self.refresh_membership(id);
                }
                Err(error) => {
                    tracing::error!("{error:#}");
                    self.damaged.push(format!("{error:#}"));
                }
            }
        }
        self.settle().await;
        self.greet_cached_peers();
        self.settle().await;
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        tracing::info!(node = %self.node, port = self.udp.port(), networks = self.networks.len(), "Ready");
        let ids: Vec<NetworkId> = self.networks.keys().copied().collect();
        for id in ids {
            self.link_authority(id.authority(), false);
        }
        Ok(())
    }

    fn greet_cached_peers(&mut self) {
        let now = Instant::now();
        let cached = self
            .networks
            .values()
            .filter(|network| network.slot.is_some());
        let peers = cached.flat_map(|network| {
            network
                .endpoints
                .peers
                .keys()
                .map(|peer| (network.id, *peer))
        });
        for (network, peer) in peers.take(GREETED) {
            self.engine.connect(network, peer, now);
        }
    }
}

fn restored(
    id: NetworkId,
    files: NetworkFiles,
    settings: NetworkSettings,
) -> anyhow::Result<Network> {
    let link: LinkName = settings
        .interface
        .parse()
        .with_context(|| format!("Network {id}: its settings are damaged"))?;
    let directory = settings.root.and_then(|root| files.directory(root));
    let endpoints = files.endpoints();
    let announcements = directory
        .as_ref()
        .map(|directory| files.announcements(directory))
        .unwrap_or_default();
    let mut network = Network::new(id, files, settings, link);
    network.directory = directory;
    network.endpoints = endpoints;
    network.announcements = announcements;
    Ok(network)
}

/// Without core dumps and debuggers of the same user, keys stay in this process.
fn keep_memory_private() {
    let result =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    if let Err(error) = result {
        tracing::debug!(%error, "Failed to forbid core dumps");
    }
}

fn check_privileges() -> anyhow::Result<()> {
    tun::check_driver()?;
    let capabilities =
        rustix::thread::capabilities(None).context("Failed to read this process's capabilities")?;
    if !capabilities
        .effective
        .contains(rustix::thread::CapabilitySet::NET_ADMIN)
    {
        bail!(tun::TunError::NotPermitted);
    }
    Ok(())
}

fn timing(section: &SessionSection) -> Timing {
    let mut timing = Timing::default();
    if let Some(seconds) = section.rekey_after_seconds {
        timing.rekey_after = Duration::from_secs(seconds);
        timing.reject_after = timing.reject_after.max(timing.rekey_after * 3 / 2);
    }
    if let Some(seconds) = section.reject_after_seconds {
        timing.reject_after = Duration::from_secs(seconds);
    }
    timing
}

/// 32 bytes from the operating system.
fn draw() -> [u8; 32] {
    let mut bytes = [0; 32];
    OsRng
        .try_fill_bytes(&mut bytes)
        .expect("the kernel gives random bytes");
    bytes
}

/// Whether AES-GCM runs in hardware.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// Whether AES-GCM runs in hardware.
#[cfg(target_arch = "aarch64")]
pub(super) fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

/// Whether AES-GCM runs in hardware.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn has_aes() -> bool {
    false
}
