//! The data sockets: one per address family, for everything a node says to peers.

use std::{
    io::{self, IoSliceMut},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use socket2::{Domain, Protocol, Socket, Type};

use super::stop::{Interest, Stop, Woken};

/// Room for about 50 ms at 600 Mbit/s, while a thread waits for its turn.
const SOCKET_BUFFER: usize = 4 << 20;

/// Why the data sockets could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has the port.
    #[error("UDP port {0} is in use: stop the other program or choose another port with --port")]
    InUse(u16),
    /// Anything else.
    #[error("failed to open UDP port {0}: {1}")]
    Other(u16, io::Error),
}

/// A socket of one family.
pub struct UdpPort {
    socket: Socket,
    state: UdpSocketState,
}

impl UdpPort {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Beyond the system's limit with CAP_NET_ADMIN, up to it without.
        if set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
            state.set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER)?;
        }
        if set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
            state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER)?;
        }
        Ok(Self { socket, state })
    }

    fn port(&self) -> io::Result<u16> {
        Ok(self
            .socket
            .local_addr()?
            .as_socket()
            .map_or(0, |address| address.port()))
    }

    /// Datagrams that one [`Self::send`] may carry.
    #[must_use]
    pub fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends `contents` as datagrams of `segment` bytes each (the last may be shorter). Never blocks.
    pub fn send(&self, to: SocketAddr, contents: &[u8], segment: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: None,
        };
        self.state
            .try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// Receives into as many buffers as there are datagrams or trains of them. Never blocks.
    pub fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.state
            .recv(UdpSockRef::from(&self.socket), buffers, metas)
    }

    /// Blocks until the socket is ready.
    pub fn wait(&self, interest: Interest, stop: &Stop) -> io::Result<Woken> {
        stop.wait(self.socket.as_fd(), interest)
    }
}

impl std::fmt::Debug for UdpPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UdpPort({:?})", self.socket.local_addr())
    }
}

/// The sockets of both families, on one port number. A host may lack one of the families.
#[derive(Debug)]
pub struct UdpSockets {
    v4: Option<UdpPort>,
    v6: Option<UdpPort>,
    port: u16,
}

impl UdpSockets {
    /// Opens `port` in every family that the host has; port 0 takes any free one.
    pub fn bind(port: u16) -> Result<Self, BindError> {
        let other = |error| BindError::Other(port, error);
        let v4 = bind_family(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        let port = match &v4 {
            Some(socket) => socket.port().map_err(other)?,
            None => port,
        };
        let v6 = bind_family(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
        let port = match &v6 {
            Some(socket) => socket.port().map_err(other)?,
            None => port,
        };
        if v4.is_none() && v6.is_none() {
            return Err(other(io::Error::from(io::ErrorKind::Unsupported)));
        }
        Ok(Self { v4, v6, port })
    }

    /// The port number of both.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The socket that reaches `address`.
    #[must_use]
    pub const fn toward(&self, address: SocketAddr) -> Option<&UdpPort> {
        match address {
            SocketAddr::V4(_) => self.v4.as_ref(),
            SocketAddr::V6(_) => self.v6.as_ref(),
        }
    }

    /// Every open socket.
    pub fn iter(&self) -> impl Iterator<Item = &UdpPort> {
        self.v4.iter().chain(&self.v6)
    }
}

fn bind_family(address: SocketAddr) -> Result<Option<UdpPort>, BindError> {
    match UdpPort::bind(address) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(BindError::InUse(address.port()))
        }
        Err(error) if is_missing_family(&error) => Ok(None),
        Err(error) => Err(BindError::Other(address.port(), error)),
    }
}

fn is_missing_family(error: &io::Error) -> bool {
    let missing = [
        rustix::io::Errno::AFNOSUPPORT,
        rustix::io::Errno::ADDRNOTAVAIL,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| missing.iter().any(|errno| errno.raw_os_error() == code))
}
