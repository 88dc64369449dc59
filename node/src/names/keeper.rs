//! The task that keeps the table of names and the listeners as they should be.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tombolo_names::table::{Table, Zone};

use super::{
    PORT, Status,
    containers::Containers,
    serving::{self, Shared, View},
};

/// How often everything is compared, events apart.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same while Docker does not answer or a port is taken.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// Events come in bursts: one look for all of them.
const SETTLES: Duration = Duration::from_millis(100);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// The state of the task.
pub(super) struct Task {
    containers: Option<Containers>,
    /// Ends with its entry.
    listeners: BTreeMap<IpAddr, JoinSet<()>>,
    shared: Arc<Shared>,
    status: watch::Sender<Status>,
}

impl Task {
    pub(super) fn new(docker: Option<PathBuf>, status: watch::Sender<Status>) -> Self {
        Self {
            containers: docker.map(Containers::new),
            listeners: BTreeMap::new(),
            shared: Arc::new(Shared::new()),
            status,
        }
    }

    /// Runs until the daemon is gone.
    pub(super) async fn run(mut self, mut zones: watch::Receiver<Vec<Zone>>) {
        let mut due = Instant::now();
        loop {
            tokio::select! {
                changed = zones.changed() => match changed {
                    Ok(()) => due = due.min(Instant::now() + SETTLES),
                    Err(_) => return,
                },
                () = container_events(&mut self.containers) => due = due.min(Instant::now() + SETTLES),
                () = sleep_until(due) => {
                    let known = zones.borrow_and_update().clone();
                    due = Instant::now() + self.look(known).await;
                }
            }
        }
    }

    /// Makes everything as it should be; how long until the next look.
    async fn look(&mut self, zones: Vec<Zone>) -> Duration {
        let (mut running, mut gateways) = (&[][..], &[][..]);
        if let Some(containers) = &mut self.containers {
            containers.look().await;
            (running, gateways) = (&containers.running, &containers.gateways);
        }
        let table = Table::new(zones, running);
        let behind = gateways.iter().filter(|gateway| table.carries(gateway));
        let wanted: BTreeSet<IpAddr> = table.own_addresses().chain(behind.copied()).collect();
        let mut problems = table.problems().to_vec();
        self.shared.view.store(Arc::new(View {
            table,
            own: wanted.clone(),
        }));
        let not_listening = self.listen(&wanted);
        let is_settled = not_listening.is_empty()
            && self
                .containers
                .as_ref()
                .is_none_or(Containers::is_connected);
        problems.extend(not_listening);
        self.tell(problems);
        if is_settled { LOOK_EVERY } else { RETRY_EVERY }
    }

    /// Listens at these addresses and nowhere else; gives those that it cannot listen at, one line each.
    fn listen(&mut self, wanted: &BTreeSet<IpAddr>) -> Vec<String> {
        self.listeners.retain(|address, _| wanted.contains(address));
        let mut problems = Vec::new();
        for address in wanted {
            if self.listeners.contains_key(address) {
                continue;
            }
            match listen(*address, &self.shared) {
                Ok(serving) => {
                    self.listeners.insert(*address, serving);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => problems.push(format!(
                    "names are not answered on {address}: port {PORT} is taken; stop what listens there, or have it listen on other addresses"
                )),
                Err(error) => {
                    problems.push(format!("names are not answered on {address}: {error}"));
                }
            }
        }
        problems
    }

    /// Tells `node status`, and the log of what is new.
    fn tell(&self, problems: Vec<String>) {
        let status = Status {
            listening: self.listeners.keys().copied().collect(),
            problems,
        };
        self.status.send_if_modified(|known| {
            let new = status.problems.iter();
            for problem in new.filter(|problem| !known.problems.contains(problem)) {
                tracing::warn!("{problem}");
            }
            let is_new = *known != status;
            *known = status;
            is_new
        });
    }
}

async fn container_events(containers: &mut Option<Containers>) {
    match containers {
        Some(containers) => containers.changed().await,
        None => std::future::pending().await,
    }
}

fn listen(address: IpAddr, shared: &Arc<Shared>) -> io::Result<JoinSet<()>> {
    let udp = UdpSocket::from_std(bound(address, Type::DGRAM)?.into())?;
    let tcp = bound(address, Type::STREAM)?;
    tcp.listen(BACKLOG)?;
    let tcp = TcpListener::from_std(tcp.into())?;
    let mut serving = JoinSet::new();
    serving.spawn(serving::udp(udp, Arc::clone(shared)));
    serving.spawn(serving::tcp(tcp, Arc::clone(shared)));
    Ok(serving)
}

fn bound(address: IpAddr, kind: Type) -> io::Result<Socket> {
    let address = SocketAddr::new(address, PORT);
    let socket = Socket::new(Domain::for_address(address), kind, None::<Protocol>)?;
    // Connections of an earlier daemon wait to be forgotten. For UDP this would mean sharing the port.
    socket.set_reuse_address(kind == Type::STREAM)?;
    // The address may be under way to the interface.
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
