//! Random traffic: whatever the mix, cutting what the coalescer hands out gives the batch back, in order in every flow.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::offload::{flow::classify, segment::Segmenter};

/// One thing that a flow does.
#[derive(Debug, Clone)]
struct Step {
    flow: u8,
    /// How often in a row.
    times: u8,
    event: Event,
}

#[derive(Debug, Clone)]
enum Event {
    /// Packets of the flow's usual length.
    Full,
    /// A packet of any length.
    Length(u8),
    /// Full packets with flags of any kind.
    Flags(u8),
    /// Something that stays different from now on.
    Change(u8),
    /// A packet that never arrives.
    Loss,
    /// A packet that arrives again.
    Again,
    /// A damaged packet.
    Damage(Index, u8),
    Fragment,
    NoUdpChecksum,
    NetworkOptions,
    /// Another protocol between the same addresses.
    Stranger,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_cut_again_is_the_batch_packet_for_packet(
        steps in prop::collection::vec(any_step(), 1..40),
        swaps in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let mut batch = traffic(&steps);
        for swap in swaps {
            if batch.len() > 1 {
                let at = swap.index(batch.len() - 1);
                batch.swap(at, at + 1);
            }
        }

        let written = coalesced(&batch);

        let mut delivered = Vec::new();
        for one in &written {
            let pieces = cut(one);
            prop_assert_eq!(pieces.len(), one.packets);
            let first_id = id_of(&one.bytes);
            delivered.extend(pieces.into_iter().map(|piece| (piece, first_id)));
        }
        prop_assert_eq!(delivered.len(), batch.len());
        for line in lines(&batch) {
            let before = batch.iter().filter(|packet| is_of(&line, packet));
            let after = delivered.iter().filter(|(packet, _)| is_of(&line, packet));
            prop_assert_eq!(before.clone().count(), after.clone().count());
            for (before, (after, first_id)) in before.zip(after) {
                prop_assert_eq!(&with_id(after, before, *first_id), before);
            }
        }
    }

    #[test]
    fn no_bytes_panic(
        mut memory in prop::collection::vec(any::<u8>(), 0..2000),
        places in prop::collection::vec((0usize..2100, 0usize..200, 0usize..9), 0..60),
    ) {
        let shapes: [&[u8]; 8] = [
            &[0x45], &[0x46], &[0x60], &[0x45, 0, 0, 60, 0, 0, 0, 0, 64, TCP],
            &[0x45, 0, 0, 60, 0, 0, 0, 0, 64, UDP], &[0x60, 0, 0, 0, 0, 60, TCP],
            &[0x60, 0, 0, 0, 0, 60, UDP], &[0x60, 0, 0, 0, 0, 60, 0],
        ];
        let mut coalescer = Coalescer::default();
        let mut delivered = 0;
        let mut pushed = 0;
        for (start, length, shape) in places {
            if let (Some(shape), Some(rest)) = (shapes.get(shape), memory.get_mut(start..))
                && let Some(front) = rest.get_mut(..shape.len())
            {
                front.copy_from_slice(shape);
            }
            pushed += usize::from(start + length <= memory.len());
            coalescer.push((), Merges::ALL, &mut memory, start..start + length, |(), one| {
                delivered += one.packets();
            });
        }
        coalescer.flush(&mut memory, |(), one| delivered += one.packets());
        prop_assert_eq!(delivered, pushed);
    }

    #[test]
    fn no_damaged_packet_panics(
        steps in prop::collection::vec(any_step(), 1..20),
        damage in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 0..20),
    ) {
        let mut batch = traffic(&steps);
        for (packet, at, byte) in damage {
            let packet = packet.index(batch.len().max(1));
            if let Some(packet) = batch.get_mut(packet) {
                let at = at.index(packet.len().min(80));
                packet[at] = byte;
                packet.truncate(usize::from(byte).max(1) * 2);
            }
        }
        for packet in &batch {
            let _ = classify(packet);
        }
        let packets: usize = counts_of(&coalesced(&batch)).iter().sum();
        prop_assert_eq!(packets, batch.len());
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let event = prop_oneof![
        12 => Just(Event::Full),
        2 => any::<u8>().prop_map(Event::Length),
        2 => any::<u8>().prop_map(Event::Flags),
        2 => any::<u8>().prop_map(Event::Change),
        1 => Just(Event::Loss),
        1 => Just(Event::Again),
        1 => any::<(Index, u8)>().prop_map(|(at, bit)| Event::Damage(at, bit)),
        1 => Just(Event::Fragment),
        1 => Just(Event::NoUdpChecksum),
        1 => Just(Event::NetworkOptions),
        1 => Just(Event::Stranger),
    ];
    (0u8..12, 1u8..8, event).prop_map(|(flow, times, event)| Step { flow, times, event })
}

fn traffic(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut flows: BTreeMap<u8, Sample> = BTreeMap::new();
    let mut batch = Vec::new();
    for step in steps {
        let state = flows.entry(step.flow).or_insert_with(|| a_flow(step.flow));
        for time in 0..step.times {
            state.payload = some_bytes(60, state.sequence.wrapping_add(time.into()));
            happen(state, &step.event, &mut batch);
        }
    }
    batch
}

fn a_flow(flow: u8) -> Sample {
    let (version, protocol) = KINDS[usize::from(flow % 4)];
    let mut sample = a_packet(version, protocol);
    sample.flow = flow;
    sample.sequence = u32::MAX - u32::from(flow) * 500;
    sample.id = u16::MAX - u16::from(flow);
    sample.dont_fragment = flow & 8 == 0;
    if version == 6 && flow >= 8 {
        sample.extensions = 1;
    }
    sample
}

