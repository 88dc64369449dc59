//! The sizes that the way to the peer takes: asking about them, answering, and sending what is larger.

use std::time::Instant;

use tombolo_proto::{frame::LANE_OVERHEAD, id::LaneIndex};

use super::Peer;
use crate::{control::Context, fib::SendPath, forward, lane_control::LaneMessage, path::way::Way};

impl Peer {
    /// Asks what is to be asked about the way in use. Called after everything that may have changed it.
    pub(crate) fn measure_way(&mut self, context: &mut Context<'_>, now: Instant) {
        let way = self.path.as_ref().map(|path| path.to);
        self.mtus.follow(way, context.ownership.mtu(), now);
        let Some(to) = way else { return };
        if let Some(question) = self.mtus.handle_timeout(self.paths.round_trip(), now) {
            for size in question.sizes {
                let probe = LaneMessage::size_probe(question.number, size);
                self.send_control(&probe, None, to, context);
            }
        }
        let limit = self.mtus.limit(to, context.ownership.mtu());
        if self
            .path
            .as_ref()
            .is_some_and(|path| path.frame_limit != limit)
        {
            self.refresh_path(context);
        }
    }

    /// The kernel refused to send a datagram of this size on a way.
    pub(crate) fn handle_refused(&mut self, way: Way, size: u16, now: Instant) {
        self.mtus.handle_refused(way, size, now);
    }

    /// The largest inner packet that goes to the peer in one frame, once a probe of that size has been answered.
    pub(crate) fn proven_mtu(&self) -> Option<u16> {
        Some(self.mtus.proven()?.saturating_sub(LANE_OVERHEAD as u16))
    }

    pub(super) fn answer_size_probe(
        &self,
        number: u32,
        message: &[u8],
        lane: LaneIndex,
        from: Way,
        context: &mut Context<'_>,
    ) {
        let size = u16::try_from(message.len() + LANE_OVERHEAD).unwrap_or(u16::MAX);
        let answer = LaneMessage::SizeAnswer { number, size };
        self.send_control(&answer, Some(lane), from, context);
    }

    pub(super) fn send_parts(path: &SendPath, packet: &[u8], context: &mut Context<'_>) -> bool {
        let Some(parts) = forward::cut(path, packet) else {
            return false;
        };
        for frame in parts.sealed() {
            context.transmit(path.to, frame);
        }
        true
    }
}
