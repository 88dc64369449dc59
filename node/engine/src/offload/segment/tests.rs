use std::num::NonZeroU16;

use proptest::prelude::*;

use super::*;
use crate::offload::{
    UDP_MAX_SEGMENTS,
    headers::{get, word},
    naive,
    sample::{Sample, TCP, UDP, a_packet, some_bytes},
};

/// Bytes of a send with `UDP_SEGMENT`.
const SEND: usize = 65_507;

#[test]
fn a_tcp_super_packet_becomes_segments_that_differ_only_where_they_must() {
    let mut sample = a_packet(4, TCP);
    sample.flags = 0x80 | 0x40 | 0x10 | 0x08 | 0x01;
    sample.sequence = u32::MAX - 500;
    sample.id = u16::MAX;
    sample.payload = some_bytes(2500, 3);
    let (header, packet) = sample.build_super(1000);

    let segments = segments_of(&header, &packet);

    let flags: Vec<u8> = segments.iter().map(|segment| segment[33]).collect();
    assert_eq!(
        flags,
        [0x80 | 0x40 | 0x10, 0x40 | 0x10, 0x40 | 0x10 | 0x08 | 0x01]
    );
    let ids: Vec<u16> = segments
        .iter()
        .filter_map(|segment| word(segment, 4))
        .collect();
    assert_eq!(ids, [u16::MAX, 0, 1]);
    let sequences: Vec<u32> = segments
        .iter()
        .filter_map(|segment| get(segment, 24).map(u32::from_be_bytes))
        .collect();
    assert_eq!(sequences, [u32::MAX - 500, 499, 1499]);
    let lengths: Vec<usize> = segments.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1052, 1052, 552]);
}

#[test]
fn a_segment_is_what_a_plain_forwarder_would_have_read() {
    for (version, protocol) in [(4, TCP), (6, TCP), (4, UDP), (6, UDP)] {
        let mut sample = a_packet(version, protocol);
        sample.extensions = 2;
        sample.payload = some_bytes(777, 5);
        let (header, packet) = sample.build_super(1000);

        assert_eq!(segments_of(&header, &packet), [sample.build()]);
    }
}

#[test]
fn every_frame_of_a_run_has_room_around_it_and_one_length() {
    let mut sample = a_packet(6, TCP);
    sample.payload = some_bytes(5 * 1348 + 10, 6);
    let (header, packet) = sample.build_super(1348);
    let mut buffer = vec![0xaa; SEND];
    let mut segmenter = Segmenter::new(&header, &packet).expect("well-formed");

    let run = segmenter
        .fill(&mut buffer, UDP_MAX_SEGMENTS)
        .expect("room")
        .expect("frames");

    let headers = 40 + 32;
    assert_eq!(run.frame, 32 + headers + 1348);
    assert_eq!(run.total, 6 * 32 + 6 * headers + 5 * 1348 + 10);
    assert_eq!(run.count(), 6);
    for frame in run.frames(&mut buffer) {
        assert_eq!(frame[..LANE_HEADER], [0xaa; LANE_HEADER]);
        assert_eq!(frame[frame.len() - LANE_TAG..], [0xaa; LANE_TAG]);
    }
    assert!(buffer[run.total..].iter().all(|&byte| byte == 0xaa));
    assert_eq!(segmenter.fill(&mut buffer, UDP_MAX_SEGMENTS), Ok(None));
}

#[test]
fn a_super_packet_longer_than_one_send_goes_on_in_the_next() {
    let mut sample = a_packet(4, TCP);
    sample.payload = some_bytes(65_535 - 52, 7);
    let (header, packet) = sample.build_super(1348);
    let mut buffer = vec![0; SEND];
    let mut segmenter = Segmenter::new(&header, &packet).expect("well-formed");

    let counts: Vec<usize> = std::iter::from_fn(|| segmenter.fill(&mut buffer, 64).expect("room"))
        .map(Run::count)
        .collect();

    assert_eq!(counts, [45, 4]);
}

#[test]
fn a_run_stops_at_the_number_of_segments_asked_for() {
    let mut sample = a_packet(4, UDP);
    sample.payload = some_bytes(100, 8);
    let (header, packet) = sample.build_super(1);
    let mut buffer = vec![0; SEND];
    let mut segmenter = Segmenter::new(&header, &packet).expect("well-formed");

    let counts: Vec<usize> = std::iter::from_fn(|| segmenter.fill(&mut buffer, 64).expect("room"))
        .map(Run::count)
        .collect();

    assert_eq!(counts, [64, 36]);
}

