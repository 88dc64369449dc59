//! Streams to those who relay, where no UDP passes, and streams that others open.

use std::{net::SocketAddr, time::Instant};

use tombolo_engine::relay::RelayName;
use tombolo_proto::{id::NetworkId, key::IdentityKey};

use super::{Daemon, wall};
use crate::streams::{News, Target, listening::Guest};

impl Daemon {
    /// UDP to somebody who relays does not seem to pass.
    pub(super) fn stream_wanted(
        &mut self,
        network: NetworkId,
        relay: RelayName,
        at: Vec<SocketAddr>,
        silent: Option<SocketAddr>,
    ) {
        let places = match relay {
            RelayName::Member(_) => at,
            RelayName::Controller(replica) => self.place_of_replica(&replica),
        };
        let now = Instant::now();
        let target = Target { network, relay };
        if let Some(silent) = silent {
            self.streams.close(target, silent);
        }
        if let Some(open) = self.streams.want(target, places, now) {
            self.engine
                .set_stream(network, relay, Some(open.local), now);
        }
    }

    /// Where replicas were reached last: TCP is listened for at the control port.
    fn place_of_replica(&self, replica: &IdentityKey) -> Vec<SocketAddr> {
        let place = self.replica_places.get(replica);
        place.copied().into_iter().collect()
    }

    /// A stream has opened, or ended.
    pub(super) fn stream_changed(&mut self, news: &News) {
        self.streams.note(news);
        let Target { network, relay } = news.target;
        let local = news.open.map(|open| open.local);
        self.engine
            .set_stream(network, relay, local, Instant::now());
    }

    /// Whether somebody who opened a stream is a member.
    pub(super) fn handle_guest(&self, guest: Guest) {
        let directories = self
            .networks
            .values()
            .filter(|network| network.slot.is_some())
            .filter_map(|network| network.directory.as_ref());
        let is_member = directories
            .into_iter()
            .any(|directory| directory.member(&guest.key, wall()).is_some());
        // A stream that has ended does not want to know.
        let _ = guest.is_member.send(is_member);
    }
}
