//! Docker engines that cannot be installed here, by a stand-in that speaks their API: what is asked of each, and what is
//! refused.

use serde_json::{Value, json};
use tombolo_tests::{
    fake_engine::{EngineKind, FakeEngine},
    netns::{Claim, Lab},
    overlay::{Node, Overlay},
    process::wait_for,
};

use crate::town::SOON;

const DOCKER_20: EngineKind = EngineKind {
    version: "20.10.24",
    api: (41, 12),
    firewall: None,
    rootless: false,
};
const DOCKER_29: EngineKind = EngineKind {
    version: "29.0.0",
    api: (52, 44),
    firewall: Some("iptables"),
    rootless: false,
};
const GATEWAY_MODES: [&str; 2] = [
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
];

#[test]
fn every_engine_is_spoken_to_in_its_own_version_and_asked_for_what_it_knows() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = with_one_node(lab);
    let node = &overlay.nodes[0];
    let create = |engine: &FakeEngine| {
        wait_for("the engine to be found", SOON, || {
            (node.verb(&["docker", "create", "app"]).code == 0).then_some(())
        });
        let made = engine.network("app").expect("it was asked for");
        node.verb(&["docker", "rm", "app"]).ok();
        made
    };

    node.verb(&["docker", "ls"])
        .refused(3, &["Docker does not answer"]);

    let engine = engine_of(node, DOCKER_20);
    let made = create(&engine);
    assert!(
        engine
            .asked()
            .iter()
            .any(|path| path == "/v1.41/networks/create")
    );
    let option = |made: &Value, name: &str| made["Options"][name].clone();
    for mode in GATEWAY_MODES {
        assert_eq!(option(&made, mode), Value::Null);
    }
    assert_eq!(option(&made, "com.docker.network.driver.mtu"), "1400");
    assert_eq!(
        option(&made, "com.docker.network.bridge.enable_ip_masquerade"),
        "false"
    );
    assert_eq!(
        (&made["Labels"]["tombolo.managed"], &made["EnableIPv6"]),
        (&"1".into(), &true.into())
    );

    // What Docker refuses leaves nothing behind, neither there nor at the controller.
    engine.refuse("app");
    node.verb(&["docker", "create", "app"])
        .refused(1, &["Docker refused: not today"]);
    assert_eq!(engine.network("app"), None);
    assert!(
        !node
            .host
            .namespace
            .run("iptables-save")
            .contains("tombolo:")
    );
    let routes = overlay.controller.json(&["route", "ls", &overlay.network]);
    assert!(!routes.to_string().contains("10.240."), "{routes}");

    drop(engine);
    let engine = engine_of(node, DOCKER_29);
    let made = create(&engine);
    assert!(
        engine
            .asked()
            .iter()
            .any(|path| path == "/v1.51/networks/create")
    );
    for mode in GATEWAY_MODES {
        assert_eq!(option(&made, mode), "nat-unprotected");
    }

    overlay.controller.kill();
    wait_for("the controller to be missed", SOON, || {
        let standing = node.standing(&overlay.network);
        (standing.as_deref() == Some("offline-ok")).then_some(())
    });
    node.verb(&["docker", "create", "app"])
        .refused(3, &["no controller is connected"]);
    assert_eq!(engine.network("app"), None);
}

#[test]
fn docker_29_with_nftables_a_rootless_one_and_one_of_the_future_are_refused_with_the_way_out() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = with_one_node(lab);
    let node = &overlay.nodes[0];
    let labelled = json!({
        "Id": format!("{:064x}", 77), "Name": "web1", "Driver": "bridge", "Options": {},
        "IPAM": {"Config": [{"Subnet": "10.10.0.0/24", "Gateway": "10.10.0.1"}]},
        "Labels": {"tombolo.network": overlay.network},
    });

    let engine = engine_of(
        node,
        EngineKind {
            firewall: Some("nftables"),
            ..DOCKER_29
        },
    );
    engine.add(labelled.clone());
    wait_for("the network to be refused", SOON, || {
        let said = node.verb(&["docker", "check"]);
        let is_refused = said.stdout.contains("FAIL  network web1")
            && said.stdout.contains("gateway_mode_ipv4=nat-unprotected");
        (said.code == 1 && is_refused).then_some(())
    });
    assert!(
        !node
            .host
            .namespace
            .run("iptables-save")
            .contains("tombolo:")
    );
    drop(engine);

    let engine = engine_of(node, DOCKER_29);
    engine.add(labelled);
    wait_for("rules before Docker's guard", SOON, || {
        let rules = node.host.namespace.run("iptables-save");
        rules
            .contains("-A PREROUTING -d 10.10.0.0/24 -i tmb0")
            .then_some(())
    });
    drop(engine);

    let engine = engine_of(
        node,
        EngineKind {
            rootless: true,
            ..DOCKER_29
        },
    );
    wait_for("the rootless engine", SOON, || {
        let said = node.verb(&["docker", "check"]);
        said.stdout.contains("rootless").then_some(())
    });
    node.verb(&["docker", "create", "app"])
        .refused(4, &["run Docker as root"]);
    assert_eq!(engine.network("app"), None);
    drop(engine);

    let engine = engine_of(
        node,
        EngineKind {
            api: (90, 80),
            ..DOCKER_29
        },
    );
    wait_for("the engine of the future", SOON, || {
        let said = node.verb(&["docker", "ls"]);
        (said.code == 1 && said.stderr.contains("update Tombolo")).then_some(())
    });
    drop(engine);
}

/// The node looks for Docker in its own directory, where there is none at first.
fn with_one_node(lab: Lab) -> Overlay {
    let host = lab.host("h1");
    let socket = host.dir.join("docker.sock");
    let config = format!("[docker]\nsocket = \"{}\"\n", socket.display());
    Overlay::on_hosts(lab, vec![host], &config)
}

fn engine_of(node: &Node, kind: EngineKind) -> FakeEngine {
    FakeEngine::start(&node.host.dir.join("docker.sock"), kind)
}
