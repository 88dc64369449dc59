//! Asking other resolvers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tombolo_names::message;

use super::PORT;
use crate::io::underlay;

/// Most that fits a UDP datagram or a message over TCP.
const MAX_MESSAGE: usize = 65_535;

/// What a question travels over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    /// The same, past a default route into the overlay.
    UdpByUnderlay,
    Tcp,
}

/// Asks one resolver and gives its answer, with the id of the question; none if it does not answer in time.
pub(super) async fn ask(
    to: IpAddr,
    question: &[u8],
    transport: Transport,
    patience: Duration,
) -> Option<Vec<u8>> {
    // An id of our own, and a port of the kernel's choice: strangers cannot guess both.
    let (theirs, ours) = (message::id(question)?, rand::random());
    let mut question = question.to_vec();
    message::set_id(&mut question, ours);
    let to = SocketAddr::new(to, PORT);
    let exchange = async {
        match transport {
            Transport::Udp => over_udp(to, &question, false).await,
            Transport::UdpByUnderlay => over_udp(to, &question, true).await,
            Transport::Tcp => over_tcp(to, &question).await,
        }
    };
    match timeout(patience, exchange).await {
        Ok(Ok(mut reply)) => {
            message::set_id(&mut reply, theirs);
            Some(reply)
        }
        Ok(Err(error)) => {
            tracing::trace!(%to, %error, "Failed to ask a resolver");
            None
        }
        Err(_) => None,
    }
}

async fn over_udp(to: SocketAddr, question: &[u8], by_underlay: bool) -> io::Result<Vec<u8>> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    if by_underlay {
        underlay::keep(&socket);
    }
    socket.connect(to).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if message::is_reply(question, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(to: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    write(&mut stream, question).await?;
    let reply = read(&mut stream).await?;
    if message::is_reply(question, &reply) {
        Ok(reply)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Writes a message as it goes over TCP: its length before it (RFC 1035, 4.2.2).
pub(super) async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}

/// Reads such a message.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
