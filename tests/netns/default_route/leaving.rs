//! Leaving a network takes its default routes along, at who uses them and at who carries them.

use std::time::Instant;

use tombolo_tests::{
    footprint::Footprint,
    netns::{Claim, Host, Lab},
    overlay::{Overlay, SOON, wait_for_ping},
    process::{figure, wait_for},
};

use super::{PUT_BACK, add_defaults, add_internet, allow, outside, wait_for_defaults};

#[test]
fn leave_leaves_nothing_of_default_routes_at_the_host_and_at_the_exit() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let hosts = ["a", "x"].map(|name| lab.host(name));
    add_internet(&lab);
    let before = hosts.each_ref().map(|host| Footprint::of(host, None));
    assert_eq!(hosts.each_ref().map(remains), ["", ""]);
    let overlay = Overlay::on_hosts(lab, hosts.into(), "");
    let [a, x] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    add_defaults(&overlay, x);
    allow(a, &overlay.network, true);
    wait_for_defaults(a, "installed");
    for to in outside() {
        wait_for_ping(&a.host.namespace, to);
    }
    // What is looked for at the end is what is there now.
    let there = remains(&a.host);
    for part in [
        "32700:",
        "32701:",
        "32702:",
        "default dev tmb0",
        "0x00001050",
    ] {
        assert!(there.contains(part), "{part}: {there}");
    }
    assert!(remains(&x.host).contains("masquerade"));

    for (node, before) in overlay.nodes.iter().zip(&before) {
        let started = Instant::now();
        node.verb(&["leave", &overlay.network]).ok();
        wait_for("a host without default routes", SOON, || {
            remains(&node.host).is_empty().then_some(())
        });
        let what = format!("leave to nothing of default routes on {}", node.host.name);
        figure(&what, started.elapsed(), PUT_BACK);
        Footprint::of(&node.host, None).assert_same_as(before);
    }
    for to in outside() {
        wait_for_ping(&a.host.namespace, to);
    }
}

/// Everything on a host that tells of default routes: rules, the table, what is marked and masqueraded.
fn remains(host: &Host) -> String {
    host.namespace.shell(
        "{ ip rule show; ip -6 rule show; } | grep -E '^3270[0-2]:' || true
         { ip route show table 93; ip -6 route show table 93; } 2>/dev/null || true
         nft list ruleset",
    )
}
