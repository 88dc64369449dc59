//! Frames on a stream of TCP, each behind its length (see [`relay::put_on_stream`]).

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    time::timeout,
};
use tombolo_proto::relay::{self, MAX_STREAM_FRAME};

/// Bytes that are read or written at a time, at least one frame.
const BATCH: usize = 32 << 10;
/// A stream on which nothing came for so long is not used any more: relays are pinged every 25 seconds.
const SILENCE: Duration = Duration::from_secs(80);
/// Whoever takes nothing for so long is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Gives every frame to `take`, until the stream ends, is silent for too long, or says what nobody says.
pub async fn receive(stream: impl AsyncRead + Unpin, mut take: impl FnMut(&mut [u8])) {
    let mut stream = BufReader::with_capacity(BATCH, stream);
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

/// Frames that are written together.
#[derive(Debug, Default)]
pub struct Batch(Vec<u8>);

impl Batch {
    /// Adds a frame. What is longer than [`MAX_STREAM_FRAME`] is left out.
    pub fn push(&mut self, frame: &[u8]) {
        relay::put_on_stream(frame, &mut self.0);
    }

    /// Whether there is room for more.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.0.len() < BATCH
    }

    /// Writes all of it and is empty again; `false` if the stream takes it no more.
    pub async fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> bool {
        let written = async {
            stream.write_all(&self.0).await?;
            stream.flush().await
        };
        let is_written = matches!(timeout(WRITE_DEADLINE, written).await, Ok(Ok(())));
        self.0.clear();
        is_written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let sent: Vec<Vec<u8>> = (0..50u8)
            .map(|byte| vec![byte; usize::from(byte) * 20])
            .collect();
        let mut batch = Batch::default();
        for frame in &sent {
            batch.push(frame);
        }

        assert!(batch.write(&mut near).await);
        drop(near);
        let mut received = Vec::new();
        receive(far, |frame| received.push(frame.to_vec())).await;

        assert_eq!(received, sent);
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
