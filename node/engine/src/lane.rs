//! A lane: the fast AEAD channel of a session. One key per direction, one counter per key.
//!
//! A frame is `header (16) | sealed payload | tag (16)`. The whole header is authenticated, so that the kind of a frame
//! and the lane it is for cannot be changed on the way. The nonce is four zero bytes and the frame's counter, little
//! endian: it cannot repeat, because the counter only ever grows and a key is made for one lane and one direction.
//!
//! Sealing and opening work in place, allocate nothing and take no lock, whichever threads do it. Who has many frames
//! to seal reserves their counters at once. The replay window is consulted before opening (to spare work on what is
//! hopelessly old) and marked only after the frame has authenticated.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use tombolo_proto::{
    frame::{LANE_HEADER, LANE_OVERHEAD, LANE_TAG, LaneHeader},
    id::LaneIndex,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    counters::DropReason,
    replay::{self, ReplayWindow, Seen},
};

/// Frames after which a session asks for a new lane. At 700,000 packets/s this is 47 s; a handshake takes two round trips.
pub const REKEY_AFTER_FRAMES: u64 = 1 << 25;

/// Frames after which a key seals and opens nothing more.
///
/// RFC 9001 appendix B.1 allows 2^35 blocks of 16 bytes per AES-GCM key if an attacker's advantage is to stay below
/// 2^-57; the largest inner packet (8,900 bytes) has 557 blocks, so 61 million frames. ChaCha20-Poly1305 would allow more.
/// Forgeries: the limit is 2^57 attempts for AES-GCM and 2^36 for ChaCha20-Poly1305, and a key lives for minutes.
pub const REJECT_AFTER_FRAMES: u64 = 3 << 24;
const _: () = assert!(REJECT_AFTER_FRAMES <= replay::LIMIT);

/// The cipher of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Aead {
    /// Where both processors have AES instructions.
    Aes256Gcm,
    /// Everywhere else.
    ChaCha20Poly1305,
}

impl Aead {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    fn key(self, bytes: &[u8; 32]) -> LessSafeKey {
        let algorithm = match self {
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        LessSafeKey::new(UnboundKey::new(algorithm, bytes).expect("both ciphers take 32-byte keys"))
    }
}

/// The two keys of a lane, as one of its ends sees them.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct LaneKeys {
    /// For frames to the peer.
    pub seal: [u8; 32],
    /// For frames from the peer.
    pub open: [u8; 32],
}

impl std::fmt::Debug for LaneKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LaneKeys(…)")
    }
}

/// Keeps what one thread writes for every packet off the cache lines that other threads read: two lines of 64 bytes,
/// because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// One end of a lane. Shared by all forwarding threads.
///
/// [`LaneKeys`] are overwritten when they have served. What the cipher library expanded them to is not: it gives the
/// memory back as it is, and lets nobody else at it.
#[derive(Debug)]
pub struct Lane {
    local: LaneIndex,
    remote: LaneIndex,
    aead: Aead,
    seal: LessSafeKey,
    open: LessSafeKey,
    confirmed: AtomicBool,
    /// Fingerprint of the last unexpected source that was reported: see [`Self::is_news`].
    reported: AtomicU64,
    /// Counter of the next frame to be sealed.
    next: Apart<AtomicU64>,
    window: Apart<ReplayWindow>,
}

/// Counters of one lane that nobody else seals with. What is left of them is never used.
#[derive(Debug)]
#[must_use]
pub struct Reserved<'a> {
    lane: &'a Lane,
    counters: Range<u64>,
}

/// A frame that authenticated and was not seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// First byte of the frame.
    pub kind: u8,
    /// Where the plain payload lies in the frame.
    pub payload: Range<usize>,
    /// Whether its counter is above all before it.
    pub newest: bool,
}

impl Lane {
    /// `local` is what the peer writes into frames to us, `remote` what we write into frames to the peer.
    #[must_use]
    pub fn new(local: LaneIndex, remote: LaneIndex, aead: Aead, keys: &LaneKeys) -> Self {
        Self {
            local,
            remote,
            aead,
            seal: aead.key(&keys.seal),
            open: aead.key(&keys.open),
            confirmed: AtomicBool::new(false),
            reported: AtomicU64::new(0),
            next: Apart::default(),
            window: Apart::default(),
        }
    }

