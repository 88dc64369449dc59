//! The fast path: what becomes of one packet. `&self`, no clock, no waiting; nothing is allocated unless the packet
//! leaves for the slow path.
//!
//! Outbound: destination -> longest prefix -> peer -> lane; the packet is sealed where it lies. A peer without a lane
//! punts the packet to the slow path, which queues it and makes a lane.
//!
//! Inbound: first byte -> lane index -> open -> the inner source must belong to the sender -> access rules. Handshake messages go to the
//! slow path, but only if they can be meant for this node. A frame may carry a note to the slow path: the first one on a
//! fresh lane confirms it, and the newest one from an unexpected address says that the peer has moved.

mod relayed;
mod verdict;

use std::net::{IpAddr, SocketAddr};

use tombolo_proto::{
    frame::{
        self, FrameKind, LANE_CONTROL, LANE_DATA, LANE_FRAGMENT, LANE_HEADER, LANE_OVERHEAD,
        LANE_TAG, LaneHeader,
    },
    id::{LaneIndex, Mtu},
    ip,
};

use crate::{
    counters::DropReason,
    fib::{Fib, LaneEntry, NetworkSlot, PeerSlot, SendPath},
    lane::{Opened, Reserved},
    mss,
    offload::ecn::Ecn,
    parts::Cut,
    path::way::Way,
    punch::PROBE_LENGTH,
};

pub use relayed::ByRelay;
use verdict::MAX_PUNTED;
pub use verdict::{Inbound, Outbound, Punt};

/// Where the packets of a flow go.
#[derive(Debug)]
pub struct Hop<'a> {
    peer: PeerSlot,
    path: Option<&'a SendPath>,
    mtu: Mtu,
}

impl Hop<'_> {
    /// Whose packets they are.
    #[must_use]
    pub const fn peer(&self) -> PeerSlot {
        self.peer
    }

    /// The way to the peer; `None` while there is no lane, and the packets have to be punted.
    #[must_use]
    pub fn to(&self) -> Option<Way> {
        self.path.map(|path| path.to)
    }

    /// Largest frame that the way to the peer takes; a packet whose frame is longer goes in parts.
    #[must_use]
    pub fn frame_limit(&self) -> usize {
        self.path
            .map_or(usize::MAX, |path| usize::from(path.frame_limit))
    }

    /// Makes a packet fit the way before it is sealed: what a TCP SYN announces.
    pub fn adapt(&self, packet: &mut [u8]) {
        mss::clamp(packet, fitting(self.mtu, self.path));
    }

    /// Cuts a packet that is too large for one frame. `None` if there is no lane, its key may not seal that many more
    /// frames, or eight parts are not enough (which is counted).
    #[must_use]
    pub fn cut<'p>(&self, packet: &'p [u8]) -> Option<Parts<'_, 'p>> {
        cut(self.path?, packet)
    }

    /// Seals frames in place. Each is 16 bytes of room, the inner packet, and 16 bytes of room. Where there is no lane, or
    /// its key may not seal that many more, it seals none, leaves them as they were and says `false`.
    #[must_use]
    pub fn seal<'f>(&self, frames: impl ExactSizeIterator<Item = &'f mut [u8]>) -> bool {
        let packets = frames.len();
        let Some(path) = self.path else {
            return false;
        };
        let Ok(mut reserved) = u32::try_from(packets)
            .map_err(|_| DropReason::Exhausted)
            .and_then(|packets| path.lane.reserve(packets))
        else {
            return false;
        };
        let mut bytes = 0;
        for frame in frames {
            bytes += frame.len().saturating_sub(LANE_OVERHEAD);
            if reserved.seal(LANE_DATA, frame).is_err() {
                return false;
            }
        }
        path.counters.sent_run(packets, bytes);
        true
    }

    /// The packet of an unsealed frame, for the slow path.
    #[must_use]
    pub fn punt(&self, frame: &[u8]) -> Punt {
        let end = frame.len().saturating_sub(LANE_TAG);
        Punt::Packet {
            peer: self.peer,
            packet: frame.get(LANE_HEADER..end).unwrap_or_default().to_vec(),
        }
    }
}

