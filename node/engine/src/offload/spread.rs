//! Which of several TUN queues a flow belongs to: the same one in both directions.
//!
//! Linux sends what it has for a flow to the queue on which the flow's other direction was last written. So whoever
//! writes a flow to the queue of its number keeps all of it on one thread, and in order.

use super::flow::{Class, Flow, classify};

/// A number for the flow of a packet, the same for both directions. Fragments go by their addresses; what is neither TCP
/// nor UDP has the number 0.
#[must_use]
pub fn spread(packet: &[u8]) -> u32 {
    match classify(packet) {
        Class::Mergeable(candidate) => number(&candidate.flow),
        Class::Alone(flow) => number(&flow),
        Class::Between(addresses) => mixed(folded(&addresses)),
        Class::Stranger => 0,
    }
}

fn number(flow: &Flow) -> u32 {
    let [a, b, c, d] = flow.ports;
    let ports = u16::from_be_bytes([a, b]) ^ u16::from_be_bytes([c, d]);
    mixed(folded(&flow.addresses) ^ u32::from(ports) << 8 ^ u32::from(flow.protocol))
}

/// Exclusive or does not care which end comes first.
fn folded(addresses: &[u8; 32]) -> u32 {
    addresses
        .chunks_exact(4)
        .filter_map(|chunk| chunk.first_chunk())
        .fold(0, |sum, &word| sum ^ u32::from_be_bytes(word))
}

/// Neighbouring addresses and ports differ in few low bits; a modulus should see them all.
const fn mixed(number: u32) -> u32 {
    // The multiplier of Fibonacci hashing: 2^32 divided by the golden ratio.
    number.wrapping_mul(0x9e37_79b9) >> 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_directions_have_one_number() {
        for version in [4, 6] {
            let there = a_datagram(version, 1, 2, 40_000, 53);
            let back = a_datagram(version, 2, 1, 53, 40_000);

            assert_eq!(spread(&there), spread(&back));
        }
    }

    #[test]
    fn many_flows_spread_over_two_queues() {
        let ports = 40_000..40_200;
        let first = ports
            .map(|port| spread(&a_datagram(4, 1, 2, port, 5201)) % 2)
            .filter(|queue| *queue == 0)
            .count();

        assert!((50..150).contains(&first), "{first} of 200 in one queue");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(packet in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = spread(&packet);
        }
    }

    fn a_datagram(version: u8, from: u8, to: u8, source: u16, destination: u16) -> Vec<u8> {
        let mut packet = if version == 4 {
            let mut ip = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
            ip.extend([10, 0, 0, from, 10, 0, 0, to]);
            ip
        } else {
            let mut ip = vec![0x60, 0, 0, 0, 0, 9, 17, 64];
            ip.extend([0xfc; 15]);
            ip.push(from);
            ip.extend([0xfc; 15]);
            ip.push(to);
            ip
        };
        packet.extend(source.to_be_bytes());
        packet.extend(destination.to_be_bytes());
        packet.extend([0, 9, 1, 1, 7]);
        packet
    }
}
