//! The rules one by one; `properties` mixes them.

mod properties;

use super::*;
use crate::offload::{
    naive,
    sample::{Sample, TCP, UDP, a_packet, some_bytes},
    virtio::GsoKind,
};

const KINDS: [(u8, u8); 4] = [(4, TCP), (6, TCP), (4, UDP), (6, UDP)];

#[test]
fn packets_that_follow_each_other_become_one() {
    for (version, protocol) in KINDS {
        let run = a_run(version, protocol, &[100, 100, 100, 40]);

        let delivered = coalesced(&packets(&run));

        let [one] = &delivered[..] else {
            panic!("{} deliveries", delivered.len())
        };
        let mut whole = run[0].clone();
        whole.payload = run
            .iter()
            .flat_map(|sample| sample.payload.clone())
            .collect();
        let (mut expected, packet) = whole.build_super(100);
        if let Some(gso) = &mut expected.gso {
            gso.hdr_len = (packet.len() - whole.payload.len()) as u16;
        }
        assert_eq!(one.header, expected);
        assert_eq!(one.bytes, packet);
        assert_eq!(one.packets, 4);
    }
}

#[test]
fn a_lone_packet_is_delivered_as_it_came_even_when_damaged() {
    for (version, protocol) in KINDS {
        let mut packet = a_packet(version, protocol).build();
        if let Some(last) = packet.last_mut() {
            *last ^= 1;
        }

        assert_eq!(coalesced(&[packet.clone()]), [alone(packet)]);
    }
}

#[test]
fn a_packet_with_a_wrong_checksum_is_never_merged_wherever_it_is() {
    for (version, protocol) in KINDS {
        for damaged in 0..3 {
            let mut batch = packets(&a_run(version, protocol, &[100; 3]));
            if let Some(last) = batch[damaged].last_mut() {
                *last ^= 1;
            }

            let delivered = coalesced(&batch);

            assert!(delivered.contains(&alone(batch[damaged].clone())));
            let counts: Vec<usize> = delivered.iter().map(|one| one.packets).collect();
            assert_eq!(counts, [vec![1, 2], vec![1, 1, 1], vec![2, 1]][damaged]);
        }
    }
}

#[test]
fn a_wrong_ipv4_header_checksum_is_not_made_good() {
    let mut batch = packets(&a_run(4, TCP, &[100, 100]));
    batch[1][10] ^= 1;

    assert_eq!(packet_counts(&batch), [1, 1]);
}

#[test]
fn a_checksum_that_nobody_would_compute_is_not_made_another() {
    let run = a_run(4, TCP, &[100, 100]);
    let mut batch = packets(&run);
    // Makes the checksum come out as zero, of which 0xffff is the other form.
    let checksum = [batch[1][36], batch[1][37]];
    batch[1][150..152].fill(0);
    naive::finish(&mut batch[1], 20, TCP);
    let checksum_without = [batch[1][36], batch[1][37]];
    assert_ne!(checksum, checksum_without);
    batch[1][150..152].copy_from_slice(&checksum_without);
    naive::finish(&mut batch[1], 20, TCP);
    assert_eq!(batch[1][36..38], [0, 0]);
    assert_eq!(packet_counts(&batch), [2]);

    batch[1][36..38].fill(0xff);
    assert_eq!(packet_counts(&batch), [1, 1]);
}

#[test]
fn a_shorter_packet_ends_a_super_packet_and_a_longer_one_begins_another() {
    for (version, protocol) in KINDS {
        let batch = packets(&a_run(version, protocol, &[100, 40, 40, 100, 100]));
        assert_eq!(packet_counts(&batch), [2, 1, 2]);
    }
}

#[test]
fn push_and_fin_end_a_super_packet_and_are_in_it() {
    for (flags, together) in [(0x18, 0x18), (0x11, 0x11), (0x19, 0x19)] {
        let mut run = a_run(4, TCP, &[100; 4]);
        run[1].flags = flags;

        let delivered = coalesced(&packets(&run));

        assert_eq!(delivered[0].packets, 2);
        assert_eq!(delivered[0].bytes[33], together);
        assert_eq!(delivered[1].packets, 2);
        assert_eq!(delivered[1].bytes[33], 0x10);
    }
}

#[test]
fn a_packet_with_push_goes_at_once() {
    let mut run = a_run(4, TCP, &[100; 2]);
    run[0].flags = 0x18;
    assert_eq!(packet_counts(&packets(&run)), [1, 1]);
}

#[test]
fn congestion_window_reduced_is_for_the_first_packet_only() {
    let mut run = a_run(6, TCP, &[100; 5]);
    run[0].flags |= 0x80;
    run[3].flags |= 0x80;

    let delivered = coalesced(&packets(&run));

    assert_eq!(counts_of(&delivered), [3, 2]);
    for one in delivered {
        assert!(one.header.gso.expect("merged").ecn);
    }
}