    /// Our own index.
    #[must_use]
    pub const fn local(&self) -> LaneIndex {
        self.local
    }

    /// The lane's cipher.
    #[must_use]
    pub const fn aead(&self) -> Aead {
        self.aead
    }

    /// Seals in place. `frame` is room for the header, the payload, and room for the tag; all of it goes on the wire.
    pub fn seal(&self, kind: u8, frame: &mut [u8]) -> Result<(), DropReason> {
        self.reserve(1)?.seal(kind, frame)
    }

    /// Takes the next `count` counters, or none if the key may not seal that many more frames.
    pub fn reserve(&self, count: u32) -> Result<Reserved<'_>, DropReason> {
        // Grows past the limit by what is asked for in vain, in steps of 32 bits: 64 never overflow.
        let first = self.next.0.fetch_add(u64::from(count), Relaxed);
        let end = first.saturating_add(u64::from(count));
        if end > REJECT_AFTER_FRAMES {
            return Err(DropReason::Exhausted);
        }
        Ok(Reserved {
            lane: self,
            counters: first..end,
        })
    }

    /// Opens in place a frame whose header is `header` and names this lane.
    pub fn open(&self, header: LaneHeader, frame: &mut [u8]) -> Result<Opened, DropReason> {
        if header.counter >= REJECT_AFTER_FRAMES {
            return Err(DropReason::Exhausted);
        }
        if header.counter < self.window.0.floor() {
            return Err(DropReason::Replayed);
        }
        let Some((head, sealed)) = frame.split_first_chunk_mut::<LANE_HEADER>() else {
            return Err(DropReason::UnknownFrame);
        };
        let payload_length = self
            .open
            .open_in_place(nonce(header.counter), Aad::from(*head), sealed)
            .map_err(|_| DropReason::BadTag)?
            .len();
        let seen = self.window.0.mark(header.counter);
        if seen == Seen::Replayed {
            return Err(DropReason::Replayed);
        }
        Ok(Opened {
            kind: header.kind,
            payload: LANE_HEADER..LANE_HEADER + payload_length,
            newest: seen == Seen::Newest,
        })
    }

    /// How many frames have been sealed, or counters reserved for them.
    #[must_use]
    pub fn sealed(&self) -> u64 {
        self.next.0.load(Relaxed)
    }

    /// Whether any frame of the peer has been opened.
    #[must_use]
    pub fn has_opened(&self) -> bool {
        !self.window.0.is_unused()
    }

    /// Whether the slow path has taken note of the peer's first frame.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Relaxed)
    }

    pub(crate) fn set_confirmed(&self) {
        self.confirmed.store(true, Relaxed);
    }

    /// Whether an unexpected source is worth telling the slow path: when it differs from the last one reported, and now
    /// and then again in case that report was lost.
    pub(crate) fn is_news(&self, fingerprint: u64, counter: u64) -> bool {
        // One in 64: rare enough to cost nothing at line rate, often enough that a lost report is made up for at once.
        self.reported.swap(fingerprint, Relaxed) != fingerprint || counter.is_multiple_of(64)
    }
}

impl Reserved<'_> {
    /// Seals in place with the next of the counters, as [`Lane::seal`] does.
    pub fn seal(&mut self, kind: u8, frame: &mut [u8]) -> Result<(), DropReason> {
        let Some(payload_length) = frame.len().checked_sub(LANE_OVERHEAD) else {
            return Err(DropReason::NotIp);
        };
        let Some(counter) = self.counters.next() else {
            return Err(DropReason::Exhausted);
        };
        let header = LaneHeader {
            kind,
            receiver: self.lane.remote,
            counter,
        }
        .encode();
        let (room, rest) = frame.split_at_mut(LANE_HEADER);
        let (payload, tag_room) = rest.split_at_mut(payload_length);
        room.copy_from_slice(&header);
        let tag = self
            .lane
            .seal
            .seal_in_place_separate_tag(nonce(counter), Aad::from(header), payload)
            .map_err(|_| DropReason::Exhausted)?;
        tag_room.copy_from_slice(tag.as_ref());
        Ok(())
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Builds a frame around `payload`, for senders outside the fast path.
#[must_use]
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; LANE_HEADER + payload.len() + LANE_TAG];
    frame[LANE_HEADER..LANE_HEADER + payload.len()].copy_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
