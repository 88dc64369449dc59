//! UDP to TUN, in the order a packet takes: receive, open and check, gather into super-packets, write. One thread per
//! socket.

use std::{io, ops::Range};

use tombolo_engine::{
    counters::DropReason,
    fib::{Fib, NetworkSlot},
    forward::Inbound,
    offload::{
        coalesce::{Coalescer, Delivery},
        ecn::{self, Ecn},
        spread::spread,
    },
    path::way::{SocketSlot, Way},
};

use tombolo_relay::Outlet;

use super::{
    Shared, TunTable,
    batch::{Arrived, ReceiveBuffer},
    joined::Joined,
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
    let mut joined = Joined::new();
    while socket.wait(Interest::Readable, stop)? == Woken::Ready {
        match buffer.fill(socket) {
            Ok(()) => deliver(shared, None, &mut buffer, &mut coalescer, &mut joined),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Delivers what has been received, by a socket with a port of its own or a common one.
pub(super) fn deliver(
    shared: &Shared,
    socket: Option<SocketSlot>,
    buffer: &mut ReceiveBuffer,
    coalescer: &mut Coalescer<NetworkSlot>,
    joined: &mut Joined,
) {
    let batch = Batch {
        shared,
        socket,
        fib: &shared.fib(),
        tuns: &shared.tuns.load(),
    };
    let (memory, arrived) = buffer.arrived();
    for train in arrived {
        batch.open(memory, train, coalescer, joined);
    }
    joined.flush(|network, delivery| batch.write(network, &delivery));
    coalescer.flush(memory, |network, delivery| batch.write(network, &delivery));
}

/// What holds for all datagrams of one receive call.
struct Batch<'a> {
    shared: &'a Shared,
    socket: Option<SocketSlot>,
    fib: &'a Fib,
    tuns: &'a TunTable,
}

impl Batch<'_> {
    fn open(
        &self,
        memory: &mut [u8],
        train: Arrived,
        coalescer: &mut Coalescer<NetworkSlot>,
        joined: &mut Joined,
    ) {
        let Arrived { from, ecn, .. } = train;
        let mut relayed = RelayedRun::default();
        for at in train.datagrams() {
            let start = at.start;
            let datagram = at.clone();
            let inbound = match self.socket {
                None => self.fib.inbound(from, &mut memory[at]),
                Some(socket) => {
                    let endpoint = from;
                    let way = Way::Through { socket, endpoint };
                    self.fib.inbound_by(way, &mut memory[at])
                }
            };
            match inbound {
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
                    joined.flush(|network, delivery| self.write(network, &delivery));
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
                Inbound::Relayed(to) => {
                    if !relayed.takes(to, &datagram) {
                        self.relay(memory, std::mem::take(&mut relayed), ecn);
                    }
                    relayed.push(to, datagram);
                }
                Inbound::Part {
                    lane,
                    counter,
                    payload,
                    note,
                } => {
                    if let Some(note) = note {
                        self.shared.punt(note);
                    }
                    let payload = start + payload.start..start + payload.end;
                    let gathered = self.fib.gather(lane, counter, &memory[payload], ecn);
                    let Some((network, mut packet, ecn)) = gathered else {
                        continue;
                    };
                    if ecn::decapsulate(&mut packet, ecn).is_err() {
                        self.shared.count(DropReason::Congestion);
                        continue;
                    }
                    let Some(tun) = self.tun(network) else {
                        self.shared.count(DropReason::TunWrite);
                        continue;
                    };
                    // What came before it goes before it.
                    coalescer.flush(memory, |network, delivery| self.write(network, &delivery));
                    joined.push(network, tun.merges(), &packet, |network, delivery| {
                        self.write(network, &delivery);
                    });
                }
                Inbound::Punt(punt) => self.shared.punt(punt),
                Inbound::Drop(_) => {}
            }
        }
        self.relay(memory, relayed, ecn);
    }

    /// Sends what is for somebody else, as it lies. Never waits: what the socket does not take is lost, as on any link.
    fn relay(&self, memory: &[u8], run: RelayedRun, ecn: Ecn) {
        let Some(Outlet::Udp(to)) = run.to else {
            return;
        };
        let contents = &memory[run.bytes];
        let sent = self.shared.udp.toward(to, 0).is_some_and(|socket| {
            let in_one = contents.len() <= run.segment * socket.max_segments()
                && socket.send(to, ecn, contents, run.segment).is_ok();
            in_one
                || contents
                    .chunks(run.segment)
                    .all(|datagram| socket.send(to, ecn, datagram, datagram.len()).is_ok())
        });
        if !sent {
            self.shared.count(DropReason::SocketSend);
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

/// Datagrams for one receiver that lie back to back: they leave in one system call.
#[derive(Debug, Default)]
struct RelayedRun {
    to: Option<Outlet>,
    bytes: Range<usize>,
    segment: usize,
}

impl RelayedRun {
    /// Whether a datagram goes on where the run ends. Only its last may be shorter than the others.
    fn takes(&self, to: Outlet, datagram: &Range<usize>) -> bool {
        let is_whole = self.segment != 0 && self.bytes.len().is_multiple_of(self.segment);
        self.to == Some(to)
            && is_whole
            && self.bytes.end == datagram.start
            && datagram.len() <= self.segment
    }

    fn push(&mut self, to: Outlet, datagram: Range<usize>) {
        if self.to.is_none() {
            self.to = Some(to);
            self.segment = datagram.len();
            self.bytes = datagram;
        } else {
            self.bytes.end = datagram.end;
        }
    }
}

/// Errors that say something about an earlier datagram or about this moment, not about the socket.
pub(super) fn is_passing(error: &io::Error) -> bool {
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
