//! Between a stream and the UDP socket in front of it.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::UdpSocket,
    time::timeout,
};
use tombolo_proto::{
    frame::{self, FrameKind},
    relay::{self, MAX_STREAM_FRAME},
};

/// Bytes that are read or written at a time, at least one frame.
const BATCH: usize = 32 << 10;
/// A stream on which nothing came for so long is not used any more: relays are pinged every 25 seconds.
const SILENCE: Duration = Duration::from_secs(80);
/// Whoever takes nothing for so long is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Carries frames until the stream ends, or is not used any more.
pub(super) async fn carry(stream: impl AsyncRead + AsyncWrite, socket: &UdpSocket) {
    // A fresh socket is not known to take anything yet, and the first frame would be lost.
    if socket.writable().await.is_err() {
        return;
    }
    let (reading, writing) = tokio::io::split(stream);
    tokio::select! {
        () = inward(reading, socket) => {}
        () = outward(socket, writing) => {}
    }
}

async fn inward(stream: impl AsyncRead + Unpin, socket: &UdpSocket) {
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
        if passes(frame) {
            // What a full socket does not take is lost.
            let _ = socket.try_send(frame);
        }
    }
}

async fn outward(socket: &UdpSocket, mut stream: impl AsyncWrite + Unpin) {
    let mut buffer = vec![0; MAX_STREAM_FRAME + 1].into_boxed_slice();
    let mut batch = Vec::new();
    loop {
        // Errors are left over from frames to a socket that was not there.
        let Ok(length) = socket.recv(&mut buffer).await else {
            continue;
        };
        batch.clear();
        let mut next = Some(length);
        while let Some(length) = next {
            let frame = buffer.get(..length).unwrap_or_default();
            if passes(frame) {
                relay::put_on_stream(frame, &mut batch);
            }
            next = (batch.len() < BATCH)
                .then(|| socket.try_recv(&mut buffer).ok())
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

/// What members say to each other and to relays. Where somebody is seen cannot be asked on a stream.
fn passes(frame: &[u8]) -> bool {
    match frame::kind(frame) {
        Some(
            FrameKind::WireGuard(_)
            | FrameKind::LaneData
            | FrameKind::LaneControl
            | FrameKind::LaneFragment
            | FrameKind::Probe
            | FrameKind::Relay,
        ) => true,
        Some(FrameKind::Stun) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tombolo_proto::{frame::LANE_DATA, stun};

    use super::*;

    #[tokio::test]
    async fn frames_pass_both_ways_and_nothing_else_does() {
        let (near, data) = a_bridge_and_data_socket().await;
        let (mut far, stream) = tokio::io::duplex(1 << 20);
        let serving = tokio::spawn(async move { carry(stream, &near.0).await });
        let frame = [LANE_DATA; 700];
        let mut sent = Vec::new();
        relay::put_on_stream(&stun::request(&[1; 12]), &mut sent);
        relay::put_on_stream(&frame, &mut sent);

        far.write_all(&sent).await.expect("room");
        let mut received = [0; 2000];
        let length = data.recv(&mut received).await.expect("a frame");
        assert_eq!(&received[..length], frame);

        data.send(&stun::request(&[1; 12])).await.expect("sent");
        data.send(&frame).await.expect("sent");
        let mut answer = [0; 702];
        far.read_exact(&mut answer).await.expect("a frame");
        assert_eq!(answer[..2], [2, 188]);
        assert_eq!(answer[2..], frame);

        drop(far);
        serving.await.expect("it ends with the stream");
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_ends_it() {
        let (near, _data) = a_bridge_and_data_socket().await;
        let (mut far, stream) = tokio::io::duplex(1 << 20);
        let serving = tokio::spawn(async move { carry(stream, &near.0).await });

        far.write_all(&[0xff; 2]).await.expect("room");

        serving.await.expect("it ends");
    }

    struct Near(UdpSocket);

    async fn a_bridge_and_data_socket() -> (Near, UdpSocket) {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let near = UdpSocket::bind(any).await.expect("a port");
        let data = UdpSocket::bind(any).await.expect("a port");
        let at = |socket: &UdpSocket| socket.local_addr().expect("bound");
        near.connect(at(&data)).await.expect("loopback");
        data.connect(at(&near)).await.expect("loopback");
        (Near(near), data)
    }
}