#[test]
fn an_ordinary_packet_is_one_frame_with_its_checksum_completed() {
    for (version, protocol) in [(4, TCP), (6, TCP), (4, UDP), (6, UDP)] {
        let sample = a_packet(version, protocol);
        let (mut header, packet) = sample.build_super(1);
        header.gso = None;

        assert_eq!(segments_of(&header, &packet), [sample.build()]);
    }
    let header = VirtioHeader::default();
    assert_eq!(segments_of(&header, b"anything"), [b"anything"]);
}

#[test]
fn a_checksum_is_completed_wherever_the_kernel_left_it() {
    // An inner header of a tunnel in the tunnel: the checksum is not that of the outermost transport header.
    let outer = some_bytes(50, 1);
    let sample = a_packet(4, TCP);
    let (header, inner) = sample.build_super(1);
    let partial = header.partial.expect("left to do");
    let header = VirtioHeader {
        partial: Some(PartialChecksum {
            start: partial.start + 50,
            offset: partial.offset,
        }),
        ..VirtioHeader::default()
    };

    let completed = segments_of(&header, &[outer.clone(), inner].concat());

    assert_eq!(completed, [[outer, sample.build()].concat()]);
}

#[test]
fn a_udp_checksum_of_zero_is_written_as_ones() {
    let mut sample = a_packet(4, UDP);
    sample.payload = vec![0; 4];
    let plain = sample.build();
    let checksum = word(&plain, 26).expect("there");
    sample.payload = [checksum.to_be_bytes(), [0, 0]].concat();
    assert_eq!(word(&sample.build(), 26), Some(0xffff));

    let (header, packet) = sample.build_super(100);
    assert_eq!(segments_of(&header, &packet), [sample.build()]);
}

#[test]
fn without_a_partial_checksum_the_pseudo_header_is_that_of_the_addresses() {
    for (version, protocol) in [(4, TCP), (6, TCP), (4, UDP), (6, UDP)] {
        let mut sample = a_packet(version, protocol);
        sample.payload = some_bytes(250, 9);
        let (mut header, _) = sample.build_super(100);
        header.partial = None;
        let packet = sample.build();

        let expected = naive::segments(&packet, sample.transport(), protocol, 100);
        assert_eq!(segments_of(&header, &packet), expected);
    }
}

#[test]
fn the_sum_that_the_kernel_left_wins_over_the_addresses() {
    // Under a routing header the checksum is about the final destination, which is not in the IPv6 header.
    let mut sample = a_packet(6, TCP);
    sample.payload = some_bytes(100, 9);
    let (header, mut packet) = sample.build_super(100);
    packet[39] ^= 0x55;

    let mut expected = sample.build();
    expected[39] ^= 0x55;
    assert_eq!(segments_of(&header, &packet), [expected]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (header, packet) = a_packet(4, TCP).build_super(10);
    let (header6, packet6) = a_packet(6, TCP).build_super(10);
    let (udp, datagram) = a_packet(4, UDP).build_super(10);
    let refused = |header: &VirtioHeader, packet: &[u8]| Segmenter::new(header, packet).err();
    let with_field = |start, offset| VirtioHeader {
        partial: Some(PartialChecksum { start, offset }),
        ..header
    };

    assert_eq!(refused(&header, &packet[..100]), Some(SegmentError::NotIp));
    assert_eq!(refused(&header, &[]), Some(SegmentError::NotIp));
    assert_eq!(
        refused(&header6, &packet),
        Some(SegmentError::WrongProtocol)
    );
    assert_eq!(
        refused(&header, &packet6),
        Some(SegmentError::WrongProtocol)
    );
    assert_eq!(refused(&udp, &packet), Some(SegmentError::WrongProtocol));
    assert_eq!(
        refused(&header, &datagram),
        Some(SegmentError::WrongProtocol)
    );
    for (start, offset) in [(24, 16), (20, 6), (0, 16), (20, u16::MAX)] {
        let header = with_field(start, offset);
        assert_eq!(
            refused(&header, &packet),
            Some(SegmentError::WrongChecksumField)
        );
    }
    for offset in [0x40, 0xf0] {
        let mut short = a_packet(4, TCP);
        short.payload.clear();
        let (header, mut packet) = short.build_super(10);
        packet[32] = offset;
        assert_eq!(refused(&header, &packet), Some(SegmentError::NoTransport));
    }
    let mut fragment = packet.clone();
    fragment[6] |= 0x20;
    assert_eq!(refused(&header, &fragment), Some(SegmentError::NotIp));

    let beyond = VirtioHeader {
        gso: None,
        ..with_field(20, 140)
    };
    assert_eq!(
        refused(&beyond, &packet),
        Some(SegmentError::WrongChecksumField)
    );
}

#[test]
fn a_buffer_for_less_than_a_frame_is_an_error_and_not_a_loop() {
    let (header, packet) = a_packet(4, TCP).build_super(10);
    let mut segmenter = Segmenter::new(&header, &packet).expect("well-formed");
    let frame = segmenter.frame_length();

    assert_eq!(
        segmenter.fill(&mut vec![0; frame - 1], 64),
        Err(SegmentError::NoRoom(frame))
    );
    assert_eq!(
        segmenter.fill(&mut vec![0; frame], 0),
        Err(SegmentError::NoRoom(frame))
    );
}

proptest! {
    #[test]
    fn segments_are_those_of_the_naive_segmenter(
        sample in any_sample(),
        size in 1u16..2000,
        room in 0usize..4000,
        most in 1usize..70,
    ) {
        let (header, packet) = sample.build_super(size);
        let expected = naive::segments(&packet, sample.transport(), sample.protocol, size.into());
        let mut segmenter = Segmenter::new(&header, &packet).expect("well-formed");
        let mut buffer = vec![0xaa; segmenter.frame_length() + room];

        let mut segments = Vec::new();
        while let Some(run) = segmenter.fill(&mut buffer, most).expect("room for a frame") {
            prop_assert!(run.count() <= most);
            prop_assert!(run.total <= buffer.len());
            segments.extend(run.frames(&mut buffer).map(|frame| packet_of(frame)));
            buffer.fill(0xaa);
        }

        prop_assert_eq!(segments, expected);
    }

    #[test]
    fn no_bytes_panic(
        packet in prop::collection::vec(any::<u8>(), 0..300),
        first in prop_oneof![Just(0x45u8), Just(0x46), Just(0x60), any::<u8>()],
        header: [u8; 10],
        room in 0usize..600,
    ) {
        let mut packet = packet;
        if let Some(byte) = packet.first_mut() {
            *byte = first;
        }
        if let Ok(header) = VirtioHeader::decode(header) {
            run_through(&header, &packet, room);
        }
    }

    #[test]
    fn no_damage_to_a_super_packet_panics(
        sample in any_sample(),
        size in 1u16..2000,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)],
        start in prop_oneof![3 => Just(None), 1 => any::<(u16, u16)>().prop_map(Some)],
        room in 0usize..4000,
    ) {
        let (mut header, mut packet) = sample.build_super(size);
        for (at, byte) in damage {
            let at = at.index(packet.len().min(120));
            packet[at] = byte;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        if let Some((start, offset)) = start {
            header.partial = Some(PartialChecksum { start, offset });
        }
        run_through(&header, &packet, room);
    }
}

