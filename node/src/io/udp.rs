//! The data sockets: one per address family, for everything a node says to peers.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use socket2::{Domain, Protocol, Socket, Type};
use tombolo_engine::{
    offload::ecn::Ecn,
    path::way::{SocketSlot, Way},
    punch::MAX_SOCKETS,
};

use super::{
    stop::{Interest, Stop, Woken},
    underlay,
};

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
        underlay::keep(&socket);
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

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
    /// Those with ports of their own, by slot.
    extra: Vec<ArcSwapOption<UdpPort>>,
    gso: bool,
}

/// A socket to send from.
#[derive(Debug)]
pub enum Sender<'a> {
    /// One that all peers share.
    Common(&'a UdpPort),
    /// One with a port of its own.
    Extra(Arc<UdpPort>),
}

impl Deref for Sender<'_> {
    type Target = UdpPort;

    fn deref(&self) -> &UdpPort {
        match self {
            Self::Common(socket) => socket,
            Self::Extra(socket) => socket,
        }
    }
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
        let mut extra = Vec::new();
        extra.resize_with(MAX_SOCKETS, ArcSwapOption::empty);
        Ok(Self {
            v4,
            v6,
            port,
            extra,
            gso: options.gso,
        })
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

    /// The socket for a way, and where it leads.
    #[must_use]
    pub fn by(&self, way: Way, queue: usize) -> Option<(Sender<'_>, SocketAddr)> {
        match way {
            Way::Direct(to) => Some((Sender::Common(self.toward(to, queue)?), to)),
            Way::Through { socket, endpoint } => {
                Some((Sender::Extra(self.extra(socket)?), endpoint))
            }
            Way::Relay { .. } => None,
        }
    }

    /// A socket with a port of its own.
    #[must_use]
    pub fn extra(&self, slot: SocketSlot) -> Option<Arc<UdpPort>> {
        self.extra.get(usize::from(slot.0))?.load_full()
    }

    /// Opens one at any free port, towards the family of `to`.
    pub fn open_extra(&self, slot: SocketSlot, to: SocketAddr) -> io::Result<Arc<UdpPort>> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let options = UdpOptions {
            port: 0,
            queues: 1,
            gso: self.gso,
        };
        let socket = Arc::new(UdpPort::bind(SocketAddr::new(any, 0), options)?);
        if let Some(place) = self.extra.get(usize::from(slot.0)) {
            place.store(Some(Arc::clone(&socket)));
        }
        Ok(socket)
    }

    /// Closes one, as soon as nobody uses it.
    pub fn close_extra(&self, slot: SocketSlot) {
        if let Some(place) = self.extra.get(usize::from(slot.0)) {
            place.store(None);
        }
    }

    /// Every open socket at the common port.
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
