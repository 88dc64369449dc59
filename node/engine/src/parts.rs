//! Packets that are larger than the way to a peer takes: cut into parts on this side, put together on the other.
//!
//! Every part is sealed by itself. So nothing enters the memory of the other side that is not authentic and new, and no
//! stranger can spoil a packet by slipping in a part. The parts of a packet are of one length, so that a train of them
//! leaves in one system call, and their frames have consecutive counters ([`PartHeader`]).
//!
//! What is kept of unfinished packets is bounded: `SLOTS` packets per lane. Where a part is lost, its packet's place is
//! taken by a later one; no clock is needed.

use std::sync::{Mutex, PoisonError};

use tombolo_proto::{
    frame::{LANE_OVERHEAD, MAX_PARTS, PART_HEADER, PartHeader},
    id::Mtu,
};

use crate::{counters::DropReason, offload::ecn::Ecn};

/// Unfinished packets per lane. A thread receives at most 32 trains in one go, so reordering reaches no further.
const SLOTS: usize = 32;

/// How one packet is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    count: u8,
    length: u16,
}

impl Cut {
    /// Into as few parts as give frames of at most `limit` bytes; `None` if that takes too many.
    #[must_use]
    pub fn new(length: usize, limit: usize) -> Option<Self> {
        let length = u16::try_from(length).ok().filter(|length| *length > 0)?;
        let count = (2..=MAX_PARTS).find(|count| {
            let part = usize::from(length).div_ceil(usize::from(*count));
            LANE_OVERHEAD + PART_HEADER + part <= limit
        })?;
        Some(Self { count, length })
    }

    /// How many parts there are.
    #[must_use]
    pub const fn count(self) -> u8 {
        self.count
    }

    /// Bytes of the frame of each part.
    #[must_use]
    pub fn frame(self) -> usize {
        LANE_OVERHEAD + PART_HEADER + self.header(0).part()
    }

    const fn header(self, index: u8) -> PartHeader {
        PartHeader {
            index,
            count: self.count,
            length: self.length,
        }
    }

    /// Writes part `index` of `packet` into `payload`: what lies between the rooms of a frame.
    pub fn write(self, index: u8, packet: &[u8], payload: &mut [u8]) {
        let header = self.header(index);
        let start = header.part() * usize::from(index);
        let part = packet.get(start..).unwrap_or_default();
        let Some((head, body)) = payload.split_first_chunk_mut::<PART_HEADER>() else {
            return;
        };
        *head = header.encode();
        let (filled, rest) = body.split_at_mut(part.len().min(body.len()));
        filled.copy_from_slice(&part[..filled.len()]);
        rest.fill(0);
    }
}

/// A packet that is whole again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) packet: Vec<u8>,
    /// Congestion that any of the parts met.
    pub(crate) ecn: Ecn,
}

/// The unfinished packets of one lane.
#[derive(Debug, Default)]
pub(crate) struct Unfinished(Mutex<Vec<Slot>>);

#[derive(Debug)]
struct Slot {
    /// Counter of part 0.
    first: u64,
    count: u8,
    bytes: Vec<u8>,
    length: u16,
    /// One bit per part that is here.
    here: u8,
    ecn: Ecn,
}

impl Unfinished {
    /// Takes the payload of a frame that was opened; the packet, if that was its last part.
    pub(crate) fn take(
        &self,
        counter: u64,
        payload: &[u8],
        ecn: Ecn,
    ) -> Result<Option<Whole>, DropReason> {
        let (header, part) = PartHeader::decode(payload)
            .filter(|(header, _)| header.length <= Mtu::MAX.0)
            .ok_or(DropReason::BadFragment)?;
        let first = counter
            .checked_sub(u64::from(header.index))
            .ok_or(DropReason::BadFragment)?;
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = match slots.iter().position(|slot| slot.first == first) {
            Some(position) => position,
            None => {
                if slots.len() >= SLOTS {
                    slots.remove(0);
                }
                slots.push(Slot::new(first, header, ecn));
                slots.len() - 1
            }
        };
        let Some(slot) = slots.get_mut(position) else {
            return Ok(None);
        };
        if (slot.count, slot.length) != (header.count, header.length) {
            return Err(DropReason::BadFragment);
        }
        slot.add(header, part, ecn);
        if !slot.is_whole() {
            return Ok(None);
        }
        let mut slot = slots.remove(position);
        slot.bytes.truncate(usize::from(slot.length));
        Ok(Some(Whole {
            packet: slot.bytes,
            ecn: slot.ecn,
        }))
    }
}

