//! The control channel's connection: QUIC with TLS 1.3, both sides known by raw Ed25519 keys (RFC 7250). Where no UDP
//! passes, the same TLS and the same messages on TCP.
//!
//! Any server key is let through the handshake: whether it is the right one is only known after `Welcome`, and nothing
//! secret is said before that (see [`super::trust`]). The only file that imports quinn.

use std::{
    io::ErrorKind::TimedOut,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, RecvStream, SendStream,
    TokioRuntime, TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tombolo_proto::{
    control::{self, MessageError, ToController, ToNode},
    key::{IdentityKey, IdentitySecret},
    wire::MAX_ENCODED,
};

use super::{carriers::Carrier, patience::Patience};
use crate::{io::underlay, tls};

/// Makes connections in the name of a node.
#[derive(Debug)]
pub struct Transport {
    endpoint: Endpoint,
    config: ClientConfig,
    tls: Arc<rustls::ClientConfig>,
}

impl Transport {
    /// Opens the socket that all control connections share. Needs a tokio runtime.
    pub fn open(identity: &IdentitySecret) -> anyhow::Result<Self> {
        let socket = client_socket().context("Failed to open a socket for the control channel")?;
        Self::on(socket, identity)
    }

    /// The same on a socket that is open already.
    pub fn on(socket: UdpSocket, identity: &IdentitySecret) -> anyhow::Result<Self> {
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            None,
            socket,
            Arc::new(TokioRuntime),
        )
        .context("Failed to start QUIC")?;
        Self::with(endpoint, identity)
    }

    /// Makes connections from the same socket in the name of another node.
    pub fn beside(&self, identity: &IdentitySecret) -> anyhow::Result<Self> {
        Self::with(self.endpoint.clone(), identity)
    }

    fn with(endpoint: Endpoint, identity: &IdentitySecret) -> anyhow::Result<Self> {
        Ok(Self {
            endpoint,
            config: client_config(identity)?,
            tls: Arc::new(tombolo_stream::client(identity, control::ALPN)?),
        })
    }

    /// Connects by one of the two.
    pub async fn connect(
        &self,
        carrier: Carrier,
        address: SocketAddr,
        patience: Patience,
    ) -> anyhow::Result<Channel> {
        match carrier {
            Carrier::Udp => self.connect_over_udp(address, patience).await,
            Carrier::Tcp => self.connect_over_tcp(address, patience).await,
        }
    }

    /// Connects and opens the one stream that everything is said on.
    async fn connect_over_udp(
        &self,
        address: SocketAddr,
        patience: Patience,
    ) -> anyhow::Result<Channel> {
        let mut config = self.config.clone();
        config.transport_config(Arc::new(transport_config(patience)?));
        let connection = self
            .endpoint
            .connect_with(config, address, "controller")?
            .await?;
        let peer = peer_key(&connection).context("The controller has no Ed25519 key")?;
        let (send, receive) = connection.open_bi().await?;
        Ok(Channel {
            peer,
            address,
            sender: Sender::Quic(send),
            receiver: Receiver::Quic(receive),
            connection: Some(connection),
        })
    }

    async fn connect_over_tcp(
        &self,
        address: SocketAddr,
        patience: Patience,
    ) -> anyhow::Result<Channel> {
        let limits = (patience.sign_of_life(), patience.silence());
        let (stream, peer) = tls::connect(&self.tls, address, limits).await?;
        let (receive, send) = tokio::io::split(stream);
        Ok(Channel {
            peer,
            address,
            sender: Sender::Tcp(send),
            receiver: Receiver::Tcp {
                stream: receive,
                timed_out: false,
            },
            connection: None,
        })
    }

    /// Whether somebody shakes hands over UDP at an address. Says nothing to it.
    pub async fn answers_over_udp(&self, address: SocketAddr) -> bool {
        let connected = self.connect_over_udp(address, Patience::default()).await;
        connected.is_ok()
    }
}

/// An open connection to a controller.
#[derive(Debug)]
pub struct Channel {
    /// The key that the other side has proved to hold.
    pub peer: IdentityKey,
    /// Where it is.
    pub address: SocketAddr,
    /// Our half of the stream.
    pub sender: Sender,
    /// Its half of the stream.
    pub receiver: Receiver,
    /// None over TCP.
    connection: Option<Connection>,
}

