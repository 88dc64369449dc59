//! A member that publishes its LAN: machines there, and containers that a macvlan gives addresses of the LAN.

use tombolo_tests::{
    docker::ForwardPolicy::Drop,
    netns::{Capture, Claim},
    overlay::wait_for_ping,
};

use crate::members::Members;

const SHIM: &str = "ip link add macvlan-shim link enp3s0 type macvlan mode bridge
    ip addr add 192.168.88.192/32 dev macvlan-shim
    ip link set macvlan-shim up
    ip route add 192.168.88.192/27 dev macvlan-shim";

#[test]
fn macvlan_containers_and_machines_on_a_published_lan_are_reached() {
    let Some(mut members) = Members::new(Claim::Shared, &[("a", Drop), ("b", Drop)]) else {
        return;
    };
    let lan = members.overlay.lab.lan("lan");
    let [a, b] = members.overlay.nodes.as_slice() else {
        panic!("two members")
    };
    lan.connect(&a.host.namespace, "enp3s0", "192.168.88.2/24");
    let printer = members
        .overlay
        .lab
        .machine_on(&lan, "printer", "192.168.88.50/24");
    let printer_address = std::net::Ipv4Addr::new(192, 168, 88, 50);
    for (docker, bip) in members
        .dockers
        .iter_mut()
        .zip(["10.1.0.1/24", "10.2.0.1/24"])
    {
        docker.start(&["--bip", bip]);
        docker.load_image();
    }
    members.route("10.2.0.1/24", 1);
    members.dockers[0].run(
        "network create -d macvlan --subnet=192.168.88.0/24 --ip-range=192.168.88.192/27 \
         --gateway 192.168.88.1 -o parent=enp3s0 --aux-address host=192.168.88.192 macvlan1",
    );
    let on_lan = members.dockers[0].container("on-lan", "--network macvlan1");
    let on_b = members.dockers[1].container("web", "");
    a.host.namespace.shell(SHIM);
    wait_for_ping(&a.host.namespace, on_lan.v4);

    members.route("192.168.88.192/27", 0);

    for from in [&b.host.namespace, &on_b.namespace, &a.host.namespace] {
        wait_for_ping(from, on_lan.v4);
    }

    members.route("192.168.88.1/24", 0);

    // The route is known a moment before the translation of addresses is in place.
    wait_for_ping(&b.host.namespace, printer_address);
    let capture = Capture::start(&printer, "eth0", "icmp", members.overlay.lab.dir());
    for from in [&b.host.namespace, &on_b.namespace, &a.host.namespace] {
        wait_for_ping(from, printer_address);
    }
    let seen = capture.stop();
    assert!(
        seen.lines.iter().all(|line| line.contains("192.168.88.2")),
        "the printer hears nobody but the member: {:?}",
        seen.lines
    );
}
