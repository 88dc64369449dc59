//! The data sockets: one per address family, for everything a node says to peers.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
};

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use socket2::{Domain, Protocol, Socket, Type};
use tombolo_engine::offload::ecn::Ecn;

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

/// How the sockets are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpOptions {
    /// The port of all of them; 0 takes any free one.
    pub port: u16,
    /// Sockets per family, at least 1. The kernel spreads peers over them.
    pub queues: usize,
    /// Whether to send trains of datagrams in one go (`UDP_SEGMENT`) where the kernel can.
    pub gso: bool,
}

/// A socket of one family.
pub struct UdpPort {
    socket: Socket,
    state: UdpSocketState,
    gso: bool,
}

impl UdpPort {
    fn bind(address: SocketAddr, options: UdpOptions) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if options.queues > 1 {
            socket.set_reuse_port(true)?;
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
        Ok(Self {
            socket,
            state,
            gso: options.gso,
        })
    }

    fn port(&self) -> io::Result<u16> {
        Ok(self
            .socket
            .local_addr()?
            .as_socket()
            .map_or(0, |address| address.port()))
    }

    /// Datagrams that one [`Self::send`] may carry. It drops to 1 when a network card turns out not to take trains.
    #[must_use]
    pub fn max_segments(&self) -> usize {
        if self.gso {
            self.state.max_gso_segments()
        } else {
            1
        }
    }

    /// Whether the kernel hands over trains of datagrams.
    #[must_use]
    pub fn receives_trains(&self) -> bool {
        self.state.gro_segments() > 1
    }

    /// Sends `contents` as datagrams of `segment` bytes each (the last may be shorter), all marked `ecn`. Never blocks.
    pub fn send(
        &self,
        to: SocketAddr,
        ecn: Ecn,
        contents: &[u8],
        segment: usize,
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: EcnCodepoint::from_bits(ecn.bits()),
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
    v4: Vec<UdpPort>,
    v6: Vec<UdpPort>,
    port: u16,
}

impl UdpSockets {
    /// Opens the port in every family that the host has.
    pub fn bind(options: UdpOptions) -> Result<Self, BindError> {
        let v4 = bind_family(Ipv4Addr::UNSPECIFIED.into(), options)?;
        let port = port_of(&v4).unwrap_or(options.port);
        let v6 = bind_family(Ipv6Addr::UNSPECIFIED.into(), UdpOptions { port, ..options })?;
        let port = port_of(&v6).unwrap_or(port);
        if v4.is_empty() && v6.is_empty() {
            return Err(BindError::Other(
                port,
                io::Error::from(io::ErrorKind::Unsupported),
            ));
        }
        Ok(Self { v4, v6, port })
    }

    /// The port number of all.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The socket that reaches `address`, for the forwarding threads of `queue`.
    #[must_use]
    pub fn toward(&self, address: SocketAddr, queue: usize) -> Option<&UdpPort> {
        let family = match address {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => &self.v6,
        };
        family.get(queue)
    }

    /// Every open socket.
    pub fn iter(&self) -> impl Iterator<Item = &UdpPort> {
        self.v4.iter().chain(&self.v6)
    }
}

fn port_of(family: &[UdpPort]) -> Option<u16> {
    family.first().and_then(|socket| socket.port().ok())
}

/// No sockets if the host lacks the family.
fn bind_family(address: IpAddr, options: UdpOptions) -> Result<Vec<UdpPort>, BindError> {
    let mut sockets = Vec::<UdpPort>::new();
    if options.queues > 1 && options.port != 0 {
        // Sockets that share a port would also share it with another program's that are willing to: ask first.
        let alone = UdpOptions {
            queues: 1,
            ..options
        };
        match UdpPort::bind(SocketAddr::new(address, options.port), alone) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(BindError::InUse(options.port));
            }
            Err(error) if is_missing_family(&error) => return Ok(sockets),
            Err(error) => return Err(BindError::Other(options.port, error)),
        }
    }
    for _ in 0..options.queues {
        let port = port_of(&sockets).unwrap_or(options.port);
        match UdpPort::bind(SocketAddr::new(address, port), options) {
            Ok(socket) => sockets.push(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(BindError::InUse(port));
            }
            Err(error) if is_missing_family(&error) => break,
            Err(error) => return Err(BindError::Other(port, error)),
        }
    }
    Ok(sockets)
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
