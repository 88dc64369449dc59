//! The internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit words.
//!
//! Sums are of a group: parts may be summed in any order and added, as long as each part begins at an even offset. That
//! is what makes segments cheap: the part of a header that all segments share is summed once.

/// A one's complement sum that is not reduced to 16 bits yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The sum of `bytes` as big-endian words, the last one padded with zero.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        // RFC 1071 section 2 (B): words may be added in the machine's byte order and the result swapped. Words of 32 bits
        // in lanes of 64 leave room for carries, and eight independent lanes let the compiler use vector registers.
        let mut lanes = [0u64; 8];
        let (blocks, rest) = bytes.as_chunks::<32>();
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let (words, tail) = rest.as_chunks::<4>();
        let mut sum: u64 = lanes.iter().sum();
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut padded = [0; 4];
        for (to, from) in padded.iter_mut().zip(tail) {
            *to = *from;
        }
        sum += u64::from(u32::from_ne_bytes(padded));
        Self(u64::from(u16::from_be(reduced(sum))))
    }

    /// The sum with one more word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// The sum with the two words of a 32-bit field.
    #[must_use]
    pub const fn double_word(self, value: u32) -> Self {
        Self(self.0 + (value >> 16) as u64 + (value & 0xffff) as u64)
    }

    /// The sum without a word that is in it.
    #[must_use]
    pub const fn without(self, word: u16) -> Self {
        self.word(!word)
    }

    /// The sum without the two words of a 32-bit field that is in it.
    #[must_use]
    pub const fn without_double_word(self, value: u32) -> Self {
        self.double_word(!value)
    }

    /// The sum of both parts.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Reduced to 16 bits: what stands in the checksum field of a packet whose checksum is left to do.
    #[must_use]
    pub const fn fold(self) -> u16 {
        reduced(self.0)
    }

    /// What belongs into the checksum field. Never 0xffff, unless nothing but zeros was summed.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// The same for UDP, where zero says that there is no checksum (RFC 768).
    #[must_use]
    pub const fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            checksum => checksum,
        }
    }

    /// Whether this is the sum of something that carries its own right checksum.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

/// A checksum after a word that it covers has changed (RFC 1624, equation 3).
#[must_use]
pub const fn updated(checksum: u16, before: u16, after: u16) -> u16 {
    Sum(0)
        .word(!checksum)
        .without(before)
        .word(after)
        .checksum()
}

const fn reduced(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::offload::naive;

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);

        assert_eq!(sum.fold(), 0xddf2);
        assert_eq!(sum.checksum(), 0x220d);
    }

    #[test]
    fn a_zero_checksum_is_written_as_ones_in_udp_alone() {
        let sum = Sum::of(&[0xff, 0xff]);

        assert_eq!(sum.checksum(), 0);
        assert_eq!(sum.udp_checksum(), 0xffff);
    }

    #[test]
    fn nothing_overflows_with_the_largest_packet_of_ones() {
        assert_eq!(Sum::of(&[0xff; 65_576]).fold(), 0xffff);
    }

    proptest! {
        #[test]
        fn every_length_and_content_sums_as_the_naive_loop_does(
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            prop_assert_eq!(Sum::of(&bytes).fold(), naive::sum(&bytes));
        }

        #[test]
        fn parts_at_even_offsets_add_up(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in 0usize..150,
        ) {
            let (front, back) = bytes.split_at((at * 2).min(bytes.len() & !1));
            prop_assert_eq!(Sum::of(front).plus(Sum::of(back)).fold(), naive::sum(&bytes));
        }

        #[test]
        fn a_word_taken_out_and_another_put_in_is_a_new_sum(
            mut bytes in prop::collection::vec(1u8.., 4..100),
            word: u16,
        ) {
            let before = Sum::of(&bytes);
            let old = u16::from_be_bytes([bytes[2], bytes[3]]);
            bytes[2..4].copy_from_slice(&word.to_be_bytes());

            prop_assert_eq!(before.without(old).word(word).fold(), naive::sum(&bytes));
            prop_assert_eq!(updated(before.checksum(), old, word), Sum::of(&bytes).checksum());
        }
    }
}
