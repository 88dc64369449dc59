//! Between a stream and the UDP socket in front of it.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UdpSocket,
};
use tombolo_proto::{
    frame::{self, FrameKind},
    relay::MAX_STREAM_FRAME,
};
use tombolo_stream::{
    frames,
    queue::{self, Sender},
};

/// Carries frames until the stream ends, or is not used any more.
pub(super) async fn carry(stream: impl AsyncRead + AsyncWrite, socket: &UdpSocket) {
    // A fresh socket is not known to take anything yet, and the first frame would be lost.
    if socket.writable().await.is_err() {
        return;
    }
    let (reading, writing) = tokio::io::split(stream);
    let (sender, waiting) = queue::queue();
    tokio::select! {
        () = inward(reading, socket) => {}
        () = outward(socket, sender) => {}
        () = frames::send(writing, waiting) => {}
    }
}

async fn inward(stream: impl AsyncRead + Unpin, socket: &UdpSocket) {
    let pass_on = |frame: &mut [u8]| {
        if passes(frame) {
            // What a full socket does not take is lost.
            let _ = socket.try_send(frame);
        }
    };
    frames::receive(stream, pass_on).await;
}

/// Takes everything from the socket at once, whose buffer would be a second queue.
async fn outward(socket: &UdpSocket, sender: Sender) {
    let mut buffer = vec![0; MAX_STREAM_FRAME + 1].into_boxed_slice();
    loop {
        // Errors are left over from frames to a socket that was not there.
        let Ok(length) = socket.recv(&mut buffer).await else {
            continue;
        };
        let frame = buffer.get(..length).unwrap_or_default();
        if passes(frame) {
            sender.push(frame);
        }
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

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tombolo_proto::{frame::LANE_DATA, relay, stun};

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
