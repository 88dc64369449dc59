//! Receives on the sockets that are opened besides those that all peers share: one thread for all of them, because few
//! sessions need one.

use std::io;

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
};
use tombolo_engine::{offload::coalesce::Coalescer, path::way::SocketSlot};

use super::{Shared, batch::ReceiveBuffer, inbound, joined::Joined};
use crate::io::{stop::Stop, udp::UdpPort};

/// Sockets that are looked at after one wait.
const READY: usize = 64;
/// Stands for the signal to stop; slots are below.
const STOP: u64 = u64::MAX;

/// What the thread waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    epoll: std::os::fd::OwnedFd,
}

impl Waiting {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll })
    }

    /// From now on what comes to a socket is received. It ends when the socket is closed.
    pub(super) fn add(&self, slot: SocketSlot, socket: &UdpPort) -> io::Result<()> {
        let data = EventData::new_u64(slot.0.into());
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN)?)
    }

    /// Runs until stopped.
    pub(super) fn run(&self, shared: &Shared, stop: &Stop) -> io::Result<()> {
        epoll::add(&self.epoll, stop, EventData::new_u64(STOP), EventFlags::IN)?;
        let mut buffer = ReceiveBuffer::new();
        let mut coalescer = Coalescer::default();
        let mut joined = Joined::new();
        let mut ready = Vec::with_capacity(READY);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut ready), None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in ready.drain(..) {
                let data = event.data.u64();
                if data == STOP {
                    return Ok(());
                }
                let Ok(slot) = u16::try_from(data).map(SocketSlot) else {
                    continue;
                };
                // It may have been closed a moment ago.
                let Some(socket) = shared.udp.extra(slot) else {
                    continue;
                };
                match buffer.fill(&socket) {
                    Ok(()) => inbound::deliver(
                        shared,
                        Some(slot),
                        &mut buffer,
                        &mut coalescer,
                        &mut joined,
                    ),
                    Err(error) if inbound::is_passing(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
