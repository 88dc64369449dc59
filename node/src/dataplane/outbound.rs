//! TUN to UDP, in the order a packet takes: read, look up, cut into frames, seal, collect runs, send. One thread per queue
//! of a network's TUN.
//!
//! Nothing waits for company: what has been read is sent as soon as the TUN has nothing more to give.

use std::{io, sync::Arc};

use tombolo_engine::{
    counters::DropReason,
    fib::{Fib, NetworkSlot},
    forward::{ByRelay, Hop, Parts},
    offload::{
        ecn,
        segment::{Run, Segmenter},
        virtio::VirtioHeader,
    },
    path::way::Way,
};
use tombolo_proto::{
    frame::{LANE_HEADER, LANE_OVERHEAD, LANE_TAG},
    relay::RELAY_HEADER,
};

use super::{
    Shared,
    batch::{MAX_RUN_BYTES, SendBuffer, Toward, Train},
};
use crate::io::{
    stop::{Interest, Stop, Woken},
    tun::{MAX_READ, Tun},
    udp::UdpPort,
};

/// Reads between two looks at the forwarding table and the stop flag.
const BATCH: usize = 256;

/// A read of at most this many bytes costs more for its system calls than for its bytes.
const SMALL: usize = 512;

/// After this many small packets in one go their sender gets the processor, if it waits for it, before the next look.
/// Otherwise each packet that it sends would wake this thread, and the two would take turns packet by packet.
const MANY_SMALL: usize = 16;

/// What a forwarding thread works with.
pub(super) struct Outbound<'a> {
    pub(super) shared: &'a Shared,
    pub(super) network: NetworkSlot,
    pub(super) tun: &'a Arc<Tun>,
    pub(super) queue: usize,
    pub(super) stop: &'a Stop,
}

