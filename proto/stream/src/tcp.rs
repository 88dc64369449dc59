//! What is asked of the system for a TCP connection.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// The system counts these in whole seconds.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// What TCP keeps beyond what it has under way: enough to go on with until more is written. Without this it keeps megabytes,
/// seconds of a slow line.
const UNSENT: u32 = 32 << 10;

/// Has the system ask for a sign of life after so much silence, give up the other side when none comes for so long, or when it
/// takes nothing, and keep hardly anything unsent.
///
/// # Errors
/// When the system refuses.
pub fn prepare(stream: &TcpStream, sign_of_life: Duration, silence: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_notsent_lowat(UNSENT)?;
    let keep_alive = TcpKeepalive::new()
        .with_time(sign_of_life.max(SHORTEST_KEEP_ALIVE))
        .with_interval(SHORTEST_KEEP_ALIVE);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.set_tcp_user_timeout(Some(silence))
}
