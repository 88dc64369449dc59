//! Who may change a network now.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::Joins;

/// Who may change a network now, and who waits to join it.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) turn: Mutex<()>,
    pub(super) refreshing: Mutex<()>,
    /// The sequence that a commit under way will have made; 0 if there is none.
    pub(super) committing: AtomicU64,
    pub(super) joins: Joins,
}

/// A commit under way. It is over when what it did is known.
pub(super) struct Committing<'a>(&'a AtomicU64);

impl<'a> Committing<'a> {
    pub(super) fn begin(writer: &'a Writer, sequence: u64) -> Self {
        writer.committing.store(sequence, Ordering::Release);
        Self(&writer.committing)
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}
