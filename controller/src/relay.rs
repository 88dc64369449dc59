//! The socket for STUN and for relayed frames.
//!
//! STUN tells nodes at which address they are seen. Answers are never longer than questions, and each network block gets
//! only so many, so that nobody can be flooded with them. What is relayed is decided by [`tombolo_relay`]: members become
//! clients on their control connections, and need none afterwards.

use std::{
    net::UdpSocket as StdSocket,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::UdpSocket,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tombolo_proto::{
    control::Standing,
    frame::{self, FrameKind},
};
use tombolo_relay::{Outlet, Relay, Verdict};

use crate::{
    networks::{Networks, standing},
    observing::Observing,
    stop::Stop,
};

/// Longest datagram that is looked at: the largest frame of a jumbo network, and the relay's header.
const LONGEST: usize = 9_300;
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

/// Answers STUN and relays until told to stop.
pub(crate) async fn serve(
    socket: StdSocket,
    relay: &Relay,
    observing: &Observing,
    mut stop: Stop,
) -> std::io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut datagram = vec![0; LONGEST].into_boxed_slice();
    loop {
        let due = relay.poll_timeout();
        let received = tokio::select! {
            received = socket.recv_from(&mut datagram) => received,
            () = until(due) => {
                relay.handle_timeout(Instant::now());
                continue;
            }
            () = stop.wait() => return Ok(()),
        };
        // Errors here are left over from answers to unreachable hosts.
        let Ok((length, from)) = received else {
            continue;
        };
        let received = datagram.get_mut(..length).unwrap_or_default();
        if frame::kind(received) == Some(FrameKind::Relay) {
            // What the socket does not take at once is lost, as on any link.
            match relay.take(Outlet::Udp(from), received) {
                Verdict::Forward(Outlet::Udp(to)) => drop(socket.try_send_to(received, to)),
                Verdict::Answer => drop(socket.try_send_to(received, from)),
                Verdict::Forward(Outlet::Stream(_)) | Verdict::Drop => {}
            }
        } else {
            observing.answer(&socket, received, from);
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
