//! The far ends of many sessions, in one thread of the test program: real engines on real sockets, one per member, in
//! the namespace of a host of the lab. Each knows nobody but the node under test, so that thousands of them fit.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tombolo_engine::{
    control::{Engine, Event, Settings, Timing},
    fib::{Fib, NetworkSlot},
    forward::{Inbound, Outbound},
    lane::REKEY_AFTER_FRAMES,
    path::way::Way,
};
use tombolo_proto::{
    frame::{LANE_HEADER, LANE_TAG},
    id::UnixSeconds,
    key::Seed,
};
use tombolo_tests::{authority::Authority, netns::Namespace, packets::Message};

/// Longest wait for a datagram, so that the end is noticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// All of them, and the thread they live in.
#[derive(Debug)]
pub(super) struct Spokes {
    /// Where each can be reached.
    pub(super) endpoints: Vec<SocketAddr>,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    sessions: AtomicUsize,
}

/// What a far end is made of.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) seed: Seed,
    pub(super) number: u32,
    pub(super) address: IpAddr,
}

impl Spokes {
    /// Starts them on `address` of a host. Each sends the node under test a packet every `greet_every`, once there is a
    /// session.
    pub(super) fn start(
        roles: &[Role],
        node: &Role,
        inside: &Namespace,
        address: IpAddr,
        wall: UnixSeconds,
        greet_every: Duration,
    ) -> Self {
        let made: Vec<(UdpSocket, Spoke)> = inside.within(|| {
            let made = roles.iter().map(|role| {
                let socket = UdpSocket::bind((address, 0)).expect("the host has the address");
                socket.set_nonblocking(true).expect("a socket of ours");
                (socket, Spoke::new(role, node, wall))
            });
            made.collect()
        });
        let endpoints = made.iter().map(|(socket, _)| socket.local_addr());
        let endpoints = endpoints.map(|bound| bound.expect("it is bound")).collect();
        let shared = Arc::new(Shared::default());
        let in_thread = Arc::clone(&shared);
        Self {
            endpoints,
            shared,
            thread: Some(thread::spawn(move || serve(made, &in_thread, greet_every))),
        }
    }

    /// How many have a session.
    pub(super) fn sessions(&self) -> usize {
        self.shared.sessions.load(Relaxed)
    }
}

impl Drop for Spokes {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Spoke {
    engine: Engine,
    fib: Arc<Fib>,
    network: NetworkSlot,
    greeting: Vec<u8>,
    has_session: bool,
    greet_at: Option<Instant>,
}

impl Spoke {
    fn new(role: &Role, node: &Role, wall: UnixSeconds) -> Self {
        let now = Instant::now();
        let mut authority = Authority::new(1);
        authority.authorise(&node.seed, node.number, node.address, wall);
        authority.authorise(&role.seed, role.number, role.address, wall);
        let settings = Settings {
            timing: Timing::default(),
            aes: true,
            rekey_after_frames: REKEY_AFTER_FRAMES,
            post_quantum: true,
        };
        let mut engine = Engine::new(settings, StdRng::seed_from_u64(u64::from(role.number)));
        let transport = role.seed.transport(authority.network(), 0);
        let network = engine.add_network(
            authority.network(),
            role.seed.identity().public(),
            transport,
            now,
        );
        engine.set_directory(authority.directory(), wall, now);
        while engine.poll_event().is_some() {}
        let greeting = Message {
            from: role.address,
            to: node.address,
            number: 0,
        };
        Self {
            fib: engine.fib(),
            engine,
            network,
            greeting: greeting.encode(),
            has_session: false,
            greet_at: None,
        }
    }

    /// Takes everything that waits on the socket.
    fn receive(&mut self, socket: &UdpSocket, now: Instant) {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let punt = match self.fib.inbound(from, &mut buffer[..length]) {
                Inbound::Deliver { note, .. } | Inbound::Part { note, .. } => note,
                Inbound::Punt(punt) => Some(punt),
                Inbound::Relayed(_) | Inbound::Drop(_) => None,
            };
            if let Some(punt) = punt {
                self.engine.handle_punt(punt, now);
                self.settle(socket);
            }
        }
    }

