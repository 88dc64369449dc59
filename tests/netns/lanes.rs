//! Lanes between real daemons: sides that can do different things, new keys under load, both daemons killed at once,
//! and a neighbour on the underlay who forges, repeats, cuts and reflects what it sees there.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tombolo_tests::{
    netns::{Capture, Claim, Lab},
    overlay::{Node, Overlay, Pings, SOON, repetitions, wait_for_ping},
    process::{Process, announce, figure, median, wait_for},
};

const PORT: u16 = 9790;
/// Datagrams sent in a row: less than a socket's buffer holds.
const BURST: usize = 200;

#[test]
fn sides_that_can_do_different_things_agree_and_say_on_what() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    let target = overlay.nodes[1].v4();
    let no_aes = "[crypto]\naes = false\n";
    let no_kem = "[crypto]\npost_quantum = false\n";
    for (of_a, of_b, cipher, key_exchange) in [
        ("", "", None, "x25519+ml-kem-768"),
        (no_aes, "", Some("chacha20-poly1305"), "x25519+ml-kem-768"),
        ("", no_aes, Some("chacha20-poly1305"), "x25519+ml-kem-768"),
        (no_kem, "", None, "x25519"),
        ("", no_kem, None, "x25519"),
        (no_aes, no_kem, Some("chacha20-poly1305"), "x25519"),
    ] {
        for (node, config) in overlay.nodes.iter_mut().zip([of_a, of_b]) {
            node.stop();
            node.configure(config);
            node.up();
        }

        wait_for_ping(&overlay.nodes[0].host.namespace, target);
        let load = Load::start(&overlay.nodes[0], &overlay.nodes[1], 1);
        let passed = load.finish();

        assert!(passed.packets > 1000, "{passed:?}");
        for node in &overlay.nodes {
            let peer = &node.json(&["peers"])[0];
            assert_eq!(
                peer["key_exchange"], key_exchange,
                "{of_a:?} {of_b:?}: {peer}"
            );
            if let Some(cipher) = cipher {
                assert_eq!(peer["cipher"], cipher, "{of_a:?} {of_b:?}: {peer}");
            }
        }
    }
}

#[test]
fn new_keys_under_load_lose_and_reorder_nothing() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::with_config(lab, &["a", "b"], "[session]\nrekey_after_seconds = 2\n");
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    let seconds = repetitions(12, 60);

    let there = Load::start(a, b, seconds);
    let mut rekeys = 0;
    let mut age = f64::MAX;
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    wait_for("the load to end", Duration::from_secs(120), || {
        let younger = a.json(&["peers"])[0]["last_handshake"]
            .as_f64()
            .unwrap_or(age);
        rekeys += usize::from(younger < age);
        age = younger;
        (Instant::now() > end).then_some(())
    });
    let passed = there.finish();

    announce(&format!(
        "figure: datagrams lost over {} rekeys under load: {} of {}, out of order {} (promise 0, 0)",
        rekeys - 1,
        passed.lost,
        passed.packets,
        passed.out_of_order
    ));
    assert!(rekeys > seconds / 4, "{rekeys} rekeys");
    assert_eq!((passed.lost, passed.out_of_order), (0, 0));
}

#[test]
fn both_daemons_killed_at_once_are_back_while_traffic_runs() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    let (from, to) = (overlay.nodes[0].v4(), overlay.nodes[1].v4());
    wait_for_ping(&overlay.nodes[0].host.namespace, to);
    for (node, peer) in [(0, 1), (1, 0)] {
        wait_for("the peer's endpoint to be on disk", SOON, || {
            overlay.nodes[node]
                .remembers(&overlay.nodes[peer].host)
                .then_some(())
        });
    }
    let mut outages = Vec::new();

    for number in 0..repetitions(3, 10) {
        let log = |name: &str| overlay.lab.dir().join(format!("{name}{number}.log"));
        let pings = [
            Pings::start(&overlay.nodes[0].host.namespace, to, &log("there")),
            Pings::start(&overlay.nodes[1].host.namespace, from, &log("back")),
        ];
        wait_for("traffic", SOON, || {
            pings.iter().all(|pings| pings.answers() > 5).then_some(())
        });
        for node in &mut overlay.nodes {
            node.kill();
        }
        let killed = Instant::now();
        let before = [pings[0].answers(), pings[1].answers()];
        for node in &mut overlay.nodes {
            node.up();
        }

        wait_for("traffic both ways", SOON, || {
            let is_back = |way: usize| pings[way].answers() > before[way] + 1;
            (is_back(0) && is_back(1)).then_some(())
        });
        outages.push(killed.elapsed());
    }

    figure(
        "both daemons killed -9 and started again: traffic both ways after",
        median(outages),
        Duration::from_secs(2),
    );
}

