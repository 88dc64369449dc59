//! The socket for STUN and for relayed frames, and streams of such frames from nodes to which no UDP passes.
//!
//! STUN tells nodes at which address they are seen. Answers are never longer than questions, and each network block gets
//! only so many, so that nobody can be flooded with them. What is relayed is decided by [`tombolo_relay`]: members become
//! clients on their control connections, and need none afterwards.

mod streams;

use std::{
    io,
    net::UdpSocket as StdSocket,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpStream, UdpSocket},
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_rustls::server::TlsStream;
use tombolo_proto::{
    control::Standing,
    frame::{self, FrameKind},
};
use tombolo_relay::{Outlet, Relay, Verdict};
use tombolo_stream::frames;

use streams::Streams;

use crate::{
    networks::{Networks, standing},
    observing::Observing,
    stop::Stop,
};

/// Longest datagram that is looked at: the largest frame of a jumbo network, and the relay's header.
const LONGEST: usize = 9_300;
/// Without clients, how soon the first one is noticed: its budget lasts longer.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Whoever is removed is relayed for no longer than this: well below what is promised of removals.
const REVIEW_EVERY: Duration = Duration::from_secs(1);

/// Ends what is relayed for those who are members no more, until told to stop. While the store is away, those who were
/// members last go on.
pub(crate) async fn review(relay: Arc<Relay>, networks: Arc<Networks>, mut stop: Stop) {
    let mut ticks = interval(REVIEW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.wait() => return,
        }
        for id in relay.networks() {
            match networks.load(id).await {
                Ok(Some(loaded)) => relay.retain(|network, member| {
                    network != id || standing(&loaded.network, member) == Standing::Member
                }),
                Ok(None) => relay.retain(|network, _| network != id),
                Err(error) => tracing::debug!(%error, "cannot tell who is still a member"),
            }
        }
    }
}

/// Sends what is relayed to where it goes: a datagram, or a frame on a stream.
#[derive(Debug)]
pub(crate) struct Forwarder {
    relay: Arc<Relay>,
    socket: UdpSocket,
    streams: Streams,
}

impl Forwarder {
    /// On this socket, and on streams that come.
    pub(crate) fn new(socket: StdSocket, relay: Arc<Relay>) -> io::Result<Self> {
        Ok(Self {
            relay,
            socket: UdpSocket::from_std(socket)?,
            streams: Streams::default(),
        })
    }

    /// What decides.
    pub(crate) fn relay(&self) -> Arc<Relay> {
        Arc::clone(&self.relay)
    }

    /// Answers STUN and relays datagrams until told to stop.
    pub(crate) async fn serve(&self, observing: &Observing, mut stop: Stop) {
        let mut datagram = vec![0; LONGEST].into_boxed_slice();
        loop {
            let due = self.relay.poll_timeout();
            let received = tokio::select! {
                received = self.socket.recv_from(&mut datagram) => received,
                // Clients may come by streams, of which this hears nothing.
                () = until(due.unwrap_or_else(|| Instant::now() + LOOK_EVERY)) => {
                    if due.is_some() {
                        self.relay.handle_timeout(Instant::now());
                    }
                    continue;
                }
                () = stop.wait() => return,
            };
            // Errors here are left over from answers to unreachable hosts.
            let Ok((length, from)) = received else {
                continue;
            };
            let received = datagram.get_mut(..length).unwrap_or_default();
            if frame::kind(received) == Some(FrameKind::Relay) {
                self.take(Outlet::Udp(from), received);
            } else {
                observing.answer(&self.socket, received, from);
            }
        }
    }

    /// Relays what comes on a stream, and what goes to it, until it ends or this is told to stop.
    pub(crate) async fn carry(&self, stream: TlsStream<TcpStream>, mut stop: Stop) {
        let (number, waiting) = self.streams.open();
        let (reading, writing) = tokio::io::split(stream);
        tokio::select! {
            () = frames::receive(reading, |frame| self.take(Outlet::Stream(number), frame)) => {}
            () = frames::send(writing, waiting) => {}
            () = stop.wait() => {}
        }
        self.streams.close(number);
        self.relay.stream_closed(number);
    }

    /// What does not go at once is lost, as on any link.
    fn take(&self, from: Outlet, frame: &mut [u8]) {
        let to = match self.relay.take(from, frame) {
            Verdict::Forward(to) => to,
            Verdict::Answer => from,
            Verdict::Drop => return,
        };
        match to {
            Outlet::Udp(to) => drop(self.socket.try_send_to(frame, to)),
            Outlet::Stream(number) => self.streams.push(number, frame),
        }
    }
}

async fn until(moment: Instant) {
    sleep_until(moment.into()).await;
}
