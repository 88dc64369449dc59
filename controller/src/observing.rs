//! STUN: tells nodes at which address they are seen. Answers are never longer than questions, and each network block
//! gets only so many, so that nobody can be flooded with them.
//!
//! Two ports answer: a node that is seen alike by both has a NAT that does not map by destination, and an answer from the
//! port that was not asked tells whether its NAT lets that in (RFC 5780). The second one answers such a question from a
//! third, which takes none itself: no node has ever sent there, so its answer gets to whom strangers get to.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tombolo_proto::stun;

use crate::{limiter::Limiter, listen, stop::Stop};

/// Answers per second for one IPv4 /24 or IPv6 /56: a busy site's, far below what would hurt anybody.
const PER_SECOND: u32 = 50;
/// Answers at once.
const BURST: u32 = 200;

/// Answers questions at the relay's port, and at a second one.
#[derive(Debug)]
pub(crate) struct Observing {
    second: Option<UdpSocket>,
    third: Option<UdpSocket>,
    limiter: Mutex<Limiter<IpNet>>,
}

impl Observing {
    /// Opens the second port: the next after the first where that is free, because firewalls are opened by number, and
    /// otherwise any. Without one, nodes learn less.
    pub(crate) fn beside(first: SocketAddr) -> Self {
        let next = first.port().checked_add(1).unwrap_or_default();
        let open = |port| {
            let socket = listen::udp(SocketAddr::new(first.ip(), port)).ok()?;
            UdpSocket::from_std(socket).ok()
        };
        Self {
            second: [next, 0].into_iter().find_map(open),
            third: open(0).inspect(|third| {
                // Nobody reads what strangers send there.
                let _ = SockRef::from(third).set_recv_buffer_size(0);
            }),
            limiter: Mutex::new(Limiter::new(PER_SECOND, BURST)),
        }
    }

    /// Answers what came to the first port, if it is a question.
    pub(crate) fn answer(&self, first: &UdpSocket, question: &[u8], from: SocketAddr) {
        let Some(question) = self.admit(question, from, Instant::now()) else {
            return;
        };
        let other_port = self.second_port().filter(|_| question.has_room);
        let answer = match other_port {
            Some(port) => stun::response_with_other_port(&question.transaction, from, port),
            None => stun::response(&question.transaction, from),
        };
        let socket = if question.from_other_port {
            self.second.as_ref()
        } else {
            Some(first)
        };
        if let Some(socket) = socket {
            let _ = socket.try_send_to(&answer, from);
        }
    }

    /// Answers at the second port until told to stop.
    pub(crate) async fn serve_second(&self, mut stop: Stop) {
        let Some(socket) = &self.second else {
            return;
        };
        let mut datagram = [0; 1500];
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut datagram) => received,
                () = stop.wait() => return,
            };
            // Errors here are left over from answers to unreachable hosts.
            let Ok((length, from)) = received else {
                continue;
            };
            let question = datagram.get(..length).unwrap_or_default();
            if let Some(question) = self.admit(question, from, Instant::now()) {
                let answer = stun::response(&question.transaction, from);
                let by = if question.from_other_port {
                    self.third.as_ref()
                } else {
                    Some(socket)
                };
                if let Some(by) = by {
                    let _ = by.try_send_to(&answer, from);
                }
            }
        }
    }

    fn admit(&self, question: &[u8], from: SocketAddr, now: Instant) -> Option<stun::Question> {
        let question = stun::read_request(question)?;
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.allows(block(from.ip()), now).then_some(question)
    }

    fn second_port(&self) -> Option<u16> {
        Some(self.second.as_ref()?.local_addr().ok()?.port())
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
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_flood_from_one_block_is_cut_and_others_are_served() {
        let observing = Observing::beside(any());
        let now = Instant::now();
        let question = stun::request(&[1; 12]);
        let ask = |from: &str, now| {
            let from: SocketAddr = from.parse().expect("an address");
            observing.admit(&question, from, now).is_some()
        };

        let answered = (0..1000).filter(|_| ask("192.0.2.1:9", now)).count();

        assert_eq!(answered, 200);
        assert!(!ask("192.0.2.77:9", now), "the same /24");
        assert!(ask("192.0.3.1:9", now), "another /24");
        assert!(ask("192.0.2.1:9", now + Duration::from_secs(1)), "later");
    }

    #[tokio::test]
    async fn what_is_not_a_full_request_gets_no_answer() {
        let observing = Observing::beside(any());
        let question = stun::request(&[1; 12]);
        let from: SocketAddr = "192.0.2.1:9".parse().expect("an address");

        for length in 0..question.len() {
            let cut = &question[..length];
            assert_eq!(observing.admit(cut, from, Instant::now()), None);
        }
    }

    #[tokio::test]
    async fn both_ports_answer_the_second_for_the_first_and_a_third_for_the_second() {
        let first = UdpSocket::bind(any()).await.expect("a port");
        let at = first.local_addr().expect("bound");
        let observing = std::sync::Arc::new(Observing::beside(at));
        let second = SocketAddr::new(at.ip(), observing.second_port().expect("a second port"));
        let (stopper, stop) = crate::stop::pair();
        let serving = tokio::spawn({
            let observing = std::sync::Arc::clone(&observing);
            async move { observing.serve_second(stop).await }
        });
        let node = UdpSocket::bind(any()).await.expect("a port");
        let me = node.local_addr().expect("bound");
        let mut buffer = [0; 1500];

        let third = observing.third.as_ref().expect("a third port");
        let third = third.local_addr().expect("bound");
        for (asked, to, by) in [
            (stun::request(&[1; 12]), at, at),
            (stun::request(&[2; 12]), second, second),
            (stun::request_from_other_port(&[3; 12]), at, second),
            (stun::request_from_other_port(&[4; 12]), second, third),
        ] {
            node.send_to(&asked, to).await.expect("sent");
            if to == at {
                let (length, from) = first.recv_from(&mut buffer).await.expect("asked");
                observing.answer(&first, &buffer[..length], from);
            }
            let (length, from) = node.recv_from(&mut buffer).await.expect("an answer");
            let seen = stun::read_response(&buffer[..length]).map(|(_, seen)| seen);
            assert_eq!((from, seen), (by, Some(me)));
            let told = stun::other_port(&buffer[..length]);
            assert_eq!(told, (to == at).then_some(second.port()));
        }
        stopper.stop();
        serving.await.expect("no panic");
    }

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().expect("an address")
    }
}
