//! One real daemon among many members: what a peer costs in memory, and what live sessions cost while nothing happens.
//!
//! The daemon starts from a state directory that is written here and runs without a controller. The other members are
//! engines of the test program ([`spokes`]).

mod spokes;

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, UdpSocket},
    time::{Duration, Instant, SystemTime},
};

use tombolo_node::state_dir::{
    StateDir,
    settings::{NetworkSettings, PeerEndpoints},
};
use tombolo_proto::{id::UnixSeconds, key::Seed};
use tombolo_tests::{
    authority::Authority,
    netns::{Claim, Lab},
    overlay::{Node, SOON, repetitions},
    process::{announce, wait_for},
};

use spokes::{Role, Spokes};

/// Between two packets of a session that is idle but for what keeps a NAT open.
const KEEPALIVE: Duration = Duration::from_secs(25);
/// Sessions are made from one side at once: more than the kernel's queues hold would be lost and repeated.
const BURST: usize = 64;
/// What a member without a session may cost, and what a session may cost on top.
const MEMBER_KIB: f64 = 12.0;
const SESSION_KIB: f64 = 16.0;
/// What live sessions without traffic may cost.
const IDLE_PERCENT: f64 = 1.0;
/// A loaded machine is not a broken promise: see [`tombolo_tests::process::figure`].
const MARGIN: f64 = 5.0;
const KIB: f64 = 1024.0;
/// Ticks per second in /proc, on every architecture Tombolo runs on.
const USER_HZ: f64 = 100.0;

#[test]
fn a_peer_costs_little_memory_and_idle_sessions_little_time() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let (members, sessions, window) = (
        repetitions(300, 2000),
        repetitions(50, 200),
        Duration::from_secs(repetitions(5, 30) as u64),
    );
    let mut node = Node::new(lab.host("node"));
    let far = lab.host("far");
    let wall = UnixSeconds(
        SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("after 1970")
            .as_secs(),
    );
    let seed = write_state(&node, wall, &[], &[]);
    let me = a_role(seed, 0);

    up(&mut node, me.address);
    let alone = resident(&node);
    node.stop();

    let roles: Vec<Role> = (1..=members as u32)
        .map(|number| a_role(a_seed(number), number))
        .collect();
    let addresses: Vec<IpAddr> = roles.iter().map(|role| role.address).collect();
    let inside = &far.namespace;
    let far_ends = Spokes::start(&roles, &me, inside, far.v4.into(), wall, KEEPALIVE);
    write_state(&node, wall, &roles, &far_ends.endpoints);
    up(&mut node, me.address);
    wait_for("all members to be peers", SOON, || {
        (peers(&node) == members).then_some(())
    });
    let with_members = resident(&node);
    let per_member = (with_members - alone) / members as f64;
    announce(&format!(
        "figure: memory of the daemon, alone {:.1} MiB, with {members} members {:.1} MiB: {per_member:.1} KiB per member (promise {MEMBER_KIB} KiB)",
        alone / KIB,
        with_members / KIB
    ));

    let started = Instant::now();
    connect(&node, &far_ends, &addresses[..sessions]);
    let idle_with = far_ends.sessions();
    announce(&format!(
        "figure: {idle_with} sessions made in {:.2} s",
        started.elapsed().as_secs_f64()
    ));
    let busy_before = processor_time(&node);
    let began = Instant::now();
    wait_for("the window to pass", window * 2, || {
        (began.elapsed() >= window).then_some(())
    });
    let share = (processor_time(&node) - busy_before) / began.elapsed().as_secs_f64() * 100.0;
    assert!(
        far_ends.sessions() >= idle_with,
        "sessions went away meanwhile"
    );
    announce(&format!(
        "figure: processor time with {idle_with} live sessions {share:.2} % of a core over {} s (promise {IDLE_PERCENT} %)",
        window.as_secs()
    ));
    assert!(
        share < MARGIN * IDLE_PERCENT,
        "{share} % of a core for idle sessions"
    );

    let before = processor_time(&node);
    let started = Instant::now();
    connect(&node, &far_ends, &addresses);
    let took = started.elapsed();
    let with_sessions = resident(&node);
    let all = far_ends.sessions();
    let per_session = (with_sessions - with_members) / all as f64;
    announce(&format!(
        "figure: {all} sessions after {:.2} s and {:.2} s of processor time; memory {:.1} MiB: {per_session:.1} KiB per session (promise {SESSION_KIB} KiB)",
        took.as_secs_f64(),
        processor_time(&node) - before,
        with_sessions / KIB
    ));
    assert!(
        per_member < MARGIN * MEMBER_KIB,
        "{per_member} KiB per member"
    );
    assert!(
        per_session < MARGIN * SESSION_KIB,
        "{per_session} KiB per session"
    );
}

