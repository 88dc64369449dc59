//! UDP to TUN, in the order a packet takes: receive, open and check, write. One thread per address family.

use std::io;

use tombolo_engine::{counters::DropReason, forward::Inbound};

use super::{Shared, batch::ReceiveBuffer};
use crate::io::{
    stop::{Interest, Stop, Woken},
    udp::UdpPort,
};

/// Runs until stopped.
pub(super) fn run(shared: &Shared, socket: &UdpPort, stop: &Stop) -> io::Result<()> {
    let mut buffer = ReceiveBuffer::new();
    while socket.wait(Interest::Readable, stop)? == Woken::Ready {
        match buffer.fill(socket) {
            Ok(()) => deliver(shared, &mut buffer),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn deliver(shared: &Shared, buffer: &mut ReceiveBuffer) {
    let fib = shared.fib.load();
    let tuns = shared.tuns.load();
    for (from, datagram) in buffer.datagrams() {
        match fib.inbound(from, datagram) {
            Inbound::Deliver {
                network,
                packet,
                note,
            } => {
                let tun = tuns.get(usize::from(network.0)).and_then(Option::as_ref);
                let packet = datagram.get(packet).unwrap_or_default();
                if tun.is_none_or(|tun| tun.write(packet).is_err()) {
                    shared.count(DropReason::TunWrite);
                }
                if let Some(note) = note {
                    shared.punt(note);
                }
            }
            Inbound::Punt(punt) => shared.punt(punt),
            Inbound::Drop(_) => {}
        }
    }
}

/// Errors that say something about an earlier datagram or about this moment, not about the socket.
fn is_passing(error: &io::Error) -> bool {
    let refused = [
        rustix::io::Errno::CONNREFUSED,
        rustix::io::Errno::HOSTUNREACH,
        rustix::io::Errno::NETUNREACH,
        rustix::io::Errno::NETDOWN,
        rustix::io::Errno::MSGSIZE,
        rustix::io::Errno::NOBUFS,
        rustix::io::Errno::NOMEM,
    ];
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    ) || error
        .raw_os_error()
        .is_some_and(|code| refused.iter().any(|errno| errno.raw_os_error() == code))
}
