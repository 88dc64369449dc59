//! STUN: tells nodes at which address they are seen. Answers are never longer than questions, and each network block
//! gets only so many, so that nobody can be flooded with them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket as StdSocket},
    time::{Duration, Instant},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::net::UdpSocket;
use tombolo_proto::stun;

use crate::stop::Stop;

/// Answers per second for one IPv4 /24 or IPv6 /56: a busy site's, far below what would hurt anybody.
const PER_SECOND: u32 = 50;
/// Answers at once.
const BURST: u32 = 200;
/// Network blocks remembered; beyond that, those that have been quiet are forgotten.
const MAX_BLOCKS: usize = 16_384;

/// Answers STUN until told to stop.
pub(crate) async fn serve(socket: StdSocket, mut stop: Stop) -> std::io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut limiter = Limiter::default();
    let mut datagram = [0; 1500];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut datagram) => received,
            () = stop.wait() => return Ok(()),
        };
        // Errors here are left over from answers to unreachable hosts.
        let Ok((length, from)) = received else {
            continue;
        };
        let question = datagram.get(..length).unwrap_or_default();
        if let Some(answer) = answer(question, from, &mut limiter, Instant::now()) {
            let _ = socket.try_send_to(&answer, from);
        }
    }
}

fn answer(
    question: &[u8],
    from: SocketAddr,
    limiter: &mut Limiter,
    now: Instant,
) -> Option<Vec<u8>> {
    let transaction = stun::read_request(question)?;
    limiter
        .allows(from.ip(), now)
        .then(|| stun::response(&transaction, from))
}

/// A token bucket per network block.
#[derive(Debug, Default)]
struct Limiter {
    blocks: HashMap<IpNet, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    fn allows(&mut self, source: IpAddr, now: Instant) -> bool {
        let block = block(source);
        if self.blocks.len() >= MAX_BLOCKS && !self.blocks.contains_key(&block) {
            self.forget_quiet(now);
            if self.blocks.len() >= MAX_BLOCKS {
                return false;
            }
        }
        let bucket = self.blocks.entry(block).or_insert(Bucket {
            tokens: f64::from(BURST),
            at: now,
        });
        let earned = now.duration_since(bucket.at).as_secs_f64() * f64::from(PER_SECOND);
        bucket.tokens = (bucket.tokens + earned).min(f64::from(BURST));
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    fn forget_quiet(&mut self, now: Instant) {
        let full_after = Duration::from_secs(u64::from(BURST / PER_SECOND));
        self.blocks
            .retain(|_, bucket| now.duration_since(bucket.at) < full_after);
    }
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
        let mut limiter = Limiter::default();
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
        let mut limiter = Limiter::default();
        let question = stun::request(&[1; 12]);
        let from: SocketAddr = "192.0.2.1:9".parse().expect("an address");

        for length in 0..question.len() {
            let cut = &question[..length];
            assert_eq!(answer(cut, from, &mut limiter, Instant::now()), None);
        }
    }
}