/// The parts of a packet, to be sealed one after the other.
#[derive(Debug)]
pub struct Parts<'a, 'p> {
    cut: Cut,
    reserved: Reserved<'a>,
    packet: &'p [u8],
    next: u8,
}

/// [`Hop::cut`], for whoever knows the path.
pub(crate) fn cut<'a, 'p>(path: &'a SendPath, packet: &'p [u8]) -> Option<Parts<'a, 'p>> {
    let Some(cut) = Cut::new(packet.len(), usize::from(path.frame_limit)) else {
        path.counters.dropped.count(DropReason::TooBig);
        return None;
    };
    let reserved = path.lane.reserve(u32::from(cut.count())).ok()?;
    path.counters.sent(packet.len());
    Some(Parts {
        cut,
        reserved,
        packet,
        next: 0,
    })
}

impl Parts<'_, '_> {
    /// How many have not been sealed yet.
    #[must_use]
    pub const fn left(&self) -> u8 {
        self.cut.count() - self.next
    }

    /// Bytes of the frame of each.
    #[must_use]
    pub fn frame_length(&self) -> usize {
        self.cut.frame()
    }

    /// Writes and seals the next part into `frame`, which has [`Self::frame_length`] bytes.
    pub fn seal_next(&mut self, frame: &mut [u8]) {
        if let Some(payload) = payload_mut(frame) {
            self.cut.write(self.next, self.packet, payload);
        }
        self.next = self.next.saturating_add(1).min(self.cut.count());
        // The counters are reserved and the frame has the length for it: sealing does not fail.
        let sealed = self.reserved.seal(LANE_FRAGMENT, frame);
        debug_assert!(sealed.is_ok());
    }

    /// The sealed frames of all parts, for senders outside the fast path.
    #[must_use]
    pub fn sealed(mut self) -> Vec<Vec<u8>> {
        (0..self.left())
            .map(|_| {
                let mut frame = vec![0; self.frame_length()];
                self.seal_next(&mut frame);
                frame
            })
            .collect()
    }
}

