//! Hosts with a Docker and a node each, in one overlay.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use serde_json::Value;
use tombolo_tests::{
    docker::{Docker, ForwardPolicy},
    footprint::Footprint,
    netns::{Container, Host, Lab, Namespace},
    overlay::{Node, Overlay, text},
    process::wait_for,
};

/// What happens by itself happens within this time on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(25);
/// A connection that is refused by a rule says nothing: after this it counts as refused.
const SILENCE: Duration = Duration::from_secs(1);

/// The overlay and the Docker of every node, in the same order.
pub(crate) struct Town {
    pub(crate) dockers: Vec<Docker>,
    pub(crate) overlay: Overlay,
    /// How the hosts looked before there was a node.
    pub(crate) before: Vec<Footprint>,
}

impl Town {
    /// One host for every policy, called h1, h2, …
    pub(crate) fn new(lab: Lab, policies: &[ForwardPolicy]) -> Self {
        let made: Vec<(Host, Docker)> = policies
            .iter()
            .enumerate()
            .map(|(number, policy)| Docker::host(&lab, &format!("h{}", number + 1), *policy))
            .collect();
        Self::of(lab, made)
    }

    pub(crate) fn of(lab: Lab, made: Vec<(Host, Docker)>) -> Self {
        let look = |(host, docker): &(Host, Docker)| Footprint::of(host, Some(docker));
        let before = made.iter().map(look).collect();
        let (hosts, dockers) = made.into_iter().unzip();
        Self {
            dockers,
            overlay: Overlay::on_hosts(lab, hosts, ""),
            before,
        }
    }

    pub(crate) fn node(&self, number: usize) -> &Node {
        &self.overlay.nodes[number]
    }

    /// `node docker …` as JSON.
    pub(crate) fn json(&self, number: usize, line: &str) -> Value {
        let words: Vec<_> = ["docker"].into_iter().chain(line.split(' ')).collect();
        self.node(number).json(&words)
    }

    /// `node docker …`, which may fail.
    pub(crate) fn verb(&self, number: usize, line: &str) -> tombolo_tests::process::Said {
        let words: Vec<_> = ["docker"].into_iter().chain(line.split(' ')).collect();
        self.node(number).verb(&words)
    }

    /// The entry of a network in `node docker ls`.
    pub(crate) fn listed(&self, number: usize, name: &str) -> Option<Value> {
        let listed = self.json(number, "ls");
        let found = listed
            .as_array()?
            .iter()
            .find(|entry| entry["name"] == name);
        found.cloned()
    }

    /// Waits until a network is in a state.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, number: usize, name: &str, state: &str) -> Value {
        wait_for(&format!("{name} to be {state}"), SOON, || {
            self.listed(number, name)
                .filter(|entry| entry["state"] == state)
        })
    }

    /// Approves all routes that wait.
    pub(crate) fn approve_routes(&self) {
        let network = &self.overlay.network;
        let routes = self.overlay.controller.json(&["route", "ls", network]);
        let items = routes.get("items").unwrap_or(&routes).clone();
        for route in items.as_array().into_iter().flatten() {
            if route["state"] == "pending" {
                let id = text(route, "/id");
                let approved = self.overlay.controller.verb(&["route", "approve", &id]);
                approved.ok();
            }
        }
    }

    /// Waits until a host looks as it did, and says in what it does not if it never does.
    #[track_caller]
    pub(crate) fn wait_for_footprint(&self, number: usize, before: &Footprint) {
        let now = || Footprint::of(&self.node(number).host, Some(&self.dockers[number]));
        let deadline = std::time::Instant::now() + SOON;
        while now() != *before && std::time::Instant::now() < deadline {}
        before.assert_same_as(&now());
    }
}

/// A socket on any free port.
fn listen(inside: &Namespace) -> (TcpListener, u16) {
    let listener = inside.within(|| TcpListener::bind("[::]:0").expect("a port is free"));
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// Connects and gives the address that the far end saw; none if there is no answer.
pub(crate) fn seen_as(from: &Namespace, to: &Namespace, address: IpAddr) -> Option<IpAddr> {
    let (listener, port) = listen(to);
    let target = SocketAddr::new(address, port);
    let stream = from
        .within(|| TcpStream::connect_timeout(&target, SILENCE))
        .ok()?;
    let (_, peer) = listener.accept().expect("it is connected");
    drop(stream);
    Some(peer.ip().to_canonical())
}

/// The same, again and again until it works: the first packets of a pair need a handshake, the first IPv6 packets of a
/// bridge wait for its duplicate address detection.
#[track_caller]
pub(crate) fn wait_until_seen(from: &Namespace, to: &Namespace, address: IpAddr) -> IpAddr {
    let what = format!("{} to reach {address}", from.name());
    wait_for(&what, SOON, || seen_as(from, to, address))
}

/// Both addresses of a container.
pub(crate) fn addresses(container: &Container) -> [IpAddr; 2] {
    assert_ne!(container.v4, Ipv4Addr::UNSPECIFIED);
    assert!(!container.v6.is_unspecified());
    [container.v4.into(), container.v6.into()]
}

/// Whether a whole stream arrives: packets of every size pass.
pub(crate) fn carries(from: &Namespace, to: &Namespace, address: IpAddr, bytes: usize) -> bool {
    let (listener, port) = listen(to);
    let target = SocketAddr::new(address, port);
    let stream = from.within(|| TcpStream::connect_timeout(&target, SILENCE * 5));
    let Ok(mut stream) = stream else { return false };
    let (mut received, _) = listener.accept().expect("it is connected");
    received.set_read_timeout(Some(SOON)).expect("a socket");
    let sender = std::thread::spawn(move || stream.write_all(&vec![7; bytes]));
    let mut all = Vec::new();
    let read = received.read_to_end(&mut all);
    read.is_ok() && all.len() == bytes && sender.join().is_ok_and(|sent| sent.is_ok())
}