fn happen(state: &mut Sample, event: &Event, batch: &mut Vec<Vec<u8>>) {
    let mut sample = state.clone();
    let mut arrives = true;
    match event {
        Event::Length(length) => sample.payload = some_bytes((*length).into(), 3),
        Event::Flags(flags) => sample.flags |= flags,
        Event::Change(what) => change(state, *what),
        Event::Loss => arrives = false,
        Event::NetworkOptions => sample.extensions += 1,
        Event::Full
        | Event::Again
        | Event::Damage(..)
        | Event::Fragment
        | Event::NoUdpChecksum
        | Event::Stranger => {}
    }
    if matches!(event, Event::Change(_)) {
        sample = state.clone();
    }
    let transport = sample.transport();
    let mut packet = sample.build();
    match event {
        Event::Again => batch.push(packet.clone()),
        Event::Damage(at, bit) => {
            let at = at.index(packet.len());
            packet[at] ^= 1 << (bit % 8);
        }
        Event::Fragment if sample.version == 4 => {
            packet[6] |= 0x20;
            naive::finish(&mut packet, transport, sample.protocol);
        }
        Event::Fragment => packet[6] = 44,
        Event::NoUdpChecksum if sample.protocol == UDP => {
            packet[transport + 6..transport + 8].fill(0);
        }
        Event::Stranger => packet[if sample.version == 4 { 9 } else { 6 }] = 50,
        Event::Full
        | Event::Length(_)
        | Event::Flags(_)
        | Event::Change(_)
        | Event::Loss
        | Event::NoUdpChecksum
        | Event::NetworkOptions => {}
    }
    if arrives {
        batch.push(packet);
    }
    state.sequence = state.sequence.wrapping_add(sample.payload.len() as u32);
    // Where the flow label is even, identifications do not count: as kernels do for what is never fragmented.
    if state.flow_label % 2 == 1 || !state.dont_fragment {
        state.id = state.id.wrapping_add(1);
    }
}

fn change(state: &mut Sample, what: u8) {
    match what % 10 {
        0 => state.tos ^= 3,
        1 => state.tos ^= 8,
        2 => state.hops ^= 1,
        3 => state.flow_label ^= 1,
        4 => state.acknowledgement ^= 4,
        5 => state.window ^= 2,
        6 => state.options[7] ^= 1,
        7 => state.flags ^= 0x40,
        8 => state.id ^= 0x100,
        _ => state.dont_fragment ^= true,
    }
}

/// What the kernel would put on a wire.
fn cut(one: &Written) -> Vec<Vec<u8>> {
    let header = VirtioHeader::decode(one.header.encode()).expect("one that we made");
    let mut segmenter = Segmenter::new(&header, &one.bytes).expect("a packet that we made");
    let mut buffer = vec![0; 80_000];
    let run = segmenter
        .fill(&mut buffer, 64)
        .expect("room")
        .expect("frames");
    assert_eq!(segmenter.fill(&mut buffer, 64), Ok(None));
    let frames = run.frames(&mut buffer);
    frames
        .map(|frame| frame[16..frame.len() - 16].to_vec())
        .collect()
}

/// Packets that must stay in order among themselves: those of one flow, and fragments between its addresses.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    addresses: Vec<u8>,
    protocol: u8,
    ports: Vec<u8>,
}

fn lines(batch: &[Vec<u8>]) -> Vec<Line> {
    let mut lines: Vec<Line> = batch.iter().map(|packet| line(packet)).collect();
    lines.sort();
    lines.dedup();
    lines
}

fn line(packet: &[u8]) -> Line {
    let (addresses, protocol, transport) = match packet[0] >> 4 {
        4 => (12..20, packet[9], usize::from(packet[0] & 0xf) * 4),
        // Not IP, so of no flow.
        0..=3 | 5 | 7.. => (0..0, 0, 0),
        6 => {
            let (mut next, mut at) = (packet[6], 40);
            while next == 60 && at + 2 <= packet.len() {
                (next, at) = (packet[at], at + 8 + usize::from(packet[at + 1]) * 8);
            }
            (8..40, next, at)
        }
    };
    let ports = packet.get(transport..transport + 4).unwrap_or_default();
    Line {
        addresses: packet[addresses].to_vec(),
        protocol,
        ports: ports.to_vec(),
    }
}

fn is_of(wanted: &Line, packet: &[u8]) -> bool {
    let own = line(packet);
    own == *wanted || (is_fragment(packet) && own.addresses == wanted.addresses)
}

fn is_fragment(packet: &[u8]) -> bool {
    match packet[0] >> 4 {
        4 => packet[6] & 0x3f != 0 || packet[7] != 0,
        _ => packet[6] == 44,
    }
}

fn id_of(packet: &[u8]) -> [u8; 2] {
    [packet[4], packet[5]]
}

/// `after`, with the identification of `before` if that was the same in all packets of a super-packet none of which may be
/// fragmented: the one thing that is not kept.
fn with_id(after: &[u8], before: &[u8], first_id: [u8; 2]) -> Vec<u8> {
    let mut after = after.to_vec();
    let may_differ = after[0] == 0x45
        && before[0] == 0x45
        && after[6] & before[6] & 0x40 != 0
        && id_of(before) == first_id
        && id_of(&after) != first_id;
    if may_differ {
        assert_eq!(naive::sum(&after[..20]), 0xffff);
        after[4..6].copy_from_slice(&first_id);
        after[10..12].fill(0);
        let checksum = !naive::sum(&after[..20]);
        after[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    after
}