fn up(node: &mut Node, address: IpAddr) {
    node.up();
    wait_for("the address", SOON, || {
        node.kernel_addresses("tmb0")
            .contains(&address)
            .then_some(())
    });
}

/// Sends a packet to each address until all of them have sessions.
fn connect(node: &Node, far_ends: &Spokes, addresses: &[IpAddr]) {
    let socket = node
        .host
        .namespace
        .within(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port is free"));
    for (position, address) in addresses.iter().enumerate() {
        // Nobody listens there: the packet's way is all that matters.
        let _ = socket.send_to(b"?", (*address, 9));
        let enough = (position + 1).saturating_sub(BURST);
        wait_for("sessions to come up", SOON * 4, || {
            (far_ends.sessions() >= enough).then_some(())
        });
    }
    wait_for("all sessions", SOON * 4, || {
        (far_ends.sessions() >= addresses.len()).then_some(())
    });
}

/// Writes what the daemon starts from: `me` and these members, each at its endpoint.
fn write_state(
    node: &Node,
    wall: UnixSeconds,
    members: &[Role],
    endpoints: &[std::net::SocketAddr],
) -> Seed {
    let state = StateDir::open(&node.state_dir()).expect("nobody has it open");
    let mut tries = 0_u64;
    let (seed, _) = state
        .identity(|| {
            tries += 1;
            let mut bytes = [0x5e; 32];
            bytes[..8].copy_from_slice(&tries.to_be_bytes());
            bytes
        })
        .expect("the lab's directory is writable");
    let mut authority = Authority::new(1);
    let me = a_role(seed.clone(), 0);
    authority.authorise(&me.seed, me.number, me.address, wall);
    let mut known = PeerEndpoints::default();
    for (position, member) in members.iter().enumerate() {
        authority.authorise(&member.seed, member.number, member.address, wall);
        let at = endpoints.get(position).copied().into_iter().collect();
        known.peers.insert(member.seed.identity().public(), at);
    }
    let files = state.network(authority.network());
    let settings = NetworkSettings {
        controllers: Vec::new(),
        known_controllers: Vec::new(),
        root: Some(Authority::root()),
        digest: None,
        token: None,
        interface: "tmb0".to_owned(),
        allow_global: false,
        allow_default: false,
        denied: None,
        not_found: false,
    };
    files
        .store_settings(&settings)
        .and_then(|()| files.store_directory(authority.directory()))
        .and_then(|()| files.store_endpoints(&known))
        .expect("the lab's directory is writable");
    seed
}

fn a_seed(number: u32) -> Seed {
    let mut bytes = [0x77; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Seed::from_bytes(bytes)
}

/// Member `number`, with an address in a prefix that routes lead into.
fn a_role(seed: Seed, number: u32) -> Role {
    let network = Authority::new(1).network();
    let node = tombolo_proto::id::NodeId::new(0x10_0000_0000 + u64::from(number));
    let address = tombolo_proto::sixplane::node_address(network, node.expect("a node address"));
    Role {
        seed,
        number,
        address: address.into(),
    }
}

fn peers(node: &Node) -> usize {
    node.json(&["peers"]).as_array().map_or(0, Vec::len)
}

/// Resident memory in KiB.
fn resident(node: &Node) -> f64 {
    let pid = node.pid().as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.expect("Linux tells")
}

/// Processor time so far, in seconds, of user and kernel together.
fn processor_time(node: &Node) -> f64 {
    let pid = node.pid().as_raw_nonzero();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the daemon runs");
    let (_, after_name) = stat
        .rsplit_once(')')
        .expect("Linux puts the name in brackets");
    // utime and stime are fields 14 and 15; the state, field 3, comes first here.
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    ticks as f64 / USER_HZ
}
