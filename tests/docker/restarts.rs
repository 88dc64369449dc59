//! Docker, the node and the host's firewall come and go; containers keep their connections or get them back by themselves.

use serde_json::json;
use tombolo_tests::{
    docker::{self, Docker, ForwardPolicy},
    netns::Claim,
    overlay::{Pings, wait_for_ping},
};

use crate::town::{Town, addresses};

#[test]
fn containers_keep_talking_while_docker_and_then_the_node_die_and_come_back() {
    let Some(lab) = docker::lab(Claim::Alone) else {
        return;
    };
    let made = ["h1", "h2"].map(|name| {
        let (host, mut docker) = Docker::host(&lab, name, ForwardPolicy::Drop);
        docker.configure(&json!({ "live-restore": true }));
        docker.restart(&[]);
        (host, docker)
    });
    let mut town = Town::of(lab, made.into());
    for number in [0, 1] {
        town.json(number, "create app");
    }
    let [near, far] = [0, 1].map(|number| town.dockers[number].container("web", "--network app"));
    for address in addresses(&far) {
        wait_for_ping(&near.namespace, address);
    }

    // Docker may die without a packet lost.
    let pings = Pings::start(&near.namespace, far.v4, &near.log("docker"));
    town.dockers[1].kill();
    town.dockers[1].start(&[]);
    town.dockers[0].restart(&[]);
    town.wait_for_state(0, "app", "published");
    town.wait_for_state(1, "app", "published");
    let (sent, answered) = pings.stop();
    assert_eq!(answered, sent, "pings while Docker died");

    // The node is the way, so without it there is none; with it, everything is back without a command.
    town.dockers[1].kill();
    town.overlay.nodes[1].kill();
    town.overlay.nodes[1].up();
    for address in addresses(&far) {
        wait_for_ping(&near.namespace, address);
    }
    town.dockers[1].start(&[]);
    town.wait_for_state(1, "app", "published");

    // Somebody flushes the firewall, as a reload of firewalld does: Docker's own rules come back with its restart, ours
    // because it restarted.
    town.node(1)
        .host
        .namespace
        .shell("iptables -F; iptables -t raw -F; nft delete table inet tombolo_docker");
    town.dockers[1].restart(&[]);
    for address in addresses(&far) {
        wait_for_ping(&near.namespace, address);
    }
    tombolo_tests::process::wait_for("every check to pass", crate::town::SOON, || {
        (town.verb(1, "check").code == 0).then_some(())
    });
}

#[test]
fn after_a_reboot_everything_is_back_whoever_starts_first() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let mut town = Town::new(lab, &[ForwardPolicy::Drop, ForwardPolicy::Drop]);
    for number in [0, 1] {
        town.json(number, "create app");
    }
    let near = town.dockers[0].container("web", "--network app");
    let far = town.dockers[1].container("web", "--network app --restart always");
    wait_for_ping(&near.namespace, far.v4);
    let (v4, v6) = (far.v4, far.v6);
    drop(far);

    // What a reboot takes away: processes, bridges, rules.
    town.dockers[1].stop();
    town.overlay.nodes[1].kill();
    let host = &town.node(1).host.namespace;
    host.shell("ip link del tmbbr1; nft flush ruleset; iptables -P FORWARD ACCEPT");
    host.sysctl("net.ipv4.ip_forward", 0);
    host.sysctl("net.ipv6.conf.all.forwarding", 0);
    town.overlay.nodes[1].up();
    town.dockers[1].start(&[]);

    let again = town.dockers[1].find("web");
    assert_eq!((again.v4, again.v6), (v4, v6));
    for address in addresses(&again) {
        wait_for_ping(&near.namespace, address);
    }
}
