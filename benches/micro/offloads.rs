//! Super-packets, checksums and marks.

use std::hint::black_box;

use criterion::BatchSize;
use tombolo_engine::{
    mss,
    offload::{
        checksum::Sum,
        coalesce::{Coalescer, Merges},
        ecn::{self, Ecn},
        segment::Segmenter,
        virtio::VirtioHeader,
    },
};
use tombolo_proto::{
    frame::{LANE_HEADER, LANE_OVERHEAD, LANE_TAG},
    id::Mtu,
};

use crate::{
    packets::{self, SEGMENTS},
    stages::Stages,
};

/// What a receive brings that the kernel, or the peer, has merged: 64 KiB hold no more full frames.
const COALESCED: usize = 44;
const A: [u8; 4] = [10, 77, 0, 1];
const B: [u8; 4] = [10, 77, 0, 2];

/// All of them.
pub(crate) fn measure(stages: &mut Stages) {
    let read = packets::super_packet(A, B);
    let length = packets::HEADERS + usize::from(packets::SEGMENT);

    stages.one("virtio header, parse", |bencher| {
        bencher.iter(|| VirtioHeader::parse(black_box(&read)).expect("our own").0);
    });

    let mut buffer = vec![0; SEGMENTS * (length + LANE_OVERHEAD)];
    stages.many(
        "segmentation of 64 KB into 1,400 bytes",
        SEGMENTS,
        SEGMENTS * length,
        |bencher| {
            bencher.iter(|| {
                let (header, packet) = VirtioHeader::parse(black_box(&read)).expect("our own");
                let mut segmenter = Segmenter::new(&header, packet).expect("our own");
                segmenter.fill(&mut buffer, SEGMENTS).expect("room for all")
            });
        },
    );

    for bytes in [64, 1400] {
        stages.one(format!("checksum of {bytes} bytes"), |bencher| {
            let bytes = &read[read.len() - bytes..];
            bencher.iter(|| Sum::of(black_box(bytes)).checksum());
        });
    }

    let mut packet = packets::tcp(A, B, length, 0);
    packet[1] = Ecn::Ect0.bits();
    stages.one("ECN, inner mark to outer", |bencher| {
        bencher.iter(|| ecn::encapsulated(ecn::mark_of(black_box(&packet))));
    });
    stages.one("ECN, outer mark to inner", |bencher| {
        bencher.iter(|| {
            packet[1] = Ecn::Ect0.bits();
            ecn::decapsulate(black_box(&mut packet), Ecn::Ce)
        });
    });
    stages.one("MSS clamp, data", |bencher| {
        bencher.iter(|| mss::clamp(black_box(&mut packet), Mtu::DEFAULT));
    });
    let unclamped = packets::tcp(A, B, packets::HEADERS, packets::SYN);
    let mut syn = unclamped.clone();
    stages.one("MSS clamp, SYN", |bencher| {
        bencher.iter(|| {
            syn.copy_from_slice(&unclamped);
            mss::clamp(black_box(&mut syn), Mtu::DEFAULT);
        });
    });

    coalescing(stages, &read);
}

fn coalescing(stages: &mut Stages, read: &[u8]) {
    let (frames, length) = packets::segments(read);
    let received = &frames[..COALESCED * length];
    let mut coalescer = Coalescer::default();
    stages.many(
        format!("coalescing of {COALESCED} packets of 1,400 bytes"),
        COALESCED,
        0,
        |bencher| {
            // The header of the first packet becomes that of the super-packet, so each run needs packets of its own.
            bencher.iter_batched_ref(
                || received.to_vec(),
                |memory| {
                    let mut deliveries = 0;
                    for start in (0..memory.len()).step_by(length) {
                        let packet = start + LANE_HEADER..start + length - LANE_TAG;
                        coalescer.push(0, Merges::ALL, memory, packet, |_, _| deliveries += 1);
                    }
                    coalescer.flush(memory, |_, delivery| {
                        assert!(delivery.packets() > COALESCED / 2, "they are of one flow");
                        deliveries += 1;
                    });
                    deliveries
                },
                BatchSize::NumIterations(8),
            );
        },
    );
}
