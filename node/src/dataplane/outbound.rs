//! TUN to UDP, in the order a packet takes: read, look up and seal, collect runs, send. One thread per network.

use std::{io, sync::Arc};

use tombolo_engine::{counters::DropReason, fib::NetworkSlot, forward::Outbound};
use tombolo_proto::frame::LANE_OVERHEAD;

use super::{
    Shared,
    batch::{SendBuffer, Train},
};
use crate::io::{
    stop::{Interest, Stop, Woken},
    tun::Tun,
    udp::UdpPort,
};

/// Packets between two looks at the forwarding table and the stop flag.
const BATCH: usize = 256;

/// Runs until stopped, or until the device is gone.
pub(super) fn run(
    shared: &Shared,
    network: NetworkSlot,
    tun: &Arc<Tun>,
    stop: &Stop,
) -> io::Result<()> {
    let mut buffer = SendBuffer::new();
    while tun.wait_readable(stop)? == Woken::Ready {
        forward_batch(shared, network, tun, &mut buffer, stop)?;
    }
    Ok(())
}

fn forward_batch(
    shared: &Shared,
    network: NetworkSlot,
    tun: &Tun,
    buffer: &mut SendBuffer,
    stop: &Stop,
) -> io::Result<()> {
    let fib = shared.fib.load();
    for _ in 0..BATCH {
        if !buffer.has_room() {
            send_run(shared, buffer, stop);
            buffer.rewind();
        }
        let Some(length) = tun.read(buffer.packet_room())? else {
            break;
        };
        match fib.outbound(network, buffer.frame(length)) {
            Outbound::Send { to, .. } => {
                let Some(socket) = shared.udp.toward(to) else {
                    shared.count(DropReason::SocketSend);
                    continue;
                };
                if !buffer.joins(to, length + LANE_OVERHEAD, socket.max_segments()) {
                    send_run(shared, buffer, stop);
                }
                buffer.push(to, length + LANE_OVERHEAD);
            }
            Outbound::Punt(punt) => shared.punt(punt),
            Outbound::Drop(_) => {}
        }
    }
    send_run(shared, buffer, stop);
    buffer.rewind();
    Ok(())
}

fn send_run(shared: &Shared, buffer: &mut SendBuffer, stop: &Stop) {
    let Some(train) = buffer.take() else { return };
    let Some(socket) = shared.udp.toward(train.to) else {
        return;
    };
    for _ in 0..send_train(socket, &train, stop) {
        shared.count(DropReason::SocketSend);
    }
}

/// Sends a train whole; where the path does not take trains, one by one. Says how many datagrams were lost.
fn send_train(socket: &UdpPort, train: &Train<'_>, stop: &Stop) -> usize {
    if send_when_possible(socket, train, train.contents, stop).is_ok() {
        return 0;
    }
    if train.contents.len() <= train.segment {
        return 1;
    }
    let datagrams = train.contents.chunks(train.segment);
    datagrams
        .map(|datagram| usize::from(send_when_possible(socket, train, datagram, stop).is_err()))
        .sum()
}

fn send_when_possible(
    socket: &UdpPort,
    train: &Train<'_>,
    contents: &[u8],
    stop: &Stop,
) -> io::Result<()> {
    loop {
        match socket.send(train.to, contents, train.segment) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if socket.wait(Interest::Writable, stop)? == Woken::Stop {
                    return Err(error);
                }
            }
            done => return done,
        }
    }
}
