//! Connections by TCP between nodes and controllers, and between nodes. Whose key it is that the other side proves has to be
//! looked at by whoever connects.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tombolo_proto::key::IdentityKey;
use tombolo_stream::key_of;

use crate::io::underlay;

/// The system counts these in whole seconds.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Connects over TCP; gives the key that the other side has proved. The system asks for a sign of life, and gives up after
/// silence, as long as told.
pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    (sign_of_life, silence): (Duration, Duration),
) -> anyhow::Result<(TlsStream<TcpStream>, IdentityKey)> {
    let stream = underlay::connect_tcp(address).await?;
    bear_silence(&stream, sign_of_life, silence)?;
    // Nobody looks at names: keys are what is known of each other.
    let name = ServerName::try_from("controller").context("A name that is none")?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await?;
    let (_, session) = stream.get_ref();
    let peer = key_of(session.peer_certificates()).context("The other side has no Ed25519 key")?;
    Ok((stream, peer))
}

/// How long a connection lasts without a sign of life, and how often one is asked for.
pub(crate) fn bear_silence(
    stream: &TcpStream,
    sign_of_life: Duration,
    silence: Duration,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keep_alive = TcpKeepalive::new()
        .with_time(sign_of_life.max(SHORTEST_KEEP_ALIVE))
        .with_interval(SHORTEST_KEEP_ALIVE);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.set_tcp_user_timeout(Some(silence))
}
