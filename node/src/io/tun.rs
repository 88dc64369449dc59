//! TUN devices. One per network, without offload: a read gives one packet, a write takes one.

use std::{fs::OpenOptions, io, os::fd::AsFd as _};

use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
use tombolo_engine::reconcile::LinkName;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::stop::{Interest, Stop, Woken};

/// Where the kernel hands out TUN devices.
const TUN_PATH: &str = "/dev/net/tun";

/// Why there is no TUN device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The kernel has no TUN driver, or this container was not given the device.
    #[error(
        "{TUN_PATH} is missing: load the tun module (modprobe tun), or give the container --device {TUN_PATH}"
    )]
    NoDevice,
    /// The process may not make network devices.
    #[error("not permitted to make a TUN device: run as root or with CAP_NET_ADMIN")]
    NotPermitted,
    /// Somebody else has an interface of that name.
    #[error(
        "the interface {0} exists already: remove it, or leave the network and join it with --interface and another name"
    )]
    NameTaken(LinkName),
    /// Anything else.
    #[error("failed to make the TUN device {name}: {error}")]
    Other {
        /// The name asked for.
        name: LinkName,
        /// What the kernel said.
        error: io::Error,
    },
}

impl TunError {
    /// Whether another interface name would help.
    #[must_use]
    pub const fn is_name_taken(&self) -> bool {
        matches!(self, Self::NameTaken(_))
    }
}

/// Tells early whether TUN devices can be made at all.
pub fn check_driver() -> Result<(), TunError> {
    match OpenOptions::new().read(true).write(true).open(TUN_PATH) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(TunError::NotPermitted)
        }
        Err(_) => Err(TunError::NoDevice),
    }
}

/// Whether an interface of this name exists.
#[must_use]
pub fn exists(name: &LinkName) -> bool {
    socket(AddressFamily::INET, SocketType::DGRAM, None)
        .is_ok_and(|fd| name_to_index(&fd, name.as_str()).is_ok())
}

/// A TUN device. It vanishes with the last reference to it.
pub struct Tun {
    device: SyncDevice,
    name: LinkName,
}

impl Tun {
    /// Makes a device that is down and has no addresses.
    pub fn create(name: &LinkName) -> Result<Self, TunError> {
        check_driver()?;
        if exists(name) {
            return Err(TunError::NameTaken(name.clone()));
        }
        let failed = |error: io::Error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                TunError::NotPermitted
            } else if error.kind() == io::ErrorKind::ResourceBusy {
                TunError::NameTaken(name.clone())
            } else {
                TunError::Other {
                    name: name.clone(),
                    error,
                }
            }
        };
        let device = DeviceBuilder::new()
            .name(name.as_str())
            .inherit_enable_state()
            .build_sync()
            .map_err(failed)?;
        device.set_nonblocking(true).map_err(failed)?;
        silence_autoconfiguration(name);
        Ok(Self {
            device,
            name: name.clone(),
        })
    }

    /// The interface's name.
    #[must_use]
    pub const fn name(&self) -> &LinkName {
        &self.name
    }

    /// Takes one packet, if there is one.
    pub fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.device.recv(into) {
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands one packet to the kernel. It fails while the link is down.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        self.device.send(packet).map(|_| ())
    }

    /// Blocks until there is a packet to read.
    pub fn wait_readable(&self, stop: &Stop) -> io::Result<Woken> {
        stop.wait(self.device.as_fd(), Interest::Readable)
    }
}

impl std::fmt::Debug for Tun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tun({})", self.name)
    }
}

/// Keeps the kernel from giving the device a link-local address and asking for routers through the overlay.
fn silence_autoconfiguration(name: &LinkName) {
    for (key, value) in [
        ("addr_gen_mode", "1"),
        ("accept_ra", "0"),
        ("router_solicitations", "0"),
    ] {
        // Without IPv6, or with /proc/sys read-only, it only costs a few dropped packets.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{key}"), value);
    }
}
