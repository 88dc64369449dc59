//! The fast path: plain threads that block in poll(2) and forward packets in batches.
//!
//! Each thread loads the forwarding table once per batch, never waits for the slow path and allocates nothing per
//! packet. What it cannot decide it punts through one bounded channel; what it drops it counts.

mod batch;
mod extra;
mod inbound;
mod joined;
mod outbound;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Instant,
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::mpsc;
use tombolo_engine::{
    counters::DropReason,
    fib::{Fib, NetworkSlot},
    forward::Punt,
    path::way::SocketSlot,
};

use crate::io::{stop::Stop, tun::Tun, tun_offload::TunOffload, udp::UdpSockets};
use extra::Waiting;
use outbound::Outbound;

/// Punts that may wait for the slow path. A flood of handshakes fills it and is dropped, counted, at no further cost.
pub const PUNT_QUEUE: usize = 1024;

/// The TUN of each network, by slot.
type TunTable = Vec<Option<Arc<Tun>>>;

/// What the threads share.
#[derive(Debug)]
struct Shared {
    fib: ArcSwap<Fib>,
    tuns: ArcSwap<TunTable>,
    udp: Arc<UdpSockets>,
    punts: mpsc::Sender<Punt>,
}

impl Shared {
    fn punt(&self, punt: Punt) {
        if self.punts.try_send(punt).is_err() {
            self.count(DropReason::QueueFull);
        }
    }

    /// The forwarding table for a batch, told the time if it wants to know.
    fn fib(&self) -> Guard<Arc<Fib>> {
        let fib = self.fib.load();
        if fib.wants_time() {
            fib.set_time(Instant::now());
        }
        fib
    }

    fn count(&self, reason: DropReason) {
        self.fib.load().counters().count(reason);
    }
}

/// The running threads. Dropping it ends them all.
#[derive(Debug)]
pub struct Dataplane {
    shared: Arc<Shared>,
    inbound: Vec<Worker>,
    extra: Arc<Waiting>,
    outbound: BTreeMap<NetworkSlot, Vec<Worker>>,
}

impl Dataplane {
    /// Starts to receive. Punts go to the other end of `punts`.
    pub fn start(
        udp: Arc<UdpSockets>,
        fib: Arc<Fib>,
        punts: mpsc::Sender<Punt>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            fib: ArcSwap::new(fib),
            tuns: ArcSwap::default(),
            udp,
            punts,
        });
        let mut inbound = Vec::new();
        for position in 0..shared.udp.iter().count() {
            let shared = Arc::clone(&shared);
            inbound.push(Worker::spawn(
                &format!("udp{position}"),
                move |stop| match shared.udp.iter().nth(position) {
                    Some(socket) => inbound::run(&shared, socket, stop),
                    None => Ok(()),
                },
            )?);
        }
        let extra = Arc::new(Waiting::new()?);
        inbound.push(Worker::spawn("udp-extra", {
            let (shared, extra) = (Arc::clone(&shared), Arc::clone(&extra));
            move |stop| extra.run(&shared, stop)
        })?);
        Ok(Self {
            shared,
            inbound,
            extra,
            outbound: BTreeMap::new(),
        })
    }

    /// Starts to forward between `tun` and the peers of the network in `slot`.
    pub fn attach(&mut self, slot: NetworkSlot, tun: Tun) -> io::Result<()> {
        self.detach(slot);
        let tun = Arc::new(tun);
        self.set_tun(slot, Some(Arc::clone(&tun)));
        let mut workers = Vec::new();
        for queue in 0..tun.queues() {
            let shared = Arc::clone(&self.shared);
            let tun = Arc::clone(&tun);
            let name = format!("{}-{queue}", tun.name());
            workers.push(Worker::spawn(&name, move |stop| {
                let outbound = Outbound {
                    shared: &shared,
                    network: slot,
                    tun: &tun,
                    queue,
                    stop,
                };
                outbound.run()
            })?);
        }
        self.outbound.insert(slot, workers);
        Ok(())
    }

    /// Ends forwarding for a network; its TUN vanishes.
    pub fn detach(&mut self, slot: NetworkSlot) {
        self.outbound.remove(&slot);
        self.set_tun(slot, None);
    }

    /// What the kernel does for the network's TUN.
    #[must_use]
    pub fn offload(&self, slot: NetworkSlot) -> Option<TunOffload> {
        let tuns = self.shared.tuns.load();
        let tun = tuns.get(usize::from(slot.0))?.as_ref()?;
        Some(tun.offload())
    }

    /// Whether the network's TUN still works: somebody may have deleted it.
    #[must_use]
    pub fn is_forwarding(&self, slot: NetworkSlot) -> bool {
        self.outbound
            .get(&slot)
            .is_some_and(|workers| workers.iter().all(Worker::is_running))
    }

    /// Whether every receiving thread still runs.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.inbound.iter().all(Worker::is_running)
    }

    /// Opens a socket with a port of its own, and receives on it until it is closed.
    pub fn open_extra(&self, slot: SocketSlot, to: SocketAddr) -> io::Result<()> {
        let socket = self.shared.udp.open_extra(slot, to)?;
        self.extra.add(slot, &socket)
    }

    /// Closes a socket with a port of its own.
    pub fn close_extra(&self, slot: SocketSlot) {
        self.shared.udp.close_extra(slot);
    }

    /// Publishes a new forwarding table; threads see it with their next batch.
    pub fn publish(&self, fib: Arc<Fib>) {
        self.shared.fib.store(fib);
    }

    fn set_tun(&self, slot: NetworkSlot, tun: Option<Arc<Tun>>) {
        let mut table = TunTable::clone(&self.shared.tuns.load());
        let index = usize::from(slot.0);
        if table.len() <= index {
            table.resize(index + 1, None);
        }
        if let Some(entry) = table.get_mut(index) {
            *entry = tun;
        }
        self.shared.tuns.store(Arc::new(table));
    }
}

/// A thread that ends when dropped.
#[derive(Debug)]
struct Worker {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn spawn(
        name: &str,
        work: impl FnOnce(&Stop) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(Stop::new()?);
        let ours = Arc::clone(&stop);
        let named = name.to_owned();
        let thread = Builder::new().name(format!("tmb-{name}")).spawn(move || {
            if let Err(error) = work(&ours) {
                tracing::warn!(thread = named, %error, "Forwarding ended");
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.raise();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
