//! Sockets that stay on the underlay where a default route leads into the overlay: they carry [`MARK`], and the policy rules
//! leave out what carries it. Everything that the node itself says to peers, controllers, routers and resolvers goes by
//! such sockets.

use std::{io, net::SocketAddr, os::fd::AsFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tombolo_engine::reconcile::MARK;

/// Has a socket go by the underlay. What it accepts does, too.
///
/// Only CAP_NET_ADMIN may; without it there are no routes of ours to stay out of, so that is no error.
pub(crate) fn keep(socket: &impl AsFd) {
    if let Err(error) = SockRef::from(socket).set_mark(MARK) {
        tracing::debug!(%error, "A socket is not marked");
    }
}

/// A UDP socket by the underlay, bound.
pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    keep(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Connects over TCP by the underlay.
pub(crate) async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    keep(&socket);
    socket.connect(address).await
}
