//! Where a daemon listens for measurements: on its overlay addresses, as they come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    thread,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};
use tombolo_engine::{fib::NetworkSlot, reconcile::LinkName};
use tombolo_proto::id::NetworkId;

use super::{MAX_FLOWS, PORT, responder::Responder};

/// Connections served at a time: those of the largest measurement, and some for others to be told that it is busy.
const CONNECTIONS: usize = MAX_FLOWS as usize + 8;
/// Connections that the kernel holds for us.
const BACKLOG: i32 = 32;
/// A serving thread's needs are small: its buffers are on the heap.
const STACK: usize = 256 * 1024;

/// An address to listen on. Another slot means another TUN device, even if its name is the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ground {
    pub(crate) network: NetworkId,
    pub(crate) slot: NetworkSlot,
    pub(crate) link: LinkName,
    pub(crate) address: IpAddr,
}

/// Asks the daemon whether an address belongs to a member of a network.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) network: NetworkId,
    pub(crate) address: IpAddr,
    pub(crate) is_member: oneshot::Sender<bool>,
}

/// Everything that listens.
#[derive(Debug)]
pub(crate) struct Listeners {
    open: BTreeMap<Ground, JoinHandle<()>>,
    shared: Shared,
}

#[derive(Debug, Clone)]
struct Shared {
    responder: Arc<Responder>,
    room: Arc<Semaphore>,
    callers: mpsc::Sender<Caller>,
}

impl Listeners {
    /// Listens nowhere yet. Questions about callers go to `callers`.
    pub(crate) fn new(callers: mpsc::Sender<Caller>) -> Self {
        let shared = Shared {
            responder: Arc::default(),
            room: Arc::new(Semaphore::new(CONNECTIONS)),
            callers,
        };
        Self {
            open: BTreeMap::new(),
            shared,
        }
    }

    /// Listens on `grounds` and nowhere else. What cannot be opened is tried again with the next call.
    pub(crate) fn follow(&mut self, grounds: &BTreeSet<Ground>) {
        for (_, gone) in self
            .open
            .extract_if(.., |ground, _| !grounds.contains(ground))
        {
            gone.abort();
        }
        for ground in grounds {
            if self.open.contains_key(ground) {
                continue;
            }
            match listen(ground) {
                Ok(listener) => {
                    let serving = serve(listener, ground.network, self.shared.clone());
                    self.open.insert(ground.clone(), tokio::spawn(serving));
                }
                Err(error) => {
                    let (address, link) = (ground.address, &ground.link);
                    tracing::debug!(%address, %link, %error, "Failed to listen for measurements");
                }
            }
        }
    }
}

/// Binds to the device as well: Linux would take a packet to one of its addresses from any interface.
fn listen(ground: &Ground) -> io::Result<TcpListener> {
    let address = SocketAddr::new(ground.address, PORT);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A daemon that starts anew finds connections of the old one waiting to be forgotten.
    socket.set_reuse_address(true)?;
    // Streams of frames are listened for at the same number, on all addresses: the more special socket wins.
    socket.set_reuse_port(true)?;
    // The address may be under way to the interface.
    match ground.address {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind_device(Some(ground.link.to_string().as_bytes()))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

async fn serve(listener: TcpListener, network: NetworkId, shared: Shared) {
    loop {
        // Without room the kernel's queue fills, and callers wait.
        let Ok(room) = Arc::clone(&shared.room).acquire_owned().await else {
            return;
        };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the caller has gone away again.
                tracing::debug!(%error, "Failed to accept for a measurement");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let from = from.ip().to_canonical();
        if !is_member(&shared.callers, network, from).await {
            tracing::trace!(%from, "Not a member, so no measurement");
            continue;
        }
        let responder = Arc::clone(&shared.responder);
        let Ok(stream) = stream.into_std().and_then(blocking) else {
            continue;
        };
        let serving = thread::Builder::new()
            .name("bench".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                if let Err(error) = responder.serve(&stream, from) {
                    tracing::trace!(%from, %error, "Connection of a measurement ended");
                }
                drop(room);
            });
        if let Err(error) = serving {
            tracing::debug!(%error, "Failed to start a thread for a measurement");
        }
    }
}

fn blocking(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Only the daemon knows; one that has ended knows no members.
async fn is_member(callers: &mpsc::Sender<Caller>, network: NetworkId, address: IpAddr) -> bool {
    let (sender, answer) = oneshot::channel();
    let caller = Caller {
        network,
        address,
        is_member: sender,
    };
    callers.send(caller).await.is_ok() && answer.await.unwrap_or(false)
}
