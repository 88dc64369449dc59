//! Sockets. `[::]` means both families, said explicitly because the system's default differs from host to host.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 256;

/// Bytes that wait to be received over UDP: thousands of nodes acknowledge at the same moment what all of them are told, and
/// a datagram that is lost there costs a joining node a second.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How many ports that are free for UDP are tried for TCP.
const ANY_PORT: u32 = 16;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({protocol}): {cause}; {advice}")]
pub struct ListenError {
    address: SocketAddr,
    protocol: &'static str,
    cause: io::Error,
    advice: &'static str,
}

/// A UDP socket.
pub(crate) fn udp(address: SocketAddr) -> Result<UdpSocket, ListenError> {
    open(address, Type::DGRAM, Protocol::UDP)
        .map(Into::into)
        .map_err(|cause| error(address, "UDP", cause))
}

/// A TCP listener.
pub(crate) fn tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    open(address, Type::STREAM, Protocol::TCP)
        .map(Into::into)
        .map_err(|cause| error(address, "TCP", cause))
}

/// A UDP socket and a TCP listener with the same port, also where any will do.
pub(crate) fn both(address: SocketAddr) -> Result<(UdpSocket, TcpListener), ListenError> {
    let mut attempts = if address.port() == 0 { ANY_PORT } else { 1 };
    loop {
        attempts -= 1;
        let socket = udp(address)?;
        let bound = socket
            .local_addr()
            .map_err(|cause| error(address, "UDP", cause))?;
        match tcp(SocketAddr::new(address.ip(), bound.port())) {
            Ok(listener) => return Ok((socket, listener)),
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    match bind(address, kind, protocol) {
        // A host without IPv6 still has all of IPv4.
        Err(cause) if address.ip() == std::net::Ipv6Addr::UNSPECIFIED && lacks_ipv6(&cause) => {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            bind(v4, kind, protocol)
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != std::net::Ipv6Addr::UNSPECIFIED)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    } else if set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        // Without the right to force it, as much as the system grants everybody.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

fn lacks_ipv6(cause: &io::Error) -> bool {
    let codes = [
        rustix::io::Errno::AFNOSUPPORT,
        rustix::io::Errno::ADDRNOTAVAIL,
    ];
    codes
        .iter()
        .any(|code| cause.raw_os_error() == Some(code.raw_os_error()))
}

fn error(address: SocketAddr, protocol: &'static str, cause: io::Error) -> ListenError {
    const ADVICE: [(io::ErrorKind, &str); 3] = [
        (
            io::ErrorKind::AddrInUse,
            "another program has this port: stop it, or choose another port",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "this host does not have that address: choose another",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        ),
    ];
    let advice = ADVICE
        .iter()
        .find(|(kind, _)| *kind == cause.kind())
        .map_or("choose another address", |(_, advice)| *advice);
    ListenError {
        address,
        protocol,
        cause,
        advice,
    }
}