#[test]
fn what_a_neighbour_forges_repeats_cuts_and_reflects_is_dropped_and_counted() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::on_ipv4(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    let neighbour = overlay.lab.host("neighbour");
    let frames = frames_between(a, b, overlay.lab.dir());
    let to_a: Vec<&[u8]> = frames
        .iter()
        .filter(|frame| frame.to == a.host.v4)
        .map(Frame::bytes)
        .collect();
    let to_b: Vec<&[u8]> = frames
        .iter()
        .filter(|frame| frame.to == b.host.v4)
        .map(Frame::bytes)
        .collect();
    assert!(to_a.len() >= 100 && to_b.len() >= 100);
    let socket = neighbour
        .namespace
        .within(|| UdpSocket::bind("0.0.0.0:0").expect("a free port"));
    let target = SocketAddr::from((a.host.v4, PORT));
    let count = repetitions(10_000, 100_000);
    let kinds: [(&str, &[&[u8]], Change); 5] = [
        ("replayed", &to_a, |_| ()),
        ("bad_tag", &to_a, |frame| forge(frame)),
        ("bad_tag", &to_a, |frame| frame.truncate(40)),
        ("unknown_frame", &to_a, |frame| frame.truncate(20)),
        // Its own frames carry the index of the other side.
        ("unknown_lane", &to_b, |_| ()),
    ];

    for (reason, frames, change) in kinds {
        let before = dropped(a, reason);
        let mut frames = frames.iter().cycle();
        let mut missing = count;
        while missing > 0 {
            for frame in frames.by_ref().take(missing.min(BURST)) {
                let mut datagram = frame.to_vec();
                change(&mut datagram);
                let sent = socket.send_to(&datagram, target);
                assert_eq!(sent.expect("it can be sent"), datagram.len());
            }
            missing = count - counted(a, reason, before, count - missing.saturating_sub(BURST));
        }

        assert_eq!(dropped(a, reason) - before, count as u64, "{reason}");
        wait_for_ping(&a.host.namespace, b.v4());
    }
    let peer = &a.json(&["peers"])[0];
    assert_eq!(
        peer["path"]["endpoint"],
        format!("{}:{PORT}", b.host.v4),
        "nobody else's datagrams move the endpoint"
    );
}

/// What the neighbour does to a frame before it sends it on.
type Change = fn(&mut Vec<u8>);

/// UDP at a modest rate from one node to another.
struct Load {
    server: Process,
    client: Process,
}

/// What arrived of it.
#[derive(Debug)]
struct Passed {
    packets: u64,
    lost: u64,
    out_of_order: u64,
}

impl Load {
    fn start(from: &Node, to: &Node, seconds: usize) -> Self {
        let mut server = to.host.namespace.command("iperf3");
        server.args(["--server", "--one-off", "--json"]);
        let server = Process::spawn(
            "iperf3",
            &mut server,
            &to.host.dir.join("iperf3-server.log"),
        );
        let address = to.v4().to_string();
        wait_for("iperf3 to listen", SOON, || {
            let listening = to.host.namespace.run("ss -Hltn sport = :5201");
            (!listening.is_empty()).then_some(())
        });
        let mut client = from.host.namespace.command("iperf3");
        client
            .args([
                "--client",
                &address,
                "--udp",
                "--bitrate",
                "16M",
                "--length",
                "1000",
            ])
            .args(["--time", &seconds.to_string()]);
        let client = Process::spawn("iperf3", &mut client, &from.host.dir.join("iperf3.log"));
        Self { server, client }
    }

    fn finish(mut self) -> Passed {
        let ended = self.client.wait(Duration::from_secs(120));
        assert!(ended.success(), "{}", self.client.log());
        self.server.wait(SOON);
        let log = self.server.log();
        let report: Value = log
            .rfind("\n{")
            .or_else(|| log.find('{'))
            .and_then(|start| serde_json::from_str(&log[start..]).ok())
            .unwrap_or_else(|| panic!("no report: {log}"));
        let udp = &report["end"]["streams"][0]["udp"];
        let count = |name: &str| {
            udp[name]
                .as_u64()
                .unwrap_or_else(|| panic!("no {name}: {report}"))
        };
        Passed {
            packets: count("packets"),
            lost: count("lost_packets"),
            out_of_order: count("out_of_order"),
        }
    }
}

/// A datagram seen on the underlay.
struct Frame {
    to: Ipv4Addr,
    bytes: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Lane data frames of some pings, as a neighbour sees them, in both directions.
fn frames_between(a: &Node, b: &Node, dir: &Path) -> Vec<Frame> {
    let filter = format!("udp and port {PORT} and ip");
    let capture = Capture::start(&a.host.namespace, "eth0", &filter, dir);
    a.host
        .namespace
        .run(&format!("ping -n -q -c 200 -i 0.01 -s 100 {}", b.v4()));
    let bytes = capture.stop().bytes;
    // pcap: a header of 24 bytes, then records of 16 bytes and what they announce: Ethernet (14), IPv4 (20), UDP (8).
    let mut rest = bytes.get(24..).unwrap_or_default();
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let (packet, tail) = tail.split_at(length);
        rest = tail;
        let (Some(to), Some(datagram)) = (packet.get(30..34), packet.get(42..)) else {
            continue;
        };
        if datagram.first() == Some(&0x10) {
            frames.push(Frame {
                to: [to[0], to[1], to[2], to[3]].into(),
                bytes: datagram.to_vec(),
            });
        }
    }
    frames
}

fn forge(frame: &mut [u8]) {
    let last = frame.len() - 1;
    frame[last] ^= 1;
    // A counter that was not used yet, or it would be taken for a replay.
    frame[11] = 1;
}

/// How often a node dropped something for a reason, whoever it came from.
fn dropped(node: &Node, reason: &str) -> u64 {
    let of = |value: &Value| value["dropped"][reason].as_u64().unwrap_or_default();
    let peers = node.json(&["peers"]);
    let of_peers: u64 = peers.as_array().into_iter().flatten().map(of).sum();
    of_peers + of(&node.json(&["status"]))
}

/// How far a counter has risen: at once when it is `expected`, and after a while when datagrams got lost on the way.
fn counted(node: &Node, reason: &str, before: u64, expected: usize) -> usize {
    let patience = Instant::now() + Duration::from_secs(2);
    wait_for("what was sent to be counted", SOON, || {
        let rise = (dropped(node, reason) - before) as usize;
        (rise >= expected || Instant::now() > patience).then_some(rise)
    })
}
