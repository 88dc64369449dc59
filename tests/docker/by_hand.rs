//! What people set up by hand today goes on working word for word: Docker's own settings and a managed route.

use serde_json::json;
use tombolo_tests::{
    docker::ForwardPolicy::{Accept, Drop},
    footprint::Footprint,
    netns::{Claim, Container},
    overlay::{SOON, answers, wait_for_ping},
    process::{Process, Said, wait_for},
};

use crate::members::Members;

#[test]
fn the_default_bridge_with_a_fixed_cidr_of_each_family_per_host() {
    let hosts = [("a", Drop), ("b", Accept), ("c", Drop)];
    let Some(mut members) = Members::new(Claim::Shared, &hosts) else {
        return;
    };
    let subnets = ["172.28.233.1/24", "172.28.1.1/24", "172.28.0.1/24"];
    for (member, bip) in subnets.iter().enumerate() {
        // The whole /80, as the panel shows it.
        let plane = members.overlay.nodes[member].container_prefix(0);
        let plane = plane.replace("/96", "/80");
        let fixed = bip.replace(".1/", ".0/");
        members.dockers[member].start(&[
            "--bip",
            bip,
            "--fixed-cidr",
            &fixed,
            "--ipv6",
            "--fixed-cidr-v6",
            &plane,
        ]);
        members.dockers[member].load_image();
        members.route(bip, member);
    }
    let containers: Vec<_> = members
        .dockers
        .iter()
        .map(|docker| docker.container("web", ""))
        .collect();
    let [a, b, c] = containers.as_slice() else {
        panic!("three containers")
    };

    members.assert_all_reach(&[a, b, c]);
    members.assert_own_address_is_seen(a, c);
    members.assert_own_address_is_seen(c, b);
    assert!(a.namespace.run("ip link show eth0").contains("mtu 1500"));
    moves_50_megabytes_both_ways(a, c);
}

#[test]
fn a_bip_per_host_and_networks_of_ones_own_come_and_go() {
    let Some(mut members) = Members::new(Claim::Shared, &[("a", Drop), ("b", Drop)]) else {
        return;
    };
    for (member, bip) in ["10.1.0.1/24", "10.2.0.1/24"].iter().enumerate() {
        members.dockers[member].configure(&json!({ "bip": bip }));
        members.dockers[member].start(&[]);
        members.dockers[member].load_image();
        members.route(bip, member);
    }
    let [docker_a, docker_b] = members.dockers.as_slice() else {
        panic!("two hosts")
    };
    let (on_a, on_b) = (docker_a.container("web", ""), docker_b.container("web", ""));
    assert_eq!(on_a.v4.to_string(), "10.1.0.2");
    wait_for_ping(&on_a.namespace, on_b.v4);
    wait_for_ping(&on_b.namespace, on_a.v4);

    docker_a.run("network create -d bridge --subnet 10.10.0.0/24 --gateway 10.10.0.1 web1");
    docker_b.run("network create -d bridge --subnet 10.10.1.0/24 --gateway 10.10.1.1 web2");
    let in_web1 = docker_a.container("one", "--network web1");
    let in_web2 = docker_b.container("two", "--network web2");
    let route = members.route("10.10.0.1/24", 0);
    members.route("10.10.1.1/24", 1);

    wait_for_ping(&in_web1.namespace, in_web2.v4);
    wait_for_ping(&in_web2.namespace, in_web1.v4);
    wait_for_ping(&on_b.namespace, in_web1.v4);
    for rule in ["-P FORWARD DROP", "-j DOCKER-USER"] {
        let rules = members.overlay.nodes[0]
            .host
            .namespace
            .run("iptables -S FORWARD");
        assert!(rules.contains(rule), "Docker's own rules stand: {rules}");
    }

    let overlay = &members.overlay;
    overlay.controller.remove_route(&overlay.network, &route);

    let host = &overlay.nodes[0].host.namespace;
    wait_for("the rules for the route to go", SOON, || {
        let rules = host.run("iptables-save") + &host.run("nft list ruleset");
        (!rules.contains("10.10.0.0/24 -i tmb0") && !rules.contains("map { 10.10.0.0/24"))
            .then_some(())
    });
    wait_for_ping(&on_b.namespace, on_a.v4);
}

