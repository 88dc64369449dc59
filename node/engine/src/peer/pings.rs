//! Pings that somebody outside asked for: measured like any other, and the answer is told.

use std::time::Instant;

use rand::Rng as _;

use super::Peer;
use crate::{
    control::{Context, Event},
    lane_control::LaneMessage,
    path::way::Way,
};

/// Questions that may be open; the oldest gives way.
const MAX_OPEN: usize = 16;

/// Questions without an answer so far.
#[derive(Debug, Default)]
pub(super) struct Pings(Vec<Asked>);

#[derive(Debug)]
struct Asked {
    id: u64,
    way: Way,
    at: Instant,
}

impl Peer {
    /// Sends a ping by the way in use; how its answer will be called. `None` without a session, of which one is then made.
    pub(crate) fn ask(&mut self, context: &mut Context<'_>, now: Instant) -> Option<u64> {
        let Some(way) = self.path.as_ref().map(|path| path.to) else {
            self.connect(context, now);
            return None;
        };
        let id = context.rng.random();
        let open = &mut self.pings.0;
        if open.len() >= MAX_OPEN {
            open.remove(0);
        }
        open.push(Asked { id, way, at: now });
        self.send_control(&LaneMessage::Ping { id }, None, way, context);
        Some(id)
    }

    /// Whether a pong answers such a question; tells whoever asked.
    pub(super) fn tell_answer(&mut self, id: u64, context: &mut Context<'_>, now: Instant) -> bool {
        let Some(position) = self.pings.0.iter().position(|asked| asked.id == id) else {
            return false;
        };
        let Asked { way, at, .. } = self.pings.0.remove(position);
        let after = now.saturating_duration_since(at);
        self.paths.measured(way, after);
        context.event(Event::Answered { id, way, after });
        true
    }
}
