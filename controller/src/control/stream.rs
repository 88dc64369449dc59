//! What a node's connection is carried by: a stream of a QUIC connection, or TLS over TCP where UDP does not pass. Messages
//! and identities are the same on both.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tombolo_proto::key::IdentityKey;

use super::{Close, tls};
use crate::stop::Stop;

/// A node that does not take what it is sent for this long is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// The other side is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// A connection whose handshake is over.
#[derive(Debug)]
pub(super) struct Carrier {
    /// The key that the other side proved; none if it is of another kind.
    pub(super) identity: Option<IdentityKey>,
    /// Where the other side is.
    pub(super) remote: SocketAddr,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Quic(Connection),
    Tls(Option<(Box<TlsStream<TcpStream>>, Stop)>),
}

impl Carrier {
    pub(super) fn quic(connection: Connection) -> Self {
        Self {
            identity: tls::peer(&connection),
            remote: connection.remote_address(),
            kind: Kind::Quic(connection),
        }
    }

    /// When told to stop, nothing more is received.
    pub(super) fn tls(stream: TlsStream<TcpStream>, remote: SocketAddr, stop: Stop) -> Self {
        Self {
            identity: tls::peer_of_stream(&stream),
            remote,
            kind: Kind::Tls(Some((Box::new(stream), stop))),
        }
    }

    /// The two halves of what everything is said on. There is one: a second call finds nobody.
    pub(super) async fn accept(&mut self) -> Result<(Sending, Receiving), Gone> {
        match &mut self.kind {
            Kind::Quic(connection) => {
                let (send, receive) = connection.accept_bi().await.map_err(|_| Gone)?;
                Ok((Sending::Quic(send), Receiving::Quic(receive)))
            }
            Kind::Tls(stream) => {
                let (stream, stop) = stream.take().ok_or(Gone)?;
                let (receive, send) = tokio::io::split(*stream);
                Ok((Sending::Tls(send), Receiving::Tls(receive, stop)))
            }
        }
    }

    /// Ends the connection. Over TCP the reason stays here: the halves are dropped.
    pub(super) fn close(&self, close: Close) {
        if let Kind::Quic(connection) = &self.kind {
            connection.close(close.code(), close.reason().as_bytes());
        }
    }
}

/// Towards the node.
#[derive(Debug)]
pub(super) enum Sending {
    Quic(SendStream),
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

impl Sending {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        match self {
            Self::Quic(stream) => stream.write_chunk(bytes).await.map_err(|_| Gone),
            Self::Tls(stream) => {
                let written = async {
                    stream.write_all(&bytes).await?;
                    stream.flush().await
                };
                match timeout(WRITE_DEADLINE, written).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) | Err(_) => Err(Gone),
                }
            }
        }
    }

    /// Nothing follows.
    pub(super) async fn finish(&mut self) {
        match self {
            // If the connection is gone there is nobody left to tell.
            Self::Quic(stream) => drop(stream.finish()),
            Self::Tls(stream) => drop(timeout(WRITE_DEADLINE, stream.shutdown()).await),
        }
    }

    /// After [`Self::finish`]: waits until the other side has everything. TCP delivers it even if nobody waits.
    pub(super) async fn stopped(&mut self) {
        if let Self::Quic(stream) = self {
            let _ = stream.stopped().await;
        }
    }
}

/// From the node.
#[derive(Debug)]
pub(super) enum Receiving {
    Quic(RecvStream),
    Tls(ReadHalf<TlsStream<TcpStream>>, Stop),
}

impl Receiving {
    pub(super) async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), Gone> {
        match self {
            Self::Quic(stream) => stream.read_exact(buffer).await.map_err(|_| Gone),
            Self::Tls(stream, stop) => tokio::select! {
                read = stream.read_exact(buffer) => read.map(drop).map_err(|_| Gone),
                () = stop.wait() => Err(Gone),
            },
        }
    }
}
