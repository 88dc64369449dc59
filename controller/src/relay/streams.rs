//! Relayed frames on TLS over TCP, each behind its length. A bounded queue stands before each stream: whatever does not fit
//! is lost, and nobody waits for a slow client.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::mpsc,
    time::timeout,
};
use tombolo_proto::relay::{self, MAX_STREAM_FRAME};

/// Frames that wait for one client: 30 ms of what one may send, in frames of common size.
const QUEUE: usize = 256;
/// Bytes that are written at a time, at least one frame.
const BATCH: usize = 32 << 10;
/// Bytes that are read at a time.
const READ: usize = 32 << 10;
/// A client pings every 25 seconds. One that is silent for so long is gone, or never was one.
const SILENCE: Duration = Duration::from_secs(80);
/// A client that takes nothing for so long is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

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

/// Gives every frame to `take`, until the stream ends, is silent for too long, or says what no client says.
pub(super) async fn receive(stream: impl AsyncRead + Unpin, mut take: impl FnMut(&mut [u8])) {
    let mut stream = BufReader::with_capacity(READ, stream);
    let mut buffer = vec![0; MAX_STREAM_FRAME].into_boxed_slice();
    loop {
        let Ok(Ok(length)) = timeout(SILENCE, stream.read_u16()).await else {
            return;
        };
        let Some(frame) = buffer.get_mut(..usize::from(length)) else {
            return;
        };
        let Ok(Ok(_)) = timeout(SILENCE, stream.read_exact(frame)).await else {
            return;
        };
        take(frame);
    }
}

/// Sends what is queued, many frames at a time if they are there, until the stream ends or does not take them.
pub(super) async fn send(mut stream: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Bytes>) {
    let mut batch = Vec::new();
    while let Some(frame) = frames.recv().await {
        batch.clear();
        let mut next = Some(frame);
        while let Some(frame) = next {
            relay::put_on_stream(&frame, &mut batch);
            next = (batch.len() < BATCH)
                .then(|| frames.try_recv().ok())
                .flatten();
        }
        let written = async {
            stream.write_all(&batch).await?;
            stream.flush().await
        };
        let Ok(Ok(())) = timeout(WRITE_DEADLINE, written).await else {
            return;
        };
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn a_frame_that_is_too_long_ends_the_stream() {
        let too_long = u16::try_from(MAX_STREAM_FRAME + 1)
            .expect("it fits")
            .to_be_bytes();
        let said = [&too_long[..], &[0; MAX_STREAM_FRAME + 1]].concat();
        let mut taken = 0;

        receive(&said[..], |_| taken += 1).await;

        assert_eq!(taken, 0);
    }
}
