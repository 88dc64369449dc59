use std::{collections::BTreeSet, thread};

use proptest::prelude::*;
use tombolo_proto::frame::{LANE_CONTROL, LANE_DATA};

use super::*;

#[test]
fn what_one_end_seals_the_other_opens_and_the_payload_is_not_readable_on_the_way() {
    for aead in [Aead::Aes256Gcm, Aead::ChaCha20Poly1305] {
        let (a, b) = two_ends(aead);
        let mut frame = framed(b"a secret of some length");

        a.seal(LANE_DATA, &mut frame).expect("a fresh lane");

        assert!(!frame.windows(6).any(|window| window == b"secret"));
        let opened = open(&b, &mut frame).expect("it is genuine");
        assert_eq!(&frame[opened.payload], b"a secret of some length");
        assert!(opened.newest);
    }
}

#[test]
fn any_changed_bit_is_noticed() {
    let (a, b) = two_ends(Aead::Aes256Gcm);
    let mut genuine = framed(b"0123456789");
    a.seal(LANE_CONTROL, &mut genuine).expect("a fresh lane");
    let header = LaneHeader::decode(&genuine).expect("a lane frame");

    for position in 0..genuine.len() {
        for bit in 0..8 {
            let mut forged = genuine.clone();
            forged[position] ^= 1 << bit;
            let header = LaneHeader::decode(&forged).unwrap_or(header);
            assert!(b.open(header, &mut forged).is_err(), "byte {position}");
        }
    }
    assert!(open(&b, &mut genuine).is_ok());
}

#[test]
fn a_frame_opens_once_and_a_forgery_does_not_use_up_its_counter() {
    let (a, b) = two_ends(Aead::ChaCha20Poly1305);
    let mut frame = framed(b"once");
    a.seal(LANE_DATA, &mut frame).expect("a fresh lane");
    let mut forged = frame.clone();
    forged[20] ^= 1;
    let mut copy = frame.clone();

    assert_eq!(open(&b, &mut forged), Err(DropReason::BadTag));
    assert!(open(&b, &mut frame).is_ok());
    assert_eq!(open(&b, &mut copy), Err(DropReason::Replayed));
}

#[test]
fn a_key_stops_at_its_limit_in_both_directions() {
    let (a, b) = two_ends(Aead::Aes256Gcm);
    a.next.0.store(REJECT_AFTER_FRAMES - 1, Relaxed);
    let mut last = framed(b"last");
    let mut over = framed(b"over");

    assert_eq!(a.seal(LANE_DATA, &mut last), Ok(()));
    assert_eq!(a.seal(LANE_DATA, &mut over), Err(DropReason::Exhausted));

    assert!(open(&b, &mut last).is_ok());
    for counter in [REJECT_AFTER_FRAMES, u64::MAX - 1, u64::MAX] {
        let header = LaneHeader {
            kind: LANE_DATA,
            receiver: b.local(),
            counter,
        };
        assert_eq!(b.open(header, &mut over), Err(DropReason::Exhausted));
    }
}

#[test]
fn a_key_seals_as_many_frames_as_it_may_each_of_which_opens_and_not_one_more() {
    let (a, b) = two_ends(Aead::Aes256Gcm);
    // All of them with the full number of repetitions, and otherwise the last ones.
    let last: u64 = if std::env::var_os("TOMBOLO_TEST_FULL").is_some() {
        REJECT_AFTER_FRAMES
    } else {
        20_000
    };
    a.next.0.store(REJECT_AFTER_FRAMES - last, Relaxed);
    let mut frame = framed(b"payload");

    for counter in REJECT_AFTER_FRAMES - last..REJECT_AFTER_FRAMES {
        frame[LANE_HEADER..].fill(7);
        assert_eq!(a.seal(LANE_DATA, &mut frame), Ok(()));
        assert_eq!(counter_of(&frame), counter);
        assert!(open(&b, &mut frame).is_ok());
    }

    let untouched = framed(b"payload");
    for _ in 0..1000 {
        let mut frame = untouched.clone();
        assert_eq!(a.seal(LANE_DATA, &mut frame), Err(DropReason::Exhausted));
        assert_eq!(frame, untouched);
        assert!(a.reserve(1).is_err());
    }
}

