//! Packets that came in parts: they lie in no receive buffer, so they are gathered into super-packets in memory of their
//! own. Made once per thread, nothing is allocated for it afterwards.

use tombolo_engine::{
    fib::NetworkSlot,
    offload::coalesce::{Coalescer, Delivery, Merges},
};

/// Bytes of packets between two writes: a super-packet, whose last packet may just not have fitted.
const BYTES: usize = 128 * 1024;

/// Whole packets that wait for the end of the batch.
#[derive(Debug)]
pub(super) struct Joined {
    bytes: Box<[u8]>,
    end: usize,
    coalescer: Coalescer<NetworkSlot>,
}

impl Joined {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BYTES].into_boxed_slice(),
            end: 0,
            coalescer: Coalescer::default(),
        }
    }

    /// Takes a packet; what is ready by this goes to `write`.
    pub(super) fn push(
        &mut self,
        network: NetworkSlot,
        merges: Merges,
        packet: &[u8],
        mut write: impl FnMut(NetworkSlot, Delivery<'_>),
    ) {
        if self.end + packet.len() > self.bytes.len() {
            self.flush(&mut write);
        }
        let place = self.end..self.end + packet.len();
        let Some(room) = self.bytes.get_mut(place.clone()) else {
            return;
        };
        room.copy_from_slice(packet);
        self.end = place.end;
        self.coalescer
            .push(network, merges, &mut self.bytes, place, write);
    }

    /// Hands out everything.
    pub(super) fn flush(&mut self, write: impl FnMut(NetworkSlot, Delivery<'_>)) {
        if self.end > 0 {
            self.end = 0;
            self.coalescer.flush(&mut self.bytes, write);
        }
    }
}
