//! The control channel's TLS, for QUIC and for TCP: both sides prove an Ed25519 key.
//!
//! Any client key is accepted here: who it is and what it may do is decided by everything that follows.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use rustls::{Error, ServerConfig, pki_types::CertificateDer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tombolo_proto::{
    control::ALPN,
    key::{IdentityKey, IdentitySecret},
    relay::RELAY_ALPN,
};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refused the configuration.
    #[error(transparent)]
    Rustls(#[from] Error),
    /// The library lacks the cipher that QUIC begins with.
    #[error(transparent)]
    Quic(#[from] NoInitialCipherSuite),
}

/// For QUIC.
pub(super) fn quic(key: &IdentitySecret) -> Result<Arc<QuicServerConfig>, TlsError> {
    let config = tombolo_stream::server(key, &[ALPN])?;
    Ok(Arc::new(QuicServerConfig::try_from(config)?))
}

/// For TCP, where relayed frames come in at the same port.
pub(super) fn stream(key: &IdentitySecret) -> Result<Arc<ServerConfig>, TlsError> {
    let config = tombolo_stream::server(key, &[ALPN, RELAY_ALPN])?;
    Ok(Arc::new(config))
}

/// The key that the other side proved.
pub(super) fn peer(connection: &quinn::Connection) -> Option<IdentityKey> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    tombolo_stream::key_of(Some(&chain))
}

/// The same on a stream.
pub(super) fn peer_of_stream(stream: &TlsStream<TcpStream>) -> Option<IdentityKey> {
    let (_, session) = stream.get_ref();
    tombolo_stream::key_of(session.peer_certificates())
}
