//! A peer as a party to gossip: carries messages, and stays in touch although nothing flows.

use std::time::Instant;

use tombolo_proto::gossip::GossipMessage;

use super::Peer;
use crate::{control::Context, lane_control::LaneMessage, path::way::Way};

impl Peer {
    pub(super) fn handle_gossip(
        &self,
        message: GossipMessage,
        from: Way,
        context: &mut Context<'_>,
    ) {
        context
            .outbox
            .gossip
            .push_back((self.id.slot, message, from));
    }

    /// Sends a message on the lane in use. Silence after one that expects an answer counts against the peer.
    pub(crate) fn send_gossip(
        &mut self,
        message: GossipMessage,
        expects_answer: bool,
        context: &mut Context<'_>,
        now: Instant,
    ) {
        let Some(to) = self.path.as_ref().map(|path| path.to) else {
            return;
        };
        self.send_control(&LaneMessage::Gossip(message), None, to, context);
        if expects_answer {
            self.watch.expect(now);
        }
    }

    /// Keeps a session from now on: makes one if there is none, and replaces lanes in time also when idle.
    pub(crate) fn keep(&mut self, context: &mut Context<'_>, now: Instant) {
        self.is_kept = true;
        self.connect(context, now);
    }

    /// Lets the session end when its keys do, unless something flows.
    pub(crate) const fn let_go(&mut self) {
        self.is_kept = false;
    }
}