#[test]
fn leaving_takes_every_rule_along() {
    let Some(mut members) = Members::new(Claim::Shared, &[("a", Drop), ("b", Drop)]) else {
        return;
    };
    members.dockers[0].start(&["--bip", "10.1.0.1/24"]);
    members.overlay.nodes[0].stop();
    let host = &members.overlay.nodes[0].host;
    let before = Footprint::of(host, Some(&members.dockers[0]));
    members.overlay.nodes[0].up();
    members.route("10.1.0.0/24", 0);
    let rules = || members.overlay.nodes[0].host.namespace.run("iptables-save");
    wait_for("rules for the route", SOON, || {
        rules().contains("tombolo").then_some(())
    });

    let network = members.overlay.network.clone();
    members.overlay.nodes[0].verb(&["leave", &network]).ok();

    wait_for("the rules to go", SOON, || {
        (!rules().contains("tombolo")).then_some(())
    });
    members.overlay.nodes[0].stop();
    let host = &members.overlay.nodes[0].host;
    before.assert_same_as(&Footprint::of(host, Some(&members.dockers[0])));
}

#[test]
fn dockers_own_default_subnet_is_refused_a_second_time_and_told_where_it_clashes() {
    let Some(mut members) = Members::new(Claim::Shared, &[("a", Drop), ("b", Drop)]) else {
        return;
    };
    for docker in &mut members.dockers {
        docker.start(&[]);
    }
    members.route("172.17.0.0/16", 0);
    let overlay = &members.overlay;

    let again = overlay.controller.verb(&[
        "route",
        "add",
        &overlay.network,
        "172.17.0.0/16",
        "--via",
        &overlay.nodes[1].id(),
    ]);

    again.refused(4, &["172.17.0.0/16"]);
    let clash = wait_for("the clash to be told", SOON, || {
        let clashes = overlay.nodes[1].json(&["status"])["networks"][0]["clashes"].clone();
        clashes.as_array()?.first()?.as_str().map(str::to_owned)
    });
    assert!(clash.contains("172.17.0.0/16") && clash.contains("docker0"));
    assert!(!answers(
        &overlay.nodes[1].host.namespace,
        std::net::Ipv4Addr::new(172, 17, 0, 9)
    ));
}

#[test]
fn a_compose_file_of_version_2_1_with_a_subnet_of_each_family() {
    let Some(mut members) = Members::new(Claim::Shared, &[("a", Drop), ("b", Accept)]) else {
        return;
    };
    let mut containers = Vec::new();
    for member in 0..2 {
        members.dockers[member].start(&[]);
        members.dockers[member].load_image();
        members.route(&format!("172.28.{member}.1/24"), member);
        let plane = members.overlay.nodes[member].container_prefix(0);
        let plane = plane.trim_end_matches("/96");
        let file = members.overlay.nodes[member].host.dir.join("compose.yml");
        let text = COMPOSE
            .replace("172.28.233", &format!("172.28.{member}"))
            .replace("fc23:3333:3333:3333:3333::", plane);
        std::fs::write(&file, text).expect("the lab's directory is writable");
        let mut up = members.overlay.nodes[member]
            .host
            .namespace
            .command("docker-compose");
        Said::by(up.arg("--file").arg(&file).args(["up", "--detach"])).ok();
        containers.push(members.dockers[member].find("web"));
    }
    let [a, b] = containers.as_slice() else {
        panic!("two containers")
    };

    members.assert_all_reach(&[a, b]);
    members.assert_own_address_is_seen(a, b);
}

/// As people have it today; the test puts its own numbers in.
const COMPOSE: &str = r#"version: "2.1"
services:
  web:
    image: tombolo-test
    container_name: web
    command: sleep 1000000
    networks: [app]
networks:
  app:
    driver: bridge
    enable_ipv6: true
    ipam:
      driver: default
      config:
        - subnet: 172.28.233.0/24
          gateway: 172.28.233.1
        - subnet: "fc23:3333:3333:3333:3333::/80"
          gateway: "fc23:3333:3333:3333:3333::1"
"#;

/// With containers as Docker makes them: nobody told them that the overlay's MTU is smaller than theirs.
#[track_caller]
fn moves_50_megabytes_both_ways(from: &Container, to: &Container) {
    let log = to.log("iperf");
    let mut serve = to.namespace.command("iperf3");
    let server = Process::spawn("iperf3 -s", serve.args(["-s", "--forceflush"]), &log);
    wait_for("iperf3 to listen", SOON, || {
        server.log().contains("listening").then_some(())
    });
    for to in [to.v4.to_string(), to.v6.to_string()] {
        for direction in ["--client", "--reverse --client"] {
            let mut client = from.namespace.command("iperf3");
            client
                .args(["--json", "--bytes", "60M", "--connect-timeout", "2000"])
                .args(direction.split(' '))
                .arg(&to);
            let moved = wait_for("iperf3 to move data", SOON * 4, || {
                let said = Said::by(&mut client).stdout;
                let report: serde_json::Value = serde_json::from_str(&said).ok()?;
                report["end"]["sum_received"]["bytes"].as_u64()
            });
            assert!(moved >= 50_000_000, "{moved} bytes of {to} {direction}");
        }
    }
}
