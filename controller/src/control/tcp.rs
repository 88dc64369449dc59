//! The control channel over TLS on TCP, on the same port number as over QUIC: for nodes to which no UDP passes. Frames that
//! are relayed come in here, too: what a connection carries is agreed on in its handshake (ALPN).

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Duration, timeout},
};
use tokio_rustls::TlsAcceptor;
use tombolo_proto::{control::ALPN, relay::RELAY_ALPN};

use super::{
    GOODBYE, HELLO_DEADLINE, IDLE_TIMEOUT, KEEP_ALIVE, Shared, connection,
    limits::{Admission, Limits, Ticket},
    stream::Carrier,
};
use crate::stop::Stop;

/// After an error, most likely too many open files, others may have gone by now.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until told to stop.
pub(super) async fn serve(
    listener: StdListener,
    acceptor: TlsAcceptor,
    limits: Arc<Limits>,
    shared: Arc<Shared>,
    mut stop: Stop,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no control channel over TCP"),
    };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.wait() => break,
        };
        let Ok((stream, remote)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // TCP has shown that the source is its own.
        let Admission::Accept(ticket) = limits.admit(remote.ip(), true) else {
            continue;
        };
        // No node would believe a replica that the keyring does not name.
        if shared.signer.is_admitted() {
            let (acceptor, shared, stop) = (acceptor.clone(), Arc::clone(&shared), stop.clone());
            connections.spawn(run(stream, remote, acceptor, ticket, shared, stop));
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(GOODBYE, drained).await;
}

async fn run(
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: TlsAcceptor,
    ticket: Ticket,
    shared: Arc<Shared>,
    stop: Stop,
) {
    // As on QUIC.
    if tombolo_stream::tcp::prepare(&stream, KEEP_ALIVE, IDLE_TIMEOUT).is_err() {
        return;
    }
    let Ok(Ok(stream)) = timeout(HELLO_DEADLINE, acceptor.accept(stream)).await else {
        return;
    };
    ticket.established();
    let (_, session) = stream.get_ref();
    match session.alpn_protocol() {
        Some(ALPN) => connection::run(Carrier::tls(stream, remote, stop), &shared).await,
        Some(RELAY_ALPN) => shared.forwarder.carry(stream, stop).await,
        Some(_) | None => {}
    }
    drop(ticket);
}
