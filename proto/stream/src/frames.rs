//! Frames on a stream of TCP, each behind its length (see [`relay::put_on_stream`]).

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    time::timeout,
};
use tombolo_proto::relay::{self, MAX_STREAM_FRAME};

use crate::queue::Receiver;

/// Bytes that are written at a time, at least one frame: what fits into one record of TLS.
const BATCH: usize = 16 << 10;
/// Bytes that are read at a time.
const READ: usize = 32 << 10;
/// A stream on which nothing came for so long is not used any more: relays are pinged every 25 seconds.
const SILENCE: Duration = Duration::from_secs(80);
/// Whoever takes nothing for so long is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Gives every frame to `take`, until the stream ends, is silent for too long, or says what nobody says.
pub async fn receive(stream: impl AsyncRead + Unpin, mut take: impl FnMut(&mut [u8])) {
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

/// Sends what is queued, several frames at a time if they are there, until the queue ends, or the stream ends or does not take
/// them.
pub async fn send(mut stream: impl AsyncWrite + Unpin, mut frames: Receiver) {
    let mut batch = Vec::with_capacity(BATCH + MAX_STREAM_FRAME);
    while let Some(frame) = frames.next().await {
        relay::put_on_stream(&frame, &mut batch);
        while batch.len() < BATCH
            && let Some(frame) = frames.try_next()
        {
            relay::put_on_stream(&frame, &mut batch);
        }
        let written = async {
            stream.write_all(&batch).await?;
            stream.flush().await
        };
        if !matches!(timeout(WRITE_DEADLINE, written).await, Ok(Ok(()))) {
            return;
        }
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::queue;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (sender, receiver) = queue();
        let sent: Vec<Vec<u8>> = (0..50u8)
            .map(|byte| vec![byte; usize::from(byte) * 20])
            .collect();
        for frame in &sent {
            sender.push(frame);
        }
        drop(sender);

        send(near, receiver).await;
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
