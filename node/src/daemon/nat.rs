//! What kind of NAT this node is behind: which observers there are, the test of what the NAT lets in, and the outcome.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use rand::Rng as _;
use tokio::{net::UdpSocket, time::timeout};
use tombolo_engine::nat::{Filtering, Mapping};
use tombolo_proto::stun;

use super::{Daemon, gossip::is_here};
use crate::{
    io::underlay,
    report::{NatReport, NatsReport},
};

/// Between two tests of what is let in.
const TEST_EVERY: Duration = Duration::from_secs(600);
/// How long an answer may take, and how often it is asked for.
const PATIENCE: Duration = Duration::from_millis(700);
const TRIES: usize = 3;

/// What is known of the NAT of one family.
#[derive(Debug, Default)]
pub(super) struct Nat {
    pub(super) mapping: Mapping,
    filtering: Filtering,
    test_at: Option<Instant>,
}

/// The outcome of a test.
#[derive(Debug)]
pub(super) struct Tested {
    is_v4: bool,
    filtering: Filtering,
}

impl Daemon {
    /// Works out what observers show, and looks for more of them where there are too few.
    pub(super) fn look_at_nat(&mut self, now: Instant) {
        let mut has_changed = false;
        for is_v4 in [true, false] {
            let observed = self.reflexive.observed(is_v4, now);
            let mapping = Mapping::seen(&observed, is_here);
            let nat = self.nat_mut(is_v4);
            if nat.mapping != mapping {
                tracing::debug!(is_v4, mapping = mapping.as_str(), "What the NAT does");
                nat.mapping = mapping;
                has_changed = true;
            }
            self.test_filtering(is_v4, now);
        }
        let has_nat =
            self.nats[0].mapping != Mapping::None && !self.reflexive.observed(true, now).is_empty();
        self.port_mapper
            .want(has_nat && self.config.file.host.port_mapping);
        if has_changed {
            let [v4, v6] = &self.nats;
            self.engine.set_nat([v4.mapping, v6.mapping]);
            self.announce_everywhere(now);
        }
        let peers: Vec<SocketAddr> = self
            .engine
            .endpoints_in_use()
            .filter(|endpoint| is_global(endpoint.ip()))
            .collect();
        // Behind no NAT there is nothing more to find out.
        let [v4, v6] = [&self.nats[0], &self.nats[1]].map(|nat| nat.mapping != Mapping::None);
        self.reflexive
            .set_peers(&peers, |peer| if peer.is_ipv4() { v4 } else { v6 });
    }

    /// Addresses at which this node is behind a NAT that maps by destination: nobody can be told the port, so it is 0.
    pub(super) fn vague_endpoints(&self, now: Instant) -> Vec<SocketAddr> {
        let mut vague = Vec::new();
        for (nat, is_v4) in self.nats.iter().zip([true, false]) {
            if nat.mapping.is_dependent() {
                let observed = self.reflexive.observed(is_v4, now);
                vague.extend(
                    observed
                        .values()
                        .next()
                        .map(|seen| SocketAddr::new(seen.ip(), 0)),
                );
            }
        }
        vague
    }

    /// The host is elsewhere: what is known may be wrong.
    pub(super) fn forget_nat(&mut self) {
        self.nats = Default::default();
    }

    pub(super) fn handle_tested(&mut self, tested: &Tested) {
        self.nat_mut(tested.is_v4).filtering = tested.filtering;
    }

    /// The router has mapped a port, or has taken it back.
    pub(super) fn port_mapped(&mut self, now: Instant) {
        let (udp, tcp) = (self.port_mapper.mapped(), self.port_mapper.mapped_tcp());
        tracing::debug!(?udp, ?tcp, "The router's ports for this node");
        self.announce_everywhere(now);
    }

