//! Super-packets: whatever the kernel can or cannot do, what arrives is what was sent, byte for byte.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use tombolo_tests::{
    netns::{Claim, Lab, Namespace},
    overlay::{Node, Overlay, SOON, repetitions, wait_for_ping},
    process::wait_for,
};

/// Silence after which a datagram counts as lost. Nothing is lost here: a burst fits every queue.
const PATIENCE: Duration = Duration::from_secs(10);

/// Datagrams up to three fragments long, and such that need none.
const LARGEST: usize = 3000;
const UNDIVIDED: usize = 1300;

#[test]
fn every_byte_arrives_with_all_that_the_kernel_can_do() {
    moves_everything("", &["tso4", "tso6", "uso4", "uso6"], 1, true);
}

#[test]
fn every_byte_arrives_with_super_packets_of_tcp_alone() {
    moves_everything("tun_offload = \"tcp\"\n", &["tso4", "tso6"], 1, true);
}

#[test]
fn every_byte_arrives_without_any_offload() {
    moves_everything("tun_offload = \"none\"\nudp_gso = false\n", &[], 1, false);
}

#[test]
fn every_byte_arrives_over_several_queues() {
    moves_everything("queues = 3\n", &["tso4", "tso6", "uso4", "uso6"], 3, true);
}

#[test]
fn nodes_with_and_without_offload_understand_each_other() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    let plain = &mut overlay.nodes[1];
    plain.stop();
    plain.configure("[forwarding]\ntun_offload = \"none\"\nudp_gso = false\n");
    plain.up();
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };

    exchange(a, b, LARGEST);
}

#[test]
fn congestion_marks_travel_from_the_inner_header_to_the_outer_and_back() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::on_ipv4(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    // On a's way out: count what is marked ECT(0), and mark it CE as a congested router would.
    a.host.namespace.shell(
        "nft add table ip marks
         nft add chain ip marks out '{ type filter hook postrouting priority 0; }'
         nft add rule ip marks out udp dport 9790 ip ecn ect0 counter ip ecn set ce",
    );
    b.host.namespace.shell(
        "nft add table ip seen
         nft add chain ip seen in '{ type filter hook input priority 0; }'
         nft add rule ip seen in iifname tmb0 ip ecn ce counter",
    );

    // The second byte of ping's -Q is the traffic class: ECT(0).
    a.host
        .namespace
        .run(&format!("ping -n -q -c 5 -i 0.05 -W 2 -Q 2 {}", b.v4()));

    assert_eq!(counted(&a.host.namespace, "marks"), 5, "outer marks");
    assert_eq!(
        counted(&b.host.namespace, "seen"),
        5,
        "congestion told inside"
    );
}

#[test]
fn congestion_that_cannot_be_told_is_a_drop() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::on_ipv4(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    a.host.namespace.shell(
        "nft add table ip marks
         nft add chain ip marks out '{ type filter hook postrouting priority 0; }'
         nft add rule ip marks out udp dport 9790 ip length 100-140 ip ecn set ce",
    );

    let said = a
        .host
        .namespace
        .try_run(&format!("ping -n -q -c 3 -i 0.05 -W 1 -s 32 {}", b.v4()));

    assert_ne!(said.code, 0, "no answer: {}", said.stdout);
    let dropped = b.json(&["status"])["dropped"]["congestion"].as_u64();
    assert_eq!(dropped, Some(3));
}

fn moves_everything(forwarding: &str, offload: &[&str], queues: u64, gso: bool) {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let config = format!("[forwarding]\n{forwarding}");
    let overlay = Overlay::with_config(lab, &["a", "b"], &config);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let status = a.json(&["status"]);
    assert_eq!(status["networks"][0]["offload"], serde_json::json!(offload));
    assert_eq!(status["forwarding"]["queues"], queues);
    assert_eq!(status["forwarding"]["udp_gso"], gso);

    // A fragment does not say which flow it is of, and so may take another queue than the rest of its flow.
    exchange(a, b, if queues == 1 { LARGEST } else { UNDIVIDED });
}

/// TCP and UDP over both families in both directions.
fn exchange(a: &Node, b: &Node, largest: usize) {
    wait_for_ping(&a.host.namespace, b.v4());
    wait_for_ping(&a.host.namespace, b.v6());
    for (from, to) in [(a, b), (b, a)] {
        for address in [IpAddr::V4(to.v4()), IpAddr::V6(to.v6())] {
            let place = SocketAddr::new(address, 7000);
            stream(&from.host.namespace, &to.host.namespace, place);
            datagrams(&from.host.namespace, &to.host.namespace, place, largest);
        }
    }
}

fn stream(from: &Namespace, to: &Namespace, place: SocketAddr) {
    let sent = noise(repetitions(16, 200) << 20);
    let listener = to.within(|| TcpListener::bind(place).expect("the port is free"));
    let mut calling = from.within(|| TcpStream::connect_timeout(&place, SOON).expect("listening"));
    let (mut called, _) = listener.accept().expect("somebody calls");
    called.set_read_timeout(Some(PATIENCE)).expect("a time");

    let mut received = Vec::with_capacity(sent.len());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Odd portions, so that segments end anywhere.
            for portion in sent.chunks(70_001) {
                calling.write_all(portion).expect("the other end reads");
            }
            calling.shutdown(std::net::Shutdown::Write).expect("open");
        });
        called.read_to_end(&mut received).expect("it goes on");
    });

    assert!(
        received == sent,
        "{place}: what arrived is not what was sent"
    );
}

/// Bursts of datagrams of all sizes; each burst is answered before the next one starts, so no queue overflows.
fn datagrams(from: &Namespace, to: &Namespace, place: SocketAddr, largest: usize) {
    let receiver = to.within(|| UdpSocket::bind(place).expect("the port is free"));
    receiver.set_read_timeout(Some(PATIENCE)).expect("a time");
    let any = SocketAddr::new(
        match place.ip() {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        },
        0,
    );
    let sender = from.within(|| UdpSocket::bind(any).expect("a free port"));
    let mut buffer = vec![0; 4000];
    for burst in 0..repetitions(40, 400) {
        let sizes = (0..16).map(|number| match burst % 3 {
            0 => 1200,
            1 => 64,
            _ => 1 + (burst * 97 + number * 131) % largest,
        });
        let sent: Vec<Vec<u8>> = sizes.map(noise).collect();
        for datagram in &sent {
            sender.send_to(datagram, place).expect("room to send");
        }
        for datagram in &sent {
            let (length, _) = receiver.recv_from(&mut buffer).expect("it arrives");
            assert!(buffer[..length] == datagram[..], "{place}: burst {burst}");
        }
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(length as u64).fill_bytes(&mut bytes);
    bytes
}

fn counted(namespace: &Namespace, table: &str) -> u64 {
    wait_for("the counter", SOON, || {
        let listing = namespace.run(&format!("nft list table ip {table}"));
        let (_, rest) = listing.split_once("packets ")?;
        let count: u64 = rest.split(' ').next()?.parse().ok()?;
        (count >= 5).then_some(count)
    })
}