impl Fib {
    /// Where a packet goes, or a super-packet: its segments all go the same way. What goes nowhere is counted.
    pub fn route(&self, network: NetworkSlot, packet: &[u8]) -> Result<Hop<'_>, DropReason> {
        self.find_hop(network, packet)
            .inspect_err(|reason| self.counters.count(*reason))
    }

    fn find_hop(&self, network: NetworkSlot, packet: &[u8]) -> Result<Hop<'_>, DropReason> {
        let view = ip::view(packet).ok_or(DropReason::NotIp)?;
        let ownership = self.ownership(network).ok_or(DropReason::NoRoute)?;
        let peer = ownership
            .next_hop_present(view.destination, &self.away)
            .ok_or(DropReason::NoRoute)?;
        if let Some(guard) = self.guard(network) {
            guard.sent(packet);
        }
        Ok(Hop {
            peer,
            path: self.path(peer),
            mtu: ownership.mtu(),
        })
    }

    /// Routes and seals one packet. `frame` is 16 bytes of room, the inner packet, and 16 bytes of room.
    pub fn outbound(&self, network: NetworkSlot, frame: &mut [u8]) -> Outbound {
        let Some(packet) = payload_mut(frame) else {
            self.counters.count(DropReason::NotIp);
            return Outbound::Drop(DropReason::NotIp);
        };
        let hop = match self.route(network, packet) {
            Ok(hop) => hop,
            Err(reason) => return Outbound::Drop(reason),
        };
        hop.adapt(packet);
        if let Some(to) = hop.to()
            && frame.len() > hop.frame_limit()
        {
            return self.outbound_parts(&hop, to, frame);
        }
        match hop.to() {
            Some(to) if hop.seal([&mut *frame].into_iter()) => Outbound::Send {
                to,
                peer: hop.peer(),
            },
            // No lane, or its key is used up: sealing that fails leaves the packet as it was.
            _ => Outbound::Punt(hop.punt(frame)),
        }
    }

    fn outbound_parts(&self, hop: &Hop<'_>, to: Way, frame: &mut [u8]) -> Outbound {
        let packet = payload_mut(frame).unwrap_or_default();
        hop.adapt(packet);
        match hop.cut(packet) {
            Some(parts) => Outbound::SendParts {
                to,
                frames: parts.sealed(),
            },
            None => Outbound::Drop(DropReason::TooBig),
        }
    }

    /// Takes one datagram. Lane frames are opened in place.
    pub fn inbound(&self, from: SocketAddr, datagram: &mut [u8]) -> Inbound {
        if frame::kind(datagram) == Some(FrameKind::Relay) {
            return self.relayed_frame(from, datagram);
        }
        self.inbound_by(Way::Direct(from), datagram)
    }

    /// Takes one datagram that came by any way.
    pub fn inbound_by(&self, from: Way, datagram: &mut [u8]) -> Inbound {
        match frame::kind(datagram) {
            Some(FrameKind::LaneData | FrameKind::LaneControl | FrameKind::LaneFragment) => {
                self.lane_frame(from, datagram)
            }
            Some(FrameKind::WireGuard(kind)) if datagram.len() <= MAX_PUNTED => {
                if self.concerns_us(kind, datagram) {
                    punt_datagram(from, datagram)
                } else {
                    self.drop_inbound(DropReason::UnknownHandshake)
                }
            }
            Some(FrameKind::Stun) if datagram.len() <= MAX_PUNTED => punt_datagram(from, datagram),
            Some(FrameKind::Probe) if datagram.len() == PROBE_LENGTH => {
                punt_datagram(from, datagram)
            }
            Some(
                FrameKind::WireGuard(_) | FrameKind::Stun | FrameKind::Probe | FrameKind::Relay,
            )
            | None => self.drop_inbound(DropReason::UnknownFrame),
        }
    }

    fn lane_frame(&self, from: Way, datagram: &mut [u8]) -> Inbound {
        let Some(header) = LaneHeader::decode(datagram) else {
            return self.drop_inbound(DropReason::UnknownFrame);
        };
        let Some(entry) = self.lanes.get(&header.receiver) else {
            return self.drop_inbound(DropReason::UnknownLane);
        };
        let opened = match entry.lane.open(header, datagram) {
            Ok(opened) => opened,
            Err(reason) => return entry.refuse(reason),
        };
        match self.path(entry.peer) {
            Some(path) if path.to != from => entry.counters.hear_elsewhere(),
            Some(_) | None => entry.counters.hear(),
        }
        let Some(payload) = datagram.get_mut(opened.payload.clone()) else {
            return entry.refuse(DropReason::UnknownFrame);
        };
        match opened.kind {
            LANE_CONTROL => Inbound::Punt(Punt::Control {
                lane: header.receiver,
                from,
                message: payload.to_vec(),
            }),
            LANE_FRAGMENT => Inbound::Part {
                lane: header.receiver,
                counter: header.counter,
                payload: opened.payload.clone(),
                note: self.note(from, entry, header, &opened),
            },
            _ => self.deliver(from, entry, header, opened, payload),
        }
    }

    /// Takes a part that [`Self::inbound`] opened. Gives the packet, the network it is for and the congestion that its
    /// parts met, if this was the last part and the packet is one that the peer may send.
    pub fn gather(
        &self,
        lane: LaneIndex,
        counter: u64,
        payload: &[u8],
        ecn: Ecn,
    ) -> Option<(NetworkSlot, Vec<u8>, Ecn)> {
        let entry = self.lanes.get(&lane)?;
        let taken = entry.unfinished.take(counter, payload, ecn);
        let mut whole = taken
            .inspect_err(|reason| entry.counters.dropped.count(*reason))
            .ok()??;
        self.check(entry, &mut whole.packet)
            .inspect_err(|reason| entry.counters.dropped.count(*reason))
            .ok()?;
        Some((entry.network, whole.packet, whole.ecn))
    }

    /// Whether the peer may send the packet at all; makes it fit, and counts it.
    fn check(&self, entry: &LaneEntry, packet: &mut [u8]) -> Result<(), DropReason> {
        let view = ip::view(packet).ok_or(DropReason::NotIp)?;
        let ownership = self.ownership(entry.network).ok_or(DropReason::NoRoute)?;
        if !ownership.may_send_from(entry.peer, view.source) {
            return Err(DropReason::SourceNotAllowed);
        }
        if let Some(guard) = self.guard(entry.network) {
            guard.admit(entry.peer, packet)?;
        }
        // What the peer's side announces in a SYN is sent to it by this node, on this path.
        mss::clamp(packet, fitting(ownership.mtu(), self.path(entry.peer)));
        entry.counters.received(packet.len());
        Ok(())
    }

    fn deliver(
        &self,
        from: Way,
        entry: &LaneEntry,
        header: LaneHeader,
        opened: Opened,
        packet: &mut [u8],
    ) -> Inbound {
        if let Err(reason) = self.check(entry, packet) {
            let refused = entry.refuse(reason);
            // What rules stop was the peer's frame all the same: what it says about the lane counts.
            let is_ruled_out = matches!(reason, DropReason::AccessRule | DropReason::Fragment);
            let note = is_ruled_out
                .then(|| self.note(from, entry, header, &opened))
                .flatten();
            return note.map_or(refused, Inbound::Punt);
        }
        Inbound::Deliver {
            network: entry.network,
            packet: opened.payload.clone(),
            note: self.note(from, entry, header, &opened),
        }
    }

    fn note(
        &self,
        from: Way,
        entry: &LaneEntry,
        header: LaneHeader,
        opened: &Opened,
    ) -> Option<Punt> {
        let lane = header.receiver;
        if !entry.lane.is_confirmed() {
            return Some(Punt::Confirmed { lane, from });
        }
        let expected = self.path(entry.peer)?.to;
        let moved = opened.newest && from != expected;
        (moved && entry.lane.is_news(fingerprint(from), header.counter))
            .then_some(Punt::Roamed { lane, from })
    }

    fn drop_inbound(&self, reason: DropReason) -> Inbound {
        self.counters.count(reason);
        Inbound::Drop(reason)
    }
}