#[test]
fn whatever_differs_keeps_packets_apart() {
    type Change = fn(&mut Sample);
    let both: [Change; 2] = [|sample| sample.tos ^= 4, |sample| sample.hops -= 1];
    let congestion: [Change; 1] = [|sample| sample.tos |= 3];
    let tcp: [Change; 11] = [
        |sample| sample.acknowledgement += 1,
        |sample| sample.window += 1,
        |sample| sample.options[7] += 1,
        |sample| sample.options.truncate(8),
        |sample| sample.sequence += 1,
        |sample| sample.sequence -= 1,
        |sample| sample.flags |= 0x40,
        |sample| sample.flags |= 0x20,
        |sample| sample.flags |= 0x02,
        |sample| sample.flags |= 0x04,
        |sample| sample.flags = 0,
    ];
    let v4: [Change; 3] = [
        |sample| sample.dont_fragment = false,
        |sample| sample.id += 1,
        |sample| sample.id -= 2,
    ];
    let v6: [Change; 2] = [
        |sample| sample.flow_label += 1,
        |sample| sample.extensions = 1,
    ];
    for (version, protocol) in KINDS {
        let ip = if version == 4 { &v4[..] } else { &v6 };
        let transport = if protocol == TCP { &tcp[..] } else { &[] };
        for change in [&both[..], &congestion, ip, transport].concat() {
            let mut run = a_run(version, protocol, &[100; 3]);
            change(&mut run[2]);
            assert_eq!(packet_counts(&packets(&run)), [2, 1], "{:?}", run[2]);
        }
    }
}

#[test]
fn packets_without_payload_go_alone_and_in_their_place() {
    for (version, protocol) in KINDS {
        let batch = packets(&a_run(version, protocol, &[100, 100, 0, 100, 100]));
        assert_eq!(packet_counts(&batch), [2, 1, 2]);
    }
}

#[test]
fn identifications_count_up_or_stay_if_nothing_may_be_fragmented() {
    let with_ids = |ids: [u16; 4], dont_fragment| {
        let mut run = a_run(4, UDP, &[100; 4]);
        for (sample, id) in run.iter_mut().zip(ids) {
            sample.id = id;
            sample.dont_fragment = dont_fragment;
        }
        packet_counts(&packets(&run))
    };

    assert_eq!(with_ids([65_535, 0, 1, 2], false), [4]);
    assert_eq!(with_ids([5, 5, 5, 5], true), [4]);
    assert_eq!(with_ids([5, 5, 5, 5], false), [1, 1, 1, 1]);
    assert_eq!(with_ids([5, 5, 6, 7], true), [2, 2]);
    assert_eq!(with_ids([5, 6, 5, 5], true), [2, 2]);
    assert_eq!(with_ids([9, 4, 7, 1], true), [1, 1, 1, 1]);
}

#[test]
fn options_of_ipv4_are_not_merged_and_equal_extension_headers_are() {
    for protocol in [TCP, UDP] {
        let mut run = a_run(4, protocol, &[100; 2]);
        let mut run6 = a_run(6, protocol, &[100; 2]);
        for sample in run.iter_mut().chain(&mut run6) {
            sample.extensions = 2;
        }
        assert_eq!(packet_counts(&packets(&run)), [1, 1]);
        assert_eq!(packet_counts(&packets(&run6)), [2]);
    }
}

#[test]
fn a_fragment_goes_after_everything_between_its_addresses() {
    let run = a_run(4, UDP, &[100; 4]);
    let mut batch = packets(&run);
    let mut elsewhere = a_run(4, UDP, &[50; 2]);
    for sample in &mut elsewhere {
        sample.flow = 2;
    }
    let mut fragment = run[0].build();
    fragment[6] = 0x20;
    naive::finish(&mut fragment, 20, UDP);
    batch.insert(2, fragment.clone());
    batch.insert(0, elsewhere[0].build());
    batch.push(elsewhere[1].build());

    let delivered = coalesced(&batch);

    assert_eq!(counts_of(&delivered), [2, 1, 2, 2]);
    assert_eq!(delivered[1], alone(fragment));
}

#[test]
fn a_datagram_without_checksum_or_with_a_false_length_goes_alone() {
    for change in [[26, 27], [25, 25]] {
        let mut batch = packets(&a_run(4, UDP, &[100; 3]));
        for at in change {
            batch[1][at] = 0;
        }
        assert_eq!(packet_counts(&batch), [1, 1, 1]);
    }
}

#[test]
fn flows_that_arrive_interleaved_are_gathered_side_by_side() {
    let mut batch = Vec::new();
    let mut runs: Vec<Vec<Sample>> = Vec::new();
    for flow in 0..8 {
        let (version, protocol) = KINDS[flow % 4];
        let mut run = a_run(version, protocol, &[100; 5]);
        for sample in &mut run {
            sample.flow = flow as u8;
        }
        runs.push(run);
    }
    for number in 0..5 {
        batch.extend(runs.iter().map(|run| run[number].build()));
    }

    assert_eq!(packet_counts(&batch), [5; 8]);
}

