//! Answering: from the table, from another member, or from the host's own resolvers.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tombolo_names::{
    Answer,
    cache::Cache,
    message::{self, Question, Received},
    resolv_conf,
    table::{Asker, Errand, Table, Verdict},
};

use super::{
    RESOLV_CONF,
    exchange::{self, Transport},
};

/// Questions that are being answered at most; more are dropped, and asked again by who wants to know.
const QUESTIONS: usize = 128;
/// TCP connections at most; further ones wait.
const CONNECTIONS: usize = 32;
/// Questions are small.
const MAX_QUESTION: usize = 4096;
/// How long a member may take. Handshake included: the overlay queues the first packets.
const MEMBER_PATIENCE: Duration = Duration::from_secs(1);
/// How long one of the host's resolvers may take. There are at most three, and who asks gives up after five seconds.
const RESOLVER_PATIENCE: Duration = Duration::from_millis(1500);
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(5);
/// Out of descriptors, or whoever called has gone away again.
const BREATH: Duration = Duration::from_millis(100);

/// What all listeners have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) view: ArcSwap<View>,
    cache: Mutex<Cache>,
    questions: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// What there is at present.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) table: Table,
    /// Where this resolver is itself.
    pub(super) own: BTreeSet<IpAddr>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            view: ArcSwap::default(),
            cache: Mutex::default(),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    fn asker(&self, source: IpAddr) -> Option<Asker> {
        let asker = self.view.load().table.asker(source);
        if asker.is_none() {
            tracing::trace!(%source, "Not in the overlay, so no answer");
        }
        asker
    }

    async fn respond(&self, asker: Asker, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let question = match message::read(bytes) {
            Received::Question(question) => question,
            Received::Wrong(reply) => return Some(reply),
            Received::Nothing => return None,
        };
        let verdict = self.view.load().table.decide(asker, &question.labels());
        let answer = match verdict {
            Verdict::Answer(answer) => answer,
            Verdict::Ask(errand) => self.run(errand, &question).await,
            Verdict::Forward => match self.forward(bytes, transport).await {
                Some(reply) => return Some(reply),
                None => Answer::Failed,
            },
        };
        question.reply(&answer, transport == Transport::Udp)
    }

    /// Asks the member that knows. What is no question for addresses has the answer that there is nothing, if the name
    /// exists; so ask for addresses all the same.
    async fn run(&self, errand: Errand, question: &Question) -> Answer {
        let family = question.family().unwrap_or(tombolo_names::Family::V4);
        let cached = self.cache().get(&errand, family, Instant::now());
        if let Some(answer) = cached {
            return answer;
        }
        let member = self.view.load().table.target(&errand).cloned();
        let asked = async {
            let member = member?;
            let to = *member.addresses.first()?;
            let bytes = message::errand(0, &errand, family)?;
            let reply = exchange::ask(to, &bytes, Transport::Udp, MEMBER_PATIENCE).await?;
            message::answer(&bytes, &reply, |address| member.carries(address))
        };
        let Some(answer) = asked.await else {
            return Answer::Failed;
        };
        self.cache()
            .put(errand, family, answer.clone(), Instant::now());
        answer
    }

    /// Hands a question to the host's resolvers as it is, one after another until one answers.
    async fn forward(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        // Read every time: it is small, and it changes whenever the host moves to another network.
        let text = tokio::fs::read_to_string(RESOLV_CONF).await.ok()?;
        let view = self.view.load_full();
        for resolver in resolv_conf::resolvers(&text, |address| view.own.contains(address)) {
            let reply = exchange::ask(resolver, bytes, transport, RESOLVER_PATIENCE).await;
            if reply.is_some() {
                return reply;
            }
        }
        None
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one address over UDP.
pub(super) async fn udp(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; MAX_QUESTION];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::trace!(%error, "Failed to receive a question");
                sleep(BREATH).await;
                continue;
            }
        };
        let Some(asker) = shared.asker(from.ip()) else {
            continue;
        };
        let Ok(room) = Arc::clone(&shared.questions).try_acquire_owned() else {
            tracing::trace!("Too many questions at once");
            continue;
        };
        let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
        let bytes = buffer[..length].to_vec();
        tokio::spawn(async move {
            if let Some(reply) = shared.respond(asker, &bytes, Transport::Udp).await
                && let Err(error) = socket.send_to(&reply, from).await
            {
                tracing::trace!(%from, %error, "Failed to answer");
            }
            drop(room);
        });
    }
}

/// Serves one address over TCP.
pub(super) async fn tcp(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // Without room the kernel's queue fills, and callers wait.
        let Ok(room) = Arc::clone(&shared.connections).acquire_owned().await else {
            return;
        };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::trace!(%error, "Failed to accept a connection");
                sleep(BREATH).await;
                continue;
            }
        };
        let Some(asker) = shared.asker(from.ip()) else {
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            converse(stream, asker, &shared).await;
            drop(room);
        });
    }
}

/// Answers questions one after another until there are no more.
async fn converse(mut stream: TcpStream, asker: Asker, shared: &Shared) {
    while let Ok(Ok(bytes)) = timeout(IDLE, exchange::read(&mut stream)).await {
        let Some(reply) = shared.respond(asker, &bytes, Transport::Tcp).await else {
            return;
        };
        let written = timeout(IDLE, exchange::write(&mut stream, &reply)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}
