//! Container subnets behind members: everyone reaches everyone, with everyone's own address.

use std::{net::IpAddr, time::Instant};

use serde_json::json;
use tombolo_tests::{
    netns::{Capture, Claim, Container, Lab, Namespace},
    overlay::{Node, Overlay, SOON, answers, identifier, repetitions, wait_for_ping},
    process::{announce, wait_for},
};

#[test]
fn three_hosts_and_their_containers_reach_each_other_dual_stack() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b", "c"]);
    let containers = one_container_each(&overlay);

    let mut ends: Vec<(&Namespace, [IpAddr; 2])> = Vec::new();
    for node in &overlay.nodes {
        ends.push((&node.host.namespace, [node.v4().into(), node.v6().into()]));
    }
    for container in &containers {
        ends.push((
            &container.namespace,
            [container.v4.into(), container.v6.into()],
        ));
    }

    for (from, (namespace, _)) in ends.iter().enumerate() {
        for (to, (_, addresses)) in ends.iter().enumerate() {
            if from != to {
                for address in addresses {
                    wait_for_ping(namespace, *address);
                }
            }
        }
    }
}

#[test]
fn a_container_is_seen_with_its_own_address_at_the_far_end() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let containers = one_container_each(&overlay);
    let [near, far] = containers.as_slice() else {
        panic!("two containers")
    };
    let capture = Capture::start(&far.namespace, "eth0", "icmp or icmp6", overlay.lab.dir());

    wait_for_ping(&near.namespace, far.v4);
    wait_for_ping(&near.namespace, far.v6);

    let seen = capture.stop();
    for (from, to) in [
        (near.v4.to_string(), far.v4.to_string()),
        (near.v6.to_string(), far.v6.to_string()),
    ] {
        let direction = format!("{from} > {to}");
        assert!(
            seen.lines.iter().any(|line| line.contains(&direction)),
            "{direction} is missing in {:?}",
            seen.lines
        );
    }
}

#[test]
fn in_a_mesh_of_many_hosts_every_container_reaches_every_other() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let names: Vec<String> = (0..repetitions(8, 20))
        .map(|number| format!("h{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let overlay = Overlay::new(lab, &names);
    let containers = one_container_each(&overlay);

    let start = Instant::now();
    std::thread::scope(|scope| {
        for from in &containers {
            scope.spawn(|| {
                for to in containers.iter().filter(|to| to.v4 != from.v4) {
                    wait_for_ping(&from.namespace, to.v4);
                    wait_for_ping(&from.namespace, to.v6);
                }
            });
        }
    });

    let pairs = containers.len() * (containers.len() - 1);
    announce(&format!(
        "figure: {pairs} pairs of containers on {} hosts, both families, {:.2} s",
        containers.len(),
        start.elapsed().as_secs_f64()
    ));
}

#[test]
fn a_route_is_added_and_removed_live() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let (_bridge, container) = {
        let prefix = b.container_prefix(7);
        let bridge = overlay.lab.bridge(
            &b.host,
            "br7",
            "172.28.7.0/24".parse().expect("a subnet"),
            prefix.parse().expect("a prefix"),
        );
        let container = overlay.lab.container(&b.host, &bridge, 2);
        (bridge, container)
    };
    wait_for_ping(&a.host.namespace, b.v4());
    assert!(!answers(&a.host.namespace, container.v4), "no route yet");

    // With host bits, as people type them, and by one of the member's addresses.
    let route =
        overlay
            .controller
            .add_route(&overlay.network, "172.28.7.1/24", &b.v4().to_string());

    wait_for_ping(&a.host.namespace, container.v4);
    assert!(kernel_routes(a).contains("172.28.7.0/24"));
    assert!(
        !kernel_routes(b).contains("172.28.7.0/24 dev tmb0"),
        "never installed on the via member itself"
    );

    overlay.controller.remove_route(&overlay.network, &route);

    wait_for("the route to leave the kernel", SOON, || {
        (!kernel_routes(a).contains("172.28.7.0/24")).then_some(())
    });
    assert!(!answers(&a.host.namespace, container.v4));
}

#[test]
fn the_longest_prefix_wins_when_two_members_have_overlapping_routes() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b", "c"]);
    let [a, b, c] = overlay.nodes.as_slice() else {
        panic!("three nodes")
    };
    let bridge_on = |node: &Node, subnet: &str, number: u8| {
        let prefix = node.container_prefix(number);
        let bridge = overlay.lab.bridge(
            &node.host,
            &format!("br{number}"),
            subnet.parse().expect("a subnet"),
            prefix.parse().expect("a prefix"),
        );
        (overlay.lab.container(&node.host, &bridge, 2), bridge)
    };
    let (wide, _wide_bridge) = bridge_on(b, "172.29.0.0/16", 1);
    let (slice, _slice_bridge) = bridge_on(c, "172.29.64.0/18", 1);

    overlay
        .controller
        .add_route(&overlay.network, "172.29.0.0/16", &b.id());
    overlay
        .controller
        .add_route(&overlay.network, "172.29.64.0/18", &c.id());

    wait_for_ping(&a.host.namespace, wide.v4);
    wait_for_ping(&a.host.namespace, slice.v4);
}

