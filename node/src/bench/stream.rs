//! Filling and emptying one TCP connection, with blocking calls.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{CHUNK, PATIENCE};

/// What is sent. Its contents do not matter: it is sealed on the way, and nothing compresses it.
static CHUNK_OF_ZEROS: [u8; CHUNK] = [0; CHUNK];
/// Bytes that may wait in the sender's socket unsent: enough to keep the path full, and gone soon after the end.
const UNSENT: u32 = 256 * 1024;

/// Sets what both ends want of every connection: small things leave at once, and silence is an error.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    // Without it a slow path is still being filled by the socket's buffer long after the last write.
    socket.set_tcp_notsent_lowat(UNSENT)
}

/// Writes until `go_on` says no, which is asked with the number of bytes after every write.
pub(super) fn fill(stream: &TcpStream, mut go_on: impl FnMut(u64) -> bool) -> io::Result<()> {
    let mut stream = stream;
    let mut bytes = 0;
    while go_on(bytes) {
        bytes = stream.write(&CHUNK_OF_ZEROS)? as u64;
    }
    Ok(())
}

/// Reads to the end of the stream, or until `go_on` says no, which is asked with the number of bytes after every read.
/// Gives what came and how long that took from the first byte to the last.
pub(super) fn empty(
    stream: &TcpStream,
    mut go_on: impl FnMut(u64) -> bool,
) -> io::Result<(u64, Duration)> {
    let mut stream = stream;
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    let mut times: Option<(Instant, Instant)> = None;
    loop {
        let bytes = stream.read(&mut buffer)? as u64;
        if bytes == 0 {
            break;
        }
        let now = Instant::now();
        times = Some((times.map_or(now, |(first, _)| first), now));
        total += bytes;
        if !go_on(bytes) {
            break;
        }
    }
    let took = times.map_or(Duration::ZERO, |(first, last)| last - first);
    Ok((total, took))
}

/// Sends back whatever comes, to the end of the stream.
pub(super) fn echo(stream: &TcpStream, ends: Instant) -> io::Result<()> {
    let mut stream = stream;
    let mut buffer = [0; 64];
    while Instant::now() < ends {
        let length = stream.read(&mut buffer)?;
        let Some(heard) = buffer.get(..length).filter(|heard| !heard.is_empty()) else {
            break;
        };
        stream.write_all(heard)?;
    }
    Ok(())
}
