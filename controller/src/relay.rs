//! STUN: tells nodes at which address they are seen. Answers are never longer than questions, and each network block
//! gets only so many, so that nobody can be flooded with them.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket as StdSocket},
    time::Instant,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::net::UdpSocket;
use tombolo_proto::stun;

use crate::{limiter::Limiter, stop::Stop};

/// Answers per second for one IPv4 /24 or IPv6 /56: a busy site's, far below what would hurt anybody.
const PER_SECOND: u32 = 50;
/// Answers at once.
const BURST: u32 = 200;

/// Answers STUN until told to stop.
pub(crate) async fn serve(socket: StdSocket, mut stop: Stop) -> std::io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut limiter = Limiter::new(PER_SECOND, BURST);
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
    use std::time::Duration;

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