#[test]
fn a_route_that_a_member_asks_for_waits_for_approval() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let bridge = overlay.lab.bridge(
        &b.host,
        "br9",
        "172.28.9.0/24".parse().expect("a subnet"),
        b.container_prefix(9).parse().expect("a prefix"),
    );
    let container = overlay.lab.container(&b.host, &bridge, 2);

    b.verb(&[
        "route",
        "add",
        "172.28.9.0/24",
        "--network",
        &overlay.network,
    ])
    .ok();

    let routes = overlay.controller.json(&["route", "ls", &overlay.network]);
    let pending = routes["items"]
        .as_array()
        .or(routes.as_array())
        .expect("a list")
        .iter()
        .find(|route| route["target"] == "172.28.9.0/24")
        .expect("the route that was asked for")
        .clone();
    assert_eq!(pending["state"], "pending");
    assert!(!answers(&a.host.namespace, container.v4));

    let id = identifier(&pending);
    overlay.controller.verb(&["route", "approve", &id]).ok();

    wait_for_ping(&a.host.namespace, container.v4);
}

#[test]
fn a_route_that_clashes_with_a_network_of_the_host_is_left_out_and_both_sides_are_named() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b", "c"]);
    let [a, b, c] = overlay.nodes.as_slice() else {
        panic!("three nodes")
    };
    let (_bridge, container) = overlay.containers_behind(b, 7);
    wait_for_ping(&a.host.namespace, container.v4);
    // The network of a's own landlord, say.
    let own = overlay.lab.bridge(
        &a.host,
        "lan0",
        "172.28.7.0/24".parse().expect("a subnet"),
        "fd77::/64".parse().expect("a prefix"),
    );

    let clash = wait_for("the clash to be told", SOON, || {
        let clashes = a.json(&["status"])["networks"][0]["clashes"].clone();
        clashes.as_array()?.first()?.as_str().map(str::to_owned)
    });

    assert!(
        clash.contains("172.28.7.0/24") && clash.contains(&own.name),
        "{clash}"
    );
    wait_for("the route to give way", SOON, || {
        (!kernel_routes(a).contains("172.28.7.0/24 dev tmb0")).then_some(())
    });
    wait_for_ping(&c.host.namespace, container.v4);
    wait_for_ping(&a.host.namespace, container.v6);

    a.host.namespace.run("ip link del lan0");

    wait_for_ping(&a.host.namespace, container.v4);
}

#[test]
fn a_public_prefix_is_not_taken_until_the_owner_says_so_and_that_is_no_clash() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let prefix = "198.51.100.0/24";
    let network = &overlay.network;
    overlay.controller.add_route(network, prefix, &b.id());
    let allow = format!("tombolo set {network} allow-global=on");

    let kept = wait_for("the prefix to be kept out", SOON, || {
        let status = a.json(&["status"])["networks"][0].clone();
        assert_eq!(status["clashes"], json!([]), "nothing is in its way");
        status["not_taken"].get(0).cloned()
    });

    let expected = json!({ "setting": "allow-global", "prefixes": [prefix], "mend": allow });
    assert_eq!(kept, expected);
    let said = a.verb(&["status"]).ok();
    let line = format!("not taken: {prefix}, because allow-global is off here: {allow}");
    assert!(said.contains(&line), "{said}");
    let said = a.verb(&["routes"]).ok();
    let line =
        format!("not installed: it is a public prefix, and allow-global is off here: {allow}");
    assert!(said.contains(&line), "{said}");

    a.verb(&["set", network, "allow-global=on"]).ok();

    wait_for("the route", SOON, || {
        let is_there = kernel_routes(a).contains("198.51.100.0/24 dev tmb0");
        is_there.then_some(())
    });
    let status = a.json(&["status"])["networks"][0].clone();
    assert_eq!(status["not_taken"], json!([]));
}

fn one_container_each(overlay: &Overlay) -> Vec<Container> {
    overlay
        .nodes
        .iter()
        .zip(1..)
        .map(|(node, number)| overlay.containers_behind(node, number).1)
        .collect()
}

fn kernel_routes(node: &Node) -> String {
    node.host.namespace.run("ip route show")
}
