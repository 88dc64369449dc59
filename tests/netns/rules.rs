//! Access rules between real hosts and containers, with real TCP, UDP and pings.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tombolo_tests::{
    netns::{Claim, Lab, Namespace},
    overlay::{Overlay, SOON, answers, wait_for_ping},
    process::{figure, wait_for},
};

const PORT: u16 = 8_080;
const OTHER_PORT: u16 = 8_081;
/// A connection that nothing stops is open far sooner, and the kernel asks again after a second.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// From the verb's end to the last node that enforces.
const PROMISE: Duration = Duration::from_secs(1);

#[test]
fn rules_allow_by_tag_and_deny_by_port_between_hosts_and_containers_and_change_live() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::new(lab, &["admin", "server", "guest"]);
    let (_bridge, container) = overlay.containers_behind(&overlay.nodes[1], 1);
    let [admin, server, guest] = overlay.nodes.as_slice() else {
        panic!("three nodes")
    };
    let (admin_side, guest_side) = (&admin.host.namespace, &guest.host.namespace);
    let server_side = &server.host.namespace;
    let (controller, network) = (&overlay.controller, overlay.network.as_str());
    let set = ["member", "set", network, &admin.id(), "--tag", "admin"];
    controller.verb(&set).ok();
    let ends: [IpAddr; 4] = [
        server.v4().into(),
        server.v6().into(),
        container.v4.into(),
        container.v6.into(),
    ];
    for namespace in [server_side, &container.namespace] {
        for port in [PORT, OTHER_PORT] {
            serve(namespace, port);
        }
    }
    serve(admin_side, PORT);
    for end in ends {
        wait_for_ping(admin_side, end);
        wait_for_ping(guest_side, end);
        let _ = wait_for_connection(guest_side, end, PORT);
    }
    let mut cut = wait_for_connection(guest_side, ends[0], PORT);
    assert!(echoes(&mut cut), "without rules everything passes");

    // Only the tagged member reaches the port, at the host and behind it, in both families; everybody may ping.
    let file = overlay.lab.dir().join("rules.txt");
    let subnets = format!(
        "member:{},172.28.1.0/24,{}",
        server.id(),
        server.container_prefix(1)
    );
    let text = format!("allow tcp {PORT} from tag:admin to {subnets}\nallow icmp\ndefault deny\n");
    std::fs::write(&file, text).expect("a file");
    let name = file.to_str().expect("a text");
    controller.verb(&["rule", "set", network, name]).ok();
    let set = Instant::now();
    let enforced = wait_for("the guest to be kept out", SOON, || {
        let asked = Instant::now();
        (!echoes(&mut cut)).then_some(asked)
    });
    figure(
        "rules set to enforced",
        enforced.saturating_duration_since(set),
        PROMISE,
    );

    for end in ends {
        let mut open = wait_for_connection(admin_side, end, PORT);
        assert!(echoes(&mut open), "{end}: answers pass without a rule");
        assert!(
            !connects(admin_side, end, OTHER_PORT),
            "{end}: one port only"
        );
        assert!(!connects(guest_side, end, PORT), "{end}: one tag only");
        assert!(answers(guest_side, end), "{end}: pings are allowed");
    }
    let back: IpAddr = admin.v4().into();
    assert!(!connects(server_side, back, PORT), "no rule lets it begin");

    // What was stopped is counted, and said in words.
    let report = rules_of(&server.json(&["status"]), network);
    assert_eq!(report["default"], "deny");
    assert!(report["stopped_by_default"].as_u64() > Some(0), "{report}");
    let guest_address = guest.v4().to_string();
    let stopped = report["stopped"].as_array().expect("a list");
    let of_guest = |it: &&Value| it["source"] == guest_address && it["port"] == PORT;
    let shown = stopped.iter().find(of_guest).expect("the guest's attempts");
    assert_eq!(shown["protocol"], "tcp");
    let why = server.verb(&["why", &guest.id()]).ok();
    assert!(
        why.contains("stopped") && why.contains(&guest_address),
        "{why}"
    );
    let said = server.verb(&["status"]).ok();
    assert!(said.contains("access rules: 2, default deny"), "{said}");

    // A rule that goes cuts what it allowed, at once.
    let mut open = wait_for_connection(admin_side, ends[0], PORT);
    assert!(echoes(&mut open));
    controller.verb(&["rule", "rm", network, "1"]).ok();
    let removed = Instant::now();
    let enforced = wait_for("the connection to be cut", SOON, || {
        let asked = Instant::now();
        (!echoes(&mut open)).then_some(asked)
    });
    let cut = enforced.saturating_duration_since(removed);
    figure("rule removed to connection cut", cut, PROMISE);
    assert!(!connects(admin_side, ends[0], PORT));

    // And with no rules at all everything is as before.
    controller.verb(&["rule", "default", network, "allow"]).ok();
    for end in ends {
        let _ = wait_for_connection(guest_side, end, PORT);
    }
    assert!(rules_of(&server.json(&["status"]), network).is_null());
}

