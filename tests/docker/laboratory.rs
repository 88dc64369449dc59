//! The laboratory itself, without Tombolo: if these fail, no other failure means anything.

use std::path::Path;

use serde_json::json;
use tombolo_tests::{
    docker::{self, Docker, ForwardPolicy},
    footprint::Footprint,
    netns::Claim,
    overlay::{answers, wait_for_ping},
};

#[test]
fn hosts_have_a_docker_each_with_the_forward_policy_of_a_fresh_server() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let (a, docker_a) = Docker::host(&lab, "a", ForwardPolicy::Drop);
    let (b, docker_b) = Docker::host(&lab, "b", ForwardPolicy::Accept);

    let on_a = docker_a.container("web", "");

    assert!(docker_a.run("ps --format {{.Names}}").contains("web"));
    assert_eq!(docker_b.run("ps --quiet"), "");
    assert!(
        a.namespace
            .run("iptables -S FORWARD")
            .contains("-P FORWARD DROP")
    );
    assert!(
        b.namespace
            .run("iptables -S FORWARD")
            .contains("-P FORWARD ACCEPT")
    );
    assert_eq!(a.namespace.run("hostname").trim(), "a");
    wait_for_ping(&a.namespace, b.v4);
    wait_for_ping(&a.namespace, on_a.v4);
    wait_for_ping(&on_a.namespace, b.v4);
    assert!(!answers(&b.namespace, on_a.v4), "no route to containers");
}

#[test]
fn a_docker_is_configured_restarted_and_killed_while_its_containers_go_on() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let (host, mut docker) = Docker::host(&lab, "a", ForwardPolicy::Drop);
    docker.configure(&json!({ "bip": "10.1.0.1/24", "live-restore": true }));
    docker.restart(&[]);
    let container = docker.container("web", "");
    assert_eq!(container.v4.to_string(), "10.1.0.2");

    docker.kill();

    assert_ne!(docker.verb("ps").code, 0, "dockerd is dead");
    wait_for_ping(&host.namespace, container.v4);

    docker.start(&[]);

    assert!(docker.run("ps --format {{.Names}}").contains("web"));
    assert_eq!(docker.find("web").v4, container.v4);
}

#[test]
fn what_a_host_looks_like_is_the_same_after_a_network_came_and_went() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let (host, docker) = Docker::host(&lab, "a", ForwardPolicy::Drop);
    let before = Footprint::of(&host, Some(&docker));

    docker.run("network create --subnet 10.10.0.0/24 web1");
    let during = Footprint::of(&host, Some(&docker));
    docker.run("network rm web1");

    assert_ne!(before, during);
    before.assert_same_as(&Footprint::of(&host, Some(&docker)));
}

#[test]
fn a_machine_that_goes_takes_its_docker_and_its_containers_along() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let (host, docker) = Docker::host(&lab, "a", ForwardPolicy::Drop);
    let container = docker.container("web", "");
    let name = host.namespace.name().to_owned();
    let dir = lab.dir().to_owned();

    drop((container, docker, host, lab));

    assert!(!dir.exists());
    for controller in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        assert!(!controller.path().join(&name).exists(), "{controller:?}");
    }
    let mounts = std::fs::read_to_string("/proc/mounts").expect("Linux tells");
    assert!(!mounts.contains(&name), "nothing of it is mounted");
    assert!(!Path::new("/run/netns").join(&name).exists());
}
