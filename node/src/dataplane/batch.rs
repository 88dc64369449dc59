//! The only owner of packet memory. Buffers are made once per thread and reused; nothing is allocated per packet.

use std::{io, io::IoSliceMut, net::SocketAddr};

use quinn_udp::RecvMeta;
use tombolo_proto::frame::{LANE_HEADER, LANE_OVERHEAD, LANE_TAG};

use crate::io::udp::UdpPort;

/// Largest inner packet a TUN read may give: the largest overlay MTU and some.
const MAX_PACKET: usize = 9 * 1024;
/// Room for the longest run of full packets at the default MTU twice over.
const SEND_BYTES: usize = 256 * 1024;
/// UDP payload of one segmented send: 65,535 less the longest IP and UDP headers.
const MAX_RUN_BYTES: usize = 65_535 - 48;
/// A train of datagrams merged by the kernel is at most this long.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Buffers per receive call.
const RECEIVE_BUFFERS: usize = quinn_udp::BATCH_SIZE;

/// Sealed frames on their way out, laid out back to back: frames of one length to one address form a run, and a run
/// leaves in one system call.
///
/// ```text
/// | run: frame frame frame … | next frame: 16 header, packet, 16 tag | free
/// start                      end
/// ```
#[derive(Debug)]
pub(super) struct SendBuffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    run: Option<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    to: SocketAddr,
    segment: usize,
    count: usize,
    /// A shorter frame ends a run: only the last segment may be short.
    ended: bool,
}

/// A run ready to leave.
#[derive(Debug)]
pub(super) struct Train<'a> {
    pub(super) to: SocketAddr,
    pub(super) segment: usize,
    pub(super) contents: &'a [u8],
}

impl SendBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; SEND_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            run: None,
        }
    }

    /// Where the next inner packet is read to.
    pub(super) fn packet_room(&mut self) -> &mut [u8] {
        let from = self.end + LANE_HEADER;
        &mut self.bytes[from..from + MAX_PACKET]
    }

    /// The next frame: header room, the packet just read, tag room.
    pub(super) fn frame(&mut self, packet: usize) -> &mut [u8] {
        &mut self.bytes[self.end..self.end + packet + LANE_OVERHEAD]
    }

    /// Whether the next frame, of `length` bytes to `to`, may join the run. If not, the run has to leave first.
    pub(super) fn joins(&self, to: SocketAddr, length: usize, max_segments: usize) -> bool {
        self.run.is_none_or(|run| {
            run.to == to
                && !run.ended
                && length <= run.segment
                && run.count < max_segments
                && self.end + length - self.start <= MAX_RUN_BYTES
        })
    }

    /// Takes the next frame into the run; [`Self::joins`] said that it may.
    pub(super) fn push(&mut self, to: SocketAddr, length: usize) {
        let run = self.run.get_or_insert(Run {
            to,
            segment: length,
            count: 0,
            ended: false,
        });
        run.count += 1;
        run.ended = length < run.segment;
        self.end += length;
    }

    /// The run, if there is one. The frame that comes next stays where it is.
    pub(super) fn take(&mut self) -> Option<Train<'_>> {
        let run = self.run.take()?;
        let contents = &self.bytes[self.start..self.end];
        self.start = self.end;
        Some(Train {
            to: run.to,
            segment: run.segment,
            contents,
        })
    }

    /// Whether another packet of any size fits.
    pub(super) fn has_room(&self) -> bool {
        self.end + LANE_HEADER + MAX_PACKET + LANE_TAG <= self.bytes.len()
    }

    /// Starts over at the front. The run must have been taken.
    pub(super) fn rewind(&mut self) {
        debug_assert!(self.run.is_none(), "a run would be lost");
        self.start = 0;
        self.end = 0;
    }
}

/// Received datagrams, possibly merged into trains by the kernel.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    bytes: Box<[u8]>,
    metas: [RecvMeta; RECEIVE_BUFFERS],
    filled: usize,
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

    /// Every datagram of the last [`Self::fill`], in order of arrival.
    pub(super) fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        let trains = self
            .bytes
            .chunks_exact_mut(RECEIVE_BYTES)
            .zip(&self.metas)
            .take(self.filled);
        trains.flat_map(|(train, meta)| {
            let length = meta.len.min(train.len());
            train[..length]
                .chunks_mut(meta.stride.max(1))
                .map(|datagram| (meta.addr, datagram))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_one_length_to_one_address_leave_as_one_train() {
        let mut buffer = SendBuffer::new();
        let to = an_address(1);

        for _ in 0..3 {
            assert!(buffer.joins(to, 132, 64));
            buffer.frame(100).fill(7);
            buffer.push(to, 132);
        }

        let train = buffer.take().expect("a run");
        assert_eq!(
            (train.to, train.segment, train.contents.len()),
            (to, 132, 396)
        );
        assert!(buffer.take().is_none());
    }

    #[test]
    fn a_shorter_frame_ends_a_run_and_a_longer_one_never_joins() {
        let mut buffer = SendBuffer::new();
        buffer.push(an_address(1), 132);
        assert!(!buffer.joins(an_address(1), 133, 64));
        assert!(!buffer.joins(an_address(2), 132, 64));

        buffer.push(an_address(1), 60);

        assert!(!buffer.joins(an_address(1), 60, 64));
    }

    #[test]
    fn a_frame_that_does_not_join_keeps_its_place_when_the_run_leaves() {
        let mut buffer = SendBuffer::new();
        buffer.push(an_address(1), 132);
        buffer.frame(10).fill(9);

        assert!(buffer.take().is_some());

        assert_eq!(buffer.frame(10), [9; 42]);
        buffer.push(an_address(2), 42);
        assert_eq!(buffer.take().expect("a run").contents, [9; 42]);
    }

    #[test]
    fn a_run_stops_at_the_segment_limit_and_at_64_kib() {
        let mut buffer = SendBuffer::new();
        buffer.push(an_address(1), 132);
        assert!(!buffer.joins(an_address(1), 132, 1));

        let mut full = SendBuffer::new();
        while full.joins(an_address(1), 8932, 64) {
            full.push(an_address(1), 8932);
        }
        assert_eq!(full.take().expect("a run").contents.len(), 7 * 8932);
    }

    fn an_address(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 9790))
    }
}
