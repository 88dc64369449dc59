//! Controllers die, nodes die; the rest goes on.

use std::{
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Node, Overlay, Pings, SOON, repetitions, wait_for_ping},
    process::{Process, figure, median, wait_for, wait_for_same},
};

#[test]
fn pings_go_on_without_loss_when_the_controller_is_killed() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    wait_for_ping(&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());
    let pings = Pings::start(
        &overlay.nodes[0].host.namespace,
        overlay.nodes[1].v4(),
        &overlay.lab.dir().join("pings.log"),
    );

    overlay.controller.kill();
    let network = overlay.network.clone();
    wait_for("the nodes to notice", Duration::from_secs(60), || {
        let unaware = overlay
            .nodes
            .iter()
            .any(|node| node.standing(&network).as_deref() != Some("offline-ok"));
        (!unaware).then_some(())
    });
    let until = pings.answers() + 40;
    wait_for("pings after that", SOON, || {
        (pings.answers() >= until).then_some(())
    });

    let (sent, received) = pings.stop();
    assert_eq!(sent, received, "not one ping may be lost");
}

#[test]
fn a_killed_node_is_back_from_its_cache_while_the_controller_is_dead() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    let containers: Vec<_> = overlay
        .nodes
        .iter()
        .zip(1..)
        .map(|(node, number)| overlay.containers_behind(node, number).1)
        .collect();
    wait_for_ping(&containers[0].namespace, containers[1].v4);
    wait_for_ping(&containers[0].namespace, containers[1].v6);
    overlay.controller.kill();
    let target = overlay.nodes[0].v4();
    let before = host_state(&overlay.nodes[1]);
    let mut figures = Vec::new();

    for _ in 0..repetitions(3, 10) {
        overlay.nodes[1].kill();
        let start = Instant::now();
        overlay.nodes[1].up();
        let back = wait_for_ping(&overlay.nodes[1].host.namespace, target);
        figures.push(back.duration_since(start));

        wait_for_same("exactly the same host state", SOON, &before, || {
            host_state(&overlay.nodes[1])
        });
        wait_for_ping(&containers[0].namespace, containers[1].v4);
        wait_for_ping(&containers[0].namespace, containers[1].v6);
    }

    figure(
        "kill -9 to first ping from the cache",
        median(figures),
        Duration::from_secs(2),
    );
    assert_eq!(
        overlay.nodes[1].standing(&overlay.network).as_deref(),
        Some("offline-ok")
    );
}

#[test]
fn changes_that_were_missed_arrive_once_the_controller_is_back() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    wait_for_ping(&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());
    // Endpoints are written within a second or so, not at once.
    wait_for("the peer's endpoint to be on disk", SOON, || {
        overlay.nodes[0]
            .remembers(&overlay.nodes[1].host)
            .then_some(())
    });
    overlay.nodes[0].kill();
    let (_bridge, container) = overlay.containers_behind(&overlay.nodes[1], 3);
    overlay.controller.kill();

    overlay.nodes[0].up();
    wait_for_ping(&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());
    overlay.controller.serve();

    wait_for("the route of the meantime", Duration::from_secs(60), || {
        tombolo_tests::overlay::answers(&overlay.nodes[0].host.namespace, container.v4)
            .then_some(())
    });
}

#[test]
fn the_service_manager_is_told_ready_only_once_the_addresses_are_there() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a"]);
    overlay.controller.kill();
    let node = &mut overlay.nodes[0];
    node.stop();
    let path = node.host.dir.join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("the lab's directory is writable");
    socket
        .set_read_timeout(Some(SOON))
        .expect("a timeout above zero");

    let log = node.host.dir.join("notified.log");
    let daemon = Process::spawn(
        "node",
        node.command(&["up"]).env("NOTIFY_SOCKET", &path),
        &log,
    );

    let mut message = [0; 512];
    let length = socket.recv(&mut message).expect("a message in time");
    let message = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(message.contains("READY=1"), "{message}");
    assert_eq!(node.kernel_addresses("tmb0").len(), 2);
    drop(daemon);
}

/// Addresses, routes, links and packet filter of a host, without what differs between equal states: interface indices,
/// random link-local addresses, link-layer addresses, counters, and what the kernel finds out within a second.
fn host_state(node: &Node) -> String {
    node.host.namespace.shell(
        r#"ip -j addr show scope global | jq -c 'sort_by(.ifname)[] | [.ifname, .mtu, .flags - ["NO-CARRIER"], [.addr_info[] | select(.local) | [.local, .prefixlen]]]'
           ip -j route show table all | jq -c '.[] | [.type, .dst, .dev, .gateway, .metric, .protocol, .prefsrc]' | sort
           ip -j -6 route show table all | jq -c '.[] | select((.dst // "") | test("^(fe80|ff00)") | not) | [.type, .dst, .dev, .gateway, .metric, .protocol]' | sort
           ip rule; ip -6 rule
           nft list ruleset | sed -E 's/packets [0-9]+ bytes [0-9]+//'"#,
    )
}