impl LaneEntry {
    fn refuse(&self, reason: DropReason) -> Inbound {
        self.counters.dropped.count(reason);
        Inbound::Drop(reason)
    }
}

/// The largest packet that goes to a peer in one frame.
fn fitting(network: Mtu, path: Option<&SendPath>) -> Mtu {
    path.map_or(network, |path| {
        network.min(Mtu(path.frame_limit.saturating_sub(LANE_OVERHEAD as u16)))
    })
}

fn payload_mut(frame: &mut [u8]) -> Option<&mut [u8]> {
    let length = frame.len().checked_sub(LANE_OVERHEAD)?;
    let (_, rest) = frame.split_at_mut_checked(LANE_HEADER)?;
    debug_assert_eq!(rest.len(), length + LANE_TAG);
    rest.get_mut(..length)
}

fn punt_datagram(from: Way, datagram: &[u8]) -> Inbound {
    Inbound::Punt(Punt::Datagram {
        from,
        datagram: datagram.to_vec(),
    })
}

/// Tells ways apart well enough to report each once; never zero, which stands for "none reported".
fn fingerprint(way: Way) -> u64 {
    let (place, port) = match way {
        Way::Direct(endpoint) | Way::Through { endpoint, .. } => {
            let ip = match endpoint.ip() {
                IpAddr::V4(ip) => u64::from(ip.to_bits()),
                IpAddr::V6(ip) => ip.to_bits() as u64 ^ (ip.to_bits() >> 64) as u64,
            };
            (ip, endpoint.port())
        }
        Way::Relay { relay, circuit } => (u64::from(circuit.0) << 8 | 1, relay.0),
    };
    (place << 16 ^ place >> 48 ^ u64::from(port)) | 1 << 63
}

#[cfg(test)]
mod tests;
