//! The whole way of a packet through the engine, out of one node and into another.

use std::{hint::black_box, time::Duration};

use criterion::BatchSize;
use tombolo_engine::{
    fib::NetworkSlot,
    forward::{Inbound, Outbound},
    offload::{segment::Segmenter, virtio::VirtioHeader},
};
use tombolo_proto::frame::{LANE_HEADER, LANE_OVERHEAD};
use tombolo_tests::{
    simnet::Conditions,
    world::{Handshake, Name, World},
};

use crate::{
    packets::{self, SEGMENTS},
    stages::Stages,
};

const A: Name = Name(1);
const B: Name = Name(2);
const NETWORK: NetworkSlot = NetworkSlot(0);

/// All of them.
pub(crate) fn measure(stages: &mut Stages) {
    super_packet(stages);
    for bytes in [64, 1400] {
        let packet = packets::tcp([172, 27, 0, 1], [172, 27, 0, 2], bytes, 0);
        let mut frame = vec![0; bytes + LANE_OVERHEAD];
        frame[LANE_HEADER..LANE_HEADER + bytes].copy_from_slice(&packet);
        stages.one(
            format!("outbound, {bytes} bytes: route, clamp, seal"),
            |bencher| {
                let world = two_nodes();
                let near = &world.node(A).fib;
                bencher.iter(|| {
                    // What routing looks at; the last run has sealed it.
                    frame[LANE_HEADER..LANE_HEADER + packets::HEADERS]
                        .copy_from_slice(&packet[..packets::HEADERS]);
                    let sent = near.outbound(NETWORK, black_box(&mut frame));
                    assert!(matches!(sent, Outbound::Send { .. }));
                });
            },
        );
        stages.one(
            format!("inbound, {bytes} bytes: open, check, clamp"),
            |bencher| {
                let world = two_nodes();
                let (near, far) = (&world.node(A).fib, &world.node(B).fib);
                let from = world.node(A).address;
                let sealed = || {
                    let mut frame = vec![0; bytes + LANE_OVERHEAD];
                    frame[LANE_HEADER..LANE_HEADER + bytes].copy_from_slice(&packet);
                    let sent = near.outbound(NETWORK, &mut frame);
                    assert!(matches!(sent, Outbound::Send { .. }));
                    frame
                };
                let open = |frame: &mut Vec<u8>| {
                    let taken = far.inbound(from, frame);
                    assert!(matches!(taken, Inbound::Deliver { note: None, .. }));
                };
                bencher.iter_batched_ref(sealed, open, BatchSize::NumIterations(32));
            },
        );
    }
}

/// A super-packet from the read of the TUN to the send, as the node's outbound thread takes it.
fn super_packet(stages: &mut Stages) {
    let read = packets::super_packet([172, 27, 0, 1], [172, 27, 0, 2]);
    let length = packets::HEADERS + usize::from(packets::SEGMENT);
    let mut buffer = vec![0; SEGMENTS * (length + LANE_OVERHEAD)];
    stages.many(
        "outbound, 64 KB: parse, route, segment, seal",
        SEGMENTS,
        SEGMENTS * length,
        |bencher| {
            let world = two_nodes();
            let near = &world.node(A).fib;
            bencher.iter(|| {
                let (header, packet) = VirtioHeader::parse(black_box(&read)).expect("our own");
                let hop = near.route(NETWORK, packet).expect("a member");
                let mut segments = Segmenter::new(&header, packet).expect("our own");
                let run = segments
                    .fill(&mut buffer, SEGMENTS)
                    .expect("room for all")
                    .expect("some");
                assert!(hop.seal(run.frames(&mut buffer)));
            });
        },
    );
}

/// Two nodes with a session.
fn two_nodes() -> World {
    let mut world = World::with_members(Handshake::Fake, Conditions::CLEAN, 1, 2);
    let packet = world.send(A, B);
    assert!(world.run_until(Duration::from_secs(1), |world| {
        world.has_received(B, packet)
    }));
    world.run_for(Duration::from_secs(1));
    world
}
