//! Relayed frames on TLS over TCP, each behind its length. A bounded queue stands before each stream: whatever does not fit
//! is lost, and nobody waits for a slow client.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::{io::AsyncWrite, sync::mpsc};
use tombolo_stream::frames::Batch;

/// Frames that wait for one client: 30 ms of what one may send, in frames of common size.
const QUEUE: usize = 256;

/// The streams that there are.
#[derive(Debug, Default)]
pub(super) struct Streams {
    queues: DashMap<u64, mpsc::Sender<Bytes>>,
    serial: AtomicU64,
}

impl Streams {
    /// A new one: its number, and what goes to it.
    pub(super) fn open(&self) -> (u64, mpsc::Receiver<Bytes>) {
        let (queue, frames) = mpsc::channel(QUEUE);
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
            let _ = queue.try_send(Bytes::copy_from_slice(frame));
        }
    }
}

/// Sends what is queued, many frames at a time if they are there, until the stream ends or does not take them.
pub(super) async fn send(mut stream: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Bytes>) {
    let mut batch = Batch::default();
    while let Some(frame) = frames.recv().await {
        batch.push(&frame);
        while batch.has_room()
            && let Ok(frame) = frames.try_recv()
        {
            batch.push(&frame);
        }
        if !batch.write(&mut stream).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_stream::frames::receive;

    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let streams = Streams::default();
        let (number, frames) = streams.open();
        let sent: Vec<Vec<u8>> = (0..50u8)
            .map(|byte| vec![byte; usize::from(byte) * 20])
            .collect();
        for frame in &sent {
            streams.push(number, frame);
        }
        streams.close(number);

        send(near, frames).await;
        let mut received = Vec::new();
        receive(far, |frame| received.push(frame.to_vec())).await;

        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_makes_nobody_wait() {
        let streams = Streams::default();
        let (number, mut frames) = streams.open();

        for _ in 0..QUEUE * 2 {
            streams.push(number, b"frame");
        }

        let mut queued = 0;
        while frames.try_recv().is_ok() {
            queued += 1;
        }
        assert_eq!(queued, QUEUE);
    }
}