#[test]
fn with_more_flows_than_groups_the_oldest_group_leaves() {
    let mut runs: Vec<Vec<Sample>> = (0..9).map(|_| a_run(4, TCP, &[100; 2])).collect();
    for (flow, run) in runs.iter_mut().enumerate() {
        for sample in run {
            sample.flow = flow as u8;
        }
    }
    let mut batch: Vec<Vec<u8>> = runs.iter().map(|run| run[0].build()).collect();
    batch.push(runs[0][1].build());
    batch.push(runs[8][1].build());

    let delivered = coalesced(&batch);

    assert_eq!(counts_of(&delivered), [1, 1, 1, 1, 1, 1, 1, 1, 2, 1]);
    assert_eq!(delivered[0].bytes, batch[0]);
}

#[test]
fn a_super_packet_stays_within_64_kib_and_64_packets() {
    let long = packets(&a_run(6, TCP, &[1348; 100]));
    let short = packets(&a_run(4, UDP, &[10; 130]));

    let delivered = coalesced(&long);

    assert_eq!(counts_of(&delivered), [48, 48, 4]);
    assert!(delivered.iter().all(|one| one.bytes.len() <= 65_535));
    assert_eq!(packet_counts(&short), [64, 64, 2]);
}

#[test]
fn what_is_for_different_devices_is_never_merged() {
    let batch = packets(&a_run(4, TCP, &[100; 4]));
    let mut memory = batch.concat();
    let mut delivered = Vec::new();
    let mut coalescer = Coalescer::default();
    let length = batch[0].len();

    for number in 0..4 {
        let place = number * length..(number + 1) * length;
        coalescer.push(number / 2, Merges::ALL, &mut memory, place, |tun, one| {
            delivered.push((tun, one.packets()));
        });
    }
    coalescer.flush(&mut memory, |tun, one| delivered.push((tun, one.packets())));

    assert_eq!(delivered, [(0, 2), (1, 2)]);
}

#[test]
fn kinds_that_the_kernel_does_not_take_are_left_alone() {
    for (version, protocol) in KINDS {
        let batch = packets(&a_run(version, protocol, &[100; 2]));
        let without = Merges {
            tcp4: (version, protocol) != (4, TCP),
            tcp6: (version, protocol) != (6, TCP),
            udp4: (version, protocol) != (4, UDP),
            udp6: (version, protocol) != (6, UDP),
        };
        assert_eq!(counts_of(&coalesced_with(without, &batch)), [1, 1]);
        assert_eq!(counts_of(&coalesced_with(Merges::NONE, &batch)), [1, 1]);
    }
}

#[test]
fn the_kernel_is_told_the_kind_of_super_packet() {
    let kinds = KINDS.map(|(version, protocol)| {
        let delivered = coalesced(&packets(&a_run(version, protocol, &[100; 2])));
        delivered[0].header.gso.expect("merged").kind
    });
    use GsoKind::{TcpV4, TcpV6, UdpL4};
    assert_eq!(kinds, [TcpV4, TcpV6, UdpL4, UdpL4]);
}

/// What went to the device in one write.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    header: VirtioHeader,
    bytes: Vec<u8>,
    packets: usize,
}

fn alone(bytes: Vec<u8>) -> Written {
    Written {
        header: VirtioHeader::default(),
        bytes,
        packets: 1,
    }
}

/// Packets of one flow that follow on, with payloads of these lengths.
fn a_run(version: u8, protocol: u8, lengths: &[usize]) -> Vec<Sample> {
    let mut next = a_packet(version, protocol);
    let mut run = Vec::new();
    for &length in lengths {
        next.payload = some_bytes(length, run.len() as u32);
        run.push(next.clone());
        next.sequence += length as u32;
        next.id += 1;
    }
    run
}

fn packets(run: &[Sample]) -> Vec<Vec<u8>> {
    run.iter().map(Sample::build).collect()
}

fn coalesced(batch: &[Vec<u8>]) -> Vec<Written> {
    coalesced_with(Merges::ALL, batch)
}

fn coalesced_with(merges: Merges, batch: &[Vec<u8>]) -> Vec<Written> {
    let mut coalescer = Coalescer::default();
    let mut memory = Vec::new();
    let mut places = Vec::new();
    for packet in batch {
        // As received: with a lane header before and a tag behind.
        memory.extend_from_slice(&[0xaa; 16]);
        places.push(memory.len()..memory.len() + packet.len());
        memory.extend_from_slice(packet);
        memory.extend_from_slice(&[0xaa; 16]);
    }
    let mut written = Vec::new();
    let mut write = |(): (), delivery: Delivery<'_>| {
        written.push(Written {
            header: delivery.header,
            bytes: delivery.slices().flatten().copied().collect(),
            packets: delivery.packets(),
        });
    };
    for place in places {
        coalescer.push((), merges, &mut memory, place, &mut write);
    }
    coalescer.flush(&mut memory, &mut write);
    written
}

fn counts_of(written: &[Written]) -> Vec<usize> {
    written.iter().map(|one| one.packets).collect()
}

fn packet_counts(batch: &[Vec<u8>]) -> Vec<usize> {
    counts_of(&coalesced(batch))
}
