//! Lanes and their replay window.

use std::hint::black_box;

use criterion::BatchSize;
use tombolo_engine::{
    lane::{Aead, Lane, LaneKeys},
    replay::ReplayWindow,
};
use tombolo_proto::{
    frame::{LANE_DATA, LANE_OVERHEAD, LaneHeader},
    id::LaneIndex,
};

use crate::stages::Stages;

/// Frames sealed before any of them is opened: few enough to stay in the cache.
const BATCH: BatchSize = BatchSize::NumIterations(32);

/// All of them.
pub(crate) fn measure(stages: &mut Stages) {
    for aead in [Aead::Aes256Gcm, Aead::ChaCha20Poly1305] {
        for bytes in [64, 1400] {
            let mut frame = vec![0; bytes + LANE_OVERHEAD];
            stages.one(format!("seal, {}, {bytes} bytes", aead.name()), |bencher| {
                let (near, _) = ends(aead);
                bencher.iter(|| {
                    near.seal(LANE_DATA, black_box(&mut frame))
                        .expect("a key that is not used up");
                });
            });
            stages.one(format!("open, {}, {bytes} bytes", aead.name()), |bencher| {
                let (near, far) = ends(aead);
                let sealed = || {
                    let mut frame = vec![0; bytes + LANE_OVERHEAD];
                    near.seal(LANE_DATA, &mut frame)
                        .expect("a key that is not used up");
                    frame
                };
                let open = |frame: &mut Vec<u8>| {
                    let header = LaneHeader::decode(frame).expect("sealed");
                    far.open(header, frame).expect("sealed and not seen before")
                };
                bencher.iter_batched_ref(sealed, open, BATCH);
            });
        }
    }
    stages.one("replay window, mark", |bencher| {
        let window = ReplayWindow::default();
        let mut counter = 0;
        bencher.iter(|| {
            counter += 1;
            window.mark(black_box(counter))
        });
    });
}

/// The two ends of a new lane.
fn ends(aead: Aead) -> (Lane, Lane) {
    let keys = |seal, open| LaneKeys {
        seal: [seal; 32],
        open: [open; 32],
    };
    (
        Lane::new(LaneIndex(1), LaneIndex(2), aead, &keys(1, 2)),
        Lane::new(LaneIndex(2), LaneIndex(1), aead, &keys(2, 1)),
    )
}
