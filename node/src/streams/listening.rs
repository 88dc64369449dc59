//! Streams that others open to this node. Only members get beyond the handshake, and each has few.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tombolo_proto::{
    key::{IdentityKey, IdentitySecret},
    relay::RELAY_ALPN,
};
use tombolo_stream::tcp;

use super::{SIGN_OF_LIFE, SILENCE, bridge, socket_before};
use crate::io::underlay;

/// Streams at a time, handshakes included.
const MAX_STREAMS: usize = 512;
/// Handshakes at a time from one address: a site's.
const HANDSHAKES_PER_SOURCE: usize = 16;
/// Streams of one member: one for each of the networks that it shares with this node, and some that it has lost.
const STREAMS_PER_MEMBER: usize = 8;
/// A handshake may take this long.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often it is asked whether somebody is still a member. What one says who is not is dropped at once, elsewhere.
const REVIEW_EVERY: Duration = Duration::from_secs(10);
/// Connections that the kernel holds for us.
const BACKLOG: i32 = 128;
/// After an error, most likely too many open files, others may have gone by now.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the daemon whether somebody is a member of one of its networks.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) key: IdentityKey,
    pub(crate) is_member: oneshot::Sender<bool>,
}

/// Listens until dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    task: JoinHandle<()>,
    far_ends: Arc<FarEnds>,
}

impl Listening {
    /// The other end of the stream that `local` stands for.
    pub(crate) fn remote(&self, local: SocketAddr) -> Option<SocketAddr> {
        self.far_ends.lock().get(&local).copied()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where streams come from, by what stands for them.
#[derive(Debug, Default)]
struct FarEnds(Mutex<BTreeMap<SocketAddr, SocketAddr>>);

impl FarEnds {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(self: &Arc<Self>, local: SocketAddr, remote: SocketAddr) -> FarEnd {
        self.lock().insert(local, remote);
        FarEnd {
            of: Arc::clone(self),
            local,
        }
    }
}

/// One of them, forgotten when it is dropped.
#[derive(Debug)]
struct FarEnd {
    of: Arc<FarEnds>,
    local: SocketAddr,
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.of.lock().remove(&self.local);
    }
}

#[derive(Debug)]
struct Shared {
    tls: Arc<ServerConfig>,
    port: u16,
    guests: mpsc::Sender<Guest>,
    sources: Arc<Counts<IpAddr>>,
    members: Arc<Counts<IdentityKey>>,
    far_ends: Arc<FarEnds>,
}

/// Begins to listen on the number of the data sockets' port.
pub(crate) fn listen(
    identity: &IdentitySecret,
    port: u16,
    guests: mpsc::Sender<Guest>,
) -> anyhow::Result<Listening> {
    let listener = bind(port)?;
    let tls = Arc::new(tombolo_stream::server(identity, &[RELAY_ALPN])?);
    let shared = Arc::new(Shared {
        tls,
        port,
        guests,
        sources: Counts::new(HANDSHAKES_PER_SOURCE),
        members: Counts::new(STREAMS_PER_MEMBER),
        far_ends: Arc::default(),
    });
    let far_ends = Arc::clone(&shared.far_ends);
    let task = tokio::spawn(accept(listener, shared));
    Ok(Listening { task, far_ends })
}

/// Both families where the host has IPv6. Measurements are listened for at the same number, on overlay addresses.
fn bind(port: u16) -> io::Result<TcpListener> {
    let any = [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    ];
    let [both, v4] = any.map(|address| {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        underlay::keep(&socket);
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    });
    both.or(v4)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(MAX_STREAMS));
    loop {
        // Without room the kernel's queue fills, and callers wait.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, from)) => {
                tokio::spawn(serve(stream, from, Arc::clone(&shared), place));
            }
            Err(error) => {
                tracing::debug!(%error, "Failed to accept a stream");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
) {
    let Some(handshake) = shared.sources.take(from.ip().to_canonical()) else {
        return;
    };
    if tcp::prepare(&stream, SIGN_OF_LIFE, SILENCE).is_err() {
        return;
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&shared.tls));
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        return;
    };
    drop(handshake);
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(RELAY_ALPN) {
        return;
    }
    let Some(key) = tombolo_stream::key_of(session.peer_certificates()) else {
        return;
    };
    let Some(_share) = shared.members.take(key) else {
        return;
    };
    let Ok(socket) = socket_before(shared.port).await else {
        return;
    };
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let remote = SocketAddr::new(from.ip().to_canonical(), from.port());
    let _far_end = shared.far_ends.note(local, remote);
    tracing::debug!(%key, "A stream of a peer");
    tokio::select! {
        () = no_member(&shared.guests, key) => {}
        () = bridge::carry(stream, &socket) => {}
    }
    tracing::debug!(%key, "A stream of a peer has ended");
}