    pub(super) fn nat_report(&self, now: Instant) -> NatsReport {
        let report = |is_v4, nat: &Nat| {
            let observed = self.reflexive.observed(is_v4, now);
            (!observed.is_empty()).then(|| NatReport {
                mapping: nat.mapping.as_str().to_owned(),
                filtering: nat.filtering.as_str().to_owned(),
                observers: observed.len(),
            })
        };
        NatsReport {
            ipv4: report(true, &self.nats[0]),
            ipv6: report(false, &self.nats[1]),
            mapped_port: self.port_mapper.mapped(),
            mapped_tcp_port: self.port_mapper.mapped_tcp(),
        }
    }

    /// How the NATs map, towards IPv4 and IPv6.
    pub(super) fn mappings(&self) -> [Mapping; 2] {
        self.nats.each_ref().map(|nat| nat.mapping)
    }

    /// What is known of the NATs, for people; nothing where there is none.
    pub(super) fn nat_in_words(&self) -> Option<String> {
        let known = |(nat, family): (&Nat, &str)| {
            let mapping = nat.mapping;
            let is_known = !matches!(mapping, Mapping::Unknown | Mapping::None);
            is_known.then(|| format!("its NAT towards {family} maps {}", mapping.as_str()))
        };
        let words: Vec<String> = self
            .nats
            .iter()
            .zip(["IPv4", "IPv6"])
            .filter_map(known)
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    fn nat_mut(&mut self, is_v4: bool) -> &mut Nat {
        let [v4, v6] = &mut self.nats;
        if is_v4 { v4 } else { v6 }
    }

    /// Has the test made, if there is a server with two ports and it is time.
    fn test_filtering(&mut self, is_v4: bool, now: Instant) {
        let mut pairs = self.reflexive.pairs();
        let Some((server, other)) = pairs.find(|(server, _)| server.is_ipv4() == is_v4) else {
            return;
        };
        drop(pairs);
        let nat = self.nat_mut(is_v4);
        if nat.test_at.is_some_and(|at| now < at) {
            return;
        }
        nat.test_at = Some(now + TEST_EVERY);
        let sender = self.tested_sender.clone();
        tokio::spawn(async move {
            if let Some(filtering) = test(server, other).await {
                // If the daemon has stopped meanwhile, nobody wants to know.
                let _ = sender.send(Tested { is_v4, filtering }).await;
            }
        });
    }
}

/// Asks `server` from a socket that has never sent anywhere else to answer from its other port. An answer from there passed
/// a filter that knows the host at most; whether another host's would pass cannot be seen with one.
async fn test(server: SocketAddr, other: SocketAddr) -> Option<Filtering> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = underlay::bind_udp((any, 0).into()).ok()?;
    socket.set_nonblocking(true).ok()?;
    let socket = UdpSocket::from_std(socket).ok()?;
    // Opens the way for the server itself, and shows that it is there.
    ask(&socket, server, server, stun::request).await?;
    let answered = ask(&socket, server, other, stun::request_from_other_port).await;
    Some(if answered.is_some() {
        Filtering::AddressDependent
    } else {
        Filtering::AddressAndPortDependent
    })
}

/// Asks `server` until `by` answers.
async fn ask(
    socket: &UdpSocket,
    server: SocketAddr,
    by: SocketAddr,
    question: impl Fn(&stun::TransactionId) -> Vec<u8>,
) -> Option<SocketAddr> {
    let transaction = rand::rng().random();
    let mut datagram = [0; 1500];
    for _ in 0..TRIES {
        socket.send_to(&question(&transaction), server).await.ok()?;
        let answer = async {
            loop {
                let (length, from) = socket.recv_from(&mut datagram).await.ok()?;
                let answer = stun::read_response(datagram.get(..length)?);
                if let Some((_, seen)) = answer.filter(|(of, _)| *of == transaction && from == by) {
                    return Some(seen);
                }
            }
        };
        if let Ok(Some(seen)) = timeout(PATIENCE, answer).await {
            return Some(seen);
        }
    }
    None
}

/// Whether an address is one that a NAT towards the Internet would show.
pub(super) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            !(address.is_private() || address.is_link_local() || address.is_loopback() || is_shared)
        }
        IpAddr::V6(address) => !(address.is_unique_local() || address.is_unicast_link_local()),
    }
}
