//! What a node's owner, or a test, may set.

use std::time::Duration;

use crate::handshake::Abilities;

/// How long things take. Tests shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Age at which a lane is replaced while data flows: WireGuard's REKEY_AFTER_TIME.
    pub rekey_after: Duration,
    /// Age at which a lane's keys are erased: WireGuard's REJECT_AFTER_TIME.
    pub reject_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            rekey_after: Duration::from_secs(120),
            reject_after: Duration::from_secs(180),
        }
    }
}

/// What a node's owner decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Ages of keys.
    pub timing: Timing,
    /// Whether the processor has AES instructions, and they are not switched off.
    pub aes: bool,
    /// Frames after which a lane is replaced while data flows: [`crate::lane::REKEY_AFTER_FRAMES`], or less in tests.
    pub rekey_after_frames: u64,
    /// Whether lanes are made with ML-KEM where the peer takes part.
    pub post_quantum: bool,
}

impl Settings {
    pub(crate) const fn abilities(&self) -> Abilities {
        Abilities {
            aes: self.aes,
            post_quantum: self.post_quantum,
        }
    }
}
