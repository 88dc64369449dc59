//! The control port over TCP, seen from those who are no nodes.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::rig::Rig;

/// Connections from one source: see `control/limits.rs`.
const PER_SOURCE: usize = 512;
/// Time to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn one_source_gets_so_many_places_and_one_that_says_nothing_loses_its_place() {
    let rig = Rig::start().await;
    let at = rig.controller.control();
    let begin = Instant::now();
    let mut held = Vec::new();
    for _ in 0..PER_SOURCE {
        held.push(TcpStream::connect(at).await.expect("the port is open"));
    }

    let mut beyond = TcpStream::connect(at).await.expect("the port is open");
    let closed = timeout(HANDSHAKE / 2, is_closed(&mut beyond)).await;
    assert_eq!(closed, Ok(true), "it is one too many");

    let mut first = held.swap_remove(0);
    let closed = timeout(HANDSHAKE * 5, is_closed(&mut first)).await;
    assert_eq!(closed, Ok(true), "it said nothing");
    println!("a silent connection was closed after {:?}", begin.elapsed());
    assert!(begin.elapsed() >= HANDSHAKE);
    let mut again = TcpStream::connect(at).await.expect("the port is open");
    let closed = timeout(HANDSHAKE / 5, is_closed(&mut again)).await;
    assert!(closed.is_err(), "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_another_protocol_is_sent_away_at_once() {
    let rig = Rig::start().await;
    let at = rig.controller.control();
    let mut stream = TcpStream::connect(at).await.expect("the port is open");

    let said = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(said).await.expect("sent");

    let closed = timeout(HANDSHAKE / 2, is_closed(&mut stream)).await;
    assert_eq!(closed, Ok(true));
}

/// Waits until the other side ends the connection; what it says before does not matter.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut said = [0; 64];
    loop {
        match stream.read(&mut said).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
    }
}
