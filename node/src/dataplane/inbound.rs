//! UDP to TUN, in the order a packet takes: receive, open and check, gather into super-packets, write. One thread per
//! socket.

use std::io;

use tombolo_engine::{
    counters::DropReason,
    fib::{Fib, NetworkSlot},
    forward::Inbound,
    offload::{
        coalesce::{Coalescer, Delivery},
        ecn,
        spread::spread,
    },
};

use super::{
    Shared, TunTable,
    batch::{Arrived, ReceiveBuffer},
};
use crate::io::{
    stop::{Interest, Stop, Woken},
    tun::Tun,
    udp::UdpPort,
};

/// Runs until stopped.
pub(super) fn run(shared: &Shared, socket: &UdpPort, stop: &Stop) -> io::Result<()> {
    let mut buffer = ReceiveBuffer::new();
    let mut coalescer = Coalescer::default();
    while socket.wait(Interest::Readable, stop)? == Woken::Ready {
        match buffer.fill(socket) {
            Ok(()) => deliver(shared, &mut buffer, &mut coalescer),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn deliver(shared: &Shared, buffer: &mut ReceiveBuffer, coalescer: &mut Coalescer<NetworkSlot>) {
    let batch = Batch {
        shared,
        fib: &shared.fib.load(),
        tuns: &shared.tuns.load(),
    };
    let (memory, arrived) = buffer.arrived();
    for train in arrived {
        batch.open(memory, train, coalescer);
    }
    coalescer.flush(memory, |network, delivery| batch.write(network, &delivery));
}

/// What holds for all datagrams of one receive call.
struct Batch<'a> {
    shared: &'a Shared,
    fib: &'a Fib,
    tuns: &'a TunTable,
}

impl Batch<'_> {
    fn open(&self, memory: &mut [u8], train: Arrived, coalescer: &mut Coalescer<NetworkSlot>) {
        let Arrived { from, ecn, .. } = train;
        for at in train.datagrams() {
            let start = at.start;
            match self.fib.inbound(from, &mut memory[at]) {
                Inbound::Deliver {
                    network,
                    packet,
                    note,
                } => {
                    if let Some(note) = note {
                        self.shared.punt(note);
                    }
                    let packet = start + packet.start..start + packet.end;
                    if ecn::decapsulate(&mut memory[packet.clone()], ecn).is_err() {
                        self.shared.count(DropReason::Congestion);
                        continue;
                    }
                    let Some(tun) = self.tun(network) else {
                        self.shared.count(DropReason::TunWrite);
                        continue;
                    };
                    coalescer.push(
                        network,
                        tun.merges(),
                        memory,
                        packet,
                        |network, delivery| {
                            self.write(network, &delivery);
                        },
                    );
                }
                Inbound::Punt(punt) => self.shared.punt(punt),
                Inbound::Drop(_) => {}
            }
        }
    }

    fn write(&self, network: NetworkSlot, delivery: &Delivery<'_>) {
        let written = self.tun(network).is_some_and(|tun| {
            let queue = match tun.queues() {
                1 => 0,
                queues => delivery.slices().next().map_or(0, spread) as usize % queues,
            };
            tun.write(queue, delivery).is_ok()
        });
        if !written {
            for _ in 0..delivery.packets() {
                self.shared.count(DropReason::TunWrite);
            }
        }
    }

    fn tun(&self, network: NetworkSlot) -> Option<&Tun> {
        self.tuns.get(usize::from(network.0))?.as_deref()
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