impl Slot {
    fn new(first: u64, header: PartHeader, ecn: Ecn) -> Self {
        Self {
            first,
            count: header.count,
            bytes: vec![0; header.part() * usize::from(header.count)],
            length: header.length,
            here: 0,
            ecn,
        }
    }

    fn add(&mut self, header: PartHeader, part: &[u8], ecn: Ecn) {
        let start = header.part() * usize::from(header.index);
        if let Some(room) = self.bytes.get_mut(start..start + part.len()) {
            room.copy_from_slice(part);
            self.here |= 1 << header.index;
        }
        // RFC 3168 section 5.3: a mark on any part is a mark on the whole.
        if ecn == Ecn::Ce {
            self.ecn = ecn;
        }
    }

    fn is_whole(&self) -> bool {
        self.here.count_ones() == u32::from(self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_packet_comes_out_whole_whatever_the_way_takes_and_the_order_of_its_parts(
            packet in prop::collection::vec(any::<u8>(), 1..9000usize),
            limit in 1188..9000usize,
            turn in 0..8usize,
        ) {
            prop_assume!(packet.len() <= usize::from(Mtu::MAX.0));
            let cut = Cut::new(packet.len(), limit).expect("eight parts of 1,150 bytes are enough");
            prop_assert!(cut.frame() <= limit);
            let unfinished = Unfinished::default();
            let mut order: Vec<u8> = (0..cut.count()).collect();
            let turn = turn % order.len();
            order.rotate_left(turn);

            let mut whole = Vec::new();
            for index in order {
                let part = a_part(cut, index, &packet);
                whole.extend(unfinished.take(100 + u64::from(index), &part, Ecn::NotEct).expect("a good part"));
            }

            prop_assert_eq!(whole.len(), 1);
            prop_assert_eq!(&whole[0].packet, &packet);
        }

        #[test]
        fn no_bytes_panic_or_take_more_than_the_bounded_memory(
            parts in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..100),
        ) {
            let unfinished = Unfinished::default();
            for (counter, payload) in parts {
                let _ = unfinished.take(counter, &payload, Ecn::NotEct);
            }
            prop_assert!(unfinished.0.lock().expect("no panic").len() <= SLOTS);
        }
    }

    #[test]
    fn a_packet_whose_part_is_lost_makes_room_for_later_ones() {
        let unfinished = Unfinished::default();
        let cut = Cut::new(1400, 1188).expect("two parts");
        let packet = vec![7; 1400];

        for lost in 0..1000 {
            let part = a_part(cut, 0, &packet);
            assert_eq!(unfinished.take(lost * 2, &part, Ecn::NotEct), Ok(None));
        }

        assert_eq!(unfinished.0.lock().expect("no panic").len(), SLOTS);
        let late = unfinished.take(1, &a_part(cut, 1, &packet), Ecn::NotEct);
        assert_eq!(late, Ok(None), "its first part was given up");
        let last = unfinished.take(1999, &a_part(cut, 1, &packet), Ecn::NotEct);
        assert_eq!(
            last.map(|whole| whole.map(|whole| whole.packet)),
            Ok(Some(packet))
        );
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        let unfinished = Unfinished::default();
        let one = Cut::new(1400, 1188).expect("two parts");
        let other = Cut::new(1300, 1188).expect("two parts");
        let packet = vec![7; 1400];
        assert_eq!(
            unfinished.take(8, &a_part(one, 0, &packet), Ecn::NotEct),
            Ok(None)
        );

        let contradiction = unfinished.take(9, &a_part(other, 1, &packet[..1300]), Ecn::NotEct);

        assert_eq!(contradiction, Err(DropReason::BadFragment));
    }

    #[test]
    fn congestion_that_one_part_met_is_the_packets() {
        let unfinished = Unfinished::default();
        let cut = Cut::new(1400, 1188).expect("two parts");
        let packet = vec![7; 1400];
        let _ = unfinished.take(8, &a_part(cut, 0, &packet), Ecn::Ce);

        let whole = unfinished.take(9, &a_part(cut, 1, &packet), Ecn::Ect0);

        assert_eq!(
            whole.map(|whole| whole.map(|whole| whole.ecn)),
            Ok(Some(Ecn::Ce))
        );
    }

    fn a_part(cut: Cut, index: u8, packet: &[u8]) -> Vec<u8> {
        let mut payload = vec![0xee; cut.frame() - LANE_OVERHEAD];
        cut.write(index, packet, &mut payload);
        payload
    }
}
