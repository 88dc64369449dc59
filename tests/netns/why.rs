//! Every reason why a path is relayed, as `node why` names it, where it really is the reason. The controller relays: members
//! do not, because they would also be reached by TCP themselves.

use serde_json::Value;
use tombolo_tests::{
    nat::Nat,
    netns::{Claim, Lab},
    overlay::{Node, Overlay, SOON, answers, text, wait_for_ping},
    process::wait_for,
};

const NO_MEMBER_RELAYS: &str = "relay = false\n";

#[test]
fn nats_that_map_by_destination_are_named() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let routers = [1, 2].map(|number| lab.router(&format!("r{number}"), number, Nat::Symmetric));
    let hosts = vec![
        lab.host_behind(&routers[0], "a", 2),
        lab.host_behind(&routers[1], "b", 2),
        lab.host("open"),
    ];
    // Its firewall lets nothing in from the first NAT, whichever port it comes from.
    hosts[2].cut_off(routers[0].host.v4);
    let overlay = Overlay::on_hosts(lab, hosts, NO_MEMBER_RELAYS);
    let [a, b, open] = &overlay.nodes[..] else {
        panic!("three nodes");
    };

    wait_for_reason(a, b, "both_nats_dependent");
    wait_for_reason(b, a, "both_nats_dependent");
    wait_for_reason(a, open, "own_nat_dependent");
    wait_for_reason(open, a, "other_nat_dependent");
}

#[test]
fn silence_places_that_nobody_knows_and_networks_without_udp_are_named() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let hosts: Vec<_> = ["a", "b", "c", "hidden"]
        .iter()
        .map(|name| lab.host(name))
        .collect();
    hosts[0].cut_off(hosts[1].v4);
    hosts[0].cut_off(hosts[1].v6);
    // Nobody tells it where it is, and its own addresses are none that it would name.
    let hidden = &hosts[3];
    for other in &hosts[..3] {
        hidden.cut_off(other.v4);
        hidden.cut_off(other.v6);
    }
    for port in [9793, 9794] {
        hidden.namespace.shell(&format!(
            "nft add rule inet cut out udp dport {port} @th,64,8 0 drop"
        ));
    }
    let flush = "ip -6 address flush dev eth0 scope global";
    hidden.namespace.run(flush);
    let overlay = Overlay::on_hosts(lab, hosts, NO_MEMBER_RELAYS);
    let [a, b, c, hidden] = &overlay.nodes[..] else {
        panic!("four nodes");
    };

    wait_for_reason(a, b, "unanswered");
    wait_for_reason(a, hidden, "no_endpoint_known");

    wait_for_ping(&c.host.namespace, b.v4());
    c.host.namespace.drop_udp();
    let blocked = wait_for_reason(c, b, "udp_blocked");
    assert!(
        text(&blocked, "/conclusion").contains("over TCP"),
        "{blocked}"
    );
    let other = wait_for_reason(b, c, "other_udp_blocked");
    assert!(
        text(&other, "/conclusion").contains("UDP is blocked on the other side"),
        "{other}"
    );

    // Administrators see it, too.
    wait_for("the controller to show what goes by TCP", SOON * 3, || {
        let members = overlay.controller.json(&["member", "ls", &overlay.network]);
        let mut members = members.as_array().expect("members").iter();
        let member = members.find(|member| member["node"] == c.id().as_str())?;
        (member["links"]["by_tcp"].as_u64()? > 0).then_some(())
    });
    let peers = c.verb(&["peers"]).ok();
    assert!(peers.contains("by TCP"), "{peers}");
}

/// While packets flow, as when somebody wonders.
#[track_caller]
fn wait_for_reason(node: &Node, to: &Node, reason: &str) -> Value {
    wait_for(&format!("{reason} to be named"), SOON * 3, || {
        let _ = answers(&node.host.namespace, to.v4());
        let said = node.verb(&["why", &to.id(), "--json"]);
        let why: Value = serde_json::from_str(&said.stdout).ok()?;
        (why["reachable"] == true && why["relayed_because"] == reason).then_some(why)
    })
}
