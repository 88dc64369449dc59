//! The socket for STUN and for relayed frames.
//!
//! STUN tells nodes at which address they are seen. Answers are never longer than questions, and each network block gets
//! only so many, so that nobody can be flooded with them. What is relayed is decided by [`tombolo_relay`]: members become
//! clients on their control connections, and need none afterwards.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket as StdSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::{
    net::UdpSocket,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tombolo_proto::{
    control::Standing,
    frame::{self, FrameKind},
    stun,
};
use tombolo_relay::{Outlet, Relay, Verdict};

use crate::{
    limiter::Limiter,
    networks::{Networks, standing},
    stop::Stop,
};

/// Answers per second for one IPv4 /24 or IPv6 /56: a busy site's, far below what would hurt anybody.
const PER_SECOND: u32 = 50;
/// Answers at once.
const BURST: u32 = 200;

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
pub(crate) async fn serve(socket: StdSocket, relay: &Relay, mut stop: Stop) -> std::io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut limiter = Limiter::new(PER_SECOND, BURST);
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
        } else if let Some(answer) = answer(received, from, &mut limiter, Instant::now()) {
            let _ = socket.try_send_to(&answer, from);
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

fn answer(
    question: &[u8],
    from: SocketAddr,
    limiter: &mut Limiter<IpNet>,
    now: Instant,
) -> Option<Vec<u8>> {
    let transaction = stun::read_request(question)?;
    limiter
        .allows(block(from.ip()), now)
        .then(|| stun::response(&transaction, from))
}

fn block(source: IpAddr) -> IpNet {
    match source.to_canonical() {
        IpAddr::V4(address) => {
            IpNet::V4(Ipv4Net::new(address, 24).expect("24 is within 32").trunc())
        }
        IpAddr::V6(address) => {
            IpNet::V6(Ipv6Net::new(address, 56).expect("56 is within 128").trunc())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_one_block_is_cut_and_others_are_served() {
        let mut limiter = Limiter::new(PER_SECOND, BURST);
        let now = Instant::now();
        let question = stun::request(&[1; 12]);
        let mut ask = |from: &str, now| {
            let from: SocketAddr = from.parse().expect("an address");
            answer(&question, from, &mut limiter, now).is_some()
        };

        let answered = (0..1000).filter(|_| ask("192.0.2.1:9", now)).count();

        assert_eq!(answered, 200);
        assert!(!ask("192.0.2.77:9", now), "the same /24");
        assert!(ask("192.0.3.1:9", now), "another /24");
        assert!(ask("192.0.2.1:9", now + Duration::from_secs(1)), "later");
    }

    #[test]
    fn what_is_not_a_full_request_gets_no_answer() {
        let mut limiter = Limiter::new(PER_SECOND, BURST);
        let question = stun::request(&[1; 12]);
        let from: SocketAddr = "192.0.2.1:9".parse().expect("an address");

        for length in 0..question.len() {
            let cut = &question[..length];
            assert_eq!(answer(cut, from, &mut limiter, Instant::now()), None);
        }
    }
}
