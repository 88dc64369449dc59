//! What happened to nodes, in order, for a judge who works out on his own what should have come of it.

use tombolo_engine::control::Event;
use tombolo_proto::{
    config::{DirectoryEntry, Keyring},
    gossip::Gossiped,
    id::{UnixSeconds, Version},
    key::IdentityKey,
    signed::Signed,
};

use crate::packets::Message;

/// Something that happened to one node.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A controller sent a whole answer, up to this version: all of it is about to be looked at.
    Told(Vec<DirectoryEntry>, Version),
    /// A peer brought something.
    Brought(Vec<Gossiped>),
    /// A controller showed a keyring.
    Keyring(Signed<Keyring>),
    /// It has waited long enough for the directory of a new epoch.
    GaveUpRollover,
    /// Everything heard so far is on disk, as this generation.
    Kept(u64),
    /// It acts on everything it has heard, at this time by its wall clock.
    Acted(UnixSeconds),
    /// It was shown the door, and forgets who is inside.
    Denied,
    /// It starts with this generation of what it had on disk.
    Started(u64),
    /// A packet reached its TUN device.
    Delivered(Message),
    /// A session with a peer came up.
    Met(IdentityKey),
    /// A session with a peer ended.
    Parted(IdentityKey),
}

impl Entry {
    pub(super) const fn of(event: &Event) -> Option<Self> {
        match event {
            Event::SessionUp { peer, .. } => Some(Self::Met(*peer)),
            Event::SessionDown { peer, .. } => Some(Self::Parted(*peer)),
            Event::FibChanged
            | Event::WayChanged { .. }
            | Event::Gossip { .. }
            | Event::Answered { .. }
            | Event::Seen { .. }
            | Event::StreamWanted { .. }
            | Event::SocketUnused { .. }
            | Event::RendezvousWanted { .. }
            | Event::Called { .. }
            | Event::Relays { .. }
            | Event::RelaySay { .. } => None,
        }
    }
}
