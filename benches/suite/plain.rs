//! Tombolo's way of a packet without its encryption, between two fixed ends: what encryption costs. The same system calls,
//! super-packets and frame lengths as in the node, with nothing in the rooms where header and tag belong.
//!
//! It is part of the suite and of nothing that is installed: whoever reaches the port may send.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    thread,
};

use anyhow::{Context as _, Result};
use quinn_udp::RecvMeta;
use tombolo_engine::offload::{
    coalesce::{Coalescer, Delivery},
    ecn::{self, Ecn},
    segment::Segmenter,
    virtio::VirtioHeader,
};
use tombolo_node::io::{
    stop::{Interest, Stop, Woken},
    tun::{MAX_READ, Tun},
    tun_offload::TunOffload,
    udp::{UdpOptions, UdpPort, UdpSockets},
};
use tombolo_proto::frame::{LANE_HEADER, LANE_TAG};

/// Reads from the TUN before what was gathered has to leave, and most of what is received at once: as in the node.
const BATCH: usize = 256;
const BUFFERS: usize = quinn_udp::BATCH_SIZE;
const BUFFER_BYTES: usize = 64 * 1024;
const TRAIN_BYTES: usize = 65_535 - 48;

/// Carries packets between a new TUN device and the other end until it is killed.
///
/// # Errors
/// When there is no device or no socket, or one of them breaks.
pub(crate) fn run(device: &str, other_end: SocketAddr) -> Result<()> {
    let name = device.parse().context("not a name for a device")?;
    let tun = Tun::create(&name, 1, TunOffload::default())?;
    let sockets = UdpSockets::bind(UdpOptions {
        port: other_end.port(),
        queues: 1,
        gso: true,
    })?;
    let socket = sockets
        .toward(other_end, 0)
        .context("no socket of that family")?;
    let stop = Stop::new()?;
    thread::scope(|scope| {
        let outbound = scope.spawn(|| outbound(&tun, socket, other_end, &stop));
        let inbound = inbound(&tun, socket, &stop);
        stop.raise();
        outbound.join().expect("it does not panic")?;
        inbound
    })
    .context("Failed to forward")
}

/// Frames of one length, the last perhaps shorter, that leave in one system call.
struct Train {
    bytes: Box<[u8]>,
    end: usize,
    frame: usize,
    count: usize,
    ecn: Ecn,
}

impl Train {
    fn room_for(&self, length: usize, ecn: Ecn, most: usize) -> usize {
        if self.count == 0 {
            return most;
        }
        let is_open = self.end.is_multiple_of(self.frame) && ecn == self.ecn;
        if !is_open || length > self.frame || self.end + length > self.bytes.len() {
            0
        } else {
            most.saturating_sub(self.count)
        }
    }
}

fn outbound(tun: &Tun, socket: &UdpPort, to: SocketAddr, stop: &Stop) -> io::Result<()> {
    let mut read = vec![0; MAX_READ];
    let mut train = Train {
        bytes: vec![0; TRAIN_BYTES].into_boxed_slice(),
        end: 0,
        frame: 0,
        count: 0,
        ecn: Ecn::NotEct,
    };
    while tun.wait_readable(0, stop)? == Woken::Ready {
        for _ in 0..BATCH {
            let Some(length) = tun.read(0, &mut read)? else {
                break;
            };
            if let Ok((header, packet)) = VirtioHeader::parse(&read[..length])
                && let Ok(segments) = Segmenter::new(&header, packet)
            {
                let mark = ecn::encapsulated(ecn::mark_of(packet));
                gather(segments, mark, &mut train, socket, to, stop)?;
            }
        }
        leave(&mut train, socket, to, stop)?;
    }
    Ok(())
}

fn gather(
    mut segments: Segmenter<'_>,
    mark: Ecn,
    train: &mut Train,
    socket: &UdpPort,
    to: SocketAddr,
    stop: &Stop,
) -> io::Result<()> {
    loop {
        let mut most = train.room_for(segments.frame_length(), mark, socket.max_segments());
        if most == 0 {
            leave(train, socket, to, stop)?;
            most = socket.max_segments();
        }
        let Ok(Some(run)) = segments.fill(&mut train.bytes[train.end..], most) else {
            return Ok(());
        };
        if train.count == 0 {
            train.frame = run.frame;
            train.ecn = mark;
        }
        train.count += run.count();
        train.end += run.total;
    }
}

fn leave(train: &mut Train, socket: &UdpPort, to: SocketAddr, stop: &Stop) -> io::Result<()> {
    let contents = &train.bytes[..train.end];
    if train.count > 0 {
        // Any other error loses the train, as any link may.
        while let Err(error) = socket.send(to, train.ecn, contents, train.frame)
            && error.kind() == io::ErrorKind::WouldBlock
            && socket.wait(Interest::Writable, stop)? == Woken::Ready
        {}
    }
    train.count = 0;
    train.end = 0;
    Ok(())
}

fn inbound(tun: &Tun, socket: &UdpPort, stop: &Stop) -> io::Result<()> {
    let mut memory = vec![0; BUFFERS * BUFFER_BYTES];
    let mut metas = [RecvMeta::default(); BUFFERS];
    let mut coalescer = Coalescer::default();
    // While the device is down it takes nothing.
    let write = |(), delivery: Delivery<'_>| {
        let _ = tun.write(0, &delivery);
    };
    while socket.wait(Interest::Readable, stop)? == Woken::Ready {
        let mut rest = memory.chunks_exact_mut(BUFFER_BYTES);
        let mut buffers: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        // An error is about an earlier datagram: the other end is not there yet.
        let filled = socket.receive(&mut buffers, &mut metas).unwrap_or(0);
        for (meta, start) in metas[..filled].iter().zip((0..).step_by(BUFFER_BYTES)) {
            let mark = Ecn::from_bits(meta.ecn.map_or(0, |ecn| ecn as u8));
            let end = start + meta.len;
            for at in (start..end).step_by(meta.stride.max(1)) {
                let packet = at + LANE_HEADER..end.min(at + meta.stride).saturating_sub(LANE_TAG);
                if memory
                    .get_mut(packet.clone())
                    .is_some_and(|bytes| ecn::decapsulate(bytes, mark).is_ok())
                {
                    coalescer.push((), tun.merges(), &mut memory, packet, write);
                }
            }
        }
        coalescer.flush(&mut memory, write);
    }
    Ok(())
}