/// Returns once somebody is no member, or the daemon has gone.
async fn no_member(guests: &mpsc::Sender<Guest>, key: IdentityKey) {
    let mut reviews = interval(REVIEW_EVERY);
    loop {
        reviews.tick().await;
        let (sender, answer) = oneshot::channel();
        let guest = Guest {
            key,
            is_member: sender,
        };
        if guests.send(guest).await.is_err() || !answer.await.unwrap_or(false) {
            return;
        }
    }
}

/// How many there are of each.
#[derive(Debug)]
struct Counts<K: Ord> {
    most: usize,
    counts: Mutex<BTreeMap<K, usize>>,
}

/// One of them, given back when it is dropped.
#[derive(Debug)]
struct Share<K: Ord + Copy> {
    of: Arc<Counts<K>>,
    key: K,
}

impl<K: Ord + Copy> Counts<K> {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            counts: Mutex::default(),
        })
    }

    fn take(self: &Arc<Self>, key: K) -> Option<Share<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share {
            of: Arc::clone(self),
            key,
        })
    }
}

impl<K: Ord + Copy> Drop for Share<K> {
    fn drop(&mut self) {
        let counts = &self.of.counts;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{io::AsyncReadExt as _, net::UdpSocket};
    use tombolo_engine::relay::RelayName;
    use tombolo_proto::{frame::LANE_DATA, key::Seed};

    use super::*;
    use crate::{
        streams::{News, Streams, Target},
        tls,
    };

    #[tokio::test]
    async fn members_get_a_stream_on_which_frames_pass_and_strangers_none() {
        let (guests, mut asked) = mpsc::channel(1);
        let (data, listening) = listen_beside_data(&a_key(1), &guests).await;
        let port = data.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Some(guest) = asked.recv().await {
                let _ = guest.is_member.send(guest.key == a_key(2).public());
            }
        });
        let at: SocketAddr = ([127, 0, 0, 1], port).into();

        // Who connects has its own data socket.
        let own = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let own_port = own.local_addr().expect("bound").port();
        let (news, mut told) = mpsc::channel(4);
        let mut streams = Streams::new(&a_key(2), own_port, news).expect("TLS");
        assert_eq!(streams.want(to(1), vec![at], Instant::now()), None);
        let News { open, .. } = told.recv().await.expect("news");
        let open = open.expect("a member gets in");
        own.send_to(&[LANE_DATA; 99], open.local)
            .await
            .expect("sent");
        let mut frame = [0; 200];
        let (length, stands_for) = data.recv_from(&mut frame).await.expect("a frame");
        assert_eq!(frame[..length], [LANE_DATA; 99]);
        let from = listening.remote(stands_for).expect("its far end");
        assert_eq!(from.ip(), at.ip());

        // Somebody else than was looked for, and a stranger.
        streams.want(to(3), vec![at], Instant::now());
        assert!(told.recv().await.expect("news").open.is_none());
        let config = Arc::new(tombolo_stream::client(&a_key(9), RELAY_ALPN).expect("TLS"));
        let limits = (SIGN_OF_LIFE, SILENCE);
        let (mut stranger, _) = tls::connect(&config, at, limits).await.expect("TLS");
        assert!(stranger.read_u8().await.is_err(), "it is closed");
    }

    #[test]
    fn one_source_has_few_and_gives_them_back() {
        let counts = Counts::new(2);
        let held = [counts.take(7), counts.take(7)];

        assert!(counts.take(7).is_none());
        assert!(counts.take(8).is_some());
        drop(held);
        assert!(counts.take(7).is_some());
    }

    /// A data socket, and streams accepted on its port, which others may hold for TCP.
    async fn listen_beside_data(
        key: &IdentitySecret,
        guests: &mpsc::Sender<Guest>,
    ) -> (UdpSocket, Listening) {
        let mut tries = 0;
        loop {
            let data = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let port = data.local_addr().expect("bound").port();
            tries += 1;
            match listen(key, port, guests.clone()) {
                Ok(listening) => return (data, listening),
                Err(error) => assert!(tries < 100, "{error:#}"),
            }
        }
    }

    fn to(number: u8) -> Target {
        Target {
            network: "8056c2e21c000001".parse().expect("a network id"),
            relay: RelayName::Member(a_key(number).public()),
        }
    }

    fn a_key(number: u8) -> IdentitySecret {
        Seed::from_bytes([number; 32]).identity()
    }
}
