//! The laboratory itself, without Tombolo: if these fail, no other failure means anything.

use std::time::Duration;

use tombolo_tests::{
    netns::{Capture, Claim, Lab},
    overlay::{answers, wait_for_ping},
    process::Process,
};

#[test]
fn hosts_reach_each_other_over_the_underlay_and_containers_reach_only_their_host() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let (a, b) = (lab.host("a"), lab.host("b"));
    let bridge = lab.bridge(
        &a,
        "br1",
        "172.28.1.0/24".parse().expect("a subnet"),
        "fc00:1::/96".parse().expect("a prefix"),
    );

    let container = lab.container(&a, &bridge, 2);

    wait_for_ping(&a.namespace, b.v4);
    wait_for_ping(&a.namespace, b.v6);
    wait_for_ping(&a.namespace, container.v4);
    wait_for_ping(&a.namespace, container.v6);
    wait_for_ping(&container.namespace, bridge.v4_at(1));
    assert!(
        !answers(&b.namespace, container.v4),
        "the underlay has no route to containers"
    );
}

#[test]
fn a_capture_on_the_underlay_sees_what_is_sent_in_clear() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let (a, b) = (lab.host("a"), lab.host("b"));
    let capture = Capture::start(lab.underlay(), "any", "icmp", lab.dir());

    wait_for_ping(&a.namespace, b.v4);
    // "tombolo" as ping's padding.
    a.namespace
        .run(&format!("ping -n -c 1 -W 1 -p 746f6d626f6c6f {}", b.v4));

    let seen = capture.stop();
    assert!(seen.shows(b"tombolotombolo"));
    let request = format!("{} > {}: ICMP echo request", a.v4, b.v4);
    assert!(
        seen.lines.iter().any(|line| line.contains(&request)),
        "{:?}",
        seen.lines
    );
}

#[test]
fn a_lab_that_goes_takes_its_namespaces_and_processes_along() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let host = lab.host("a");
    let dir = lab.dir().to_owned();
    let mut sleeper = Process::spawn(
        "sleep",
        host.namespace.command("sleep").arg("1000"),
        &dir.join("sleep.log"),
    );
    assert!(host.namespace.run("ip link show eth0").contains("eth0"));

    drop(host);
    drop(lab);

    let status = sleeper.wait(Duration::from_secs(5));
    assert!(!status.success(), "killed with its namespace");
    assert!(!dir.exists());
}