fn run_through(header: &VirtioHeader, packet: &[u8], room: usize) {
    let mut buffer = vec![0; room];
    let Ok(mut segmenter) = Segmenter::new(header, packet) else {
        return;
    };
    let mut rounds = 0;
    while let Ok(Some(run)) = segmenter.fill(&mut buffer, 64) {
        assert!(run.total > 0 && run.total <= room);
        rounds += 1;
        assert!(rounds <= packet.len() + 1, "it never ends");
    }
}

fn segments_of(header: &VirtioHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut segmenter = Segmenter::new(header, packet).expect("well-formed");
    let mut buffer = vec![0; SEND];
    let mut segments = Vec::new();
    while let Some(run) = segmenter.fill(&mut buffer, 64).expect("room") {
        segments.extend(run.frames(&mut buffer).map(|frame| packet_of(frame)));
    }
    segments
}

fn packet_of(frame: &[u8]) -> Vec<u8> {
    frame[LANE_HEADER..frame.len() - LANE_TAG].to_vec()
}

fn any_sample() -> impl Strategy<Value = Sample> {
    (
        (
            prop_oneof![Just(4u8), Just(6)],
            prop_oneof![Just(TCP), Just(UDP)],
        ),
        any::<(u8, u8, u16, bool, u16)>(),
        0usize..4,
        any::<(u32, u32, u16, u8)>(),
        (0usize..11, any::<u32>()),
        prop_oneof![0usize..100, 0usize..10_000, Just(60_000)],
    )
        .prop_map(
            |(
                (version, protocol),
                (tos, hops, id, dont_fragment, flow_label),
                extensions,
                (sequence, acknowledgement, window, flags),
                (options, seed),
                length,
            )| Sample {
                version,
                protocol,
                flow: 1,
                tos,
                hops,
                id,
                dont_fragment,
                flow_label,
                extensions,
                sequence,
                acknowledgement,
                window,
                flags,
                options: some_bytes(options * 4, seed),
                payload: some_bytes(length, seed),
            },
        )
}

#[test]
fn a_segment_size_beyond_the_payload_is_no_reason_to_refuse() {
    let sample = a_packet(4, TCP);
    let (mut header, packet) = sample.build_super(1);
    if let Some(gso) = &mut header.gso {
        gso.size = NonZeroU16::MAX;
    }

    assert_eq!(segments_of(&header, &packet), [sample.build()]);
}
