//! The control channel: QUIC connections of nodes, one bidirectional stream each, or TLS on TCP where UDP does not pass.

use std::{
    net::{TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime, TransportConfig, VarInt};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tombolo_proto::key::IdentitySecret;
use tombolo_relay::Relay;

mod address_check;
mod connection;
mod framing;
mod limits;
mod relaying;
mod rendezvous;
mod requests;
mod stream;
mod tcp;
mod tls;

use crate::{
    links::Links, networks::Networks, publish::Registry, relay::Forwarder, signer::Signer,
    store::Store,
};
use address_check::AddressCheck;
pub(crate) use limits::block;
use limits::{Admission, Limits};
use rendezvous::Introductions;
use stream::Carrier;

/// Why this side closed a connection, as the peer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// The controller stops: connect again, to another replica if there is one.
    Shutdown,
    /// The peer sent something malformed.
    Malformed,
    /// No common protocol version.
    Incompatible,
    /// The same node connected again.
    Superseded,
    /// The node did not keep up with what it was sent.
    TooSlow,
    /// The peer's key has no node address.
    NoAddress,
    /// The controller failed.
    Failed,
    /// The node said hello and then nothing.
    Silent,
    /// The newest keyring does not name this replica any more: connect to another.
    Revoked,
    /// This replica cannot reach the store: another one may.
    Stranded,
}

impl Close {
    const fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Shutdown => 1,
            Self::Malformed => 2,
            Self::Incompatible => 3,
            Self::Superseded => 4,
            Self::TooSlow => 5,
            Self::NoAddress => 6,
            Self::Failed => 7,
            Self::Silent => 8,
            Self::Revoked => 9,
            Self::Stranded => 10,
        })
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Shutdown => "the controller stops",
            Self::Malformed => "malformed message",
            Self::Incompatible => "no common protocol version",
            Self::Superseded => "a newer connection of this node took over",
            Self::TooSlow => "the node does not keep up",
            Self::NoAddress => "this key has no node address",
            Self::Failed => "the controller failed",
            Self::Silent => "nothing was said after the hello",
            Self::Revoked => "the key of this controller was revoked",
            Self::Stranded => "this replica cannot reach the store",
        }
    }
}

/// Silence after which a connection is dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Often enough that each side notices the other's death in a few probes, seldom enough to cost nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A node has this long to finish the handshake and say hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// And this long to say what it wants; a node without a wish needs no connection.
const SILENCE_DEADLINE: Duration = Duration::from_secs(60);
/// A stopping controller waits this long for nodes to hear of it.
const GOODBYE: Duration = Duration::from_secs(1);
/// Control messages are small; a directory flows in chunks.
const RECEIVE_WINDOW: u32 = 1 << 20;

/// Why the control channel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The cryptography.
    #[error("cannot set up the control channel: {0}")]
    Tls(#[from] tls::TlsError),
    /// The event loop.
    #[error("cannot serve the control channel: {0}")]
    Endpoint(#[source] std::io::Error),
}

/// What every connection works with.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) networks: Arc<Networks>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) signer: Arc<Signer>,
    /// Where STUN is answered and frames are relayed.
    pub(crate) relay_port: u16,
    /// What is relayed.
    pub(crate) relay: Arc<Relay>,
    /// Carries it out.
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) links: Arc<Links>,
    addresses: AddressCheck,
    introductions: Introductions,
}

impl Shared {
    pub(crate) fn new(
        store: Store,
        networks: Arc<Networks>,
        registry: Arc<Registry>,
        signer: Arc<Signer>,
        relay_port: u16,
        forwarder: Arc<Forwarder>,
        links: Arc<Links>,
    ) -> Self {
        Self {
            store,
            networks,
            registry,
            signer,
            relay_port,
            relay: forwarder.relay(),
            forwarder,
            links,
            addresses: AddressCheck::default(),
            introductions: Introductions::default(),
        }
    }

    fn replica(&self) -> tombolo_proto::key::IdentityKey {
        self.signer.replica().public()
    }
}

/// The listening side of the control channel.
#[derive(Debug)]
pub(crate) struct Control {
    endpoint: Endpoint,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
}

impl Control {
    /// Takes over open sockets.
    pub(crate) fn from_sockets(
        socket: UdpSocket,
        listener: TcpListener,
        key: &IdentitySecret,
    ) -> Result<Self, ControlError> {
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("30 s is in range")))
            .keep_alive_interval(Some(KEEP_ALIVE))
            .max_concurrent_bidi_streams(1u32.into())
            .max_concurrent_uni_streams(0u32.into())
            .stream_receive_window(RECEIVE_WINDOW.into())
            .receive_window(RECEIVE_WINDOW.into())
            .datagram_receive_buffer_size(None);
        let mut config = quinn::ServerConfig::with_crypto(tls::quic(key)?);
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            Some(config),
            socket,
            Arc::new(TokioRuntime),
        )
        .map_err(ControlError::Endpoint)?;
        Ok(Self {
            endpoint,
            listener,
            tls: tls::stream(key)?,
        })
    }

    /// Accepts connections until told to stop.
    pub(crate) async fn serve(self, shared: Arc<Shared>, mut stop: crate::stop::Stop) {
        let limits = Arc::new(Limits::default());
        let over_tcp = tokio::spawn(tcp::serve(
            self.listener,
            TlsAcceptor::from(self.tls),
            Arc::clone(&limits),
            Arc::clone(&shared),
            stop.clone(),
        ));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => accept(incoming, &limits, &shared, &mut connections),
                    None => break,
                },
                Some(_) = connections.join_next() => {}
                () = stop.wait() => break,
            }
        }
        self.endpoint
            .close(Close::Shutdown.code(), Close::Shutdown.reason().as_bytes());
        let drained = async {
            while connections.join_next().await.is_some() {}
            self.endpoint.wait_idle().await;
            let _ = over_tcp.await;
        };
        // Whoever does not answer finds out by its own timeout.
        let _ = tokio::time::timeout(GOODBYE, drained).await;
    }
}

fn accept(
    incoming: Incoming,
    limits: &Arc<Limits>,
    shared: &Arc<Shared>,
    connections: &mut JoinSet<()>,
) {
    // No node would believe a replica that the keyring does not name.
    if !shared.signer.is_admitted() {
        incoming.refuse();
        return;
    }
    let source = incoming.remote_address().ip();
    match limits.admit(source, incoming.remote_address_validated()) {
        Admission::Refuse => incoming.refuse(),
        Admission::Retry => {
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
        }
        Admission::Accept(ticket) => {
            let shared = Arc::clone(shared);
            connections.spawn(async move {
                let Ok(connecting) = incoming.accept() else {
                    return;
                };
                let established = tokio::time::timeout(HELLO_DEADLINE, connecting).await;
                if let Ok(Ok(connection)) = established {
                    ticket.established();
                    connection::run(Carrier::quic(connection), &shared).await;
                }
                drop(ticket);
            });
        }
    }
}