impl Channel {
    /// What it goes by.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        match self.connection {
            Some(_) => Carrier::Udp,
            None => Carrier::Tcp,
        }
    }

    /// Whether the connection ended because nothing came any more.
    #[must_use]
    pub fn fell_silent(&self) -> bool {
        let quic = self.connection.as_ref();
        let timed_out = quic.and_then(Connection::close_reason) == Some(ConnectionError::TimedOut);
        timed_out || self.receiver.timed_out()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.close(VarInt::from_u32(0), b"");
        }
    }
}

/// Sends messages.
#[derive(Debug)]
pub enum Sender {
    /// A stream of a QUIC connection.
    Quic(SendStream),
    /// TLS on TCP.
    Tcp(WriteHalf<TlsStream<TcpStream>>),
}

impl Sender {
    /// Sends one message.
    pub async fn send(&mut self, message: &ToController) -> anyhow::Result<()> {
        let bytes = control::encode(message);
        match self {
            Self::Quic(stream) => stream.write_all(&bytes).await?,
            Self::Tcp(stream) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
        }
        Ok(())
    }

    /// Says that nothing follows, and waits until the other side has everything.
    pub async fn finish(&mut self) {
        // If the connection is gone there is nobody left to wait for.
        match self {
            Self::Quic(stream) => {
                if stream.finish().is_ok() {
                    let _ = stream.stopped().await;
                }
            }
            Self::Tcp(stream) => {
                let _ = stream.shutdown().await;
            }
        }
    }
}

/// Receives messages.
#[derive(Debug)]
pub enum Receiver {
    /// A stream of a QUIC connection.
    Quic(RecvStream),
    /// TLS on TCP.
    Tcp {
        /// It.
        stream: ReadHalf<TlsStream<TcpStream>>,
        /// Whether the system gave the connection up.
        timed_out: bool,
    },
}

impl Receiver {
    /// The next message, or the number of one that this version does not know. Not cancel safe.
    pub async fn receive(&mut self) -> anyhow::Result<Result<ToNode, u32>> {
        let mut length = [0; 4];
        self.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        ensure!(
            length <= MAX_ENCODED,
            "a message of {length} bytes is longer than any may be"
        );
        let mut body = vec![0; length];
        self.read_exact(&mut body).await?;
        match control::decode(&body) {
            Ok(message) => Ok(Ok(message)),
            Err(MessageError::Unknown(variant)) => Ok(Err(variant)),
            Err(MessageError::Malformed(error)) => {
                bail!("the controller sent a malformed message: {error}")
            }
        }
    }

    async fn read_exact(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        match self {
            Self::Quic(stream) => stream.read_exact(buffer).await?,
            Self::Tcp { stream, timed_out } => {
                let read = stream.read_exact(buffer).await;
                *timed_out = read.as_ref().is_err_and(|error| error.kind() == TimedOut);
                read?;
            }
        }
        Ok(())
    }

    const fn timed_out(&self) -> bool {
        match self {
            Self::Quic(_) => false,
            Self::Tcp { timed_out, .. } => *timed_out,
        }
    }
}

fn peer_key(connection: &Connection) -> Option<IdentityKey> {
    let certificates = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    IdentityKey::from_spki(certificates.first()?)
}

/// One socket for both families where the host has IPv6, else IPv4 alone.
fn client_socket() -> std::io::Result<UdpSocket> {
    let dual_stack = || -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.set_only_v6(false)?;
        underlay::keep(&socket);
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
        Ok(socket)
    };
    match dual_stack() {
        Ok(socket) => Ok(socket.into()),
        Err(_) => underlay::bind_udp((Ipv4Addr::UNSPECIFIED, 0).into()),
    }
}

fn client_config(identity: &IdentitySecret) -> anyhow::Result<ClientConfig> {
    let tls = tombolo_stream::client(identity, control::ALPN)?;
    let quic = QuicClientConfig::try_from(tls).map_err(|error| anyhow!("{error}"))?;
    Ok(ClientConfig::new(Arc::new(quic)))
}

/// Lost packets are sent again within a silence that is borne, and QUIC itself waits longer where round trips take longer
/// (RFC 9000 section 10.1).
fn transport_config(patience: Patience) -> anyhow::Result<TransportConfig> {
    let silence = patience
        .silence()
        .try_into()
        .context("The idle timeout is too long")?;
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(silence));
    transport.keep_alive_interval(Some(patience.sign_of_life()));
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    Ok(transport)
}
