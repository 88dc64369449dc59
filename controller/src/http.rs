//! Serving HTTP: plain, or over TLS with a certificate that may be replaced while the controller runs.

use std::{net::SocketAddr, time::Duration};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

use crate::{
    api::{self, ApiState},
    stop::Stop,
};

mod tls;

pub(crate) use tls::Tls;
pub(crate) use tls::TlsError;

/// Requests that are still being answered have this long when the controller stops.
const GOODBYE: Duration = Duration::from_secs(3);

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether nobody on the way can read along.
    pub(crate) encrypted: bool,
}

/// Answers requests until the controller stops.
pub(crate) async fn serve(listener: TcpListener, tls: Option<Tls>, state: ApiState, stop: Stop) {
    let mut asked = stop.clone();
    let mut graceful = stop;
    let service = api::router(state).into_make_service_with_connect_info::<Peer>();
    let listener = match tls {
        Some(tls) => Doors::Tls(tls.listen(listener)),
        None => Doors::Plain(listener),
    };
    let serving =
        axum::serve(listener, service).with_graceful_shutdown(async move { graceful.wait().await });
    let deadline = async {
        asked.wait().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "HTTP stopped");
            }
        }
        () = deadline => {}
    }
}

/// Bytes both ways.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

enum Doors {
    Plain(TcpListener),
    Tls(tls::TlsListener),
}

impl Listener for Doors {
    type Io = Box<dyn Connection>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        match self {
            Self::Plain(listener) => {
                let (stream, address) = Listener::accept(listener).await;
                let encrypted = false;
                (Box::new(stream), Peer { address, encrypted })
            }
            Self::Tls(listener) => {
                let (stream, address) = listener.accept().await;
                let encrypted = true;
                (Box::new(stream), Peer { address, encrypted })
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Peer> {
        let (address, encrypted) = match self {
            Self::Plain(listener) => (listener.local_addr()?, false),
            Self::Tls(listener) => (listener.address(), true),
        };
        Ok(Peer { address, encrypted })
    }
}

impl Connected<IncomingStream<'_, Doors>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Doors>) -> Self {
        *stream.remote_addr()
    }
}
