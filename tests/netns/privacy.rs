//! What the underlay and the controller get to see: nothing.

use tombolo_tests::{
    netns::{Capture, Claim, Lab},
    overlay::{Overlay, SOON, answers, wait_for_ping},
    process::wait_for,
};

use crate::relays::wait_for_path;

/// ping's padding, and what it looks like in a packet.
const PADDING: &str = "-p 746f6d626f6c6f2d6d61726b65722d31";
const MARKER: &[u8] = b"tombolo-marker-1";

#[test]
fn nothing_readable_crosses_the_underlay_and_it_goes_the_direct_way() {
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
    // The first packets may have gone by a relay.
    for (node, to) in [(a, b), (b, a)] {
        wait_for_path(node, to, "direct");
    }
    let inside = Capture::start(&a.host.namespace, "tmb0", "", overlay.lab.dir());
    let outside = Capture::start(overlay.lab.underlay(), "any", "", overlay.lab.dir());
    let at_controller = Capture::start(
        &overlay.controller.host.namespace,
        "eth0",
        "",
        overlay.lab.dir(),
    );

    for address in [to.v4.to_string(), to.v6.to_string()] {
        from.namespace
            .run(&format!("ping -n -q -c 50 -i 0.02 {PADDING} {address}"));
    }

    assert!(inside.stop().shows(MARKER), "the marker is sent at all");
    let outside = outside.stop();
    assert!(!outside.shows(MARKER), "the underlay sees the marker");
    for (source, target) in [(&a.host, &b.host), (&b.host, &a.host)] {
        let v4 = format!("{}.9790 > {}.9790: UDP", source.v4, target.v4);
        let v6 = format!("{}.9790 > {}.9790: UDP", source.v6, target.v6);
        let count = outside
            .lines
            .iter()
            .filter(|line| line.contains(&v4) || line.contains(&v6))
            .count();
        assert!(
            count >= 100,
            "{count} datagrams went straight from {} to {}",
            source.name,
            target.name
        );
    }
    let passed = at_controller.stop().lines.len();
    assert!(
        passed < 50,
        "{passed} packets passed the controller while 200 were sent between members"
    );
}

#[test]
fn with_the_bridge_down_nothing_leaks_in_clear() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let (bridge, container) = overlay.containers_behind(b, 2);
    wait_for_ping(&a.host.namespace, container.v4);
    wait_for_ping(&a.host.namespace, container.v6);
    b.host
        .namespace
        .run(&format!("ip link set {} down", bridge.name));
    let underlay = Capture::start(
        overlay.lab.underlay(),
        "any",
        "icmp or icmp6 or net 172.16.0.0/12",
        overlay.lab.dir(),
    );

    for address in [container.v4.to_string(), container.v6.to_string()] {
        for from in [&a.host.namespace, &b.host.namespace] {
            let said = from.try_run(&format!("ping -n -q -c 3 -i 0.1 -W 1 {PADDING} {address}"));
            assert_ne!(said.code, 0, "the bridge is down");
        }
    }

    let seen = underlay.stop();
    assert!(!seen.shows(MARKER), "leaked: {:?}", seen.lines);
    b.host
        .namespace
        .run(&format!("ip link set {} up", bridge.name));
    // The kernel took the bridge's IPv6 address with it; IPv4 comes back by itself.
    wait_for("the container to be back", SOON, || {
        answers(&a.host.namespace, container.v4).then_some(())
    });
}

#[test]
fn a_member_cannot_send_from_an_address_that_is_not_its_own() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    a.host
        .namespace
        .run("ip addr add 172.27.200.200/32 dev tmb0");
    let capture = Capture::start(&b.host.namespace, "tmb0", "icmp", overlay.lab.dir());

    let said = a.host.namespace.try_run(&format!(
        "ping -n -q -c 5 -i 0.1 -W 1 -I 172.27.200.200 {}",
        b.v4()
    ));

    assert_ne!(said.code, 0, "a forged source is answered");
    wait_for_ping(&a.host.namespace, b.v4());
    let seen = capture.stop();
    assert!(
        !seen
            .lines
            .iter()
            .any(|line| line.contains("172.27.200.200 >")),
        "a forged source got in: {:?}",
        seen.lines
    );
}

#[test]
fn a_neighbour_on_the_underlay_cannot_speak_in_the_name_of_a_member() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v6());
    let neighbour = overlay.lab.host("neighbour");
    let stolen = b.v6();
    neighbour
        .namespace
        .run(&format!("ip addr add {stolen}/128 dev lo nodad"));
    neighbour
        .namespace
        .run(&format!("ip route add {} via {}", a.v6(), a.host.v6));
    // The answer to a neighbour solicitation would go into the tunnel, so tell the link-layer address.
    let link = a.host.namespace.run("cat /sys/class/net/eth0/address");
    neighbour.namespace.run(&format!(
        "ip neigh replace {} lladdr {} dev eth0",
        a.host.v6,
        link.trim()
    ));
    wait_for("the rule to be in force", SOON, || {
        let rules = a.host.namespace.try_run("nft list table inet tombolo");
        rules.stdout.contains("ip6 saddr").then_some(())
    });
    // Past the drop there would be nothing between this packet and a service on the host.
    a.host.namespace.shell(
        "nft add table inet seen
         nft add chain inet seen in '{ type filter hook input priority 0; }'
         nft add rule inet seen in iifname eth0 icmpv6 type echo-request counter",
    );

    let said = neighbour.namespace.try_run(&format!(
        "ping -n -q -c 5 -i 0.1 -W 1 -I {stolen} {}",
        a.v6()
    ));

    assert_ne!(said.code, 0, "it is answered");
    let seen = a.host.namespace.run("nft list table inet seen");
    assert!(seen.contains("packets 0 "), "it got in: {seen}");
    let rules = a.host.namespace.run("nft list table inet tombolo");
    let rule = rules.lines().find(|line| line.contains("ip6 saddr"));
    assert!(
        rule.is_some_and(|rule| !rule.contains("packets 0 ")),
        "dropped by the rule: {rules}"
    );
}