    fn settle(&mut self, socket: &UdpSocket) {
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::FibChanged => self.fib = self.engine.fib(),
                Event::SessionUp { .. } => self.has_session = true,
                Event::SessionDown { .. } => self.has_session = false,
                Event::WayChanged { .. }
                | Event::Gossip { .. }
                | Event::RendezvousWanted { .. }
                | Event::Called { .. }
                | Event::Answered { .. }
                | Event::SocketUnused { .. }
                | Event::StreamWanted { .. }
                | Event::Relays { .. }
                | Event::RelaySay { .. }
                | Event::Seen { .. } => {}
            }
        }
        while let Some(transmit) = self.engine.poll_transmit() {
            send(socket, transmit.to, &transmit.payload);
        }
    }

    fn greet(&mut self, socket: &UdpSocket, now: Instant) {
        let mut frame = vec![0; LANE_HEADER + self.greeting.len() + LANE_TAG];
        frame[LANE_HEADER..][..self.greeting.len()].copy_from_slice(&self.greeting);
        match self.fib.outbound(self.network, &mut frame) {
            Outbound::Send { to, .. } => send(socket, to, &frame),
            Outbound::SendParts { to, frames } => {
                for frame in frames {
                    send(socket, to, &frame);
                }
            }
            Outbound::Punt(punt) => self.engine.handle_punt(punt, now),
            Outbound::Drop(_) => {}
        }
    }

    /// Does what is due; says when to come again.
    fn handle_timeout(
        &mut self,
        socket: &UdpSocket,
        every: Duration,
        now: Instant,
    ) -> Option<Instant> {
        if self.engine.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.engine.handle_timeout(now);
            self.settle(socket);
        }
        if self.has_session {
            let at = *self.greet_at.get_or_insert(now + every);
            if at <= now {
                self.greet_at = Some(at + every);
                self.greet(socket, now);
                self.settle(socket);
            }
        } else {
            self.greet_at = None;
        }
        let due = self.engine.poll_timeout().map(|(at, _)| at);
        due.into_iter().chain(self.greet_at).min()
    }
}

fn serve(mut spokes: Vec<(UdpSocket, Spoke)>, shared: &Shared, greet_every: Duration) {
    while !shared.is_over.load(Relaxed) {
        let now = Instant::now();
        let due = spokes
            .iter_mut()
            .filter_map(|(socket, spoke)| spoke.handle_timeout(socket, greet_every, now))
            .min();
        let sessions = spokes.iter().filter(|(_, spoke)| spoke.has_session).count();
        shared.sessions.store(sessions, Relaxed);
        let wait = due.map_or(PATIENCE, |at| {
            at.saturating_duration_since(now).min(PATIENCE)
        });
        for ready in readable(&spokes, wait) {
            if let Some((socket, spoke)) = spokes.get_mut(ready) {
                spoke.receive(socket, Instant::now());
            }
        }
    }
}

/// What is lost is repeated.
fn send(socket: &UdpSocket, to: Way, payload: &[u8]) {
    if let Way::Direct(to) = to {
        let _ = socket.send_to(payload, to);
    }
}

/// Which sockets have something.
fn readable(spokes: &[(UdpSocket, Spoke)], wait: Duration) -> Vec<usize> {
    let mut sockets: Vec<PollFd<'_>> = spokes
        .iter()
        .map(|(socket, _)| PollFd::new(socket, PollFlags::IN))
        .collect();
    let wait = Timespec::try_from(wait).expect("a short time");
    match poll(&mut sockets, Some(&wait)) {
        Ok(_) => {}
        Err(error) => assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Interrupted),
    }
    let ready = sockets.iter().enumerate();
    ready
        .filter(|(_, socket)| !socket.revents().is_empty())
        .map(|(position, _)| position)
        .collect()
}