#[test]
fn rules_survive_a_reboot_without_controllers_and_let_answers_of_udp_in() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["near", "far"]);
    let network = overlay.network.clone();
    let [near, far] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let (near_v4, far_v4): (IpAddr, IpAddr) = (near.v4().into(), far.v4().into());
    wait_for_ping(&near.host.namespace, far_v4);
    let (near_id, far_id) = (near.id(), far.id());
    for rule in [
        format!("allow udp 5300 to member:{far_id}"),
        format!("deny any from member:{near_id} to member:{far_id}"),
    ] {
        let words: Vec<&str> = rule.split(' ').collect();
        let add = [&["rule", "add", &network][..], &words].concat();
        overlay.controller.verb(&add).ok();
    }
    let default = ["rule", "default", &network, "deny"];
    overlay.controller.verb(&default).ok();
    wait_for("the rules to be enforced", SOON, || {
        (!answers(&near.host.namespace, far_v4) && !answers(&far.host.namespace, near_v4))
            .then_some(())
    });
    overlay.controller.kill();
    for node in &mut overlay.nodes {
        node.kill();
        node.up();
    }

    let [near, far] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let server = far
        .host
        .namespace
        .within(|| UdpSocket::bind((far_v4, 5300)));
    let server = server.expect("a socket");
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], from);
        }
    });
    let client = near.host.namespace.within(|| UdpSocket::bind((near_v4, 0)));
    let client = client.expect("a socket");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    wait_for("an answer over UDP", SOON, || {
        client.send_to(b"are you there", (far_v4, 5300)).ok()?;
        client.recv_from(&mut [0; 64]).ok()
    });
    assert!(!answers(&near.host.namespace, far_v4), "the second rule");
    assert!(!answers(&far.host.namespace, near_v4), "the default");
    // Answers of datagrams that are fragmented come in pieces.
    let large = vec![7; 4_000];
    let server = far
        .host
        .namespace
        .within(|| UdpSocket::bind((far_v4, 5301)));
    let server = server.expect("a socket");
    let unasked = server.send_to(&large, client.local_addr().expect("an address"));
    unasked.expect("it leaves");
    let mut buffer = [0; 5_000];
    client.send_to(b"more", (far_v4, 5300)).expect("it leaves");
    loop {
        let (length, from) = client.recv_from(&mut buffer).expect("an answer");
        assert_eq!(from.port(), 5300, "what nobody asked for is refused");
        if length == 4 {
            break;
        }
    }
    let asked = client.local_addr().expect("an address");
    client.send_to(b"open", (far_v4, 5301)).expect("it leaves");
    server.set_read_timeout(Some(SOON)).expect("a timeout");
    server.recv_from(&mut buffer).expect("it arrives");
    server.send_to(&large, asked).expect("it leaves");
    let (length, _) = client.recv_from(&mut buffer).expect("an answer in pieces");
    assert_eq!(length, large.len());
}

/// Answers everything with itself, for as long as the test runs.
fn serve(namespace: &Namespace, port: u16) {
    let listener = namespace.within(|| TcpListener::bind(("::", port)));
    let listener = listener.expect("a free port");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut reader, mut writer) = (&stream, &stream);
                let _ = std::io::copy(&mut reader, &mut writer);
            });
        }
    });
}

fn connect(from: &Namespace, to: IpAddr, port: u16) -> Option<TcpStream> {
    let to = SocketAddr::from((to, port));
    let stream = from
        .within(|| TcpStream::connect_timeout(&to, PATIENCE))
        .ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

fn connects(from: &Namespace, to: IpAddr, port: u16) -> bool {
    connect(from, to, port).is_some()
}

fn wait_for_connection(from: &Namespace, to: IpAddr, port: u16) -> TcpStream {
    wait_for("a connection", SOON, || connect(from, to, port))
}

/// Whether a byte comes back.
fn echoes(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut byte).is_ok()
}

fn rules_of(status: &Value, network: &str) -> Value {
    let networks = status["networks"].as_array().expect("a list");
    let found = networks.iter().find(|it| it["id"] == network);
    found.expect("the network")["rules"].clone()
}
