//! The only owner of packet memory. Buffers are made once per thread and reused; nothing is allocated per packet.

use std::{io, io::IoSliceMut, net::SocketAddr, ops::Range};

use quinn_udp::RecvMeta;
use tombolo_engine::{
    offload::{ecn::Ecn, segment},
    path::way::SocketSlot,
};

use crate::io::udp::UdpPort;

/// UDP payload of one segmented send: 65,535 less the longest IP and UDP headers.
pub(super) const MAX_RUN_BYTES: usize = 65_535 - 48;
/// A train of datagrams merged by the kernel is at most this long.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Buffers per receive call.
const RECEIVE_BUFFERS: usize = quinn_udp::BATCH_SIZE;

/// Sealed frames on their way out, back to back: frames of one length to one address with one congestion mark form a
/// run, and a run leaves in one system call.
///
/// ```text
/// | frame frame frame … shorter frame | free
/// 0                                   end
/// ```
#[derive(Debug)]
pub(super) struct SendBuffer {
    bytes: Box<[u8]>,
    end: usize,
    run: Option<Run>,
}

/// What all frames of a run have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Toward {
    pub(super) to: SocketAddr,
    /// The socket to send from, if it is not one that all peers share.
    pub(super) socket: Option<SocketSlot>,
    pub(super) ecn: Ecn,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    toward: Toward,
    frame: usize,
    count: usize,
    /// A shorter frame ends a run: only the last segment may be short.
    has_ended: bool,
}

/// A run ready to leave.
#[derive(Debug)]
pub(super) struct Train<'a> {
    pub(super) toward: Toward,
    pub(super) segment: usize,
    pub(super) contents: &'a [u8],
}

impl SendBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; MAX_RUN_BYTES].into_boxed_slice(),
            end: 0,
            run: None,
        }
    }

    /// How many more frames, the first of `length` bytes and none longer, may join the run. If none may, it has to leave
    /// first.
    pub(super) fn room_for(&self, toward: Toward, length: usize, max_segments: usize) -> usize {
        if self.end + length > self.bytes.len() {
            return 0;
        }
        match self.run {
            None => max_segments,
            Some(run) if run.toward != toward || run.has_ended || length > run.frame => 0,
            Some(run) if length == run.frame => max_segments.saturating_sub(run.count),
            Some(run) => usize::from(run.count < max_segments),
        }
    }

    /// Where the next frames are written.
    pub(super) fn free(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Takes the frames written to the front of [`Self::free`] into the run; [`Self::room_for`] said that they may.
    pub(super) fn push(&mut self, toward: Toward, frames: segment::Run) {
        let run = self.run.get_or_insert(Run {
            toward,
            frame: frames.frame,
            count: 0,
            has_ended: false,
        });
        run.count += frames.count();
        run.has_ended = !frames.total.is_multiple_of(run.frame);
        self.end += frames.total;
    }

    /// The run, if there is one, and an empty buffer after it.
    pub(super) fn take(&mut self) -> Option<Train<'_>> {
        let run = self.run.take()?;
        let end = std::mem::take(&mut self.end);
        Some(Train {
            toward: run.toward,
            segment: run.frame,
            contents: &self.bytes[..end],
        })
    }
}

/// Received datagrams, possibly merged into trains by the kernel.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    bytes: Box<[u8]>,
    metas: [RecvMeta; RECEIVE_BUFFERS],
    filled: usize,
}

/// Datagrams of one source with one congestion mark, back to back in the memory of their buffer.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) from: SocketAddr,
    pub(super) ecn: Ecn,
    bytes: Range<usize>,
    stride: usize,
}

impl Arrived {
    /// Where each datagram lies, in order.
    pub(super) fn datagrams(self) -> impl Iterator<Item = Range<usize>> {
        let Range { start, end } = self.bytes;
        (start..end)
            .step_by(self.stride)
            .map(move |at| at..end.min(at + self.stride))
    }
}

