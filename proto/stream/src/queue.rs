//! Frames that wait for a stream. Few do, and TCP keeps little behind them ([`crate::tcp`]): whatever waits in front of a slow
//! line delays all that comes later. Of what waits for too long all the time, the oldest is left out first (CoDel); only a
//! flood that takes no hint finds the queue full, and then the newest are lost, so that nobody waits for a slow stream.

use bytes::Bytes;
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::Instant,
};

use crate::codel::Codel;

/// Frames that wait at most: 30 ms of what a member may send, in frames of common size.
const MOST: usize = 256;
/// With no more than these behind it no frame is left out: about what is written at a time.
const FEW: usize = 10;

/// The end at which frames come in.
#[derive(Debug)]
pub struct Sender(mpsc::Sender<Waiting>);

/// The end at which [`send`](crate::frames::send) takes them out.
#[derive(Debug)]
pub struct Receiver {
    frames: mpsc::Receiver<Waiting>,
    codel: Codel,
}

#[derive(Debug)]
struct Waiting {
    frame: Bytes,
    since: Instant,
}

/// An empty queue, which ends when the sender is gone.
#[must_use]
pub fn queue() -> (Sender, Receiver) {
    let (sender, frames) = mpsc::channel(MOST);
    let codel = Codel::default();
    (Sender(sender), Receiver { frames, codel })
}

impl Sender {
    /// Adds a frame, if there is room.
    pub fn push(&self, frame: &[u8]) {
        let _ = self.0.try_send(Waiting {
            frame: Bytes::copy_from_slice(frame),
            since: Instant::now(),
        });
    }
}

impl Receiver {
    /// The next frame; none once the sender is gone and nothing waits any more.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let waiting = self.frames.recv().await?;
            if let Some(frame) = self.judge(waiting) {
                return Some(frame);
            }
        }
    }

    /// The next frame, if one waits.
    pub(crate) fn try_next(&mut self) -> Option<Bytes> {
        loop {
            match self.frames.try_recv() {
                Ok(waiting) => {
                    if let Some(frame) = self.judge(waiting) {
                        return Some(frame);
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    fn judge(&mut self, Waiting { frame, since }: Waiting) -> Option<Bytes> {
        let now = Instant::now();
        let is_last = self.frames.len() < FEW;
        let is_dropped = self.codel.drops(
            now.saturating_duration_since(since),
            is_last,
            now.into_std(),
        );
        (!is_dropped).then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_takes_nothing_makes_nobody_wait_and_few_frames() {
        let (sender, mut receiver) = queue();

        for number in 0..MOST * 2 {
            sender.push(&number.to_be_bytes());
        }

        let mut kept = Vec::new();
        while let Some(frame) = receiver.try_next() {
            kept.push(frame);
        }
        assert_eq!(kept.len(), MOST);
        assert_eq!(kept[0][..], 0usize.to_be_bytes());
    }
}
