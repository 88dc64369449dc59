//! Packet sizes: what fits goes through, what does not is refused with a word, and nobody sets anything by hand.

mod underlays;

use tombolo_tests::{
    netns::{Claim, Container, Lab, Namespace},
    overlay::{Overlay, SOON, wait_for_ping},
    process::{Process, Said, announce, wait_for},
};

#[test]
fn packets_of_1400_bytes_pass_undivided_and_bigger_ones_are_refused_at_once() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    wait_for_ping(&a.host.namespace, b.v6());

    // Headers: 28 bytes for IPv4 and ICMP, 48 for IPv6.
    for (payload, to) in [
        (1400 - 28, b.v4().to_string()),
        (1400 - 48, b.v6().to_string()),
    ] {
        a.host
            .namespace
            .run(&format!("ping -n -q -M do -c 1 -W 2 -s {payload} {to}"));
        let bigger = a
            .host
            .namespace
            .try_run(&format!("ping -n -M do -c 1 -W 1 -s {} {to}", payload + 1));
        assert_ne!(bigger.code, 0);
        let text = bigger.stdout + &bigger.stderr;
        assert!(text.contains("1400"), "refused with the MTU: {text}");
    }
}

#[test]
fn a_container_with_mtu_1500_learns_the_size_and_its_tcp_moves_data() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let (_bridge_a, from) = overlay.containers_behind(a, 1);
    let (_bridge_b, to) = overlay.containers_behind(b, 2);
    wait_for_ping(&from.namespace, to.v4);
    wait_for_ping(&from.namespace, to.v6);

    let refused = from
        .namespace
        .try_run(&format!("ping -n -M do -c 1 -W 1 -s 1472 {}", to.v4));
    assert!(
        (refused.stdout + &refused.stderr).contains("1400"),
        "fragmentation needed, with the MTU"
    );

    // A path that swallows "too big" messages: only the clamp on SYN can save TCP here.
    from.namespace.shell(
        "nft add table inet deaf
         nft add chain inet deaf in '{ type filter hook input priority 0; }'
         nft add rule inet deaf in icmp type destination-unreachable drop
         nft add rule inet deaf in icmpv6 type packet-too-big drop
         ip route flush cache; ip -6 route flush cache",
    );
    for address in [to.v4.to_string(), to.v6.to_string()] {
        moves_data(&from.namespace, &to, &address);
    }
}

#[test]
fn iperf_moves_data_both_ways_between_hosts() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    let server = iperf_server(&b.host.namespace, &overlay.lab.dir().join("iperf.log"));

    for extra in ["", "-R"] {
        let gbits = iperf(&a.host.namespace, &b.v4().to_string(), extra);
        announce(&format!(
            "figure: iperf3 {} {gbits:.2} Gbit/s",
            if extra.is_empty() { "a to b" } else { "b to a" }
        ));
        assert!(gbits > 0.01, "data moves");
    }
    drop(server);
}

fn moves_data(from: &Namespace, to: &Container, address: &str) {
    let server = iperf_server(&to.namespace, &to.log("iperf"));
    for extra in ["", "-R"] {
        assert!(
            iperf(from, address, extra) > 0.001,
            "data moves to {address} {extra}"
        );
    }
    drop(server);
}

pub(crate) fn iperf_server(namespace: &Namespace, log: &std::path::Path) -> Process {
    let server = Process::spawn(
        "iperf3 -s",
        namespace.command("iperf3").args(["-s", "--forceflush"]),
        log,
    );
    wait_for("iperf3 to listen", SOON, || {
        server.log().contains("listening").then_some(())
    });
    server
}

/// One transfer of two seconds, in Gbit/s. Between two tests the server is deaf for a moment: a refused connection is
/// tried again.
fn iperf(from: &Namespace, to: &str, extra: &str) -> f64 {
    let transfer = || {
        let mut command = from.command("iperf3");
        command
            .args(["-J", "-t", "2", "--connect-timeout", "2000", "-c", to])
            .args(extra.split_whitespace());
        let report: serde_json::Value =
            serde_json::from_str(&Said::by(&mut command).stdout).expect("iperf3 -J prints JSON");
        let end = &report["end"];
        // Older versions tell only one sum of UDP.
        let received = end["sum_received"]["bits_per_second"].as_f64();
        received.or_else(|| end["sum"]["bits_per_second"].as_f64())
    };
    wait_for("iperf3 to move data", SOON, transfer) / 1e9
}
