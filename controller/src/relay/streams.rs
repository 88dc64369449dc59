//! Relayed frames on TLS over TCP, each behind its length. A short queue stands before each stream, and nobody waits for a slow
//! client.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dashmap::DashMap;
use tombolo_stream::queue::{self, Receiver, Sender};

/// The streams that there are.
#[derive(Debug, Default)]
pub(super) struct Streams {
    queues: DashMap<u64, Sender>,
    serial: AtomicU64,
}

impl Streams {
    /// A new one: its number, and what goes to it.
    pub(super) fn open(&self) -> (u64, Receiver) {
        let (queue, frames) = queue::queue();
        let number = self.serial.fetch_add(1, Relaxed);
        self.queues.insert(number, queue);
        (number, frames)
    }

    pub(super) fn close(&self, number: u64) {
        self.queues.remove(&number);
    }

    /// Sends a frame, if the stream is there and takes it.
    pub(super) fn push(&self, number: u64, frame: &[u8]) {
        if let Some(queue) = self.queues.get(&number) {
            queue.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_stream::frames::{receive, send};

    use super::*;

    #[tokio::test]
    async fn what_is_pushed_before_a_stream_is_closed_goes_there_and_nothing_afterwards() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let streams = Streams::default();
        let (number, frames) = streams.open();
        streams.push(number, b"before");
        streams.push(number + 1, b"elsewhere");
        streams.close(number);
        streams.push(number, b"afterwards");

        send(near, frames).await;
        let mut received = Vec::new();
        receive(far, |frame| received.push(frame.to_vec())).await;

        assert_eq!(received, [b"before"]);
    }
}