#[test]
fn counters_are_reserved_for_a_whole_burst_or_not_at_all() {
    let (a, b) = two_ends(Aead::Aes256Gcm);
    let mut burst = a.reserve(2).expect("a fresh lane");
    let mut between = framed(b"between");
    let mut frames = [b"1", b"2", b"3"].map(|payload| framed(payload));

    assert_eq!(a.seal(LANE_DATA, &mut between), Ok(()));
    let sealed = frames.each_mut().map(|frame| burst.seal(LANE_DATA, frame));

    assert_eq!(sealed, [Ok(()), Ok(()), Err(DropReason::Exhausted)]);
    assert_eq!(counter_of(&between), 2);
    for (frame, counter) in frames.iter_mut().zip(0..2) {
        assert_eq!(counter_of(frame), counter);
        assert!(open(&b, frame).is_ok());
    }
    a.next.0.store(REJECT_AFTER_FRAMES - 2, Relaxed);
    assert!(a.reserve(3).is_err());
    assert!(a.reserve(1).is_err());
}

#[test]
fn threads_that_seal_at_once_never_use_a_counter_twice() {
    const THREADS: u32 = 4;
    const BURSTS: u32 = 200;
    let (a, b) = two_ends(Aead::Aes256Gcm);

    let sealed: Vec<Vec<u8>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let a = &a;
                scope.spawn(move || {
                    (0..BURSTS)
                        .flat_map(|burst| a_burst(a, 1 + (thread + burst) % 5))
                        .collect()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| -> Vec<Vec<u8>> { thread.join().expect("it does not panic") })
            .collect()
    });

    let count = sealed.len() as u64;
    assert_eq!(a.sealed(), count);
    let counters: BTreeSet<u64> = sealed.iter().map(|frame| counter_of(frame)).collect();
    assert!(counters.into_iter().eq(0..count));
    for mut frame in sealed {
        assert!(open(&b, &mut frame).is_ok());
    }
}

#[test]
fn of_threads_that_open_copies_of_the_same_frames_each_frame_is_opened_by_one() {
    const FRAMES: u32 = 2000;
    let (a, b) = two_ends(Aead::Aes256Gcm);
    let frames = a_burst(&a, FRAMES);

    let opened: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (b, mut copies) = (&b, frames.clone());
                scope.spawn(move || {
                    copies
                        .iter_mut()
                        .map(|frame| usize::from(open(b, frame).is_ok()))
                        .sum::<usize>()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it does not panic"))
            .sum()
    });

    assert_eq!(opened, FRAMES as usize);
}

#[test]
fn frames_too_short_for_header_and_tag_are_refused() {
    let (a, b) = two_ends(Aead::Aes256Gcm);
    let header = LaneHeader {
        kind: LANE_DATA,
        receiver: b.local(),
        counter: 0,
    };
    for length in 0..LANE_OVERHEAD {
        let mut frame = vec![0; length];
        assert!(a.seal(LANE_DATA, &mut frame).is_err());
        assert!(b.open(header, &mut frame).is_err());
    }
}

proptest! {
    #[test]
    fn every_payload_round_trips(payload in prop::collection::vec(any::<u8>(), 0..2000), aes in any::<bool>()) {
        let (a, b) = two_ends(if aes { Aead::Aes256Gcm } else { Aead::ChaCha20Poly1305 });
        let mut frame = framed(&payload);
        prop_assert_eq!(a.seal(LANE_DATA, &mut frame), Ok(()));
        let opened = open(&b, &mut frame).expect("it is genuine");
        prop_assert_eq!(&frame[opened.payload], &payload[..]);
    }
}

impl Lane {
    /// As if all frames that the key allows had been sealed.
    pub(crate) fn exhaust(&self) {
        self.next.0.store(REJECT_AFTER_FRAMES, Relaxed);
    }

    /// As if nobody had taken note of the peer's first frame.
    pub(crate) fn unconfirm(&self) {
        self.confirmed.store(false, Relaxed);
    }
}

fn a_burst(lane: &Lane, count: u32) -> Vec<Vec<u8>> {
    let mut reserved = lane.reserve(count).expect("a fresh lane");
    (0..count)
        .map(|_| {
            let mut frame = framed(b"payload");
            reserved
                .seal(LANE_DATA, &mut frame)
                .expect("one of those reserved");
            frame
        })
        .collect()
}

fn counter_of(frame: &[u8]) -> u64 {
    LaneHeader::decode(frame).expect("a lane frame").counter
}

pub(super) fn two_ends(aead: Aead) -> (Lane, Lane) {
    let (one, other) = ([1; 32], [2; 32]);
    let a = LaneKeys {
        seal: one,
        open: other,
    };
    let b = LaneKeys {
        seal: other,
        open: one,
    };
    (
        Lane::new(LaneIndex(10), LaneIndex(20), aead, &a),
        Lane::new(LaneIndex(20), LaneIndex(10), aead, &b),
    )
}

fn open(lane: &Lane, frame: &mut [u8]) -> Result<Opened, DropReason> {
    let header = LaneHeader::decode(frame).expect("a lane frame");
    lane.open(header, frame)
}
