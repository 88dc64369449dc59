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
