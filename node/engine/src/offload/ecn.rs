//! Explicit congestion notification through the tunnel (RFC 6040, normal mode).
//!
//! The sender copies the inner mark to the outer header, so that routers below may mark instead of drop. The receiver
//! merges the outer mark into the inner one: congestion seen below reaches the inner endpoints, and a packet marked
//! below whose endpoints would not understand the mark is dropped, as the router would have done.

use super::{
    checksum::updated,
    headers::{get, put, word},
};

/// The two bits of the IPv4 TOS byte or the IPv6 traffic class (RFC 3168).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ecn {
    /// The endpoints do not do ECN.
    NotEct,
    /// They do.
    Ect1,
    /// They do.
    Ect0,
    /// Congestion was experienced.
    Ce,
}

impl Ecn {
    /// The low two bits of `bits`.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// As they stand in the header.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0b00,
            Self::Ect1 => 0b01,
            Self::Ect0 => 0b10,
            Self::Ce => 0b11,
        }
    }
}

/// The packet has to be dropped: routers below marked it, and its endpoints do not do ECN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("congestion below, and the packet's endpoints do not understand the mark")]
pub struct Unmarkable;

/// The mark of an IP packet; [`Ecn::NotEct`] for what is none.
#[must_use]
pub fn mark_of(packet: &[u8]) -> Ecn {
    match get(packet, 0) {
        Some([first, second]) if first >> 4 == 4 => Ecn::from_bits(second),
        Some([first, second]) if first >> 4 == 6 => Ecn::from_bits(second >> 4),
        _ => Ecn::NotEct,
    }
}

/// The outer mark for an inner one (RFC 6040 section 4.1).
#[must_use]
pub const fn encapsulated(inner: Ecn) -> Ecn {
    inner
}

/// The inner mark to deliver (RFC 6040 section 4.2, figure 4).
pub const fn decapsulated(inner: Ecn, outer: Ecn) -> Result<Ecn, Unmarkable> {
    Ok(match (inner, outer) {
        (Ecn::NotEct, Ecn::Ce) => return Err(Unmarkable),
        (Ecn::Ect0 | Ecn::Ect1 | Ecn::Ce, Ecn::Ce) => Ecn::Ce,
        (Ecn::Ect0, Ecn::Ect1) => Ecn::Ect1,
        (inner, Ecn::NotEct | Ecn::Ect0 | Ecn::Ect1) => inner,
    })
}

/// Merges the outer mark into an inner packet, in place.
pub fn decapsulate(packet: &mut [u8], outer: Ecn) -> Result<(), Unmarkable> {
    // What most packets are, and all of them where nothing below marks.
    if outer == Ecn::NotEct {
        return Ok(());
    }
    let inner = mark_of(packet);
    let merged = decapsulated(inner, outer)?;
    if merged != inner {
        set_mark(packet, merged);
    }
    Ok(())
}

/// Changes the mark of an IP packet and keeps its header checksum right.
fn set_mark(packet: &mut [u8], mark: Ecn) {
    let Some(before) = word(packet, 0) else {
        return;
    };
    let bits = u16::from(mark.bits());
    if before >> 12 == 4 {
        let after = before & !0b11 | bits;
        if let Some(checksum) = word(packet, 10) {
            let _ = put(packet, 10, updated(checksum, before, after).to_be_bytes());
            let _ = put(packet, 0, after.to_be_bytes());
        }
    } else if before >> 12 == 6 {
        let after = before & !0b11_0000 | bits << 4;
        let _ = put(packet, 0, after.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::offload::naive;

    const ALL: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce];

    #[test]
    fn the_table_of_rfc_6040_holds_in_every_cell() {
        use Ecn::{Ce, Ect0, Ect1, NotEct};
        let rows = [
            (NotEct, [Some(NotEct), Some(NotEct), Some(NotEct), None]),
            (Ect0, [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)]),
            (Ect1, [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)]),
            (Ce, [Some(Ce), Some(Ce), Some(Ce), Some(Ce)]),
        ];
        for (inner, row) in rows {
            for (outer, expected) in [NotEct, Ect0, Ect1, Ce].into_iter().zip(row) {
                assert_eq!(
                    decapsulated(inner, outer).ok(),
                    expected,
                    "{inner:?} in {outer:?}"
                );
            }
        }
    }

    #[test]
    fn the_outer_mark_is_the_inner_one_and_nothing_changes_on_an_idle_path() {
        for inner in ALL {
            assert_eq!(encapsulated(inner), inner);
            assert_eq!(decapsulated(inner, encapsulated(inner)), Ok(inner));
            assert_eq!(Ecn::from_bits(inner.bits()), inner);
        }
    }

    #[test]
    fn what_is_no_ip_packet_is_left_alone() {
        for bytes in [&[][..], &[0x45], &[0x52, 0xff, 3], &[0x45, 2, 0, 20]] {
            let mut packet = bytes.to_vec();
            let _ = decapsulate(&mut packet, Ecn::Ce);
            assert_eq!(packet, bytes);
        }
    }

    proptest! {
        #[test]
        fn a_mark_changes_two_bits_and_the_checksum_still_holds(
            mut packet in prop::collection::vec(any::<u8>(), 40),
            version in prop_oneof![Just(4u8), Just(6)],
            inner in 0u8..4,
            outer in 0u8..4,
        ) {
            packet[0] = if version == 4 { 0x45 } else { 0x60 | packet[0] & 0x0f };
            let shift = if version == 4 { 0 } else { 4 };
            packet[1] = packet[1] & !(3 << shift) | inner << shift;
            if version == 4 {
                packet[10..12].fill(0);
                let checksum = !naive::sum(&packet[..20]);
                packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            let before = packet.clone();
            let (inner, outer) = (Ecn::from_bits(inner), Ecn::from_bits(outer));
            prop_assert_eq!(mark_of(&packet), inner);

            let done = decapsulate(&mut packet, outer);

            prop_assert_eq!(done.map(|()| mark_of(&packet)), decapsulated(inner, outer));
            if version == 4 {
                prop_assert_eq!(naive::sum(&packet[..20]), 0xffff);
                packet[10..12].copy_from_slice(&before[10..12]);
            }
            packet[1] = packet[1] & !(3 << shift) | before[1] & (3 << shift);
            prop_assert_eq!(packet, before);
        }
    }
}
