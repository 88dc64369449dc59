//! Frames on TLS over TCP, for networks that let no UDP through.
//!
//! A node connects to whoever relays: a controller, or a member, which listens on the port of its data sockets. Each end
//! keeps a small UDP socket on its loopback in front of the stream (`bridge`). To the forwarding threads and the engine the
//! stream is that socket's address, like any other place where frames go and come from; they never wait for it, and what it
//! does not take is lost, as on any link.
//!
//! The key of the other end is known beforehand: a replica's from the keyring, a member's from its certificate.

mod bridge;
pub(crate) mod listening;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rustls::ClientConfig;
use tokio::{
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::client::TlsStream;
use tombolo_engine::relay::RelayName;
use tombolo_proto::{
    id::NetworkId,
    key::{IdentityKey, IdentitySecret},
    relay::RELAY_ALPN,
};

use crate::tls;

/// Streams at a time, open ones and attempts under way: more than a node has relays.
const MAX_STREAMS: usize = 64;
/// Connecting and shaking hands may take this long.
const ANSWER: Duration = Duration::from_secs(4);
/// Head start of a better place over the next (RFC 8305 section 8 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);
/// Before another attempt after one in vain; doubles.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// The system asks for a sign of life this often, and gives up after this silence. Ways that break are left much sooner.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(10);

/// Whom a stream leads to, and for which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) network: NetworkId,
    pub(crate) relay: RelayName,
}

impl Target {
    const fn key(&self) -> IdentityKey {
        match self.relay {
            RelayName::Member(key) | RelayName::Controller(key) => key,
        }
    }
}

/// What became of a stream.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) target: Target,
    /// Where it is open; none if it is not any more, or could not be opened.
    pub(crate) open: Option<Open>,
}

/// An open stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// What stands for it on this host.
    pub(crate) local: SocketAddr,
    /// Its other end.
    pub(crate) remote: SocketAddr,
}

/// The streams that this node has opened. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Streams {
    tls: Arc<ClientConfig>,
    port: u16,
    news: mpsc::Sender<News>,
    targets: BTreeMap<Target, Attempt>,
}

#[derive(Debug)]
struct Attempt {
    task: JoinHandle<()>,
    open: Option<Open>,
    not_before: Instant,
    pause: Duration,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Streams {
    /// None yet. `port` is that of the data sockets.
    pub(crate) fn new(
        identity: &IdentitySecret,
        port: u16,
        news: mpsc::Sender<News>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            tls: Arc::new(tombolo_stream::client(identity, RELAY_ALPN)?),
            port,
            news,
            targets: BTreeMap::new(),
        })
    }

    /// Gives the stream to somebody at one of these places, or begins to open one if it is time to.
    pub(crate) fn want(
        &mut self,
        target: Target,
        places: Vec<SocketAddr>,
        now: Instant,
    ) -> Option<Open> {
        let pause = match self.targets.get(&target) {
            Some(known) if known.open.is_some() => return known.open,
            Some(known) if !known.task.is_finished() || now < known.not_before => return None,
            Some(known) => known.pause,
            None => PAUSE,
        };
        self.targets
            .retain(|_, attempt| !attempt.task.is_finished() || now < attempt.not_before);
        let is_under_way = |attempt: &&Attempt| !attempt.task.is_finished();
        let under_way = self.targets.values().filter(is_under_way).count();
        if places.is_empty() || under_way >= MAX_STREAMS {
            return None;
        }
        let task = run(
            Arc::clone(&self.tls),
            target,
            places,
            self.port,
            self.news.clone(),
        );
        let attempt = Attempt {
            task: tokio::spawn(task),
            open: None,
            not_before: now + pause,
            pause: (pause * 2).min(LONGEST_PAUSE),
        };
        self.targets.insert(target, attempt);
        None
    }

    /// Ends a stream that nothing comes by any more: another one may be opened at once.
    pub(crate) fn close(&mut self, target: Target, local: SocketAddr) {
        let open = self.targets.get(&target).and_then(|known| known.open);
        if open.is_some_and(|open| open.local == local) {
            self.targets.remove(&target);
        }
    }

    /// Takes note of what became of a stream.
    pub(crate) fn note(&mut self, news: &News) {
        if let Some(attempt) = self.targets.get_mut(&news.target) {
            attempt.open = news.open;
            if news.open.is_some() {
                attempt.pause = PAUSE;
            }
        }
    }

    /// The other end of the stream that `local` stands for.
    pub(crate) fn remote(&self, local: SocketAddr) -> Option<SocketAddr> {
        let open = self.targets.values().filter_map(|attempt| attempt.open);
        open.into_iter()
            .find(|open| open.local == local)
            .map(|open| open.remote)
    }
}

async fn run(
    tls: Arc<ClientConfig>,
    target: Target,
    places: Vec<SocketAddr>,
    port: u16,
    news: mpsc::Sender<News>,
) {
    if let Err(error) = open(&tls, target, places, port, &news).await {
        tracing::debug!(?target, %error, "No stream");
    }
    // A daemon that stops does not want to know.
    let _ = news.send(News { target, open: None }).await;
}

async fn open(
    tls: &Arc<ClientConfig>,
    target: Target,
    places: Vec<SocketAddr>,
    port: u16,
    news: &mpsc::Sender<News>,
) -> anyhow::Result<()> {
    let (stream, remote) = connect(tls, target.key(), places).await?;
    let socket = socket_before(port).await?;
    let local = socket.local_addr()?;
    tracing::debug!(?target, %remote, %local, "Stream open");
    let open = Some(Open { local, remote });
    news.send(News { target, open }).await?;
    bridge::carry(stream, &socket).await;
    Ok(())
}

/// A socket that the data sockets are reached by, and nothing else. On an address of its own, because what strangers may
/// have is counted by address.
async fn socket_before(port: u16) -> std::io::Result<UdpSocket> {
    let [a, b] = rand::random();
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 64, a, b), 0)).await?;
    socket.connect((Ipv4Addr::LOCALHOST, port)).await?;
    Ok(socket)
}

/// Whoever answers first and is who it should be.
async fn connect(
    tls: &Arc<ClientConfig>,
    key: IdentityKey,
    places: Vec<SocketAddr>,
) -> anyhow::Result<(TlsStream<TcpStream>, SocketAddr)> {
    let mut attempts: FuturesUnordered<_> = (0u32..)
        .zip(places)
        .map(async |(number, place)| {
            sleep(STAGGER * number).await;
            let connecting = tls::connect(tls, place, (SIGN_OF_LIFE, SILENCE));
            let (stream, found) = timeout(ANSWER, connecting).await??;
            ensure!(found == key, "{place} is somebody else's");
            anyhow::Ok((stream, place))
        })
        .collect();
    let mut last = None;
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(connected) => return Ok(connected),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("nowhere to connect to")?)
}