impl Outbound<'_> {
    /// Runs until stopped, or until the device is gone.
    pub(super) fn run(&self) -> io::Result<()> {
        let mut read = vec![0; MAX_READ].into_boxed_slice();
        let mut send = SendBuffer::new();
        while self.tun.wait_readable(self.queue, self.stop)? == Woken::Ready {
            let fib = self.shared.fib();
            let mut small = 0;
            for _ in 0..BATCH {
                let Some(length) = self.tun.read(self.queue, &mut read)? else {
                    break;
                };
                small += usize::from(length <= SMALL);
                self.forward(&fib, &read[..length], &mut send);
            }
            self.leave(&mut send);
            if small >= MANY_SMALL {
                rustix::thread::sched_yield();
            }
        }
        Ok(())
    }

    fn forward(&self, fib: &Fib, read: &[u8], send: &mut SendBuffer) {
        let Ok((header, packet)) = VirtioHeader::parse(read) else {
            return self.shared.count(DropReason::BadSuperPacket);
        };
        let Ok(hop) = fib.route(self.network, packet) else {
            return;
        };
        let Ok(mut segments) = Segmenter::new(&header, packet) else {
            return self.shared.count(DropReason::BadSuperPacket);
        };
        let Some(to) = hop.to() else {
            return self.punt(&hop, segments, send);
        };
        let own_socket = match to {
            Way::Direct(_) => None,
            Way::Through { socket, .. } => Some(socket),
            Way::Relay { .. } => {
                return match fib.by_relay(to) {
                    Some(relay) => self.forward_by(&relay, &hop, &header, packet, segments, send),
                    None => self.shared.count(DropReason::NotRelayed),
                };
            }
        };
        let Some((socket, to)) = self.shared.udp.by(to, self.queue) else {
            return self.shared.count(DropReason::SocketSend);
        };
        let toward = Toward {
            to,
            socket: own_socket,
            ecn: ecn::encapsulated(ecn::mark_of(packet)),
        };
        if segments.frame_length() > hop.frame_limit() {
            return self.forward_in_parts(&hop, segments, &socket, toward, send);
        }
        while !segments.is_done() {
            let length = segments.frame_length();
            let mut most = send.room_for(toward, length, socket.max_segments());
            if most == 0 {
                self.leave(send);
                most = send.room_for(toward, length, socket.max_segments());
            }
            let Ok(Some(run)) = segments.fill(send.free(), most) else {
                return self.shared.count(DropReason::BadSuperPacket);
            };
            if header.gso.is_none() {
                adapt(&hop, send.free(), length);
            }
            if hop.seal(run.frames(send.free())) {
                send.push(toward, run);
            } else {
                for frame in run.frames(send.free()) {
                    self.shared.punt(hop.punt(frame));
                }
            }
        }
    }

    /// The same by a relay: each sealed frame is copied behind a header for the relay. Only what is relayed pays for that.
    fn forward_by(
        &self,
        relay: &ByRelay,
        hop: &Hop<'_>,
        header: &VirtioHeader,
        packet: &[u8],
        mut segments: Segmenter<'_>,
        send: &mut SendBuffer,
    ) {
        self.leave(send);
        let Some(socket) = self.shared.udp.toward(relay.at, self.queue) else {
            return self.shared.count(DropReason::SocketSend);
        };
        let toward = Toward {
            to: relay.at,
            socket: None,
            ecn: ecn::encapsulated(ecn::mark_of(packet)),
        };
        if segments.frame_length() > hop.frame_limit() {
            return self.forward_in_parts_by(relay, hop, segments, socket, toward);
        }
        let mut wrapped = Vec::new();
        while !segments.is_done() {
            let length = segments.frame_length();
            let most = (MAX_RUN_BYTES / (length + RELAY_HEADER)).min(socket.max_segments());
            let Ok(Some(run)) = segments.fill(send.free(), most.max(1)) else {
                return self.shared.count(DropReason::BadSuperPacket);
            };
            if header.gso.is_none() {
                adapt(hop, send.free(), length);
            }
            if !hop.seal(run.frames(send.free())) {
                for frame in run.frames(send.free()) {
                    self.shared.punt(hop.punt(frame));
                }
                continue;
            }
            wrapped.clear();
            for frame in run.frames(send.free()) {
                let start = wrapped.len();
                wrapped.extend_from_slice(&[0; RELAY_HEADER]);
                wrapped.extend_from_slice(frame);
                relay.wrap(&mut wrapped[start..]);
            }
            let train = Train {
                toward,
                segment: run.frame + RELAY_HEADER,
                contents: &wrapped,
            };
            for _ in 0..self.send(socket, &train) {
                self.shared.count(DropReason::SocketSend);
            }
        }
    }

    /// What is too large for the way goes in parts, each packet by itself: the way has just become narrower, or what is
    /// sent over it is no TCP.
    fn forward_in_parts(
        &self,
        hop: &Hop<'_>,
        mut segments: Segmenter<'_>,
        socket: &UdpPort,
        toward: Toward,
        send: &mut SendBuffer,
    ) {
        let mut packet = vec![0; segments.frame_length()];
        while let Ok(Some(run)) = segments.fill(&mut packet, 1) {
            let Some(packet) = packet.get_mut(LANE_HEADER..run.total - LANE_TAG) else {
                return self.shared.count(DropReason::BadSuperPacket);
            };
            hop.adapt(packet);
            // The last segment of a super-packet may fit.
            if run.total <= hop.frame_limit() {
                self.push_whole(hop, packet, socket, toward, send);
                continue;
            }
            let Some(mut parts) = hop.cut(packet) else {
                continue;
            };
            let length = parts.frame_length();
            while parts.left() > 0 {
                self.make_room(toward, length, socket, send);
                let Some(frame) = send.free().get_mut(..length) else {
                    return self.shared.count(DropReason::TooBig);
                };
                parts.seal_next(frame);
                send.push(toward, Run::one(length));
            }
        }
    }

    /// The same by a relay, each part behind a header for the relay.
    fn forward_in_parts_by(
        &self,
        relay: &ByRelay,
        hop: &Hop<'_>,
        mut segments: Segmenter<'_>,
        socket: &UdpPort,
        toward: Toward,
    ) {
        let mut packet = vec![0; segments.frame_length()];
        while let Ok(Some(run)) = segments.fill(&mut packet, 1) {
            let Some(frame) = packet.get_mut(..run.total) else {
                return self.shared.count(DropReason::BadSuperPacket);
            };
            adapt(hop, frame, run.total);
            let frames = if run.total <= hop.frame_limit() {
                let sealed = hop.seal([&mut *frame].into_iter());
                sealed.then(|| vec![frame.to_vec()])
            } else {
                let inner = frame.get(LANE_HEADER..run.total - LANE_TAG);
                inner.and_then(|inner| hop.cut(inner)).map(Parts::sealed)
            };
            for frame in frames.into_iter().flatten() {
                let mut wrapped = [&[0; RELAY_HEADER], &frame[..]].concat();
                relay.wrap(&mut wrapped);
                let train = Train {
                    toward,
                    segment: wrapped.len(),
                    contents: &wrapped,
                };
                for _ in 0..self.send(socket, &train) {
                    self.shared.count(DropReason::SocketSend);
                }
            }
        }
    }

    fn push_whole(
        &self,
        hop: &Hop<'_>,
        packet: &[u8],
        socket: &UdpPort,
        toward: Toward,
        send: &mut SendBuffer,
    ) {
        let length = packet.len() + LANE_OVERHEAD;
        self.make_room(toward, length, socket, send);
        let Some(frame) = send.free().get_mut(..length) else {
            return self.shared.count(DropReason::TooBig);
        };
        if let Some(room) = frame.get_mut(LANE_HEADER..length - LANE_TAG) {
            room.copy_from_slice(packet);
        }
        if hop.seal([&mut *frame].into_iter()) {
            send.push(toward, Run::one(length));
        } else {
            self.shared.punt(hop.punt(frame));
        }
    }

    fn make_room(&self, toward: Toward, length: usize, socket: &UdpPort, send: &mut SendBuffer) {
        if send.room_for(toward, length, socket.max_segments()) == 0 {
            self.leave(send);
        }
    }

    /// Without a lane the packets go to the slow path, one by one.
    fn punt(&self, hop: &Hop<'_>, mut segments: Segmenter<'_>, send: &mut SendBuffer) {
        self.leave(send);
        while let Ok(Some(run)) = segments.fill(send.free(), usize::MAX) {
            for frame in run.frames(send.free()) {
                self.shared.punt(hop.punt(frame));
            }
        }
    }

    /// Sends the run.
    fn leave(&self, send: &mut SendBuffer) {
        let Some(train) = send.take() else { return };
        let Toward { to, socket, .. } = train.toward;
        let way = match socket {
            None => Way::Direct(to),
            Some(socket) => Way::Through {
                socket,
                endpoint: to,
            },
        };
        let Some((socket, _)) = self.shared.udp.by(way, self.queue) else {
            return;
        };
        for _ in 0..self.send(&socket, &train) {
            self.shared.count(DropReason::SocketSend);
        }
    }

    /// Sends a train whole; where the path does not take trains, one by one. Says how many datagrams were lost.
    fn send(&self, socket: &UdpPort, train: &Train<'_>) -> usize {
        if self
            .send_when_possible(socket, train, train.contents)
            .is_ok()
        {
            return 0;
        }
        if train.contents.len() <= train.segment {
            return 1;
        }
        let datagrams = train.contents.chunks(train.segment);
        datagrams
            .map(|datagram| usize::from(self.send_when_possible(socket, train, datagram).is_err()))
            .sum()
    }

    fn send_when_possible(
        &self,
        socket: &UdpPort,
        train: &Train<'_>,
        contents: &[u8],
    ) -> io::Result<()> {
        let Toward { to, ecn, .. } = train.toward;
        loop {
            match socket.send(to, ecn, contents, train.segment) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.wait(Interest::Writable, self.stop)? == Woken::Stop {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }
}

/// A packet that is no super-packet may be a SYN.
fn adapt(hop: &Hop<'_>, frame: &mut [u8], length: usize) {
    if let Some(packet) = frame.get_mut(LANE_HEADER..length - LANE_TAG) {
        hop.adapt(packet);
    }
}
