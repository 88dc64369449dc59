//! TUN devices. One per network, with one or more queues.
//!
//! With offload a read gives, and a write takes, a packet or a super-packet behind a virtio header (see
//! [`tombolo_engine::offload`]). Without, the header is made up on reading and left out on writing, so that whoever uses
//! a queue sees no difference.

use std::{
    fs::OpenOptions,
    io::{self, IoSlice},
    os::fd::AsFd as _,
};

use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
use tombolo_engine::{
    offload::{
        MAX_SUPER_PACKET,
        coalesce::{Delivery, Merges},
        virtio::VIRTIO_NET_HDR_LEN,
    },
    reconcile::LinkName,
};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::{
    stop::{Interest, Stop, Woken},
    tun_offload::{self, TunOffload},
};

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
    #[error(
        "not permitted to make a TUN device: run as root with CAP_NET_ADMIN, or give the container --cap-add NET_ADMIN"
    )]
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

/// Most that a read can bring: a virtio header and a super-packet.
pub const MAX_READ: usize = VIRTIO_NET_HDR_LEN + MAX_SUPER_PACKET;

/// Packets that may wait for a forwarding thread, twice the kernel's own choice: at some 250,000 small packets a second
/// that is the 4 ms for which a busy core may be somebody else's. A TCP flow fills less of it; its window ends first.
const QUEUE_LENGTH: u32 = 1000;

/// A TUN device. It vanishes with the last reference to it.
pub struct Tun {
    queues: Vec<SyncDevice>,
    offload: TunOffload,
    name: LinkName,
}

impl Tun {
    /// Makes a device that is down and has no addresses. `queues` is at least 1; of `offload`, what this kernel has.
    pub fn create(name: &LinkName, queues: usize, offload: TunOffload) -> Result<Self, TunError> {
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
        let open = |with_header: bool| {
            DeviceBuilder::new()
                .name(name.as_str())
                .inherit_enable_state()
                .offload(with_header)
                .multi_queue(queues > 1)
                .build_sync()
        };
        let with_header = if offload == TunOffload::None {
            None
        } else {
            open(true).ok()
        };
        let (first, offload) = match with_header {
            Some(device) => {
                let given = tun_offload::enable(&device, offload).map_err(failed)?;
                (device, given)
            }
            None => (open(false).map_err(failed)?, TunOffload::None),
        };
        first.set_tx_queue_len(QUEUE_LENGTH).map_err(failed)?;
        let mut devices = vec![first];
        for _ in 1..queues {
            let next = devices[0].try_clone().map_err(failed)?;
            devices.push(next);
        }
        // What the kernel does for a device is one setting for all its queues, and opening a queue asked for everything.
        if queues > 1 && offload != TunOffload::None {
            tun_offload::enable(&devices[0], offload).map_err(failed)?;
        }
        for device in &devices {
            device.set_nonblocking(true).map_err(failed)?;
        }
        silence_autoconfiguration(name);
        Ok(Self {
            queues: devices,
            offload,
            name: name.clone(),
        })
    }

    /// The interface's name.
    #[must_use]
    pub const fn name(&self) -> &LinkName {
        &self.name
    }

    /// What the kernel does for it.
    #[must_use]
    pub const fn offload(&self) -> TunOffload {
        self.offload
    }

    /// What may be written as a super-packet.
    #[must_use]
    pub const fn merges(&self) -> Merges {
        self.offload.merges()
    }

    /// How many queues there are.
    #[must_use]
    pub const fn queues(&self) -> usize {
        self.queues.len()
    }

    /// Takes one packet or super-packet behind its virtio header, if there is one. `into` holds [`MAX_READ`] bytes.
    pub fn read(&self, queue: usize, into: &mut [u8]) -> io::Result<Option<usize>> {
        let (room, made_up) = match self.offload {
            TunOffload::None => {
                let (header, packet) = into.split_at_mut(VIRTIO_NET_HDR_LEN);
                header.fill(0);
                (packet, VIRTIO_NET_HDR_LEN)
            }
            TunOffload::Tcp | TunOffload::TcpAndUdp => (into, 0),
        };
        loop {
            match rustix::io::read(&self.queues[queue], &mut *room) {
                Ok(length) => return Ok(Some(made_up + length)),
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Hands a packet or super-packet to the kernel. It fails while the link is down.
    pub fn write(&self, queue: usize, delivery: &Delivery<'_>) -> io::Result<()> {
        let header = delivery.header.encode();
        let mut slices = [IoSlice::new(&[]); Delivery::MAX_SLICES + 1];
        let mut count = 0;
        if self.offload != TunOffload::None {
            slices[0] = IoSlice::new(&header);
            count = 1;
        }
        for (slot, slice) in slices[count..].iter_mut().zip(delivery.slices()) {
            *slot = IoSlice::new(slice);
        }
        count += delivery.packets();
        loop {
            match rustix::io::writev(&self.queues[queue], &slices[..count]) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Blocks until there is something to read.
    pub fn wait_readable(&self, queue: usize, stop: &Stop) -> io::Result<Woken> {
        stop.wait(self.queues[queue].as_fd(), Interest::Readable)
    }
}

impl std::fmt::Debug for Tun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Tun({}, {} queues, {:?})",
            self.name,
            self.queues.len(),
            self.offload
        )
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