impl ReceiveBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; RECEIVE_BUFFERS * RECEIVE_BYTES].into_boxed_slice(),
            metas: [RecvMeta::default(); RECEIVE_BUFFERS],
            filled: 0,
        }
    }

    /// Receives what is there. Fails with `WouldBlock` when there is nothing.
    pub(super) fn fill(&mut self, socket: &UdpPort) -> io::Result<()> {
        self.filled = 0;
        let mut rest = self.bytes.chunks_exact_mut(RECEIVE_BYTES);
        let mut buffers: [IoSliceMut<'_>; RECEIVE_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        self.filled = socket.receive(&mut buffers, &mut self.metas)?;
        Ok(())
    }

    /// All of the last [`Self::fill`] in order of arrival, and the memory that it lies in.
    pub(super) fn arrived(&mut self) -> (&mut [u8], impl Iterator<Item = Arrived>) {
        let starts = (0..).step_by(RECEIVE_BYTES);
        let metas = self.metas.iter().take(self.filled);
        let arrived = metas.zip(starts).map(|(meta, start)| Arrived {
            from: meta.addr,
            ecn: Ecn::from_bits(meta.ecn.map_or(0, |ecn| ecn as u8)),
            bytes: start..start + meta.len.min(RECEIVE_BYTES),
            stride: meta.stride.max(1),
        });
        (&mut self.bytes, arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_one_length_to_one_address_leave_as_one_train() {
        let mut buffer = SendBuffer::new();

        for _ in 0..3 {
            assert!(buffer.room_for(toward(1), 132, 64) > 0);
            buffer.free()[..132].fill(7);
            buffer.push(toward(1), frames(132, 132));
        }

        let train = buffer.take().expect("a run");
        assert_eq!((train.toward, train.segment), (toward(1), 132));
        assert_eq!(train.contents, [7; 396]);
        assert!(buffer.take().is_none());
    }

    #[test]
    fn one_shorter_frame_ends_a_run_and_a_longer_one_never_joins() {
        let mut buffer = SendBuffer::new();
        buffer.push(toward(1), frames(132, 264));
        assert_eq!(buffer.room_for(toward(1), 133, 64), 0);
        assert_eq!(buffer.room_for(toward(2), 132, 64), 0);
        assert_eq!(buffer.room_for(toward(1), 132, 64), 62);
        assert_eq!(buffer.room_for(toward(1), 60, 64), 1);

        buffer.push(toward(1), frames(60, 60));

        assert_eq!(buffer.room_for(toward(1), 60, 64), 0);
    }

    #[test]
    fn frames_with_another_congestion_mark_leave_by_themselves() {
        let mut buffer = SendBuffer::new();
        buffer.push(toward(1), frames(132, 132));
        let marked = Toward {
            ecn: Ecn::Ect0,
            ..toward(1)
        };

        assert_eq!(buffer.room_for(marked, 132, 64), 0);
    }

    #[test]
    fn a_super_packet_with_a_short_end_ends_its_run() {
        let mut buffer = SendBuffer::new();

        buffer.push(toward(1), frames(1432, 3 * 1432 + 100));

        assert_eq!(buffer.room_for(toward(1), 1432, 64), 0);
        assert_eq!(buffer.take().expect("a run").segment, 1432);
    }

    #[test]
    fn a_run_stops_at_the_segment_limit_and_at_64_kib() {
        let mut buffer = SendBuffer::new();
        buffer.push(toward(1), frames(132, 132));
        assert_eq!(buffer.room_for(toward(1), 132, 1), 0);

        let mut full = SendBuffer::new();
        while full.room_for(toward(1), 8932, 64) > 0 {
            full.push(toward(1), frames(8932, 8932));
        }
        assert_eq!(full.take().expect("a run").contents.len(), 7 * 8932);
    }

    #[test]
    fn a_train_falls_apart_into_its_datagrams() {
        let arrived = Arrived {
            from: toward(1).to,
            ecn: Ecn::NotEct,
            bytes: 100..350,
            stride: 100,
        };

        let datagrams: Vec<_> = arrived.datagrams().collect();

        assert_eq!(datagrams, [100..200, 200..300, 300..350]);
    }

    fn frames(frame: usize, total: usize) -> segment::Run {
        segment::Run { frame, total }
    }

    fn toward(host: u8) -> Toward {
        Toward {
            to: SocketAddr::from(([192, 0, 2, host], 9790)),
            socket: None,
            ecn: Ecn::NotEct,
        }
    }
}
